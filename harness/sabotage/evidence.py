"""Brings the last table of sabotage into a run's record: its report says how the harness was tried. Reads only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.model.sabotage import PLACES, SABOTAGE_FACT
from harness.sabotage.trial import FILE_NAME, SCHEMA


def sabotage_facts(runs_dir: Path) -> dict[str, Any]:
    """Return the fact for a run's header; nothing where nobody was ever let loose on these runs' harness."""
    found = {place: _table(runs_dir / f"{place}-{FILE_NAME}") for place in PLACES}
    told = {place: table for place, table in found.items() if table}
    return {SABOTAGE_FACT: told} if told else {}


def _table(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text("utf-8"))
        if written["schema"] != SCHEMA:
            return {"problem": f"{path.name} is of another version"}
        trials = [{key: trial[key] for key in ("name", "does", "caught")} for trial in written["trials"]]
        return {key: written[key] for key in ("at", "caught", "tried")} | {"trials": trials}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"problem": f"{path.name} cannot be read: {type(error).__name__}: {error}"}
