"""Every shipped experiment against the twin: green on a platform that is well, and not green on one that is not."""

import pytest

from tests.unit.twin_runs import rehearse

GREEN = (
    "pod-kill-under-burst", "queue-burst", "node-drain-under-burst", "node-loss", "gpu-exhaustion", "metrics-blackout",
    "spot-reclaim-evaluation", "cascade", "tool-api-rate-limit", "scaling-failure", "gpu-shortage", "bad-rollout",
    "network-policy",
)  # fmt: skip


def outcomes(run):
    return {name: str(verdict.outcome) for name, verdict in run.verdicts.items()}


@pytest.mark.parametrize("name", GREEN)
def test_a_platform_that_is_well_passes(name):
    run = rehearse(name)
    assert set(outcomes(run).values()) == {"PASS"}, {v.assertion: v.reason for v in run.verdicts.values()}


@pytest.mark.parametrize(
    ("name", "unclear"),
    [
        ("prometheus-outage", {"queue-backlog", "error-budget"}),
        ("broker-outage", set()),  # the exporter says queue_up 0, for no longer than a hole may last
    ],
)
def test_what_cannot_be_seen_during_the_fault_is_inconclusive_and_the_rest_passes(name, unclear):
    found = outcomes(rehearse(name))
    assert {k for k, v in found.items() if v == "INCONCLUSIVE"} == unclear
    assert {v for k, v in found.items() if k not in unclear} == {"PASS"}


def test_a_seed_repeats_a_rehearsal_event_for_event():
    first, second = (rehearse("cascade", seed=3).record.timeline.events for _ in range(2))
    assert [(e.t_s, e.kind, e.subject) for e in first] == [(e.t_s, e.kind, e.subject) for e in second]


@pytest.mark.parametrize(
    ("name", "switches", "item", "outcome", "reason"),
    [
        ("node-drain-under-burst", {"undo_partial": True}, "restored", "FAIL", "unschedulable was false, is true"),
        ("node-drain-under-burst", {"undo_partial": True}, "node-back", "FAIL", "it is cordoned"),
        ("node-drain-under-burst", {"fault_absent": True}, "planner-recovery", "INCONCLUSIVE", "UNCLEAR"),
        ("node-loss", {"pod_start_s": 60.0}, "planner-recovery", "FAIL", "the limit is 45 s"),
        ("node-loss", {"node_stays_lost": True}, "node-back", "INCONCLUSIVE", "it is not Ready"),
        ("gpu-exhaustion", {"preemption_off": True}, "pending-time", "FAIL", "the limit is 20 s"),
        ("gpu-exhaustion", {"undo_partial": True}, "gpus-back", "FAIL", "it offers 0 of 4 nvidia.com/gpu"),
        ("metrics-blackout", {"hpa_drops_blind": True}, "replicas-held", "FAIL", "the replicas fell"),
        ("spot-reclaim-evaluation", {"job_stuck": True}, "evaluation-completes", "FAIL", "before it was complete"),
        ("cascade", {"undo_fails": True}, "restored", "FAIL", "not taken back"),
        ("prometheus-outage", {"undo_partial": True}, "restored", "FAIL", "replicas was 1"),
        ("broker-outage", {"error_ratio": 0.05}, "error-budget", "FAIL", "requests were bad"),
        ("tool-api-rate-limit", {"error_ratio": 0.05}, "error-budget", "FAIL", "requests were bad"),
        ("tool-api-rate-limit", {"undo_partial": True}, "restored", "FAIL", 'abort_percent was "0", is "100"'),
        ("tool-api-rate-limit", {"fault_absent": True}, "queue-backlog", "INCONCLUSIVE", "ABSENT"),
        ("scaling-failure", {"undo_partial": True}, "restored", "FAIL", "maxReplicas was 12, is 3"),
        ("scaling-failure", {"hpa_drops_blind": True}, "replicas-held", "FAIL", "the replicas fell"),
        ("gpu-shortage", {"undo_partial": True}, "gpus-back", "INCONCLUSIVE", "the-gpus-are-gone"),
        ("gpu-shortage", {"preemption_off": True, "error_ratio": 0.05}, "error-budget", "FAIL", "requests were bad"),
        ("bad-rollout", {"undo_partial": True}, "restored", "FAIL", "Deployment/agents/planner"),
        ("network-policy", {"undo_partial": True}, "restored", "FAIL", "NetworkPolicy/agents/redis-and-dns"),
        ("network-policy", {"fault_absent": True}, "error-budget", "INCONCLUSIVE", "ABSENT"),
    ],
)
def test_what_is_wrong_with_the_platform_shows_in_its_item_for_its_reason(name, switches, item, outcome, reason):
    verdict = rehearse(name, **switches).verdicts[item]
    assert (str(verdict.outcome), reason in verdict.reason) == (outcome, True), verdict.reason
