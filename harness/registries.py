"""The registries, fetched on demand. A composition root's own: nothing that runs under import rules may import it.

Fetching FAULTS brings Chaos Toolkit with it, so it happens only when a game day is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.definitions import AssertionDefinition, FaultDefinition
from harness.model.experiment import Experiment

PROJECT_DIR = Path(__file__).resolve().parent.parent
EXPERIMENTS_DIR = PROJECT_DIR / "experiments"


def faults() -> Mapping[str, FaultDefinition]:
    """Return FAULTS."""
    from experiments.faults.registry import FAULTS  # noqa: PLC0415 - heavy, see the module docstring

    return FAULTS


def assertions() -> Mapping[str, AssertionDefinition]:
    """Return ASSERTIONS."""
    from assertions.registry import ASSERTIONS  # noqa: PLC0415 - pandas, see the module docstring

    return ASSERTIONS


def experiment_path(name_or_path: str, experiments_dir: Path = EXPERIMENTS_DIR) -> Path:
    """Return the file of an experiment named by its name or its path; a folder's path stays what it is."""
    path, named = Path(name_or_path), experiments_dir / f"{name_or_path}.yaml"
    return path if path.suffix in {".yaml", ".yml"} or (path.is_dir() and not named.exists()) else named


def load(path: Path) -> Experiment:
    """Read and validate an experiment against every registry.

    Raises:
        SpecError: What is wrong, where, and what to do.
    """
    from experiments.faults.probes import PROBES  # noqa: PLC0415 - heavy, see the module docstring
    from harness.spec import load_experiment  # noqa: PLC0415
    from loadprofiles.profiles import PROFILES  # noqa: PLC0415

    return load_experiment(path, faults=faults(), probes=PROBES, profiles=PROFILES, assertions=assertions())
