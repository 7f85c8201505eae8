"""From nothing to verdicts: a cluster, the platform, one game day, artefacts, and the cluster away again.

Whatever ends it (a verdict, an error, Ctrl-C, SIGTERM), what was started is taken back: first the game day by its own
undo, then what it left by `gameday recover`, then the cluster. Signals after the first never cut that short.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import yaml

from testbed.controlplane.console import Progress
from testbed.controlplane.errors import OperatorError
from testbed.controlplane.places import REPOSITORY
from testbed.kind.artefacts import collect
from testbed.kind.cluster import cluster_names, connect, delete_cluster, ensure_cluster
from testbed.kind.platform import Platform, local_reaper
from testbed.kind.programs import need_programs, run
from testbed.kind.settings import KindSettings
from testbed.kind.target import TARGET

NODE_LOSS = frozenset({"lose_nodes", "reclaim_spot_nodes"})
"""Faults that stop a node's container: only a reaper on this machine can start it again."""

_STOP_LIMIT_S = 180.0
_RECOVER_LIMIT_S = 120.0
_EXIT_SIGNALLED = 128


@dataclass(frozen=True)
class Request:
    """One game day on kind.

    Attributes:
        experiment: Name of a file in experiments/.
        arguments: Further arguments of `gameday run`.
        artefacts: Where logs and events go.
        keep: Whether the cluster stays, also where it was made for this.
    """

    experiment: str
    arguments: tuple[str, ...]
    artefacts: Path
    keep: bool = False


@dataclass
class Signals:
    """The first SIGINT or SIGTERM, passed on to the game day; those after it change nothing."""

    received: int = 0
    child: subprocess.Popen[bytes] | None = None
    clearing: bool = False

    def take(self, signum: int, _frame: FrameType | None) -> None:
        """Note it; outside a game day, stop what is being done."""
        if self.received or self.clearing:
            return
        self.received = signum
        if self.child is None:
            raise KeyboardInterrupt
        self.child.send_signal(signal.SIGTERM)


@contextmanager
def _signals() -> Iterator[Signals]:
    state = Signals()
    before = {number: signal.signal(number, state.take) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_game_day(settings: KindSettings, request: Request, progress: Progress) -> int:
    """Run one game day on kind; returns the exit status of `gameday run`, or 128 + the signal that ended us.

    Raises:
        OperatorError: Something is lacking here, or a step failed.
    """
    document = read_experiment(request.experiment)
    check_request(request)
    need_programs()
    with _signals() as signals:
        there_before = settings.cluster in cluster_names()
        try:
            ensure_cluster(settings, progress)
            return _on_cluster(settings, request, document, progress, signals)
        except KeyboardInterrupt:
            return _EXIT_SIGNALLED + (signals.received or signal.SIGINT)
        finally:
            signals.clearing = True
            _clear(settings, request, not there_before, progress)


def read_experiment(name: str) -> dict[str, object]:
    """Return the experiment's document, read for its needs only; `gameday run` validates it.

    Raises:
        OperatorError: There is no such file.
    """
    path = REPOSITORY / "experiments" / f"{name}.yaml"
    try:
        document: dict[str, object] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise OperatorError(f"no experiment {name!r}; there are: {known}") from None
    return document


def check_request(request: Request) -> None:
    """Refuse what `gameday run` would refuse, before minutes go into a cluster for it.

    Raises:
        OperatorError: The experiment is not valid, or there is no such option. (A value that an option cannot have is
            seen by the run itself.)
    """
    gameday = [sys.executable, "-m", "harness.cli"]
    run([*gameday, "validate", request.experiment], folder=REPOSITORY)
    run([*gameday, "run", request.experiment, *request.arguments, "--help"], folder=REPOSITORY)


def needs(document: dict[str, object]) -> set[str]:
    """Return the components that an experiment says it needs."""
    extensions = document.get("extensions") or []
    return {part for one in _dicts(extensions) for part in _texts(one.get("needs"))}


def loses_nodes(document: dict[str, object]) -> bool:
    """Tell whether a fault of the experiment stops a machine."""
    providers = [step.get("provider") for step in _dicts(document.get("method") or [])]
    return any(isinstance(p, dict) and p.get("func") in NODE_LOSS for p in providers)


def _dicts(values: object) -> list[dict[str, object]]:  # what a file may hold is checked by `gameday run`
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []


def _texts(values: object) -> list[str]:
    return [one for one in values if isinstance(one, str)] if isinstance(values, list) else []


def _on_cluster(
    settings: KindSettings, request: Request, document: dict[str, object], progress: Progress, signals: Signals
) -> int:
    platform = Platform(settings, connect(settings), progress)
    with_keda, here = "keda" in needs(document), loses_nodes(document)
    platform.load(with_keda)
    target = platform.apply(with_keda, with_reaper=not here)
    request.artefacts.mkdir(parents=True, exist_ok=True)
    with _reaper_here(target, request.artefacts / "reaper.log") if here else _nothing():
        command = [sys.executable, "-m", "harness.cli", "run", request.experiment, "--target", TARGET]
        return _supervised([*command, "--settings", str(target), *request.arguments], signals, progress)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _reaper_here(target: Path, log: Path) -> Iterator[None]:
    process = local_reaper(target, log)
    time.sleep(1.0)
    if process.poll() is not None:
        raise OperatorError(f"the reaper ended at once with status {process.returncode}; its log is {log}")
    try:
        yield
    finally:
        _end(process)


def _supervised(command: Sequence[str], signals: Signals, progress: Progress) -> int:
    progress.say(f"game day: {' '.join(command[2:])}")
    child = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True)
    signals.child = child
    try:
        return child.wait()
    finally:
        signals.child = None
        _end(child)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process by SIGTERM, and only after a long time by SIGKILL: it has undos to do."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _clear(settings: KindSettings, request: Request, made: bool, progress: Progress) -> None:
    """Take back what is left, keep the logs, delete the cluster if it was made for this run."""
    steps: list[tuple[str, Callable[[], object]]] = []
    if settings.target_settings.exists():
        steps.append(("recover", lambda: recover(settings)))
    if settings.kubeconfig.exists():
        steps.append(("artefacts", lambda: collect(settings, request.artefacts, progress)))
    if made and not request.keep:
        steps.append(("delete", lambda: delete_cluster(settings, progress)))
    for name, step in steps:  # one that fails must not keep the next from being done
        try:
            step()
        except OperatorError as error:
            progress.say(f"{name}: {error}")


def recover(settings: KindSettings) -> None:
    """Take back what a game day may have left on the cluster.

    Raises:
        OperatorError: Something could not be taken back.
    """
    command = [sys.executable, "-m", "harness.cli", "recover", "--target", TARGET]
    command += ["--settings", str(settings.target_settings)]
    try:
        done = subprocess.run(command, cwd=REPOSITORY, timeout=_RECOVER_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise OperatorError(f"gameday recover has not ended in {_RECOVER_LIMIT_S:.0f} s") from None
    if done.returncode:
        raise OperatorError(f"gameday recover ended with status {done.returncode}")
