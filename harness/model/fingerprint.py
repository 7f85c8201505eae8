"""Differences between two fingerprints of a cluster: the proof that nothing is left (DESIGN U6). No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was.

    Attributes:
        subject: ``Kind/namespace/name`` or ``Kind/name``, as in the fingerprint.
        pointer: JSON pointer of the field; empty for the whole object.
        before: Value before; None where it was absent.
        after: Value after; None where it is absent.
    """

    subject: str
    pointer: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """Return ``Node/general-1 /unschedulable: False → True``."""
        return f"{self.subject} {self.pointer}: {self.before!r} → {self.after!r}".replace(" :", ":")


def fingerprint_difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Compare two fingerprints, field by field (DESIGN U6).

    Args:
        before: By ``Kind/namespace/name``, before the first change.
        after: The same, after the last undo.

    Returns:
        Every difference, by subject and pointer; empty where nothing differs.
    """
    return [
        found
        for subject in sorted(before.keys() | after.keys())
        for found in _compare(subject, "", before.get(subject), after.get(subject))
    ]


def _compare(subject: str, pointer: str, before: Any, after: Any) -> Sequence[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            found
            for key in sorted(before.keys() | after.keys())
            for found in _compare(subject, f"{pointer}/{_escaped(key)}", before.get(key), after.get(key))
        ]
    return [] if before == after else [Difference(subject, pointer, before, after)]


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
