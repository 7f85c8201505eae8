"""What a drill is to be: everything is read, checked and chosen here, before anything is touched or written.

Every refusal names what is wrong before the choice is made, so that none of them tells what was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from harness import guard, registries
from harness.drill.alert_route import Route, check_receiver, route_of
from harness.drill.books import Books, one_of
from harness.drill.drilled import drilled
from harness.drill.script import Line, read_script
from harness.drill.seal import Hidden, choose
from harness.drill.secret_values import HookSecrets, hook_secrets
from harness.drivers.prometheus import PrometheusSource
from harness.drivers.system_clock import RealClock
from harness.expected_alerts import RULES_REMEDY, expected_of_drill, unable
from harness.model.drill import MARKS, DrillError, DrillFault, DrillPlan, Mark
from harness.model.errors import PortError, SpecError
from harness.model.experiment import Experiment
from harness.model.target import Target
from harness.ports import MetricsSource
from harness.runbook import Runbook, read_runbook
from harness.settings import load_settings, resolve_target


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line.

    Attributes:
        names: Of the experiments among which one is hidden.
        settings: Path of `gameday.toml`.
        target: Name of the target; empty for a rehearsal.
        runs_dir: Where runs and drills go.
        fault: Only faults of this name; empty: any.
        seed: Of the choice and of the run; None: chance.
        limit_s: Instead of the files'; None: theirs.
        script: Of a scripted participant, or None.
        pages: Whether people get pages.
        port: Of the pages; 0: any.
        allow_changes: Whether the runbook's commands may change the cluster.
    """

    names: Sequence[str]
    settings: Path
    target: str
    runs_dir: Path
    fault: str = ""
    seed: int | None = None
    limit_s: float | None = None
    script: Path | None = None
    pages: bool = True
    port: int = 0
    allow_changes: bool = False


@dataclass(frozen=True)
class Prepared:
    """A drill that may begin.

    Attributes:
        experiment: The chosen one, as its file has it.
        path: Its file.
        fault: The chosen fault.
        hidden: The choice, with its nonce and all that will be revealed.
        plan: Limit and targets for people, the same whichever was chosen.
        books: The runbook.
        target: The target; None for a rehearsal.
        route: How pages come; None for a rehearsal.
        script: Of the scripted participant, or None.
        hooks: By what PagerDuty and chat tools sign.
    """

    experiment: Experiment
    path: Path
    fault: DrillFault
    hidden: Hidden
    plan: DrillPlan
    books: Books
    target: Target | None
    route: Route | None
    script: tuple[Line, ...] | None
    hooks: HookSecrets


def prepare(wish: Wish, environ: Mapping[str, str]) -> Prepared:
    """Read, check and choose.

    Raises:
        SpecError: A file, a name or the settings are wrong.
        DrillError: A secret cannot be used, the target has no alert route, or an alert that some fault is to raise
            has no rule.
        Refusal: The target does not allow one of the experiments.
    """
    paths = {path.stem: path for path in map(registries.experiment_path, wish.names)}
    experiments = {name: registries.load(path) for name, path in paths.items()}
    plans = {name: _plan(one) for name, one in experiments.items()}
    candidates = _candidates(plans, wish.fault)
    plan = _for_people(tuple(plans.values()), wish.limit_s)
    runbooks = [_runbook(one) for one in experiments.values()]
    script = None if wish.script is None else read_script(wish.script)
    hooks = hook_secrets(environ)
    target = resolve_target(load_settings(wish.settings), wish.target) if wish.target else None
    route = None
    if target is not None:
        for name, candidate in candidates:
            guard.check_plan(drilled(experiments[name], candidate, 0, plan.limit_s), target)
        route = route_of(target, environ)
        check_receiver(route)
        with closing(PrometheusSource(target, RealClock.starting_now(), environ)) as metrics:
            check_rules(tuple(experiments.values()), metrics)
    hidden = choose(candidates, wish.seed)
    chosen = experiments[hidden.experiment]
    fault = next(one for one in plans[hidden.experiment].faults if one.fault == hidden.fault)
    names = [one.runbook for one in experiments.values()]
    hidden = replace(hidden, title=chosen.title, answer=fault.answer, runbook=names)
    path = paths[hidden.experiment]
    return Prepared(chosen, path, fault, hidden, plan, one_of(runbooks), target, route, script, hooks)


def check_rules(experiments: Sequence[Experiment], metrics: MetricsSource) -> None:
    """Look whether every alert that any fault of any experiment is to raise has a rule: which one is hidden shows not.

    Raises:
        DrillError: One has none, or it cannot be told.
    """
    expected = [one for experiment in experiments for one in expected_of_drill(experiment)]
    try:
        lacks = unable(expected, metrics.alert_rules()) if expected else ()
    except PortError as error:
        problem = f"it cannot be told whether the expected alerts have rules: {error.problem}"
        raise DrillError(problem, error.remedy or "see prometheus_url of the target in gameday.toml") from error
    if lacks:
        raise DrillError(f"nobody would be paged: {'; '.join(lacks)}", RULES_REMEDY)


def _plan(experiment: Experiment) -> DrillPlan:
    if experiment.drill is None:
        remedy = "add a drill block (docs/writing-an-experiment.md); `gameday drill list` names those that have one"
        raise SpecError(experiment.path, "drill", f"{experiment.name} is no drill", remedy)
    return experiment.drill


def _candidates(plans: Mapping[str, DrillPlan], wanted: str) -> list[tuple[str, str]]:
    found = [(name, one.fault) for name, plan in plans.items() for one in plan.faults]
    kept = [pair for pair in found if wanted in {"", pair[1]}]
    if not kept:
        raise SpecError(
            "--fault", "", f"no drill has a fault {wanted!r}", f"there are: {', '.join(f for _, f in found)}"
        )
    return kept


def _for_people(plans: Sequence[DrillPlan], limit_s: float | None) -> DrillPlan:
    """Return limit and targets that say nothing of the choice: the widest of all."""
    targets_s: dict[Mark, float] = {}
    for mark in MARKS:
        known = [plan.targets_s[mark] for plan in plans if mark in plan.targets_s]
        if known:
            targets_s[mark] = max(known)
    return DrillPlan(limit_s or max(plan.limit_s for plan in plans), targets_s, ())


def _runbook(experiment: Experiment) -> Runbook:
    path = Path(experiment.runbook)
    return read_runbook(path if path.is_file() else registries.PROJECT_DIR / path)
