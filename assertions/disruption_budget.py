"""Was the disruption budget kept? Our own count of Ready pods against our own reading of the budget, at every change.

Pure. The budget's status lags behind (CASES F04), so it only checks our arithmetic. A breach is blamed on what took the
pods away: an eviction that should not have been granted (voluntary), or a kill or lost node that no budget is asked
about (involuntary, CASES F05).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from assertions.budget_replay import Breach, Replay, replay
from assertions.definition import Check, Definition, broken, conclude, held, param, params_object, unclear
from assertions.windows import judged_window
from harness.model.experiment import AssertionSpec
from harness.model.facts import PdbFact
from harness.model.record import Record
from harness.model.time import Window
from harness.model.verdict import Verdict

KIND = "pdb_safety"
SCHEMA = params_object(
    {
        "pdb": {"type": "string", "pattern": "^[^/]+/[^/]+$", "description": "namespace/name of the budget"},
        "count_involuntary": {
            "type": "boolean",
            "default": True,
            "description": "a breach by a kill or a lost node fails too: the pods had to be up, whoever took them",
        },
        "minimum_ready": {
            "type": "integer",
            "minimum": 0,
            "description": "floor for involuntary losses; default: what the budget itself demands",
        },
    },
    required=["pdb"],
)


def judge(record: Record, spec: AssertionSpec) -> Verdict:
    """Judge healthy >= desiredHealthy from the start of the load to the end of the run (CASES F02, F04, F05)."""
    namespace, _, name = str(spec.params["pdb"]).partition("/")
    expected = f"at every change at least as many pods are Ready as the budget {namespace}/{name} demands"
    window = judged_window(record)
    if window is None:
        return conclude(spec, [unclear("no load was started", "see why the run ended early")], expected)
    states = record.timeline.facts(PdbFact, lambda pdb: pdb.namespace == namespace and pdb.name == name)
    absent = _absence(record, states, window, f"{namespace}/{name}")
    if absent is not None:
        return conclude(spec, [absent], expected, window=window)
    seen = replay(record, states, window)
    floor = spec.params.get("minimum_ready")
    checks = [*_breach_checks(seen, spec, floor), *_trust_checks(seen, states)]
    return conclude(
        spec, checks, expected, window=window, evidence=[_line(b) for b in seen.breaches], figures=_figures(seen)
    )


def _absence(record: Record, states: Sequence[tuple[float, PdbFact]], window: Window, subject: str) -> Check | None:
    """Fail on a budget that was not there at some moment of the window."""
    remedy = f"kubectl -n {subject.partition('/')[0]} get pdb"
    if not any(t_s <= window.start_s for t_s, _ in states):
        watched = any(e.detail.get("state") == "open" for e in record.timeline.of("watch"))
        if not watched:
            return unclear(f"pdb {subject} was never seen, and nothing shows that it was watched", remedy)
        return broken(f"there was no pdb {subject} when the load started", remedy)
    gone = [t_s for t_s, pdb in states if pdb.deleted and t_s < window.end_s]
    return broken(f"pdb {subject} was deleted at +{gone[0]:.1f}s", remedy) if gone else None


def _breach_checks(seen: Replay, spec: AssertionSpec, floor: int | None) -> Iterator[Check]:
    observed = (
        f"at least {seen.healthy_min} Ready (demanded {seen.desired_at_min}), least head-room {seen.headroom_min}"
    )
    count_involuntary = bool(param(spec, SCHEMA, "count_involuntary"))
    guilty = [b for b in seen.breaches if _counts(b, count_involuntary, floor)]
    for breach in guilty[:5]:
        yield broken(_line(breach), _remedy(breach), observed)
    if not guilty:
        spared = f"; {len(seen.breaches)} shortfalls that do not count" if seen.breaches else ""
        yield held(observed + spared)


def _counts(breach: Breach, count_involuntary: bool, floor: int | None) -> bool:
    if breach.voluntary:
        return True
    if breach.by_growth or not count_involuntary:
        return False
    return floor is None or breach.healthy_min < floor


def _line(breach: Breach) -> str:
    lost = ", ".join(f"{pod} by {cause}" for pod, cause in breach.lost) or (
        "no pod was lost" if breach.by_growth else "it was so when the load started"
    )
    if breach.by_growth:
        kind = "not a disruption: the budget's demand grew faster than pods became Ready"
    elif breach.voluntary:
        kind = "voluntary: an eviction was granted that the budget had to refuse"
    else:
        kind = "involuntary: no budget is asked about such a loss"
    return (
        f"+{breach.start_s:.1f}s, for {breach.duration_s:.1f} s: {breach.healthy_min} Ready, {breach.desired} demanded "
        f"({kind}; {lost})"
    )


def _remedy(breach: Breach) -> str:
    if breach.voluntary:
        return "see the eviction API's answers in the record; a stale budget status may have granted one too many"
    return "run more replicas, or spread them, so that such a loss leaves enough of them Ready"


def _trust_checks(seen: Replay, states: Sequence[tuple[float, PdbFact]]) -> Iterator[Check]:
    last = states[-1][1]
    if seen.unknown_s > 0:
        reason = f"for {seen.unknown_s:.1f} s it is not known what the budget demands ({seen.unknown_reason})"
        yield unclear(reason, f"kubectl -n {last.namespace} describe pdb {last.name}")
    current = last.observed_generation >= last.generation and last.desired_healthy is not None
    if current and seen.desired_last is not None and last.desired_healthy != seen.desired_last:
        reason = f"we read a demand of {seen.desired_last} from the budget, its status says {last.desired_healthy}"
        yield unclear(reason, "see which workloads own the pods of the budget; one may not be watched")


def _figures(seen: Replay) -> Mapping[str, float]:
    return {
        "healthy_min": float(seen.healthy_min),
        "headroom_min": float(seen.headroom_min),
        "breaches": float(len(seen.breaches)),
        "breach_s": sum(breach.duration_s for breach in seen.breaches),
        "evicted_pods": float(seen.evicted),
    }


DEFINITION = Definition(
    kind=KIND,
    question="Was the disruption budget kept?",
    judge=judge,
    params_schema=SCHEMA,
    needs_for_pass=("run_completed", "load_reached_floor", "faults_took_effect", "observation_complete"),
    needs_for_fail=(),
)
