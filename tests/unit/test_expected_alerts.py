"""Alerts that nobody has a rule for: told before a drill and by the doctor, and without a word of what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml

from harness.drill import preparing
from harness.drill.preparing import check_rules
from harness.expected_alerts import expected_of_assertions, expected_of_drill, unable
from harness.model.drill import DrillError
from harness.model.errors import PortError
from harness.model.target import AlertRoute
from harness.registries import EXPERIMENTS_DIR, PROJECT_DIR, experiment_path, load
from tests.unit.conductor_doubles import EXPERIMENT, TARGET

DRILLS = [found for path in sorted(EXPERIMENTS_DIR.glob("*.yaml")) if (found := load(path)).drill]
EVERY = {one.alert: "" for drill in DRILLS for one in expected_of_drill(drill)}


@dataclass
class Rules:
    """A metrics store with some rules."""

    rules: Mapping[str, str] = field(default_factory=lambda: EVERY)
    error: PortError | None = None

    def close(self) -> None:
        """Close nothing."""

    def alert_rules(self) -> Mapping[str, str]:
        if self.error:
            raise self.error
        return self.rules


def check(rules: Rules, names: tuple[str, ...] = ("bad-rollout", "network-policy")) -> None:
    check_rules([load(experiment_path(name)) for name in names], rules)  # type: ignore[arg-type]


def test_the_shipped_rules_have_every_alert_that_a_shipped_experiment_expects() -> None:
    document = yaml.safe_load((PROJECT_DIR / "deploy" / "alerts" / "platform.yaml").read_text())
    shipped = {rule["alert"]: "" for group in document["groups"] for rule in group["rules"] if "alert" in rule}
    known = [load(path) for path in EXPERIMENTS_DIR.glob("*.yaml")]
    expected = [one for each in known for one in (*expected_of_drill(each), *expected_of_assertions(each))]
    assert len(DRILLS) >= 4 and len(expected) >= 8
    assert unable(expected, shipped) == []


def test_a_drill_with_all_its_rules_may_begin_and_one_that_pages_nobody_asks_for_none() -> None:
    check(Rules())
    check_rules([EXPERIMENT], Rules(error=PortError("p", "rules", "down")))  # type: ignore[arg-type]


def test_each_missing_rule_is_named_with_every_fault_that_counts_on_it_whichever_is_chosen() -> None:
    with pytest.raises(DrillError) as refused:
        check(Rules({"GatewayErrors": ""}))
    told = str(refused.value)
    assert told.startswith("nobody would be paged: there is no rule BrokerUnreachable (expected by fault ")
    assert "there is no rule RolloutStuck" in told and "deploy/alerts/platform.yaml" in told
    faults = [fault.fault for drill in DRILLS if drill.name in {"bad-rollout", "network-policy"}
              for fault in (drill.drill.faults if drill.drill else ())]  # fmt: skip
    assert len(faults) == 5 and all(fault in told for fault in faults)


def test_a_rule_that_cannot_be_evaluated_fires_no_more_than_one_that_is_missing() -> None:
    with pytest.raises(DrillError, match="the rule of BrokerUnreachable fails: many-to-many matching"):
        check(Rules({**EVERY, "BrokerUnreachable": "many-to-many matching"}))


def test_a_store_that_tells_no_rules_is_a_refusal_with_its_remedy() -> None:
    with pytest.raises(DrillError, match=r"cannot be told whether.*no answer: check that it is up"):
        check(Rules(error=PortError("prometheus", "rules", "no answer", "check that it is up")))


def test_only_the_assertion_about_alerts_expects_some() -> None:
    spec = replace(EXPERIMENT.assertions[0], name="told", kind="alerts", params={"expect": ["A"]})
    other = replace(spec, kind="drain_outcome", params={"expect": "drained"})
    found = list(expected_of_assertions(replace(EXPERIMENT, assertions=(other, spec))))
    assert [(one.alert, one.by) for one in found] == [("A", "assertion told of e")]


def test_a_drill_without_a_rule_is_refused_in_the_same_words_whatever_was_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    route = AlertRoute("http://127.0.0.1:9093", "", "drill", "HOOK")
    target = replace(TARGET, drill=route, signals={})
    monkeypatch.setattr(preparing, "resolve_target", lambda settings, name: target)
    monkeypatch.setattr(preparing, "check_receiver", lambda route: None)
    monkeypatch.setattr(preparing.guard, "check_plan", lambda experiment, target: None)
    monkeypatch.setattr(preparing, "PrometheusSource", lambda target, clock, environ: Rules({"GatewayErrors": ""}))
    told = set()
    for seed in range(8):
        names = ("bad-rollout", "network-policy", "scaling-failure")
        wish = preparing.Wish(names, PROJECT_DIR / "gameday.toml", "local", tmp_path, seed=seed)
        with pytest.raises(DrillError) as refused:
            preparing.prepare(wish, {"HOOK": "pl4nted-webhook-token"})
        told.add(str(refused.value))
    assert len(told) == 1 and list(tmp_path.iterdir()) == []
