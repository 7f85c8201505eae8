"""The twin's autoscaler of nodes: whole rehearsals are judged in both directions, and as it misbehaves (CASES F17)."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.model.facts import NodeAutoscalerFact, NodeFact
from harness.model.verdict import Outcome
from harness.registries import experiment_path
from tests.unit.twin_runs import rehearse

NODES = {"kind": "nodes_scaled", "nodes": "gameday.local/pool=general"}
FOUND, OPEN, BROKEN = Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL


def experiment(folder: Path, cooldown_s: int = 120, **down: Any) -> Path:
    """Write a shipped experiment that asks about nodes too, and looks on for a while after its burst."""
    data = yaml.safe_load(experiment_path("pod-kill-under-burst").read_text())
    game = data["extensions"][0]
    game["load"]["stages"] = {"cooldown": f"{cooldown_s}s"}
    game["assertions"]["nodes-come"] = {**NODES, "direction": "up", "offered_within": "60s"}
    game["assertions"]["nodes-go"] = {**NODES, "direction": "down", "removed_within": "60s", **down}
    path = folder / "nodes.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_f17_nodes_come_for_the_burst_and_go_after_it(tmp_path: Path) -> None:
    run = rehearse(experiment(tmp_path))
    assert {name: v.outcome for name, v in run.verdicts.items()} == dict.fromkeys(run.verdicts, FOUND), run.verdicts
    nodes = run.record.timeline.facts(NodeFact, lambda node: "added" in node.name)
    assert nodes[-1][1].deleted
    assert "DeletionCandidateOfClusterAutoscaler" in str([fact.taints for _, fact in nodes])


def test_f17_a_run_that_ends_before_the_timers_leaves_the_nodes_to_a_later_look(tmp_path: Path) -> None:
    verdict = rehearse(experiment(tmp_path, cooldown_s=10)).verdicts["nodes-go"]
    assert verdict.outcome is OPEN
    assert "left to a later look, at " in verdict.reason


@pytest.mark.parametrize(
    ("switches", "come", "go"),
    [
        ({"node_scaler_missing": True}, OPEN, OPEN),
        ({"node_start_s": 75.0}, BROKEN, OPEN),
        ({"nodes_kept": True}, FOUND, BROKEN),
    ],
)
def test_an_autoscaler_that_misbehaves_is_told_apart(
    switches: dict[str, Any], come: Outcome, go: Outcome, tmp_path: Path
) -> None:
    verdicts = rehearse(experiment(tmp_path, cooldown_s=200), **switches).verdicts
    assert (verdicts["nodes-come"].outcome, verdicts["nodes-go"].outcome) == (come, go), verdicts


def test_without_such_an_assertion_the_twin_has_no_autoscaler_of_nodes() -> None:
    run = rehearse("pod-kill-under-burst")
    assert run.record.timeline.facts(NodeAutoscalerFact) == []
