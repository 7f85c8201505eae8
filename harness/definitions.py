"""What the entries of the registries look like: faults, probes, assertions. Protocols only; nothing here acts.

The conductor, `spec` and `judge` take registries as arguments and know their entries by these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.model.experiment import AssertionSpec
from harness.model.fault import Loss, Permission
from harness.model.record import Record
from harness.model.target import Target
from harness.model.verdict import Verdict
from harness.ports import ClusterActor


@dataclass(frozen=True, slots=True)
class Preview:
    """Whom a fault would hit, found by reading only.

    Attributes:
        asked: How many victims the file asks for, resolved against the present pods.
        victims: As in `Injection`; chosen with the run's seed, so the run hits the same ones if nothing moves.
        problem: Why it could not be carried out, or empty.
        undo: What each undo would be, one line each.
        notes: What else a person should know, such as pods that a drain would skip and why.
    """

    asked: int
    victims: tuple[Mapping[str, str], ...]
    problem: str = ""
    undo: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class FaultDefinition(Protocol):
    """An entry of `FAULTS` as the conductor and `spec` see it."""

    @property
    def name(self) -> str:
        """Name of the action's function, which the experiment file names as ``func``."""
        ...

    @property
    def module(self) -> str:
        """Module of the action's function."""
        ...

    @property
    def loss(self) -> Loss:
        """Kind of loss it causes."""
        ...

    @property
    def undo(self) -> str:
        """How it is taken back, or ``none``."""
        ...

    @property
    def undo_reason(self) -> str:
        """Why nothing has to be taken back, for ``none``."""
        ...

    @property
    def evidence(self) -> str:
        """What proves that it bit, in a sentence."""
        ...

    @property
    def arguments_schema(self) -> Mapping[str, Any]:
        """JSON schema of its arguments."""
        ...

    def permissions(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """Return what it needs to be allowed."""
        ...

    def undo_permissions(self, arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
        """Return what whoever takes it back needs to be allowed (the runner, the reaper)."""
        ...

    def preview(self, actor: ClusterActor, arguments: Mapping[str, Any], seed: int, target: Target) -> Preview:
        """Return whom it would hit, without touching anything."""
        ...


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Answer of a probe of the steady state; ``ok`` is None where it cannot be told."""

    ok: bool | None
    observed: str


class Probe(Protocol):
    """An entry of `PROBES`, bound to the run's observer and metrics."""

    def __call__(self, **arguments: Any) -> ProbeResult:
        """Look once."""
        ...


class AssertionDefinition(Protocol):
    """An entry of `ASSERTIONS`: a pure judge with what it leans on."""

    @property
    def kind(self) -> str:
        """Its key."""
        ...

    @property
    def question(self) -> str:
        """The question it answers, for people."""
        ...

    @property
    def signals(self) -> tuple[str, ...]:
        """Names of the signals to harvest for it."""
        ...

    @property
    def needs_for_pass(self) -> tuple[str, ...]:
        """Assumptions without which a PASS becomes INCONCLUSIVE."""
        ...

    @property
    def needs_for_fail(self) -> tuple[str, ...]:
        """Assumptions without which a FAIL becomes INCONCLUSIVE; a shorter list."""
        ...

    @property
    def params_schema(self) -> Mapping[str, Any]:
        """JSON schema of its limits in the experiment file."""
        ...

    def check(self, record: Record, spec: AssertionSpec) -> Verdict:
        """Judge a record. Never raises for what a record may hold; asks no clock."""
        ...


def signals_of(definition: AssertionDefinition, spec: AssertionSpec) -> tuple[str, ...]:
    """Return the signals that an assertion of a file leans on: those of its kind, and the one that it names itself."""
    named = spec.params.get("signal")
    return (*definition.signals, *((named,) if isinstance(named, str) else ()))


def signals_of_all(definitions: Mapping[str, AssertionDefinition], specs: Iterable[AssertionSpec]) -> tuple[str, ...]:
    """Return the signals of several assertions, without repeats."""
    return tuple(dict.fromkeys(name for spec in specs for name in signals_of(definitions[spec.kind], spec)))
