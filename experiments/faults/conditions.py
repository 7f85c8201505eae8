"""Conditions of plain objects, as the API returns them. Pure; a list that is absent is an empty one (CASES A12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def condition_is(obj: Mapping[str, Any], kind: str, status: str = "True") -> bool:
    """Tell whether an object says that it has a condition; one that it does not name, it does not have."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == status for c in conditions)
