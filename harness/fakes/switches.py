"""How the twin misbehaves on demand: every switch is a way in which a game day goes wrong. Values only.

Tests set them directly; `GAMEDAY_TWIN` holds them as JSON for a rehearsal in another process, such as
``GAMEDAY_TWIN='{"hpa_missing": true}' gameday run pod-kill-under-burst --rehearse``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from harness.model.errors import SpecError

VARIABLE = "GAMEDAY_TWIN"


@dataclass(frozen=True, slots=True)
class Switches:
    """What goes wrong. Times are seconds since the run's origin; None means never.

    Attributes:
        hpa_missing: There is no HorizontalPodAutoscaler.
        hpa_dead: It is there and cannot scale (ScalingActive is False).
        hpa_delay_s: It asks so much later than it should.
        pdb_missing: There is no PodDisruptionBudget.
        pod_start_s: Seconds from a pod's node to its readiness.
        fault_absent: Kills and evictions are accepted and do nothing.
        wrong_victim: Kills and evictions hit another pod of the same workload than the one that was named.
        undone_early_s: Somebody takes back what a fault has set, so many seconds after it was set.
        pods_lost_at_s: All serving pods but one are lost, as when their nodes die.
        scrapes_end_s: The metrics store answers, and has no sample from then on.
        store_down_s: The metrics store does not answer from then on.
        store_skew_s: Its clock is so far ahead of ours.
        metrics_frozen_at_s: Every scrape from then on repeats the last one before it.
        metrics_nan_at_s: The scrapes of 10 s from then on are not numbers.
        alert_rule_missing: Prometheus has lost the rule of the alert ToolTasksWait.
        errors_hidden: The gateway counts its own 5xx answers as 2xx.
        watch_hole_at_s: The watch of pods has a hole.
        load_ratio: Share of the arrivals that the generator manages to start.
        load_dies_at_s: The generator dies.
        workers_lost_at_s: Half of its workers die, and with them half of the arrivals.
        rows_lost_ratio: Share of the request log that is lost on the way, and is known to be.
        rows_hidden_ratio: Share of the bad requests that the request log does not show, and nobody knows.
        error_ratio: Share of requests that the planner answers with 500.
        adapters_stuck: The adapters work off nothing.
        undo_fails: No change can be taken back.
        undo_partial: An undo says that it is done, and restores nothing of what was set.
        node_stays_lost: A node that was stopped never comes back.
        preemption_off: The scheduler preempts nobody.
        job_stuck: A Job's work never ends.
        job_forgets: What a lost pod of a Job has done is lost with it.
        node_scaler_missing: There is no autoscaler of nodes.
        node_start_s: Seconds from the autoscaler's asking for a node until it is there.
        nodes_kept: Nodes that nobody uses are not taken away.
        hpa_drops_blind: An autoscaler that sees no metrics goes to its minimum.
        lease_holder: Another run that holds the Lease.
        lease_lost_at_s: The Lease cannot be renewed from then on.
        halted_at_s: Somebody pulls the halt lever.
        reaper_lost_at_s: The reaper gives no sign of life from then on.
        pace_ratio: Real seconds that pass with each simulated one, so that a rehearsal can be interrupted.
    """

    hpa_missing: bool = False
    hpa_dead: bool = False
    hpa_delay_s: float = 0.0
    pdb_missing: bool = False
    pod_start_s: float = 2.0
    fault_absent: bool = False
    wrong_victim: bool = False
    undone_early_s: float | None = None
    pods_lost_at_s: float | None = None
    scrapes_end_s: float | None = None
    store_down_s: float | None = None
    store_skew_s: float = 0.0
    metrics_frozen_at_s: float | None = None
    metrics_nan_at_s: float | None = None
    alert_rule_missing: bool = False
    errors_hidden: bool = False
    watch_hole_at_s: float | None = None
    load_ratio: float = 1.0
    load_dies_at_s: float | None = None
    workers_lost_at_s: float | None = None
    rows_lost_ratio: float = 0.0
    rows_hidden_ratio: float = 0.0
    error_ratio: float = 0.0
    adapters_stuck: bool = False
    undo_fails: bool = False
    undo_partial: bool = False
    node_stays_lost: bool = False
    preemption_off: bool = False
    job_stuck: bool = False
    job_forgets: bool = False
    node_scaler_missing: bool = False
    node_start_s: float = 10.0
    nodes_kept: bool = False
    hpa_drops_blind: bool = False
    lease_holder: str = ""
    lease_lost_at_s: float | None = None
    halted_at_s: float | None = None
    reaper_lost_at_s: float | None = None
    pace_ratio: float = 0.0

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Switches:
        """Read the switches of a rehearsal; all off where the variable is not set.

        Raises:
            SpecError: The variable holds no JSON object, or a switch that does not exist.
        """
        text = environ.get(VARIABLE, "")
        known = {field.name for field in fields(cls)}
        try:
            asked = json.loads(text) if text else {}
        except ValueError as error:
            raise SpecError(VARIABLE, "", f"not JSON: {error}", 'write it like {"hpa_missing": true}') from None
        unknown = [key for key in asked if key not in known] if isinstance(asked, dict) else ["(not an object)"]
        if unknown:
            raise SpecError(VARIABLE, unknown[0], "there is no such switch", f"switches: {', '.join(sorted(known))}")
        return cls(**asked)


def passed(at_s: float | None, now_s: float) -> bool:
    """Tell whether the time of a switch has come."""
    return at_s is not None and now_s >= at_s
