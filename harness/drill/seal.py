"""What a drill hides until its end: which experiment and fault it is, in a folder that only its owner may enter.

The journal holds the seal (a hash) from the first entry on; this folder holds what opens it, and the run's own record.
"""

from __future__ import annotations

import json
import os
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.model.drill import Drill, DrillError, seal_of
from harness.store import move_run

SEALED_DIR = "sealed"
HIDDEN_FILE = "hidden.json"
LOG_FILE = "run.log"
NONCE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Hidden:
    """What nobody may know before the end.

    Attributes:
        experiment: Name of the experiment.
        fault: Name of the activity in its method.
        seed: Seed of the run.
        nonce: What makes the seal unguessable.
        title: Of the experiment.
        answer: One sentence: what it was.
        runbook: Paths of the runbooks that people have.
    """

    experiment: str
    fault: str
    seed: int
    nonce: str
    title: str = ""
    answer: str = ""
    runbook: list[str] = field(default_factory=list)

    @property
    def seal(self) -> str:
        """The seal that the journal holds."""
        return seal_of({"experiment": self.experiment, "fault": self.fault}, self.nonce)

    @property
    def revealed(self) -> Mapping[str, Any]:
        """Detail of the entry ``revealed``."""
        return {key: value for key, value in asdict(self).items() if key != "seed"}


def choose(candidates: Sequence[tuple[str, str]], seed: int | None) -> Hidden:
    """Choose one of (experiment, fault), each as likely as the others.

    Args:
        candidates: What a drill may hide.
        seed: Makes the choice repeatable; None: chance, of which nobody keeps a trace but the sealed folder.
    """
    number = random.SystemRandom().randrange(1, 2**31) if seed is None else seed
    experiment, fault = random.Random(f"{number}/choice").choice(list(candidates))  # noqa: S311 - repeatable
    return Hidden(experiment, fault, number, secrets.token_hex(NONCE_BYTES))


def write_hidden(folder: Path, hidden: Hidden) -> Path:
    """Make the sealed folder of a drill and return it.

    Args:
        folder: The drill's folder.
        hidden: What goes in.
    """
    sealed = folder / SEALED_DIR
    sealed.mkdir(mode=0o700)
    descriptor = os.open(sealed / HIDDEN_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(hidden), file)
        file.flush()
        os.fsync(file.fileno())
    return sealed


def read_hidden(folder: Path) -> Hidden:
    """Read what a drill hides.

    Raises:
        DrillError: It is not there, or not readable.
    """
    path = folder / SEALED_DIR / HIDDEN_FILE
    try:
        return Hidden(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        problem = f"what drill {folder.name} hides cannot be read ({type(error).__name__})"
        raise DrillError(problem, f"is {path} whole? without it the drill cannot be revealed") from error


def seal_problem(drill: Drill, hidden: Hidden) -> str:
    """Say what is wrong with what is revealed, or nothing: it must be what was sealed before anything began."""
    sealed: Any = drill.opened().get("seal")
    if sealed == hidden.seal:
        return ""
    return "what is revealed is not what was sealed when the drill was opened"


def unseal_run(folder: Path, runs_dir: Path) -> Path | None:
    """Move the run's record to where runs are, and return its folder; None where there is no record.

    Args:
        folder: The drill's folder.
        runs_dir: Where run folders are.

    Raises:
        StoreError: It cannot be moved.
    """
    return move_run(folder / SEALED_DIR, runs_dir)
