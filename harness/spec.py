"""An experiment file becomes an `Experiment`: everything is checked before anything is touched.

Registries come as arguments, since the core may import neither faults nor profiles nor assertions. No I/O but the one
reader `load_experiment`; the format is described in docs/writing-an-experiment.md and harness/schema/experiment.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from harness.definitions import AssertionDefinition, FaultDefinition
from harness.model.drill import DrillPlan
from harness.model.errors import SpecError
from harness.model.experiment import AssertionSpec, Experiment, ProbeSpec, Scope, WorkloadRef
from harness.model.fault import FaultPlan
from harness.model.load import LoadProfile
from harness.model.selector import parse_selector
from harness.model.time import parse_duration_s
from harness.spec_assertions import abort_limits, contradictions, node_autoscalers, restored_last
from harness.spec_document import Document, KeyPath, Problem, raise_all, read_document, schema_errors, suggestion
from harness.spec_drill import drill_plan, drill_problems
from harness.spec_load import planned_load, time_problems
from harness.spec_template import new_experiment, write_new_experiment

__all__ = ["experiment_names", "load_experiment", "new_experiment", "parse_experiment", "write_new_experiment"]

DEFAULT_MAX_HOLD_S = 30.0
DEFAULT_SETTLE_S = 60.0
DEFAULT_TIMEOUT_S = 900.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_REFUSED = {
    "controls": "Chaos Toolkit swallows what a control raises, so nothing may rest on one (CASES A19)",
    "secrets": "credentials come from the target, never from an experiment file",
    "configuration": "write the values out: nothing may change between validation and run",
    "ref": "write the activity out: a reference hides what runs",
    "timeout": "Chaos Toolkit ignores it for python activities; set faults.NAME.max_hold",
    "dry": "use a rehearsal: gameday run NAME --rehearse",
}


class ProbeEntry(Protocol):
    """An entry of PROBES as it is needed here."""

    @property
    def module(self) -> str:
        """Module of the probe's function."""
        ...

    @property
    def arguments_schema(self) -> Mapping[str, Any]:
        """JSON schema of its arguments."""
        ...


@cache
def experiment_schema() -> Mapping[str, Any]:
    """Return the JSON schema of experiment files."""
    text = resources.files("harness").joinpath("schema/experiment.json").read_text("utf-8")
    schema: Mapping[str, Any] = json.loads(text)
    return schema


def experiment_names(experiments_dir: Path) -> tuple[str, ...]:
    """Return the names of the experiments in a folder, sorted."""
    return tuple(sorted(path.stem for path in experiments_dir.glob("*.yaml")))


def load_experiment(
    path: Path,
    *,
    faults: Mapping[str, FaultDefinition],
    probes: Mapping[str, ProbeEntry],
    profiles: Mapping[str, LoadProfile],
    assertions: Mapping[str, AssertionDefinition],
) -> Experiment:
    """Read and validate an experiment file.

    Args:
        path: The file; its name without ``.yaml`` is the experiment's name.
        faults: FAULTS.
        probes: PROBES.
        profiles: PROFILES.
        assertions: ASSERTIONS.

    Raises:
        SpecError: There is no such file, or something in it is wrong; every problem is named with its line.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        remedy = suggestion(path.stem, experiment_names(path.parent), "there are")
        raise SpecError(path.name, "", "there is no such experiment file", remedy) from None
    except IsADirectoryError:
        remedy = "name a file in it, or an experiment; without a name, all of experiments/ are validated"
        raise SpecError(str(path), "", "is a folder, not an experiment file", remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(path.name, "", f"cannot be read: {error}", "is it a UTF-8 text file?") from None
    roots = (path.parent.parent, path.parent, Path(__file__).resolve().parent.parent)
    return parse_experiment(
        text,
        path,
        faults=faults,
        probes=probes,
        profiles=profiles,
        assertions=assertions,
        find_file=lambda name: next((root / name for root in roots if (root / name).is_file()), None),
    )


def parse_experiment(
    text: str,
    path: Path,
    *,
    faults: Mapping[str, FaultDefinition],
    probes: Mapping[str, ProbeEntry],
    profiles: Mapping[str, LoadProfile],
    assertions: Mapping[str, AssertionDefinition],
    find_file: Callable[[str], Path | None],
) -> Experiment:
    """Validate the text of an experiment file. Pure.

    Args:
        text: The file as written.
        path: Where it came from; only its name is used.
        faults: FAULTS.
        probes: PROBES.
        profiles: PROFILES.
        assertions: ASSERTIONS.
        find_file: Finds a file by its path from the project or the experiment's folder (the runbook, a trace).

    Raises:
        SpecError: Something is wrong; see `load_experiment`.
    """
    if not _NAME.fullmatch(path.stem):
        raise SpecError(path.name, "", "not a name for an experiment", "lower-case letters, digits and dashes")
    document = read_document(text, path.name)
    if document.data is None:
        raise SpecError(path.name, "", "the file is empty", "`gameday new NAME` writes one that runs")
    raise_all(schema_errors(document, (), document.data, experiment_schema(), _REFUSED))
    reading = _Reading(document, faults, probes, profiles, assertions, find_file)
    return reading.experiment(path, text)


class _Reading:
    """One file being read: gathers every problem, then makes the value."""

    def __init__(
        self,
        document: Document,
        faults: Mapping[str, FaultDefinition],
        probes: Mapping[str, ProbeEntry],
        profiles: Mapping[str, LoadProfile],
        assertions: Mapping[str, AssertionDefinition],
        find_file: Callable[[str], Path | None],
    ) -> None:
        self._document = document
        self._faults = faults
        self._probes = probes
        self._profiles = profiles
        self._assertions = assertions
        self._find_file = find_file
        self._errors: list[SpecError] = []
        self._base, self._game = self._extension()
        self._namespaces: tuple[str, ...] = tuple(self._game["scope"]["namespaces"])

    def _wrong(self, path: KeyPath, problem: str, remedy: str = "") -> None:
        self._errors.append(self._document.error(path, problem, remedy))

    def _extension(self) -> tuple[KeyPath, Mapping[str, Any]]:
        found = [(n, e) for n, e in enumerate(self._document.data["extensions"]) if e.get("name") == "gameday"]
        if len(found) != 1:
            problem = f"there are {len(found)} extensions named gameday"
            raise self._document.error(("extensions",), problem, "one is needed; `gameday new NAME` writes one")
        number, extension = found[0]
        schema = {**experiment_schema(), "$ref": "#/$defs/gameday"}
        schema = {key: schema[key] for key in ("$schema", "$defs", "$ref")}
        raise_all(schema_errors(self._document, ("extensions", number), extension, schema, _REFUSED))
        return ("extensions", number), extension

    def experiment(self, path: Path, text: str) -> Experiment:
        """Return the value, or raise everything that is wrong."""
        data, game = self._document.data, self._game
        probes, faults, load = self._steady_state(), self._method(), self._load()
        assertions = self._judged()
        scope = self._scope(assertions)
        settle_s, timeout_s = self._seconds("settle", DEFAULT_SETTLE_S), self._seconds("timeout", DEFAULT_TIMEOUT_S)
        if self._find_file(game["runbook"]) is None:
            self._wrong((*self._base, "runbook"), f"there is no file {game['runbook']}", "write the drill it names")
        if load is not None:
            self._add(time_problems(self._base, load, faults, settle_s, timeout_s))
        drill = self._drill(load, faults)
        raise_all(self._errors)
        if load is None:  # an unknown profile was raised above
            raise self._document.error((*self._base, "load"), "no load", "name a profile")
        return Experiment(
            name=path.stem,
            title=data["title"],
            hypothesis=data["steady-state-hypothesis"]["title"],
            probes=probes,
            load=load,
            faults=faults,
            assertions=assertions,
            scope=scope,
            components=tuple(game["needs"]),
            settle_s=settle_s,
            timeout_s=timeout_s,
            runbook=game["runbook"],
            load_options=dict(game["load"].get("options", {})),
            text=text,
            path=str(path),
            may_hit=tuple(game.get("may_hit", ())),
            abort=abort_limits(game, assertions),
            drill=drill,
        )

    def _add(self, problems: Iterable[Problem]) -> None:
        self._errors += [self._document.error(*problem) for problem in problems]

    def _drill(self, load: LoadProfile | None, faults: tuple[FaultPlan, ...]) -> DrillPlan | None:
        written, place = self._game.get("drill"), (*self._base, "drill")
        if written is None:
            return None
        names = [activity["name"] for activity in self._document.data["method"]]
        self._add(drill_problems(place, written, names, faults, load))
        return drill_plan(written)

    def _seconds(self, key: str, default_s: float) -> float:
        return parse_duration_s(self._game.get(key, default_s))

    # steady state and method -----------------------------------------------------------------------------------------

    def _steady_state(self) -> tuple[ProbeSpec, ...]:
        place: KeyPath = ("steady-state-hypothesis", "probes")
        written = self._document.data["steady-state-hypothesis"]["probes"]
        self._check_names(place, written)
        specs = []
        for number, probe in enumerate(written):
            entry = self._provided((*place, number, "provider"), probe["provider"], self._probes, "PROBES")
            if entry is not None:
                arguments = probe["provider"].get("arguments", {})
                specs.append(ProbeSpec(probe["name"], probe["provider"]["func"], arguments))
        return tuple(specs)

    def _provided(
        self, place: KeyPath, provider: Mapping[str, Any], registry: Mapping[str, Any], registry_name: str
    ) -> Any:
        """Return the registry's entry that a provider names, its arguments checked; None where it is wrong."""
        entry = registry.get(provider["func"])
        if entry is None:
            problem = f"{provider['func']!r} is not in {registry_name}, so it has no evidence and no undo"
            problem = problem if registry_name == "FAULTS" else f"{provider['func']!r} is not in {registry_name}"
            self._wrong((*place, "func"), problem, suggestion(provider["func"], registry))
            return None
        if provider["module"] != entry.module:
            self._wrong((*place, "module"), f"{provider['func']} is not there", f"write module: {entry.module}")
        arguments = provider.get("arguments", {})
        inner = (*place, "arguments")
        self._errors += schema_errors(self._document, inner, arguments, entry.arguments_schema)
        if "${" in json.dumps(arguments, default=str):
            self._wrong(inner, "holds a ${…} substitution", _REFUSED["configuration"])
        self._check_namespace((*inner, "namespace"), arguments.get("namespace"))
        return entry

    def _check_names(self, place: KeyPath, activities: list[Mapping[str, Any]]) -> None:
        seen: set[str] = set()
        for number, activity in enumerate(activities):
            if activity["name"] in seen:
                self._wrong((*place, number, "name"), f"{activity['name']!r} stands twice", "names must differ")
            seen.add(activity["name"])

    def _check_namespace(self, place: KeyPath, namespace: Any) -> None:
        if isinstance(namespace, str) and namespace not in self._namespaces:
            remedy = f"watched are {', '.join(self._namespaces)}: add it to scope.namespaces"
            self._wrong(place, f"namespace {namespace!r} is not watched", remedy)

    def _method(self) -> tuple[FaultPlan, ...]:
        written = self._document.data["method"]
        self._check_names(("method",), written)
        names = [activity["name"] for activity in written]
        for name in self._game.get("faults", {}):
            if name not in names:
                self._wrong(
                    (*self._base, "faults", name), f"the method has no action {name!r}", suggestion(name, names)
                )
        plans, at_s = [], 0.0
        for number, activity in enumerate(written):
            pauses = activity.get("pauses", {})
            at_s += pauses.get("before", 0)
            plan = self._fault(("method", number), activity, at_s)
            at_s += pauses.get("after", 0)
            plans += [plan] if plan else []
        return tuple(plans)

    def _fault(self, place: KeyPath, activity: Mapping[str, Any], at_s: float) -> FaultPlan | None:
        provider = activity["provider"]
        found: FaultDefinition | None = self._provided((*place, "provider"), provider, self._faults, "FAULTS")
        if found is None:
            return None
        settings = self._game.get("faults", {}).get(activity["name"], {})
        undo_reason = settings.get("undo_reason", found.undo_reason)
        self._check_definition((*place, "provider", "func"), found, undo_reason)
        hold_s = self._hold_s(activity["name"], settings, found)
        max_hold_s = DEFAULT_MAX_HOLD_S + (hold_s or 0.0)
        return FaultPlan(
            name=activity["name"],
            action=provider["func"],
            arguments=provider.get("arguments", {}),
            at_s=float(at_s),
            max_hold_s=parse_duration_s(settings.get("max_hold", max_hold_s)),
            loss=found.loss,
            undo=found.undo,
            undo_reason=undo_reason,
            hold_s=hold_s,
        )

    def _hold_s(self, name: str, settings: Mapping[str, Any], found: FaultDefinition) -> float | None:
        """Return how long a fault is kept once it is proven; every fault that is taken back must say so."""
        place = (*self._base, "faults", name)
        if "hold" not in settings:
            if found.undo != "none":
                self._wrong((*self._base, "faults"), f"{name} does not say how long it is held", f"set {name}.hold")
            return None
        hold_s = parse_duration_s(settings["hold"])
        if found.undo == "none":
            self._wrong((*place, "hold"), f"{found.name} leaves nothing to take back", "leave hold out")
        if "max_hold" in settings and parse_duration_s(settings["max_hold"]) <= hold_s:
            self._wrong((*place, "max_hold"), "leaves no time for the evidence", f"more than hold, {hold_s:g} s")
        return hold_s

    def _check_definition(self, place: KeyPath, found: FaultDefinition, undo_reason: str) -> None:
        if not found.evidence:
            self._wrong(place, f"fault {found.name} has no evidence", "say in FAULTS what proves that it bit")
        if not found.undo:
            self._wrong(place, f"fault {found.name} has no undo", "say in FAULTS how it is undone, or none and why")
        elif found.undo == "none" and not undo_reason:
            self._wrong(place, f"fault {found.name} has undo none without a reason", "set its undo_reason")

    # the gameday extension -------------------------------------------------------------------------------------------

    def _scope(self, assertions: Sequence[AssertionSpec]) -> Scope:
        written = self._game["scope"]["workloads"]
        for number, workload in enumerate(written):
            place = (*self._base, "scope", "workloads", number, "namespace")
            self._check_namespace(place, workload["namespace"])
        refs = (WorkloadRef(w["namespace"], w["name"], parse_selector(w["selector"])) for w in written)
        return Scope(self._namespaces, tuple(refs), node_autoscalers(assertions))

    def _load(self) -> LoadProfile | None:
        written, place = self._game["load"], (*self._base, "load")
        profile = self._profiles.get(written["profile"])
        if profile is None:
            remedy = suggestion(written["profile"], self._profiles)
            self._wrong((*place, "profile"), f"{written['profile']!r} is not in PROFILES", remedy)
            return None
        try:
            return planned_load(profile, written, self._find_file)
        except SpecError as error:
            key = "trace" if error.where else error.key  # where: another file than this one
            problem = ": ".join(part for part in (error.where, error.where and error.key, error.problem) if part)
            self._wrong((*place, key), problem, error.remedy)
            return None

    def _judged(self) -> tuple[AssertionSpec, ...]:
        specs = []
        for name, written in self._game["assertions"].items():
            place = (*self._base, "assertions", name)
            params = {key: value for key, value in written.items() if key != "kind"}
            found = self._assertions.get(written["kind"])
            if found is None:
                remedy = suggestion(written["kind"], self._assertions)
                self._wrong((*place, "kind"), f"{written['kind']!r} is not in ASSERTIONS", remedy)
                continue
            self._errors += schema_errors(self._document, place, params, found.params_schema)
            self._check_subjects(place, params)
            specs.append(AssertionSpec(name, written["kind"], params))
        return restored_last(specs)

    def _check_subjects(self, place: KeyPath, params: Mapping[str, Any]) -> None:
        """Check what an assertion is about: its namespace must be watched, and KEDA be there for its objects."""
        for key, parts in (("autoscaler", 3), ("pdb", 2)):
            split = str(params.get(key, "")).split("/")
            if len(split) == parts:
                self._check_namespace((*place, key), split[-2])
        names = [activity["name"] for activity in self._document.data["method"]]
        for key in ("fault", "after", "during"):
            if key in params and params[key] not in names:
                self._wrong((*place, key), f"the method has no action {params[key]!r}", suggestion(params[key], names))
        for key, problem, remedy in contradictions(params):
            self._wrong((*place, key), problem, remedy)
        if str(params.get("autoscaler", "")).startswith("scaledobject/") and "keda" not in self._game["needs"]:
            self._wrong((*place, "autoscaler"), "a ScaledObject needs KEDA", "add keda to needs")
