"""FAULTS: every action that an experiment may name. A new fault is one line here; nothing is scanned."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.faults.definition import Fault, PodFault
from experiments.faults.pod import EVICT_PODS, KILL_PODS

FAULTS: Mapping[str, PodFault | Fault] = {fault.name: fault for fault in (KILL_PODS, EVICT_PODS)}
"""Faults by the name of their action's function."""
