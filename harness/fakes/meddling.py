"""Somebody who meddles with a fault: takes back what it has set, too early. The twin's only; restores nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.fakes.objects import ObjectStore
from harness.model.fault import OWNER_ANNOTATIONS, ObjectRef
from harness.model.pointer import escape, resolve

MARKS = tuple(f"/metadata/annotations/{escape(name)}" for name in OWNER_ANNOTATIONS)


@dataclass
class Meddler:
    """Takes back each change of a fault ``after_s`` seconds after it was made; never, where that is None."""

    store: ObjectStore
    after_s: float | None = None
    _due: list[tuple[float, ObjectRef, Mapping[str, Any], str]] = field(default_factory=list)

    def saw(self, now_s: float, ref: ObjectRef, seen: Mapping[str, Any], values: Mapping[str, Any], sub: str) -> None:
        """Note a change that is about to be made; marks of ownership are left where they are."""
        prior = {p: resolve(seen, p) for p in values if not p.startswith(MARKS)}
        if self.after_s is not None and prior:
            self._due.append((now_s + self.after_s, ref, prior, sub))

    def step(self, now_s: float) -> None:
        """Take back what is due."""
        due, self._due = [d for d in self._due if d[0] <= now_s], [d for d in self._due if d[0] > now_s]
        for _, ref, prior, sub in due:
            present = self.store.get(ref)
            if present is not None:
                self.store.patch(ref, present, prior, sub)
