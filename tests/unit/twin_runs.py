"""Rehearses a shipped experiment against the twin in this process and judges it: what tests of sabotage share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from assertions.assumptions import ASSUMPTIONS
from assertions.registry import ASSERTIONS
from experiments.faults.probes import bound_probes
from harness import registries
from harness.conductor import Conductor, Outcome
from harness.definitions import signals_of_all
from harness.fakes.switches import Switches
from harness.fakes.world import Twin
from harness.judge import judge
from harness.model.experiment import Experiment
from harness.model.record import Record, RunHeader
from harness.model.timeline import Event, Timeline
from harness.model.verdict import Verdict
from harness.pulse import StopFlag

ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Events:
    """A journal in memory."""

    events: list[Event] = field(default_factory=list)

    def append(self, event: Event) -> None:
        self.events.append(event)


@dataclass(frozen=True)
class Rehearsal:
    """A run against the twin, with its verdicts by name."""

    record: Record
    verdicts: Mapping[str, Verdict]
    twin: Twin


def rehearse(name: str | Path, seed: int = 7, **switches: object) -> Rehearsal:
    """Run a shipped experiment, or a file, against a twin that misbehaves as asked."""
    experiment = registries.load(name if isinstance(name, Path) else registries.experiment_path(name))
    twin = Twin(experiment, seed, Switches(**switches), ORIGIN.timestamp())  # type: ignore[arg-type]
    drivers, journal = twin.drivers(Path("."), "rehearsal"), Events()
    conductor = Conductor(
        experiment,
        twin.target,
        drivers,
        run_id="rehearsal",
        seed=seed,
        faults=registries.faults(),
        probes=bound_probes(drivers.observer, drivers.metrics, twin.target.signals),
        signals=signals_of_all(ASSERTIONS, experiment.assertions),
        permissions=(),
        journal=journal,
        stop=StopFlag(),
    )
    record = _record(experiment.name, seed, conductor.run(), journal, experiment)
    return Rehearsal(record, {v.assertion: v for v in judge(record, ASSERTIONS, ASSUMPTIONS).verdicts}, twin)


def _record(name: str, seed: int, outcome: Outcome, journal: Events, experiment: Experiment) -> Record:
    header = RunHeader(
        "rehearsal", name, "twin", seed, ORIGIN.isoformat(), ending=outcome.ending, reason=outcome.reason,
        facts=outcome.facts,
    )  # fmt: skip
    return Record(
        header, experiment, Timeline(ORIGIN, tuple(journal.events)), outcome.harvest, outcome.requests,
        outcome.requests_lost, outcome.fingerprint_before, outcome.fingerprint_after, outcome.undo,
    )  # fmt: skip
