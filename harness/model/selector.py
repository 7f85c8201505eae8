"""Label selectors as text and as values. Equality only (``app=planner,tier=web``); no client types, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PAIR = re.compile(r"\s*([A-Za-z0-9./_-]+)\s*={1,2}\s*([A-Za-z0-9._-]*)\s*")


def parse_selector(text: str) -> dict[str, str]:
    """Parse an equality selector.

    Args:
        text: Such as ``app=planner,tier=web``.

    Returns:
        Labels that must all be carried; never empty, since an empty selector would mean every pod (CASES A06).

    Raises:
        ValueError: The text is empty, or is not a list of ``key=value``.
    """
    labels: dict[str, str] = {}
    for part in text.split(","):
        match = _PAIR.fullmatch(part)
        if match is None:
            raise ValueError(f"{text!r} is not a selector; write it like app=planner or app=planner,tier=web")
        labels[match[1]] = match[2]
    return labels


def selector_text(labels: Mapping[str, str]) -> str:
    """Return a selector as kubectl takes it."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
