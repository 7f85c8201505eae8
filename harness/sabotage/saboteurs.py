"""What is expected of a saboteur, and the table of those that work on the in-memory twin. Values only; runs nothing.

A saboteur breaks the platform, the harness or its evidence. It is *caught* when the run does not hold and each verdict
that it names has the outcome and the reason that it names: a red verdict for another reason is a miss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.model.verdict import Outcome

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE

KILL = "pod-kill-under-burst"
DRAIN = "node-drain-under-burst"
MID_BURST_S = 100.0
"""Seconds since the run's origin: the burst of the shipped profile is on, and no fault is due yet."""

NEVER_SENT = "load_reached_floor does not hold"
NO_EFFECT = "faults_took_effect"


@dataclass(frozen=True, slots=True)
class Expected:
    """What one verdict must become.

    Attributes:
        assertion: Its name in the experiment.
        outcome: The outcome that it must have.
        because: A part of its reason; without it the verdict turned for another reason, which is a miss.
    """

    assertion: str
    outcome: Outcome
    because: str


@dataclass(frozen=True, slots=True)
class Saboteur:
    """One way of breaking something.

    Attributes:
        name: Its name, as in ``gameday sabotage NAME``.
        does: What it does, for the table.
        experiment: The experiment that it spoils.
        expected: What must be said then.
        switches: How the twin misbehaves (`harness.fakes.switches`).
    """

    name: str
    does: str
    experiment: str
    expected: tuple[Expected, ...]
    switches: Mapping[str, Any] = field(default_factory=dict)


def all_of(outcome: Outcome, because: str, *names: str) -> tuple[Expected, ...]:
    """Expect the same of several assertions."""
    return tuple(Expected(name, outcome, because) for name in names)


EVERY = ("autoscaler-response", "pdb-safety", "queue-backlog", "error-budget")

SABOTEURS: tuple[Saboteur, ...] = (
    Saboteur(
        "fault-no-op", "kills and evictions are accepted and do nothing", KILL,
        all_of(INCONCLUSIVE, "effect ABSENT", *EVERY), {"fault_absent": True},
    ),
    Saboteur(
        "wrong-victim", "another pod dies than the one that was named", KILL,
        all_of(INCONCLUSIVE, "0 of 3 uids gone", *EVERY), {"wrong_victim": True},
    ),
    Saboteur(
        "fault-undone-early", "somebody uncordons the node 3 s after it was cordoned", DRAIN,
        (
            Expected("drain-outcome", FAIL, "took pods again"),
            *all_of(INCONCLUSIVE, "taken back too early", "planner-recovery", "error-budget", "pdb-safety"),
        ),
        {"undone_early_s": 3.0},
    ),
    Saboteur(
        "load-stopped", "the load generator is killed in the burst", KILL,
        (
            *all_of(INCONCLUSIVE, "the load generator was lost", "autoscaler-response", "pdb-safety"),
            Expected("error-budget", INCONCLUSIVE, "the gateway's counters cannot be used"),
            Expected("queue-backlog", INCONCLUSIVE, "the burst was not reached"),
        ),
        {"load_dies_at_s": 90.0},
    ),
    Saboteur(
        "load-halved", "the generator starts every second request only", KILL,
        (
            Expected("pdb-safety", INCONCLUSIVE, "never reached its floor"),
            Expected("error-budget", INCONCLUSIVE, "too few"),
            Expected("autoscaler-response", INCONCLUSIVE, "no scale-up was needed"),
        ),
        {"load_ratio": 0.5},
    ),
    Saboteur(
        "load-workers-killed", "half of the load workers die in the burst", KILL,
        (
            *all_of(INCONCLUSIVE, NEVER_SENT, "autoscaler-response", "pdb-safety", "queue-backlog"),
            Expected("error-budget", INCONCLUSIVE, "intended requests were never sent"),
        ),
        {"workers_lost_at_s": MID_BURST_S},
    ),
    Saboteur(
        "metrics-removed", "the targets of Prometheus vanish: it answers, and has no sample any more", KILL,
        (
            Expected("error-budget", INCONCLUSIVE, "scrapes after the last answer"),
            Expected("queue-backlog", INCONCLUSIVE, "a hole of"),
        ),
        {"scrapes_end_s": MID_BURST_S},
    ),
    Saboteur(
        "metrics-store-down", "Prometheus does not answer any more", KILL,
        (
            Expected("error-budget", INCONCLUSIVE, "connection refused"),
            Expected("queue-backlog", INCONCLUSIVE, "is not known"),
        ),
        {"store_down_s": MID_BURST_S},
    ),
    Saboteur(
        "metrics-frozen", "from the middle of the burst on every scrape repeats the one before", KILL,
        (
            Expected("error-budget", INCONCLUSIVE, "the gateway counted"),
            Expected("queue-backlog", INCONCLUSIVE, "the counts prove an age"),
        ),
        {"metrics_frozen_at_s": MID_BURST_S},
    ),
    Saboteur(
        "nan-injected", "for 10 s every sample is NaN", KILL,
        (
            Expected("error-budget", INCONCLUSIVE, "not a finite number"),
            Expected("queue-backlog", INCONCLUSIVE, "not finite numbers"),
        ),
        {"metrics_nan_at_s": MID_BURST_S},
    ),
    Saboteur(
        "clock-skewed", "the clock of Prometheus is 30 s ahead", KILL,
        all_of(INCONCLUSIVE, "differs from ours by +30.0 s", *EVERY), {"store_skew_s": 30.0},
    ),
    Saboteur(
        "watch-cut", "the watch of pods has a hole of 30 s in the burst", KILL,
        all_of(INCONCLUSIVE, "the watch of pods had a hole", "autoscaler-response", "pdb-safety"),
        {"watch_hole_at_s": MID_BURST_S},
    ),
    Saboteur(
        "hpa-deleted", "there is no HorizontalPodAutoscaler", KILL,
        (
            Expected("autoscaler-response", FAIL, "there is no hpa"),
            *all_of(INCONCLUSIVE, "not run: there is no hpa", "pdb-safety", "queue-backlog", "error-budget"),
        ),
        {"hpa_missing": True},
    ),
    Saboteur(
        "hpa-dead", "the HorizontalPodAutoscaler cannot read its metric", KILL,
        (Expected("autoscaler-response", FAIL, "ScalingActive is False"),), {"hpa_dead": True},
    ),
    Saboteur(
        "pdb-deleted", "there is no PodDisruptionBudget", KILL,
        (
            Expected("pdb-safety", FAIL, "there is no pdb"),
            *all_of(INCONCLUSIVE, "not run: there is no pdb", "autoscaler-response", "error-budget"),
        ),
        {"pdb_missing": True},
    ),
    Saboteur(
        "errors-hidden-from-metrics", "3 % of the answers are 500, and the gateway counts them as 2xx", KILL,
        all_of(INCONCLUSIVE, "the gateway counted 0 bad answers", "error-budget"),
        {"errors_hidden": True, "error_ratio": 0.03},
    ),
    Saboteur(
        "errors-hidden-from-log", "3 % of the answers are 500, and the request log does not show them", KILL,
        all_of(INCONCLUSIVE, "the gateway counted", "error-budget"), {"rows_hidden_ratio": 1.0, "error_ratio": 0.03},
    ),
    Saboteur(
        "request-log-cut", "a fifth of the request log is lost on the way", KILL,
        (
            *all_of(INCONCLUSIVE, NEVER_SENT, "autoscaler-response", "pdb-safety", "queue-backlog"),
            Expected("error-budget", INCONCLUSIVE, "the gateway counted"),
        ),
        {"rows_lost_ratio": 0.2},
    ),
    Saboteur(
        "alert-rule-removed", "the rule of the alert that on-call waits for is gone", "tool-api-rate-limit",
        (Expected("on-call-is-told", FAIL, "ToolTasksWait did not fire"),), {"alert_rule_missing": True},
    ),
    Saboteur(
        "undo-broken", "no change can be taken back", DRAIN,
        (
            Expected("restored", FAIL, "not taken back"),
            Expected("node-back", INCONCLUSIVE, "was taken back"),
        ),
        {"undo_fails": True},
    ),
    Saboteur(
        "undo-lies", "an undo says that it is done, and restores nothing", DRAIN,
        (
            Expected("restored", FAIL, "unschedulable was false, is true"),
            Expected("node-back", FAIL, "it is cordoned"),
        ),
        {"undo_partial": True},
    ),
    Saboteur(
        "reaper-killed", "the reaper dies in the burst", KILL,
        all_of(INCONCLUSIVE, "the reaper is gone", "autoscaler-response", "pdb-safety"), {"reaper_lost_at_s": 90.0},
    ),
    Saboteur(
        "lease-lost", "the run's Lease cannot be renewed any more", KILL,
        all_of(INCONCLUSIVE, "the Lease could not be renewed", "autoscaler-response", "pdb-safety"),
        {"lease_lost_at_s": 90.0},
    ),
)  # fmt: skip
"""Every saboteur of the twin. A new one is one entry here and, where the twin cannot do it yet, one switch."""
