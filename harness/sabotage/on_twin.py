"""Runs saboteurs on the in-memory twin, each in a conductor of its own, as a user's rehearsal. Touches no cluster."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from harness import registries
from harness.client import Job, RunClient
from harness.sabotage.saboteurs import Saboteur
from harness.sabotage.trial import Finished, finished


class TwinRunner:
    """A `Runner` on the twin (port of `harness.sabotage.trial`)."""

    def __init__(self, settings: str, runs_dir: str, seed: int) -> None:
        self._settings, self._runs_dir, self._seed = settings, runs_dir, seed

    def alone(self, experiment: str) -> Finished:
        """Rehearse an experiment on a platform that is well."""
        return self._rehearse(experiment, {})

    def spoilt(self, saboteur: Saboteur) -> Finished:
        """Rehearse it on one that misbehaves."""
        return self._rehearse(saboteur.experiment, saboteur.switches)

    def _rehearse(self, experiment: str, switches: Mapping[str, Any]) -> Finished:
        path = str(registries.experiment_path(experiment))
        job = Job(path, self._settings, "", self._seed, self._runs_dir, rehearse=True)
        environ = {**os.environ, "GAMEDAY_TWIN": json.dumps(dict(switches))}
        end = RunClient(job, lambda message: None, environ).wait()
        return finished(end.exit_status, end.run_dir, end.error)
