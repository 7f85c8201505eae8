"""What faces the driver: puts together what workers say, and passes it on. No Locust, no gevent, no own clock.

One worker in the load child or many elsewhere: the driver hears the same words. A worker that ends before its plan did
ends the load, unless others go on: then it is a lost worker, and the snapshots show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from harness.model.load import LoadProfile, LoadSnapshot
from loadprofiles.accounts import Part
from loadprofiles.arrivals import arrival_chunks
from loadprofiles.muster import Muster
from loadprofiles.outlet import Outlet
from loadprofiles.talk_totals import totals_of

COMPLETED = "completed"


@dataclass(eq=False)
class Front:
    """The load's one voice.

    Attributes:
        profile: What is offered.
        seed: Of the arrivals.
        outlet: The way to the driver.
        now_s: The run's clock.
    """

    profile: LoadProfile
    seed: int
    outlet: Outlet
    now_s: Callable[[], float]
    _muster: Muster | None = None
    _done: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    _lost: dict[int, str] = field(default_factory=dict)
    _firsts: list[float] = field(default_factory=list)
    _told_first: bool = False

    def begin(self, began_s: float, members: Sequence[int], detail: Mapping[str, Any]) -> None:
        """Say that the load is on, and by whom."""
        due = _DueCounter(self.profile, self.seed)
        self._muster = Muster(self.profile.stages, began_s, due.until, set(members))
        self._edge("started", began_s, {"profile": self.profile.name, "workers": len(members), **detail})

    def send(self, message: Mapping[str, Any], blob: bytes = b"") -> None:
        """Take what a worker says (an `Outlet` for its engine)."""
        takers = {"rows": self._take_rows, "part": self._take_part, "first": self._take_first, "done": self._take_done}
        takers[message["m"]](message, blob)

    def _take_rows(self, message: Mapping[str, Any], blob: bytes) -> None:
        if self._muster is not None:
            self._muster.hear_taken(int(message["worker"]), int(message["taken"]))
        self.outlet.send(message, blob)

    def _take_part(self, message: Mapping[str, Any], blob: bytes) -> None:
        if self._muster is not None:
            part = Part(**message["part"])
            self._muster.take(part)
            self.outlet.send({"m": "started", "worker": part.worker, "total": part.started})
        self.tick()

    def _take_first(self, message: Mapping[str, Any], blob: bytes) -> None:
        self._firsts.append(float(message["t_s"]))

    def _take_done(self, message: Mapping[str, Any], blob: bytes) -> None:
        self._done[int(message["worker"])] = message

    def lose(self, worker: int, why: str) -> None:
        """Note that a worker is gone."""
        if self._muster is None or worker in self._done or worker in self._lost:
            return
        self._lost[worker] = why
        unheard = self._muster.unheard(worker, self.now_s())
        self._muster.members.discard(worker)
        self._edge("worker-lost", self.now_s(), {"worker": worker, "reason": why, "unheard_max": unheard})

    def regain(self, worker: int) -> None:
        """Note that a worker is back."""
        if self._muster is not None and self._lost.pop(worker, ""):
            self._muster.members.add(worker)
            self._edge("worker-back", self.now_s(), {"worker": worker})

    def tick(self) -> None:
        """Pass on the seconds that are whole, or have waited long enough."""
        if self._muster is None:
            return
        for seen in self._muster.ready(self.now_s()):
            self._snapshot(seen)
        if self._firsts and not self._told_first:
            self._told_first = True
            self._edge("first-request", min(self._firsts), {})

    @property
    def over(self) -> bool:
        """Tell whether every worker has ended or is lost."""
        return self._muster is not None and self._muster.members <= self._done.keys()

    def end(self) -> bool:
        """Say how the load ended; return whether it ended in order."""
        if self._muster is None:
            return False
        self.tick()
        ends = list(self._done.values())
        failure = next((str(done["failure"]) for done in ends if done["failure"]), "")
        if not ends:
            failure = "every worker was lost: " + "; ".join(sorted(set(self._lost.values())))
        reason = failure or next((str(d["reason"]) for d in ends if d["reason"] != COMPLETED), COMPLETED)
        now_s = max((float(done["t_s"]) for done in ends), default=self.now_s())
        self._snapshot(self._muster.finish(now_s, early=reason != COMPLETED))
        if answers := [float(done["last_answer_s"]) for done in ends if done["last_answer_s"] is not None]:
            self._edge("last-answer", max(answers), {})
        self._edge("lost" if failure else "ended", now_s, self._totals(reason, ends))
        for done in ends:
            self.outlet.send({"m": "bye", "worker": done["worker"], "total": done["rows"]})
        return not failure

    def _totals(self, reason: str, ends: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        assert self._muster is not None  # noqa: S101 - `end` looked
        errors: Counter[str] = Counter()
        for done in ends:
            errors.update(done["errors"])
        talks = totals_of(done["talks"] for done in ends) if self.profile.conversations else {}
        return {
            "reason": reason, "offered": self._muster.offered, "dropped": self._muster.dropped,
            "requests": self._muster.finished, "failures": self._muster.failures,
            "errors": dict(sorted(errors.items())), "workers_lost": len(self._lost), **talks,
        }  # fmt: skip

    def _snapshot(self, seen: LoadSnapshot) -> None:
        assert self._muster is not None  # noqa: S101 - only called with one
        self.outlet.send({"m": "snapshot", "snapshot": asdict(seen)})

    def _edge(self, subject: str, t_s: float, detail: Mapping[str, Any]) -> None:
        self.outlet.send({"m": "edge", "subject": subject, "t_s": t_s, "detail": dict(detail)})


class _DueCounter:
    """Counts a profile's arrivals up to a time, chunk by chunk, as they come near."""

    def __init__(self, profile: LoadProfile, seed: int) -> None:
        self._chunks = arrival_chunks(profile, seed)
        self._before, self._chunk = 0, next(self._chunks, np.empty(0))  # at once: a recording is read by that

    def until(self, t_s: float) -> int:
        """Return how many arrivals are due before ``t_s``; times must not fall."""
        while not len(self._chunk) or self._chunk[-1] < t_s:
            following = next(self._chunks, None)
            if following is None:
                break
            self._before, self._chunk = self._before + len(self._chunk), following
        return self._before + int(np.searchsorted(self._chunk, t_s))


__all__ = ["COMPLETED", "Front"]
