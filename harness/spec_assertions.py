"""What the assertions of an experiment file become, and the live guard's limits that follow from them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.model.abort import AbortLimits
from harness.model.experiment import NODES_SCALED, AssertionSpec, node_autoscaler_of

_OF_DIRECTION: Mapping[str, tuple[str, ...]] = {
    "up": ("namespace", "selector", "resource", "count_max", "triggered_within", "offered_within"),
    "down": ("removed_within",),
}
"""Limits of nodes that come and of nodes that go; kinds without a direction have them as they like."""

OBJECTIVE = 0.995
"""Of an experiment without an error budget."""


def abort_limits(game: Mapping[str, Any], assertions: Sequence[AssertionSpec]) -> AbortLimits | None:
    """Return the live guard's limits, with the objective of the file's error budget; None without ``abort``."""
    budget = next((spec for spec in assertions if spec.kind == "error_budget"), None)
    objective = OBJECTIVE if budget is None else float(budget.params.get("objective", OBJECTIVE))
    return AbortLimits.of(game["abort"], objective) if "abort" in game else None


def contradictions(params: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield limits of an assertion that mean nothing beside its others: key, problem, remedy."""
    if params.get("expect") == "blocked" and "budget" not in params:
        yield "expect", "blocked by whom?", "name the budget: namespace/name"
    for other, keys in _OF_DIRECTION.items():
        for key in (key for key in keys if key in params and params.get("direction", other) != other):
            yield key, f"is a limit of direction {other}", "leave it out, or write one assertion for each direction"


def node_autoscalers(assertions: Sequence[AssertionSpec]) -> tuple[str, ...]:
    """Return ``namespace/name`` of each status that the assertions about autoscalers of nodes are judged by."""
    return tuple(dict.fromkeys(node_autoscaler_of(spec) for spec in assertions if spec.kind == NODES_SCALED))


def restored_last(specs: Sequence[AssertionSpec]) -> tuple[AssertionSpec, ...]:
    """Put `restored` last; it is always judged, whether the file names it or not."""
    named = [spec for spec in specs if spec.kind == "restored"]
    others = [spec for spec in specs if spec.kind != "restored"]
    return (*others, *(named or [AssertionSpec("restored", "restored")]))
