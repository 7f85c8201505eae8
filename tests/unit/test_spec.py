"""Experiment files: what is wrong is said with file, line, key, what was got and what is allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from assertions.registry import ASSERTIONS
from experiments.faults.probes import PROBES
from experiments.faults.registry import FAULTS
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from harness.model.fault import Loss
from harness.spec import (
    experiment_names,
    experiment_schema,
    load_experiment,
    new_experiment,
    parse_experiment,
    write_new_experiment,
)
from harness.spec_document import SpecErrors, read_document
from loadprofiles.profiles import PROFILES

EXPERIMENTS = Path("experiments")
NAMES = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))


def read(text: str, name: str = "trial", **changes: Any) -> Experiment:
    registries: dict[str, Any] = {"faults": FAULTS, "probes": PROBES, "profiles": PROFILES, "assertions": ASSERTIONS}
    registries |= {"find_file": lambda path: Path(path) if path == f"runbooks/{name}.md" else None} | changes
    return parse_experiment(text, Path(f"{name}.yaml"), **registries)


GOOD = """
version: 1.0.0
title: A title
description: A description
steady-state-hypothesis:
  title: Well
  probes:
    - type: probe
      name: p
      tolerance: true
      provider:
        type: python
        module: experiments.faults.probes
        func: ready_pods_at_least
        arguments: {namespace: agents, selector: app=planner, minimum: 2}
method:
  - type: action
    name: a
    pauses: {before: 40, after: 5}
    provider:
      type: python
      module: experiments.faults.pod
      func: kill_pods
      arguments: {namespace: agents, selector: app=planner, count: 1}
  - type: action
    name: b
    pauses: {before: 20}
    provider:
      type: python
      module: experiments.faults.pod
      func: kill_pods
      arguments: {namespace: agents, selector: app=planner, share: 0.5}
rollbacks: []
extensions:
  - name: gameday
    schema: gameday.experiment/1
    runbook: runbooks/trial.md
    needs: [core, platform]
    scope:
      namespaces: [agents]
      workloads: [{namespace: agents, name: planner, selector: app=planner}]
    load: {profile: planner-burst}
    faults:
      a: {max_hold: 15s}
    assertions:
      pdb-safety: {kind: pdb_safety, pdb: agents/planner}
"""


def good() -> dict[str, Any]:
    """Return a valid experiment as data."""
    data: dict[str, Any] = yaml.safe_load(GOOD)
    return data


def text_of(data: Mapping[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False)


def put(data: Any, key: str, value: Any) -> None:
    """Set a value by a path like ``method.0.name``; ``...`` as the value removes the key."""
    *parents, last = [int(part) if part.isdigit() else part for part in key.split("/")]
    for part in parents:
        data = data[part]
    if value is ...:
        del data[last]
    else:
        data[last] = value


GAME = "extensions/0"
ARGUMENTS = "method/0/provider/arguments"
BAD: list[tuple[str, Any, str]] = [
    # the file
    ("title", ..., r"title: missing"),
    ("titel", "x", r"titel: unknown key 'titel' — did you mean 'title'\?"),
    ("controls", [], r"controls: refused — Chaos Toolkit swallows what a control raises"),
    ("secrets", {}, r"secrets: refused — credentials come from the target"),
    ("configuration", {"a": 1}, r"configuration: refused — write the values out"),
    ("rollbacks", [{"type": "action"}], r"rollbacks: must be empty — leave it empty: each fault"),
    ("runtime", {"rollbacks": {"strategy": "always"}}, r"runtime.rollbacks.strategy: got 'always', allowed is 'never'"),
    ("extensions", [], r"there are 0 extensions named gameday"),
    ("extensions", [{"name": "gameday"}, {"name": "gameday"}], r"there are 2 extensions named gameday"),
    # the steady state
    ("steady-state-hypothesis/probes", [], r"steady-state-hypothesis.probes: is empty — at least one probe"),
    ("steady-state-hypothesis/probes/0/tolerance", 1, r"tolerance: got 1, allowed is True"),
    ("steady-state-hypothesis/probes/0/provider/func", "ready_pods", r"'ready_pods' is not in PROBES — did you mean"),
    ("steady-state-hypothesis/probes/0/provider/arguments/minimum", 0, r"minimum: 0 is less than the minimum of 1"),
    ("steady-state-hypothesis/probes/0/provider/arguments/namespace", "prod", r"namespace 'prod' is not watched"),
    # the method
    ("method/0/type", "probe", r"method\[0\].type: got 'probe', allowed is 'action' — a method has actions only"),
    ("method/0/background", True, r"background: got True, allowed is False — not in the background"),
    ("method/0/ref", "x", r"method\[0\].ref: refused — write the activity out"),
    ("method/0/timeout", 5, r"method\[0\].timeout: refused — Chaos Toolkit ignores it"),
    ("method/0/provider/type", "process", r"got 'process', allowed is 'python' — only python"),
    ("method/0/provider/secrets", ["k"], r"provider.secrets: refused — credentials come from the target"),
    ("method/0/provider/func", "kill_pod", r"'kill_pod' is not in FAULTS, so it has no evidence and no undo — did"),
    ("method/0/provider/module", "chaosk8s.pod.actions", r"kill_pods is not there — write module: experiments"),
    ("method/0/name", "b", r"method\[1\].name: 'b' stands twice"),
    ("method/0/name", "A b", r"method\[0\].name: got 'A b', which does not fit"),
    ("method/0/pauses/before", "10s", r"pauses.before: got '10s', needs a number — seconds, as a plain number"),
    ("method/0/pauses/before", "${wait}", r"pauses.before: got '\$\{wait\}', needs a number"),
    ("method/0/pauses/before", float("nan"), r"pauses.before: nan is not a finite number"),
    ("method/0/pauses/before", 90, r"ends after the burst of 100 s — shorten the pauses or max_hold"),
    (f"{ARGUMENTS}/count", 0, r"count: 0 is less than the minimum of 1"),
    (f"{ARGUMENTS}/count", ..., r"arguments: got .* — namespace, selector, and exactly one of count \(pods\) or share"),
    (f"{ARGUMENTS}/share", 0.5, r"exactly one of count \(pods\) or share"),
    (f"{ARGUMENTS}/selector", "", r"selector: got '', which is not a selector — labels, such as app=planner"),
    (f"{ARGUMENTS}/selector", "app=${app}", r"not a selector|holds a \$\{…\} substitution"),
    (f"{ARGUMENTS}/namespace", "kube-system", r"namespace 'kube-system' is not watched — watched are agents"),
    (f"{ARGUMENTS}/grace", 5, r"arguments.grace: unknown key 'grace' — allowed: count, namespace, selector, share"),
    # the extension
    (f"{GAME}/schema", "gameday.experiment/2", r"schema: got 'gameday.experiment/2', allowed is 'gameday"),
    (f"{GAME}/setle", "5s", r"extensions\[0\].setle: unknown key 'setle' — did you mean 'settle'\?"),
    (f"{GAME}/settle", "5 parsecs", r"settle: got '5 parsecs', which is not a duration — a duration such as 90s"),
    (f"{GAME}/settle", -1, r"settle: got -1, which is not a duration"),
    (f"{GAME}/timeout", "2m", r"timeout: 120 s is too short for load 152 s and settle 60 s"),
    (f"{GAME}/runbook", "runbooks/other.md", r"runbook: there is no file runbooks/other.md"),
    (f"{GAME}/needs", ["core", "kedda"], r"needs\[1\]: got 'kedda', allowed are core, platform, keda"),
    (f"{GAME}/scope/workloads/0/namespace", "prod", r"workloads\[0\].namespace: namespace 'prod' is not watched"),
    (f"{GAME}/load/profile", "planer-burst", r"'planer-burst' is not in PROFILES — did you mean 'planner-burst'\?"),
    (f"{GAME}/load/scale", 0, r"load.scale: 0 is less than or equal to the minimum of 0"),
    (f"{GAME}/load/stages", {"bust": "5s"}, r"load.stages: profile planner-burst has no stage 'bust'"),
    (f"{GAME}/load/stages", {"burst": "20s"}, r"ends after the burst of 20 s"),
    (f"{GAME}/faults/a/max_hold", "soon", r"faults.a.max_hold: got 'soon', which is not a duration"),
    (f"{GAME}/faults/c", {}, r"faults.c: the method has no action 'c'"),
    (f"{GAME}/assertions", {}, r"assertions: is empty — at least one assertion"),
    (f"{GAME}/assertions/pdb-safety/kind", "pdb_safty", r"'pdb_safty' is not in ASSERTIONS — did you mean"),
    (f"{GAME}/assertions/pdb-safety/pdb", ..., r"pdb-safety.pdb: missing — namespace/name of the budget"),
    (f"{GAME}/assertions/pdb-safety/pdb", "prod/planner", r"pdb-safety.pdb: namespace 'prod' is not watched"),
    (f"{GAME}/assertions/pdb-safety/budget", 1, r"unknown key 'budget'"),
    (
        f"{GAME}/assertions/scaler",
        {"kind": "autoscaler_response", "autoscaler": "scaledobject/agents/tool-adapter"},
        r"scaler.autoscaler: a ScaledObject needs KEDA — add keda to needs",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "message"), BAD, ids=[f"{key} {value!r:.30}" for key, value, _ in BAD])
def test_what_is_wrong_is_said_with_file_line_key_and_remedy(key: str, value: Any, message: str) -> None:
    data = good()
    put(data, key, value)
    with pytest.raises(SpecError, match=message) as raised:
        read(text_of(data))
    first = str(raised.value).splitlines()[0]
    assert first.startswith("trial.yaml:") and first.split(":")[1].isdigit()


def test_the_line_named_is_the_line_of_the_key() -> None:
    data = good()
    put(data, f"{GAME}/load/profile", "nothing-like-it")
    text = text_of(data)
    line = next(n for n, row in enumerate(text.splitlines(), start=1) if "nothing-like-it" in row)
    with pytest.raises(SpecError, match=rf"trial\.yaml:{line}: extensions\[0\]\.load\.profile"):
        read(text)


def test_all_that_is_wrong_is_said_at_once() -> None:
    data = good()
    put(data, "method/0/provider/func", "kill_pod")
    put(data, f"{GAME}/runbook", "runbooks/other.md")
    with pytest.raises(SpecErrors) as raised:
        read(text_of(data))
    assert len(raised.value.errors) == 2 and len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"trial\.yaml: the file is empty — `gameday new NAME`"),
        ("# nothing\n", r"trial\.yaml: the file is empty"),
        ("a: [1", r"trial\.yaml:\d+: not YAML"),
        ("- a\n", r"trial\.yaml:1: got \['a'\], needs a mapping"),
        ("title: a\ntitle: b\n", r"trial\.yaml:2: title: stands twice, first in line 1"),
        ("title: !!python/object:os.system {}\n", r"not YAML"),
    ],
)
def test_what_is_no_experiment_at_all_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read(text)


@pytest.mark.parametrize("name", ["Trial", "a_b", "-a", "a b"])
def test_a_file_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="not a name for an experiment"):
        read(text_of(good()), name)


@pytest.mark.parametrize(
    ("field_", "problem"), [("evidence", "no evidence"), ("undo", "no undo"), ("undo_reason", "without a reason")]
)
def test_a02_a_fault_without_evidence_undo_or_the_reason_for_none_is_refused(field_: str, problem: str) -> None:
    faults = {**FAULTS, "kill_pods": replace(FAULTS["kill_pods"], **{field_: ""})}
    with pytest.raises(SpecError, match=problem):
        read(text_of(good()), faults=faults)


def test_a_file_becomes_an_experiment() -> None:
    found = read(text_of(good()))
    a, b = found.faults
    assert (a.at_s, a.max_hold_s, a.loss, a.undo) == (40.0, 15.0, Loss.ABRUPT, "none")
    assert (b.at_s, b.max_hold_s) == (65.0, 30.0)  # before + after + before, as Chaos Toolkit pauses
    assert [spec.name for spec in found.assertions] == ["pdb-safety", "restored"]
    assert found.scope.workloads[0].selector == {"app": "planner"}
    assert found.components == ("core", "platform") and found.settle_s == 60.0
    assert found.probes[0].probe == "ready_pods_at_least" and found.text.startswith("version")


def test_restored_is_judged_last_and_once_also_where_the_file_names_it() -> None:
    data = good()
    judged = {"back": {"kind": "restored"}, **data["extensions"][0]["assertions"]}
    put(data, f"{GAME}/assertions", judged)
    assert [(s.name, s.kind) for s in read(text_of(data)).assertions] == [
        ("pdb-safety", "pdb_safety"),
        ("back", "restored"),
    ]


def test_scale_and_stages_change_the_profile() -> None:
    data = good()
    put(
        data,
        f"{GAME}/load",
        {"profile": "planner-burst", "scale": 2, "stages": {"burst": "3m"}, "options": {"tool_calls": 1}},
    )
    found = read(text_of(data))
    assert found.load.peak_rps == 2 * PROFILES["planner-burst"].peak_rps
    assert found.load.duration_s == PROFILES["planner-burst"].duration_s + 80
    assert found.load_options == {"tool_calls": 1}


def test_an_extension_of_somebody_else_is_left_alone() -> None:
    data = good()
    data["extensions"].insert(0, {"name": "other", "anything": 1})
    assert read(text_of(data)).name == "trial"


def test_an_experiment_without_faults_is_a_load_test() -> None:
    data = good()
    put(data, "method", [])
    put(data, f"{GAME}/faults", {})
    assert read(text_of(data)).faults == ()


def test_aliases_of_yaml_are_understood() -> None:
    text = (
        text_of(good())
        .replace("title: A title", "title: &t A title")
        .replace("description: A description", "description: *t")
    )
    assert read(text).title == "A title"


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(experiment_schema())


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_experiment_is_valid_and_linked_with_its_runbook(name: str) -> None:
    found = load_experiment(
        EXPERIMENTS / f"{name}.yaml", faults=FAULTS, probes=PROBES, profiles=PROFILES, assertions=ASSERTIONS
    )
    assert found.runbook == f"runbooks/{name}.md"
    assert f"../experiments/{name}.yaml" in Path(found.runbook).read_text()


def test_the_names_of_experiments_are_listed() -> None:
    assert set(experiment_names(EXPERIMENTS)) >= {"pod-kill-under-burst", "queue-burst"}


def load(path: Path) -> Experiment:
    return load_experiment(path, faults=FAULTS, probes=PROBES, profiles=PROFILES, assertions=ASSERTIONS)


def test_an_experiment_that_is_not_there_is_an_error_with_a_guess() -> None:
    with pytest.raises(SpecError, match=r"there is no such experiment file — did you mean 'queue-burst'\?"):
        load(EXPERIMENTS / "queue-bust.yaml")


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="cannot be read"):
        load(tmp_path / "trial.yaml")


def test_a_new_experiment_runs_as_it_is_and_nothing_is_overwritten(tmp_path: Path) -> None:
    experiment, runbook = write_new_experiment("my-first", tmp_path)
    found = load(experiment)
    assert found.name == "my-first" and len(found.faults) == 1
    assert "../experiments/my-first.yaml" in runbook.read_text()
    with pytest.raises(SpecError, match="is there already"):
        write_new_experiment("my-first", tmp_path)
    with pytest.raises(SpecError, match="not a name"):
        new_experiment("My First")


@dataclass
class _Recorder:
    asked: list[str] = field(default_factory=list)

    def __call__(self, path: str) -> Path:
        self.asked.append(path)
        return Path(path)


def test_the_only_file_that_is_looked_for_is_the_runbook() -> None:
    recorder = _Recorder()
    read(text_of(good()), find_file=recorder)
    assert recorder.asked == ["runbooks/trial.md"]


def test_a_document_knows_the_lines_of_its_keys() -> None:
    document = read_document("a:\n  - b: 1\n    c: 2\n", "f")
    assert document.lines[("a", 0, "c")] == 3
    assert document.error(("a", 0, "missing"), "x").where == "f:2"
