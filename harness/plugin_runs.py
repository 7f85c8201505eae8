"""The runs behind a pytest session: which cases there are, running each experiment once, its judgement.

Belongs to the plugin (a composition root). Must not decide an exit status nor an outcome: records do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import filelock
from rich.console import Console

from harness import exits, registries
from harness.client import Job, RunClient
from harness.control import after_control
from harness.live import LiveView
from harness.model.errors import GameDayError, PortError, Refusal, SpecError
from harness.model.verdict import Outcome, Verdict
from harness.settings import Settings, choose_target, load_settings, resolve_target

TURN_LIMIT_S = 3600.0
"""Longest wait for the other workers of a session; every experiment is bounded by its own timeout."""


@dataclass(eq=False)
class NoRecordError(PortError):
    """A run that never came to a record.

    Attributes:
        exit_status: What its conductor ended with (DESIGN §3).
    """

    exit_status: int = exits.CRASHED


def status_of(error: GameDayError) -> int:
    """Return the exit status of an experiment that has no record; never that something held."""
    if isinstance(error, NoRecordError):
        return error.exit_status or exits.CRASHED
    return exits.USAGE if isinstance(error, SpecError) else exits.INCONCLUSIVE


@dataclass(frozen=True)
class Case:
    """One pytest item: an assertion of an experiment."""

    experiment: str
    assertion: str

    @property
    def node_id(self) -> str:
        """Return ``experiment:assertion``."""
        return f"{self.experiment}:{self.assertion}"


@dataclass(frozen=True)
class Judged:
    """A run of this session with its verdicts by assertion name."""

    run_dir: Path
    exit_status: int
    verdicts: dict[str, Verdict]

    def verdict(self, assertion: str) -> Verdict:
        """Return one verdict; an assertion that the record does not know is inconclusive."""
        missing = Verdict(assertion, "", Outcome.INCONCLUSIVE, "", "", "the record has no verdict of this name")
        return self.verdicts.get(assertion, missing)

    def as_property(self) -> dict[str, Any]:
        """Return what travels from an xdist worker to the controller."""
        return {"run_dir": str(self.run_dir), "exit_status": self.exit_status}


@dataclass
class PluginRuns:
    """What a session was asked to run. Each experiment runs once, even if it raises."""

    target: str
    replay: str
    rehearse: bool
    seed: int
    runs_dir: Path
    settings_path: Path
    experiments_dir: Path
    quiet: bool = False
    dry: bool = False
    control: bool = False
    fail_fast: bool = False
    _cases: tuple[Case, ...] = ()
    _expected_s: dict[str, float] = field(default_factory=dict)
    _done: dict[str, Judged | Exception] = field(default_factory=dict)
    _looks: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)

    def headline(self) -> str:
        """Return one line for pytest's header."""
        if self.replay:
            return f"replay of {self.replay}"
        dry = "dry run, " if self.dry else ""
        return f"{dry}{'rehearsal' if self.rehearse else 'target ' + self.target}, seed {self.seed}"

    def expectation(self, selected: Collection[str]) -> str:
        """Return how long the selected experiments take, one after another; empty for a replay."""
        if self.replay or not selected:
            return ""
        minutes = sum(self._expected_s[name] for name in selected) / 60
        time = "simulated time" if self.rehearse else "wall time"
        minutes *= 1 + self.control
        return f"{len(selected)} experiment{'s' * (len(selected) > 1)}, about {minutes:.1f} min of {time}"

    def check(self) -> None:
        """Read what the session was pointed at.

        Raises:
            SpecError: The target, a file or the stored run is wrong or missing.
        """
        if self.target:
            resolve_target(load_settings(self.settings_path), self.target)
        self.cases()

    def cases(self) -> tuple[Case, ...]:
        """Return every case, by reading the experiment files (or the stored run), once."""
        self._cases = self._cases or self._read_cases()
        return self._cases

    def _read_cases(self) -> tuple[Case, ...]:
        if self.replay:
            judged = self.judged("")
            name = judged.run_dir.resolve().name
            return tuple(Case(name, assertion) for assertion in judged.verdicts)
        paths = sorted(self.experiments_dir.glob("*.yaml"))
        if not paths:
            raise SpecError(str(self.experiments_dir), "", "no experiment files", "`gameday new NAME` writes one")
        experiments = [registries.load(path) for path in paths]
        self._expected_s = {e.name: e.expected_duration_s for e in experiments}
        return tuple(Case(e.name, a.name) for e in experiments for a in e.assertions)

    def judged(self, experiment: str) -> Judged:
        """Return the judged run of an experiment, running it on first need.

        Raises:
            Exception: It never came to a record; raised again for every case of it.
        """
        key = self.replay or experiment
        if key not in self._done:
            self._done[key] = self._attempt(experiment)
        found = self._done[key]
        if isinstance(found, Exception):
            raise found
        return found

    def looked(self, experiment: str) -> tuple[tuple[str, ...], int]:
        """Return what a dry run of an experiment found, as lines, with its exit status; it looks once a session."""
        if experiment not in self._looks:
            from harness.cli_inspection import look_only, told  # noqa: PLC0415 - brings the drivers

            path = registries.experiment_path(experiment, self.experiments_dir)
            found = look_only(registries.load(path), self._job(path))
            status = exits.INCONCLUSIVE if found.problems else exits.HELD
            self._looks[experiment] = (told(found), status)
        return self._looks[experiment]

    def _attempt(self, experiment: str) -> Judged | Exception:
        try:
            return _judge(self._stored_run()) if self.replay else self._in_turn(experiment)
        except Exception as error:  # whatever it was: the next case must not start a second game day
            return error

    def _stored_run(self) -> Path:
        from harness import store  # noqa: PLC0415 - pandas only where it is needed

        return store.find_run(self.runs_dir, self.replay)

    def _in_turn(self, experiment: str) -> Judged:
        """Run an experiment when it is its turn; after a failure under ``-x`` none is started on any worker (E07)."""
        with self._turn():
            if self._failed is not None and self._failed.exists():
                reason = "an earlier game day of this session did not hold, and -x ends the session there"
                raise Refusal(
                    "first-failure", f"{experiment} was not started: {reason}", "leave -x out to run them all"
                )
            held = False
            try:
                judged = _judge(self._run(experiment))
                held = judged.exit_status == exits.HELD
            finally:
                if self.fail_fast and not held and self._failed is not None:
                    self._failed.touch()
        return judged

    @property
    def _failed(self) -> Path | None:
        """Return the mark by which workers of this session tell each other of a failure; None without workers."""
        session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
        return self.runs_dir / f".session-{session}.failed" if session else None

    def _run(self, experiment: str) -> Path:
        path = registries.experiment_path(experiment, self.experiments_dir)
        job = self._job(path)
        expected_s = registries.load(path).expected_duration_s
        if not self.control:
            return self._watched(job, experiment, expected_s)
        control_dir = self._watched(replace(job, control=True), experiment, expected_s)
        found = after_control(control_dir, job)
        if found.problem:  # its record says it, for every item of the experiment
            return control_dir
        if found.rest_s:
            Console(stderr=True, quiet=self.quiet).print(f"resting {found.rest_s:.0f} s: the autoscalers go back")
            time.sleep(found.rest_s)
        return self._watched(replace(job, control_run=control_dir.name), experiment, expected_s)

    def _watched(self, job: Job, experiment: str, expected_s: float) -> Path:
        with LiveView(Console(stderr=True, quiet=self.quiet), expected_s) as view:
            end = RunClient(job, view.take_message).wait()
        if end.run_dir is None:
            raise NoRecordError(
                "conductor", experiment, end.error, f"exit status {end.exit_status}", exit_status=end.exit_status
            )
        return end.run_dir

    def _job(self, path: Path) -> Job:
        runs_dir = str(self.runs_dir.resolve())
        return Job(str(path), str(self.settings_path), self.target, self.seed, runs_dir, self.rehearse)

    def _turn(self) -> AbstractContextManager[Any]:
        """Wait for runs of other workers of this session; another session's run is a refusal by its Lease."""
        session = os.environ.get("PYTEST_XDIST_TESTRUNUID")
        if not session:
            return nullcontext()
        self.runs_dir.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.runs_dir / f".session-{session}.lock", timeout=TURN_LIMIT_S)


def _judge(run_dir: Path) -> Judged:
    from harness.judgement import judge_run  # noqa: PLC0415 - pandas only where it is needed

    judgement = judge_run(run_dir)
    return Judged(run_dir, judgement.exit_status, {v.assertion: v for v in judgement.verdicts})


def settings_or_none(path: Path) -> Settings | None:
    """Return the settings, or None where there is no such file (a rehearsal and a replay need none)."""
    return load_settings(path) if path.exists() else None


def target_name(settings: Settings | None, named: str | None) -> str | None:
    """Return the target of this session, or None where nobody named one."""
    return choose_target(settings, named, os.environ) if settings else named


def verdict_text(verdict: Verdict) -> str:
    """Tell a verdict in a few lines: outcome, expected, observed, reason, remedy."""
    lines = [
        f"{verdict.outcome.value}: {verdict.assertion}",
        f"  expected  {verdict.expected}",
        f"  observed  {verdict.observed}",
        f"  reason    {verdict.reason}",
    ]
    return "\n".join(lines + ([f"  to do     {verdict.remedy}"] if verdict.remedy else []))


def summary_lines(run_dir: Path) -> tuple[str, ...]:
    """Return the lines that close a session: verdicts, report, how to judge again."""
    judged = _judge(run_dir)
    counts = {outcome: sum(v.outcome is outcome for v in judged.verdicts.values()) for outcome in Outcome}
    told = ", ".join(f"{number} {outcome.value}" for outcome, number in counts.items() if number)
    return (
        f"gameday {run_dir.name}: {told or 'nothing judged'}: {exits.MEANING[judged.exit_status]}",
        f"  report {run_dir / 'report.html'}",
        f"  again  pytest -m gameday --gameday-replay {run_dir.name}",
    )
