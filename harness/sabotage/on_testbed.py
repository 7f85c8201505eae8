"""Saboteurs of real runs on the local testbed: each breaks a real part while a real game day is on.

The testbed is started for them and taken down afterwards (one that is up is used, and stays). What a saboteur takes
away is brought back after its run, whatever became of it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.client import Job, RunClient
from harness.model.errors import PortError
from harness.sabotage.saboteurs import FAIL, INCONCLUSIVE, KILL, Expected, Saboteur, all_of
from harness.sabotage.scene import Scene
from harness.sabotage.short_experiment import write_short_experiment
from harness.sabotage.trial import Finished, finished
from harness.settings import load_settings, resolve_target
from harness.testbed_session import LocalTestbed

TARGET = "local"
Deed = Callable[[Scene], None]


def _nothing(scene: Scene) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Deeds:
    """What a saboteur does, and when.

    Attributes:
        before: Before the run.
        during: ``after_s`` seconds after the phase ``inject`` has begun; the burst is on, and no fault is due for 25 s.
        after: After the run, also where the run failed.
        after_s: See ``during``.
    """

    before: Deed = _nothing
    during: Deed = _nothing
    after: Deed = _nothing
    after_s: float = 3.0


def _hold_victims(scene: Scene) -> None:
    patch = '{"metadata":{"finalizers":["gameday.local/sabotage"]}}'
    _patch_planners(scene, patch)


def _let_victims_go(scene: Scene) -> None:
    _patch_planners(scene, '{"metadata":{"finalizers":null}}')


def _patch_planners(scene: Scene, patch: str) -> None:
    for name in scene.kubectl("-n", "agents", "get", "pods", "-l", "app=planner", "-o", "name").split():
        scene.kubectl("-n", "agents", "patch", name, "--type=merge", "-p", patch)


TESTBED_SABOTEURS: tuple[Saboteur, ...] = (
    Saboteur(
        "hpa-deleted", "kubectl delete hpa planner, before the run", KILL,
        (
            Expected("autoscaler-response", FAIL, "there is no hpa"),
            *all_of(INCONCLUSIVE, "not run: there is no hpa", "pdb-safety", "queue-backlog", "error-budget"),
        ),
    ),
    Saboteur(
        "pdb-deleted", "kubectl delete pdb planner, before the run", KILL,
        (
            Expected("pdb-safety", FAIL, "there is no pdb"),
            *all_of(INCONCLUSIVE, "not run: there is no pdb", "autoscaler-response", "error-budget"),
        ),
    ),
    Saboteur(
        "metrics-store-down", "Prometheus is scaled to 0 in the burst", KILL,
        (
            Expected("error-budget", INCONCLUSIVE, "the gateway's counters cannot be used"),
            Expected("queue-backlog", INCONCLUSIVE, "is not known"),
        ),
    ),
    Saboteur(
        "load-stopped", "SIGKILL of the load generator in the burst", KILL,
        (
            Expected("pdb-safety", INCONCLUSIVE, "the load generator was lost"),
            Expected("error-budget", INCONCLUSIVE, "too few"),
        ),
    ),
    Saboteur(
        "load-stalled", "SIGSTOP of the load generator for 8 s in the burst", KILL,
        all_of(INCONCLUSIVE, "load_reached_floor does not hold", "pdb-safety", "autoscaler-response"),
    ),
    Saboteur(
        "chaos-killed", "SIGKILL of the chaos child before its first fault", KILL,
        all_of(INCONCLUSIVE, "was never injected", "pdb-safety", "autoscaler-response"),
    ),
    Saboteur(
        "fault-without-effect", "a finalizer holds every victim: the kill is accepted, and no pod goes", KILL,
        all_of(INCONCLUSIVE, "faults_took_effect", "pdb-safety", "autoscaler-response"),
    ),
)  # fmt: skip

DEEDS: Mapping[str, Deeds] = {
    "hpa-deleted": Deeds(before=lambda scene: scene.take_away("hpa", "agents", "planner"), after=Scene.bring_back),
    "pdb-deleted": Deeds(before=lambda scene: scene.take_away("pdb", "agents", "planner"), after=Scene.bring_back),
    "metrics-store-down": Deeds(
        during=lambda scene: scene.scale("platform-infra", "prometheus", 0),
        after=lambda scene: scene.scale("platform-infra", "prometheus", 1),
    ),
    "load-stopped": Deeds(during=lambda scene: scene.signal_child("load", signal.SIGKILL)),
    "load-stalled": Deeds(during=lambda scene: scene.stall_child("load", 8.0)),
    "chaos-killed": Deeds(during=lambda scene: scene.signal_child("chaos", signal.SIGKILL)),
    "fault-without-effect": Deeds(during=_hold_victims, after=_let_victims_go, after_s=20.0),
}


class TestbedRunner:
    """A `Runner` on the local testbed (port of `harness.sabotage.trial`)."""

    __test__ = False  # not a test, whatever its name

    def __init__(self, settings: str, runs_dir: str, seed: int) -> None:
        self._settings, self._runs_dir, self._seed = settings, runs_dir, seed
        self._bed = LocalTestbed(("core", "platform"))
        self._trouble = ""

    def __enter__(self) -> TestbedRunner:
        """Bring the testbed up."""
        self._bed.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        """Take it down, if we brought it up."""
        self._bed.__exit__(*failure)

    def alone(self, experiment: str) -> Finished:
        """Run the short form of an experiment that nobody spoils."""
        return self._run(experiment, Deeds())

    def spoilt(self, saboteur: Saboteur) -> Finished:
        """Run it while a saboteur is at work."""
        return self._run(saboteur.experiment, DEEDS[saboteur.name])

    def _run(self, experiment: str, deeds: Deeds) -> Finished:
        scene = Scene(resolve_target(load_settings(Path(self._settings)), TARGET))
        path = write_short_experiment(experiment, Path(self._runs_dir))
        self._trouble = ""
        try:
            deeds.before(scene)
            job = Job(str(path), self._settings, TARGET, self._seed, self._runs_dir)
            client = RunClient(job, lambda message: self._watch(message, deeds, scene), os.environ)
            scene.conductor_pid = client.pid
            end = client.wait()
        finally:
            deeds.after(scene)
        if self._trouble:
            return Finished(end.exit_status, {}, str(end.run_dir or ""), self._trouble)
        return finished(end.exit_status, end.run_dir, end.error)

    def _watch(self, message: Mapping[str, Any], deeds: Deeds, scene: Scene) -> None:
        inject = message.get("kind") == "phase" and message.get("subject") == "inject"
        if inject and message["detail"].get("edge") == "start":
            threading.Thread(target=self._strike, args=(deeds, scene), daemon=True, name="saboteur").start()

    def _strike(self, deeds: Deeds, scene: Scene) -> None:
        time.sleep(deeds.after_s)
        try:
            deeds.during(scene)
        except PortError as error:  # a saboteur that did nothing must not look as if it had been missed, or caught
            self._trouble = f"the saboteur failed: {error}"
