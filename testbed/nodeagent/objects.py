"""Shapes that every part of the agent shares: API objects as they come, points in time as the API writes them.

Pure but for reading the clock; nothing here knows a pod's life.
"""

from datetime import UTC, datetime
from typing import Any

Obj = dict[str, Any]
"""An object of the API, or a part of one, as decoded JSON."""


def rfc3339(moment: datetime | None = None) -> str:
    """Return `moment` (default: now) as the API's Time: UTC, whole seconds."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(moment: datetime | None = None) -> str:
    """Return `moment` (default: now) as the API's MicroTime, which leases use."""
    return (moment or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Return the moment that an API time names; raises ValueError for anything else."""
    return datetime.fromisoformat(text)


def uid_of(obj: Obj) -> str:
    """Return the uid of an object."""
    return str(obj["metadata"]["uid"])


def title(obj: Obj) -> str:
    """Return `namespace/name`, for messages."""
    meta = obj["metadata"]
    return f"{meta.get('namespace', '')}/{meta['name']}"
