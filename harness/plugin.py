"""Gameday in pytest's own words: passed = held, failed = broken, error = inconclusive. Registers options and items.

An item runs only if the mark expression asks for ``gameday`` positively *and* a target is named. A plain ``pytest``
must not touch a cluster, nor even read an experiment file. The run itself is a process of its own (`harness.client`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest
from _pytest.mark.expression import Expression  # pytest's own grammar of -m; there is no public door to it

from harness import exits, plugin_runs, registries
from harness.model.errors import GameDayError, SpecError
from harness.model.verdict import Outcome, Verdict
from harness.plugin_runs import Case, PluginRuns

RUNS_KEY = pytest.StashKey[PluginRuns]()
ENDS_KEY = pytest.StashKey[dict[str, int]]()
LOOKS_KEY = pytest.StashKey[dict[str, list[str]]]()
PROPERTY = "gameday"
NO_RECORD = "no record: "
"""Begins the key of an end that has no run folder."""


class InconclusiveError(Exception):
    """A verdict that could not be told; pytest shows the item as an error."""


@dataclass(frozen=True)
class _Options:
    target: str | None
    replay: str | None
    rehearse: bool

    @property
    def named(self) -> bool:
        return bool(self.target or self.replay or self.rehearse)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of a game day."""
    group = parser.getgroup("gameday", "game days")
    group.addoption(
        "--target", metavar="NAME", help="target of gameday.toml (else GAMEDAY_TARGET, else default_target)"
    )
    group.addoption("--gameday-replay", metavar="RUN", help="judge a stored run again; touches no cluster")
    group.addoption("--gameday-rehearse", action="store_true", help="run against the in-memory twin, in seconds")
    group.addoption(
        "--gameday-dry-run", action="store_true", help="read everything, touch nothing; say whom it would hit"
    )
    group.addoption("--gameday-control", action="store_true", help="run each experiment without its faults first")
    group.addoption("--gameday-seed", type=int, metavar="N", help="seed of victims, arrivals and payloads")
    group.addoption("--gameday-runs", default="runs", metavar="DIR", help="where run folders go (default: runs)")
    group.addoption("--gameday-settings", default=str(registries.PROJECT_DIR / "gameday.toml"), metavar="FILE")
    group.addoption("--gameday-experiments", default=str(registries.EXPERIMENTS_DIR), metavar="DIR")


def asks_for_gameday(mark_expression: str) -> bool:
    """Tell whether a mark expression selects game days *because* they are: true with the mark, false without.

    ``not e2e`` selects everything that is not marked e2e; it must not start a game day.
    """
    if not mark_expression:
        return False
    try:
        compiled = Expression.compile(mark_expression)
    except SyntaxError:
        return False  # pytest itself says what is wrong with it, once it collects
    return compiled.evaluate(_only_gameday) and not compiled.evaluate(_no_mark)


def _only_gameday(name: str, /, **_: str | int | bool | None) -> bool:
    return name == "gameday"


def _no_mark(name: str, /, **_: str | int | bool | None) -> bool:
    del name
    return False


def _options(config: pytest.Config) -> _Options:
    settings = plugin_runs.settings_or_none(Path(config.getoption("gameday_settings")))
    target = plugin_runs.target_name(settings, config.getoption("target"))
    return _Options(target, config.getoption("gameday_replay"), bool(config.getoption("gameday_rehearse")))


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the runs of this session, if any were asked for."""
    config.stash[ENDS_KEY] = {}
    config.stash[LOOKS_KEY] = {}
    config.pluginmanager.register(_Ends(config.stash[ENDS_KEY], config.stash[LOOKS_KEY]), "gameday-ends")
    if not asks_for_gameday(config.getoption("markexpr", "") or ""):
        return
    options = _options(config)
    if not options.named:
        raise pytest.UsageError(
            "-m gameday needs a target: --target NAME, GAMEDAY_TARGET or default_target in gameday.toml "
            "(or --gameday-rehearse, or --gameday-replay RUN)"
        )
    if options.replay and config.getoption("gameday_control"):
        raise pytest.UsageError("--gameday-control makes a run, --gameday-replay judges a stored one: leave one out")
    seed = config.getoption("gameday_seed")
    worker = getattr(config, "workerinput", None)
    if seed is None:
        seed = worker["gameday_seed"] if worker else random.SystemRandom().randrange(1, 2**31)
    config.stash[RUNS_KEY] = PluginRuns(
        target="" if options.rehearse else options.target or "",
        replay=options.replay or "",
        rehearse=options.rehearse,
        seed=seed,
        runs_dir=Path(config.getoption("gameday_runs")),
        settings_path=Path(config.getoption("gameday_settings")),
        experiments_dir=Path(config.getoption("gameday_experiments")),
        quiet=worker is not None,
        dry=bool(config.getoption("gameday_dry_run")),
        control=bool(config.getoption("gameday_control")),
        fail_fast=config.getoption("maxfail") == 1,
    )
    _replace_no_worker(config)


def _replace_no_worker(config: pytest.Config) -> None:
    """Let xdist replace no worker that died: the new one would start the same game day again (CASES E09)."""
    if getattr(config.option, "maxworkerrestart", "") is None:  # what the user says is the user's
        config.option.maxworkerrestart = "0"


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give every xdist worker the session's one seed."""
    runs = node.config.stash.get(RUNS_KEY, None)
    if runs is not None:
        node.workerinput["gameday_seed"] = runs.seed


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep an experiment on one worker, since its run happens once (xdist 3.8's loadgroup does not group)."""
    if config.stash.get(RUNS_KEY, None) is None:
        return None
    from harness.plugin_xdist import ExperimentScheduling  # noqa: PLC0415 - xdist only where it is active

    return ExperimentScheduling(config, log)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Say what will run, with the seed that repeats it."""
    runs = config.stash.get(RUNS_KEY, None)
    return f"gameday: {runs.headline()}" if runs else None


def pytest_report_collectionfinish(config: pytest.Config, items: Sequence[pytest.Item]) -> str | None:
    """Say before the start how long what was selected takes; a replay takes no time worth telling."""
    runs = config.stash.get(RUNS_KEY, None)
    parameters = [getattr(getattr(item, "callspec", None), "params", {}) for item in items]
    cases = [one["gameday_case"] for one in parameters if "gameday_case" in one]
    line = runs.expectation({case.experiment for case in cases}) if runs else ""
    return f"gameday: {line}" if line else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Read target and experiment files before anything is collected, so that a mistake is one clear sentence."""
    runs = session.config.stash.get(RUNS_KEY, None)
    if runs is None:
        return
    try:
        runs.check()
    except SpecError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one item per experiment and assertion."""
    if "gameday_case" not in metafunc.fixturenames:
        return
    runs = metafunc.config.stash.get(RUNS_KEY, None)
    cases: Sequence[Case] = runs.cases() if runs else ()
    metafunc.parametrize("gameday_case", cases, ids=[case.node_id for case in cases])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect game days unless this session asked for them."""
    if config.stash.get(RUNS_KEY, None) is not None:
        return
    gamedays = [item for item in items if item.get_closest_marker("gameday")]
    if gamedays:
        config.hook.pytest_deselected(items=gamedays)
        items[:] = [item for item in items if item not in gamedays]


@pytest.fixture
def gameday_verdict(gameday_case: Case, request: pytest.FixtureRequest) -> Verdict:
    """Return the verdict of one assertion of one experiment; the run happens once a session, on first need.

    Raises:
        InconclusiveError: The answer could not be told; the text says why and what to do.
    """
    runs = request.config.stash[RUNS_KEY]
    if runs.dry:
        _look_only(runs, gameday_case.experiment, request)
    try:
        judged = runs.judged(gameday_case.experiment)
    except GameDayError as error:
        told = {"run_dir": "", "experiment": gameday_case.experiment, "exit_status": plugin_runs.status_of(error)}
        request.node.user_properties.append((PROPERTY, json.dumps(told)))
        raise
    request.node.user_properties.append((PROPERTY, json.dumps(judged.as_property())))
    if judged.exit_status == exits.STOPPED:
        request.session.shouldstop = "the game day was stopped"
    verdict = judged.verdict(gameday_case.assertion)
    if verdict.outcome is Outcome.INCONCLUSIVE:
        raise InconclusiveError(plugin_runs.verdict_text(verdict))
    return verdict


def _look_only(runs: PluginRuns, experiment: str, request: pytest.FixtureRequest) -> NoReturn:
    """Dry run: an item is skipped where the run would start, and an error where it would be refused."""
    lines, status = runs.looked(experiment)
    told = {"run_dir": "", "experiment": experiment, "exit_status": status, "lines": list(lines)}
    request.node.user_properties.append((PROPERTY, json.dumps(told)))
    if status != exits.HELD:
        raise InconclusiveError("\n".join(line for line in lines if line.startswith("in the way")))
    pytest.skip("dry run: nothing was touched; it would run")


@pytest.fixture
def verdict_text() -> Any:
    """Return the function that tells a verdict in a few lines."""
    return plugin_runs.verdict_text


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
    """Set the exit status from the records, not from the items shown (DESIGN §3)."""
    if session.config.stash.get(RUNS_KEY, None) is None or hasattr(session.config, "workerinput"):
        return
    ends = session.config.stash[ENDS_KEY]
    if not ends:
        nothing = exitstatus in (pytest.ExitCode.NO_TESTS_COLLECTED, pytest.ExitCode.OK)
        session.exitstatus = exits.USAGE if nothing else exitstatus
        return
    others = [int(exitstatus)] if int(exitstatus) in (exits.STOPPED, exits.CRASHED, exits.USAGE) else []
    session.exitstatus = exits.worst([*ends.values(), *others])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print each run's verdicts and where its report is."""
    for lines in config.stash[LOOKS_KEY].values():
        for line in lines:
            terminalreporter.write_line(line)
    for run_dir in config.stash[ENDS_KEY]:
        if run_dir.startswith(NO_RECORD):
            continue
        for line in plugin_runs.summary_lines(Path(run_dir)):
            terminalreporter.write_line(line)


class _Ends:
    """Remembers how each run ended, also where a worker saw it."""

    def __init__(self, ends: dict[str, int], looks: dict[str, list[str]]) -> None:
        self._ends, self._looks = ends, looks

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Read the property that the fixture left; a failure without one must not hide behind runs that held."""
        told = [json.loads(str(value)) for name, value in report.user_properties if name == PROPERTY]
        for end in told:
            if "lines" in end:
                self._looks[end["experiment"]] = end["lines"]
            self._ends[end["run_dir"] or f"{NO_RECORD}{end['experiment']}"] = int(end["exit_status"])
        if report.failed and not told:
            self._ends[f"{NO_RECORD}{report.nodeid}"] = exits.BROKEN if report.when == "call" else exits.CRASHED
