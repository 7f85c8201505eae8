"""FAULTS: every action that an experiment may name. A new fault is one line here; nothing is scanned."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.faults.container import CRASH_CONTAINERS, HANG_PODS
from experiments.faults.definition import Fault, PodFault
from experiments.faults.dependency import METRICS_BLACKOUT, SCALE_DEPENDENCY
from experiments.faults.drain import DRAIN_NODES
from experiments.faults.gateway import GATEWAY_FAULT
from experiments.faults.gpu import EXHAUST_GPUS
from experiments.faults.job import RUN_JOB
from experiments.faults.mesh import LITMUS_CHAOS, MESH_CHAOS
from experiments.faults.misconfigure import PIN_AUTOSCALER
from experiments.faults.network import CUT_NETWORK
from experiments.faults.node_loss import LOSE_NODES, RECLAIM_SPOT_NODES
from experiments.faults.pod import DELETE_PODS, EVICT_PODS, KILL_PODS
from experiments.faults.rollout import BREAK_ROLLOUT
from experiments.faults.throttling import THROTTLE_API

FAULTS: Mapping[str, PodFault | Fault] = {
    fault.name: fault
    for fault in (
        KILL_PODS,
        DELETE_PODS,
        EVICT_PODS,
        CRASH_CONTAINERS,
        HANG_PODS,
        DRAIN_NODES,
        LOSE_NODES,
        RECLAIM_SPOT_NODES,
        RUN_JOB,
        EXHAUST_GPUS,
        SCALE_DEPENDENCY,
        METRICS_BLACKOUT,
        GATEWAY_FAULT,
        THROTTLE_API,
        PIN_AUTOSCALER,
        BREAK_ROLLOUT,
        CUT_NETWORK,
        MESH_CHAOS,
        LITMUS_CHAOS,
    )
}
"""Faults by the name of their action's function."""
