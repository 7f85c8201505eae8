"""Did the autoscaler of nodes add or remove nodes in time? One direction an assertion, each with a budget of its own.

Pure. Without an autoscaler that tells of itself nothing can be told. See `nodes_added` and `nodes_removed` for what is
judged, `node_timers` for the timers of a scale-down (CASES F17).
"""

from __future__ import annotations

from assertions import nodes_added, nodes_removed
from assertions.definition import Check, Definition, conclude, duration, limit_s, param, params_object, unclear
from assertions.node_blockers import WITH_LOCAL_STORAGE, WITH_SYSTEM_PODS
from assertions.node_scaling_view import AutoscalerView, autoscaler_view
from assertions.node_timers import AFTER_ADD, AFTER_DELETE, AFTER_FAILURE, ENABLED, SCAN, UNNEEDED, UNREADY, UP_DELAY
from assertions.windows import demand_window, judged_window
from harness.model.experiment import NODE_AUTOSCALER_STATUS, NODES_SCALED, AssertionSpec
from harness.model.facts import NodeFact
from harness.model.record import Record
from harness.model.selector import parse_selector
from harness.model.time import Window
from harness.model.verdict import Verdict

UP, DOWN = "up", "down"
TIMERS = (UNNEEDED, UNREADY, AFTER_ADD, AFTER_DELETE, AFTER_FAILURE, SCAN, UP_DELAY)
SWITCHES = (ENABLED, WITH_LOCAL_STORAGE, WITH_SYSTEM_PODS)
_COUNT = {"type": "integer", "minimum": 1}
_SELECTOR = {"type": "string", "format": "selector"}
SCHEMA = params_object(
    {
        "direction": {"enum": [UP, DOWN], "description": "up: nodes come; down: nodes go"},
        "nodes": {**_SELECTOR, "description": "labels of the nodes that count; all nodes by default"},
        "resource": {
            "type": "string",
            "minLength": 1,
            "default": "cpu",
            "description": "what a new node must offer to have come, such as nvidia.com/gpu",
        },
        "count_min": {**_COUNT, "default": 1, "description": "fewest nodes that must come, or go"},
        "count_max": {**_COUNT, "description": "up: most nodes that may come; no limit by default"},
        "namespace": {"type": "string", "minLength": 1, "description": "up: of the pods that call for nodes; any"},
        "selector": {**_SELECTOR, "description": "up: labels of the pods that call for nodes; any by default"},
        "triggered_within": duration("up: from the first pod that finds no node until nodes are asked for", "30s"),
        "offered_within": duration("up: from then until the nodes offer the resource", "5m"),
        "removed_within": duration("down: from when the autoscaler's timers allow it until the nodes are gone", "5m"),
        "status": {
            "type": "string",
            "pattern": "^[^/]+/[^/]+$",
            "default": NODE_AUTOSCALER_STATUS,
            "description": "namespace/name of the ConfigMap in which the autoscaler tells of itself",
        },
        "flags": params_object(
            {
                **{flag: duration("as the autoscaler has it") for flag in TIMERS},
                **{flag: {"type": "boolean", "description": "as the autoscaler has it"} for flag in SWITCHES},
            }
        )
        | {"description": "flags of the autoscaler, for those that cannot be read of its Deployment"},
    },
    required=["direction"],
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge whether nodes came, or went, in time."""
    down = spec.params["direction"] == DOWN
    expected, window = _expected(spec), judged_window(record)
    demand = demand_window(record)
    if window is None or demand is None:
        return conclude(spec, [unclear("there was no burst", "see why the run ended early")], expected)
    if down:
        window = Window(demand.end_s, max(demand.end_s, window.end_s))
    view = autoscaler_view(record, spec)
    absent = _absent(view, window) or _unseen(record)
    if absent is not None:
        return conclude(spec, [absent], expected, window=window)
    checks, figures = (_removed if down else _added)(record, spec, view, window)
    return conclude(spec, checks, expected, window=window, evidence=[view.timers.told()], figures=figures)


def _expected(spec: AssertionSpec) -> str:
    count = int(param(spec, SCHEMA, "count_min"))
    what = f"{count} node{'s' if count > 1 else ''} of {spec.params.get('nodes', 'any kind')}"
    if spec.params["direction"] == DOWN:
        limit = limit_s(spec, SCHEMA, "removed_within")
        return f"at least {what} removed within {limit:g} s of when the autoscaler's timers allow it"
    triggered, offered = limit_s(spec, SCHEMA, "triggered_within"), limit_s(spec, SCHEMA, "offered_within")
    resource = param(spec, SCHEMA, "resource")
    return f"at least {what} asked for within {triggered:g} s of need, offering {resource} within {offered:g} s more"


def _absent(view: AutoscalerView, window: Window) -> Check | None:
    """Return why no autoscaler of nodes is known to be there: the assumption that all of this leans on."""
    newest = view.at(window.end_s)
    look = "see that it runs and writes its status, and name that by status"
    if newest is None:
        gone = "was deleted" if view.states else "was never seen"
        return unclear(f"no autoscaler of nodes tells of itself: ConfigMap {view.status} {gone}", look)
    if not newest.state:
        return unclear(f"what the autoscaler of nodes says in {view.status} cannot be read", look)
    return None


def _unseen(record: Record) -> Check | None:
    """Return that no node at all was seen: a cluster without any, or one that was not looked at."""
    if next(record.timeline.of(NodeFact.kind), None) is not None:
        return None
    return unclear("no node was ever seen, so nothing shows that nodes were watched", "see the watch events")


def _added(
    record: Record, spec: AssertionSpec, view: AutoscalerView, window: Window
) -> tuple[list[Check], dict[str, float]]:
    most = spec.params.get("count_max")
    asked = nodes_added.Asked(
        _labels(spec),
        str(param(spec, SCHEMA, "resource")),
        str(spec.params.get("namespace", "")),
        str(spec.params.get("selector", "")),
        int(param(spec, SCHEMA, "count_min")),
        None if most is None else int(most),
        limit_s(spec, SCHEMA, "triggered_within"),
        limit_s(spec, SCHEMA, "offered_within"),
    )
    return nodes_added.added_checks(record, asked, view, window)


def _removed(
    record: Record, spec: AssertionSpec, view: AutoscalerView, window: Window
) -> tuple[list[Check], dict[str, float]]:
    resource, count = str(param(spec, SCHEMA, "resource")), int(param(spec, SCHEMA, "count_min"))
    asked = nodes_removed.Asked(_labels(spec), resource, count, limit_s(spec, SCHEMA, "removed_within"))
    return nodes_removed.removed_checks(record, asked, view, window)


def _labels(spec: AssertionSpec) -> dict[str, str]:
    return parse_selector(str(spec.params["nodes"])) if "nodes" in spec.params else {}


DEFINITION = Definition(
    kind=NODES_SCALED,
    question="Did the autoscaler of nodes act in time?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=(
        "run_completed",
        "load_reached_floor",
        "faults_took_effect",
        "observation_complete",
        "record_whole",
    ),
    needs_for_fail=("record_whole",),
)
