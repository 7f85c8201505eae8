"""Label selectors as text and as values. Equality only (``app=planner,tier=web``); no client types, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

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


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Tell whether a LabelSelector of an object selects labels.

    Args:
        selector: ``matchLabels`` and ``matchExpressions``, both ANDed. Empty selects everything, None nothing
            (Kubernetes API, policy/v1 PodDisruptionBudgetSpec).
        labels: Labels of a pod.

    Raises:
        ValueError: An operator that does not exist.
    """
    if selector is None:
        return False
    plain = (selector.get("matchLabels") or {}).items() <= labels.items()
    return plain and all(_meets(one, labels) for one in selector.get("matchExpressions") or ())


def _meets(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(f"{other!r} is no operator of a label selector")
