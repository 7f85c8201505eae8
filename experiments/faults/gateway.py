"""Faults at the gateway: requests of one part that wait or are answered with an error, by Envoy's own fault filter.

The switch is a ConfigMap that Envoy reads its runtime from (docs/testbed.md, "Faults at the gateway"). That it is
written proves nothing: Envoy's counters of what it injected must rise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from experiments.faults import counters
from experiments.faults.context import Steps
from experiments.faults.definition import Fault, perform
from experiments.faults.evidence import Evidence, wait_for
from experiments.faults.sequence import Deed, Selected, Work, victims_of
from experiments.faults.targets import TargetError, existing
from harness.model.fault import Effect, Loss, ObjectRef, Permission
from harness.model.pointer import escape
from harness.model.restoration import SWITCH_CONFIG_MAP as CONFIG_MAP
from harness.model.target import Target
from harness.ports import ClusterActor

SIGNAL = "gateway_faults_injected"
"""Signal of the query pack: Envoy's counters of injected faults, with ``__name__`` and Envoy's own labels."""

PARTS = ("gateway", "inference", "tool-api")
PERCENTAGES: Mapping[str, str] = {"delay_percent": "delays", "abort_percent": "aborts"}
"""Arguments that switch something on, and what Envoy's counters call it."""

_KEYS = ("delay_percent", "delay_ms", "abort_percent", "abort_status")


class GatewayFault:
    """The conduct of `gateway_fault`."""

    def select(
        self, actor: ClusterActor, arguments: Mapping[str, Any], seed_text: str, target: Target | None
    ) -> Selected:
        """Find the switch, which must be off for this part."""
        del seed_text
        ref, wanted = _switch(arguments), _wanted(arguments)
        if not any(int(arguments.get(key, 0)) for key in PERCENTAGES):
            raise TargetError("nothing is asked for: set delay_percent with delay_ms, or abort_percent")
        found = existing(actor, ref, "this gateway has no faults to switch on")
        for key in PERCENTAGES:
            present = str((found.get("data") or {}).get(_key(arguments, key), "0"))
            if present.strip() not in {"", "0"}:
                raise TargetError(f"{ref} has {_key(arguments, key)} at {present} already")
        data = found.get("data") or {}
        undo = tuple(f"{ref}: {key} back to {data.get(key, 'nothing')}" for key in wanted)
        return Selected(1, victims_of([found]), undo, counters.doubts(target, SIGNAL))

    def act(self, work: Work) -> Steps[Deed]:
        """Remember the counters, then switch it on."""
        before = _reading(work)
        if isinstance(before, Mapping) and any(before.values()):
            yield counters.next_scrape_s(work.context)
            before = _reading(work)
        values = {f"/data/{escape(key)}": value for key, value in _wanted(work.arguments).items()}
        work.change(_switch(work.arguments), values)
        return Deed(work.selected.victims, "", (("part", work.arguments["part"]),), before)

    def prove(self, work: Work, deed: Deed) -> Steps[Evidence]:
        """Wait until Envoy has counted what was asked for."""
        if isinstance(deed.found, str):
            return Evidence(Effect.UNCLEAR, deed.found)
        before, asked = deed.found, [what for key, what in PERCENTAGES.items() if work.arguments.get(key)]

        def look() -> tuple[bool, str]:
            after = counters.present(work.context, SIGNAL, _mine(work.arguments))
            rises = {what: _rise(before, after, what) for what in asked}
            told = ", ".join(f"{rise:g} {what}" for what, rise in rises.items())
            return all(rises.values()), f"Envoy injected {told} at {work.arguments['part']}"

        return (yield from wait_for(work.context, look, work.evidence_limit_s))


def _switch(arguments: Mapping[str, Any]) -> ObjectRef:
    return ObjectRef("v1", "ConfigMap", CONFIG_MAP, str(arguments["namespace"]))


def _manager(arguments: Mapping[str, Any]) -> str:
    return str(arguments["part"]).replace("-", "_")


def _key(arguments: Mapping[str, Any], key: str) -> str:
    return f"gameday.{_manager(arguments)}.{key}"


def _wanted(arguments: Mapping[str, Any]) -> dict[str, str]:
    return {_key(arguments, key): str(int(arguments[key])) for key in _KEYS if key in arguments}


def _reading(work: Work) -> counters.Readings | str:
    """Return the counters of the part before the deed, or why none can prove it."""
    found = counters.reading(work.context, SIGNAL, _mine(work.arguments))
    return found or f"no metrics source proves it: {SIGNAL} knows nothing of {_manager(work.arguments)}"


def _mine(arguments: Mapping[str, Any]) -> Callable[[str], bool]:
    label = f'envoy_http_conn_manager_prefix="{_manager(arguments)}"'
    return lambda labels: label in labels


def _rise(before: counters.Readings, after: counters.Readings, what: str) -> float:
    """Return how many faults of a kind were injected between two readings."""
    name = f'__name__="envoy_http_fault_{what}_injected"'
    return counters.rise(before, {labels: value for labels, value in after.items() if name in labels})


def gateway_fault(**arguments: Any) -> dict[str, Any]:
    """Let a share of the requests of one part wait at the gateway, or answer them with an error there.

    Args:
        **arguments: ``namespace`` of the gateway; ``part``: ``gateway`` (the entry), ``inference`` or ``tool-api``;
            ``delay_percent`` with ``delay_ms``; ``abort_percent``, and ``abort_status`` (what the ConfigMap has).

    Returns:
        Victims, effect and reason.
    """
    del arguments  # the validated plan has them
    return perform(GATEWAY_FAULT)


def _needs(arguments: Mapping[str, Any]) -> tuple[Permission, ...]:
    namespace = str(arguments["namespace"])
    return tuple(Permission(verb, "configmaps", "", "", namespace) for verb in ("get", "patch"))


_PERCENT = {"type": "integer", "minimum": 1, "maximum": 100}

GATEWAY_FAULT = Fault(
    name="gateway_fault",
    module=__name__,
    loss=Loss.DEPENDENCY,
    evidence="Envoy's counters of injected faults rise for the part",
    conduct=GatewayFault(),
    needs=_needs,
    undo_needs=_needs,
    undo="patch",
    arguments_schema={
        "type": "object",
        "description": "namespace, part, and delay_percent with delay_ms, or abort_percent, or both",
        "properties": {
            "namespace": {"type": "string", "minLength": 1, "description": f"namespace of ConfigMap {CONFIG_MAP}"},
            "part": {"enum": list(PARTS), "description": "whose requests: the entry's, inference's or the tool API's"},
            "delay_percent": {**_PERCENT, "description": "share of requests that wait, 1 to 100"},
            "delay_ms": {"type": "integer", "minimum": 1, "description": "how long they wait"},
            "abort_percent": {**_PERCENT, "description": "share of requests that are answered with an error, 1 to 100"},
            "abort_status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "the error's status"},
        },
        "required": ["namespace", "part"],
        "additionalProperties": False,
        "anyOf": [{"required": ["delay_percent"]}, {"required": ["abort_percent"]}],
        "dependentRequired": {
            "delay_percent": ["delay_ms"],
            "delay_ms": ["delay_percent"],
            "abort_status": ["abort_percent"],
        },
    },
)
