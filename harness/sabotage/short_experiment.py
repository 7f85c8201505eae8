"""The short form of a shipped experiment: same faults and assertions, a burst of 45 s. Writes one file and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness import registries

STAGES = {"baseline": "8s", "ramp": "1s", "burst": "45s", "cooldown": "4s"}
FIRST_FAULT_S, LATER_FAULT_S = 25, 5
HOLD_MAX = "8s"


def short_document(experiment: str) -> dict[str, Any]:
    """Return the short form: the first fault 25 s after the burst is on, each later one 5 s after the last."""
    document: dict[str, Any] = yaml.safe_load(registries.experiment_path(experiment).read_text())
    for number, action in enumerate(document["method"]):
        action["pauses"] = {"before": LATER_FAULT_S if number else FIRST_FAULT_S}
    gameday = document["extensions"][0]
    gameday["load"]["stages"] = STAGES
    for limits in gameday["faults"].values():
        limits["max_hold"] = HOLD_MAX
    return document


def write_short_experiment(experiment: str, folder: Path) -> Path:
    """Write the short form into a folder and return its path."""
    path = folder / f"short-{experiment}.yaml"
    path.write_text(yaml.safe_dump(short_document(experiment), sort_keys=False))
    return path
