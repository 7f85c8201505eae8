"""What several workers say of their seconds, put together as what the generator says of itself. Pure: no clock, no I/O.

What is offered is the profile's, whoever is there to send it. An arrival that no worker claims, because the one who had
it is lost, counts as dropped; one that others took over does not. Nothing here may make missing load look like a lower
plan: at the end of a plan what was taken up and what was dropped are together what was due.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from harness.model.load import LoadSnapshot, Stage
from loadprofiles import shapes
from loadprofiles.accounts import Part

PATIENCE_S = 1.0
"""How long after its end a second waits for a worker that has not spoken yet."""


@dataclass(eq=False)
class Muster:
    """Collects the parts of every worker, second by second.

    Attributes:
        stages: Of the profile.
        began_s: When the load began, on the run's clock.
        due_until: How many arrivals the profile has, of all workers, up to so many seconds after the beginning.
        members: Workers that are expected to speak.
        offered: Arrivals that were due in the seconds that were put together.
        claimed: Of these, the ones that some worker had.
    """

    stages: Sequence[Stage]
    began_s: float
    due_until: Callable[[float], int]
    members: set[int] = field(default_factory=set)
    offered: int = 0
    claimed: int = 0
    _open: dict[int, dict[int, Part]] = field(default_factory=dict)
    _latest: dict[int, Part] = field(default_factory=dict)
    _done: set[int] = field(default_factory=set)
    _taken: dict[int, int] = field(default_factory=dict)
    _owned: Counter[int] = field(default_factory=Counter)
    _next: int = 0
    _unclaimed: int = 0

    @property
    def started(self) -> int:
        """Requests that are known to have been started, by all workers."""
        return sum(part.started for part in self._latest.values())

    def unheard(self, worker: int, now_s: float) -> int:
        """Return how many requests a worker may have sent since it was heard last.

        By its share of the profile, and by the conversations that it held in its last second.
        """
        last = self._latest.get(worker)
        since_s = (last.edge_s if last is not None else self.began_s) - self.began_s
        share = max(len(self.members), 1)
        until_s = now_s - self.began_s
        due = shapes.arrivals_until(self.stages, until_s) - shapes.arrivals_until(self.stages, since_s)
        turns = last.turns * (until_s - since_s) if last is not None else 0.0
        return max(math.ceil(due / share + turns), 1)

    @property
    def finished(self) -> int:
        """Requests that are known to have ended."""
        return sum(part.finished for part in self._latest.values())

    @property
    def failures(self) -> int:
        """Requests that are known to have ended badly."""
        return sum(part.failures for part in self._latest.values())

    @property
    def dropped(self) -> int:
        """Arrivals given up, also those that no worker had."""
        return self._unclaimed + sum(part.dropped for part in self._latest.values())

    def take(self, part: Part) -> None:
        """Note what a worker says; what comes after its second was put together still counts in the totals."""
        known = self._latest.get(part.worker)
        if known is None or part.second >= known.second:
            self._latest[part.worker] = part
        self.hear_taken(part.worker, part.taken)
        if part.second >= self._next:
            self._open.setdefault(part.second, {})[part.worker] = part
        else:  # it had its arrivals after all; what it dropped of them is in its own count
            self._claim([part])
            self._unclaimed = min(self._unclaimed, self._debt)
        if part.last:
            self._done.add(part.worker)

    def hear_taken(self, worker: int, taken: int) -> None:
        """Note how many arrivals a worker's users have taken up: it comes with its rows, more often than its parts."""
        self._taken[worker] = max(taken, self._taken.get(worker, 0))

    def ready(self, now_s: float) -> Iterable[LoadSnapshot]:
        """Yield the seconds that are complete, or that have waited long enough; the last one comes by `finish`."""
        while self._spoken(self._next) or now_s > self.began_s + self._next + 1 + PATIENCE_S:
            if self._done >= self.members:
                return
            yield self._close(self._open.pop(self._next, {}), self.began_s + self._next + 1)

    def finish(self, now_s: float, *, early: bool) -> LoadSnapshot:
        """Return the last second, from whatever is there; ``early`` where the load ended before its plan did."""
        rest = [part for second in sorted(self._open) for part in self._open[second].values()]
        self._open.clear()
        self._claim(rest)
        self._settle_the_lost()
        whole = max(self.offered, self.claimed) if early else self.due_until(shapes.duration_s(self.stages) + 1.0)
        offered, self.offered = whole - self.offered, whole
        self._unclaimed = self._debt
        return self._seen(rest, now_s, offered=offered, early=early, ended=True)

    def _claim(self, parts: Iterable[Part]) -> None:
        for part in parts:
            self.claimed += part.offered
            self._owned[part.worker] += part.offered

    def _settle_the_lost(self) -> None:
        """Let a worker that never said its last keep what it is known to have sent and dropped, no more and no less."""
        for worker in self._taken.keys() - self._done:
            dropped = self._latest[worker].dropped if worker in self._latest else 0
            self.claimed += self._taken[worker] + dropped - self._owned[worker]

    @property
    def _debt(self) -> int:
        """Arrivals that were due and that nobody has claimed."""
        return max(self.offered - self.claimed, 0)

    def _spoken(self, second: int) -> bool:
        there = self._open.get(second, {})
        return bool(self.members) and all(m in there or m in self._done for m in self.members)

    def _close(self, there: dict[int, Part], edge_s: float) -> LoadSnapshot:
        self._next += 1
        due = self.due_until(float(self._next))
        offered, self.offered = due - self.offered, due
        self._claim(there.values())
        # Where all have spoken, nothing new is missing: what is handed out late is claimed in the next second.
        self._unclaimed = min(self._unclaimed, self._debt) if self._spoken_by(there) else self._debt
        return self._seen(list(there.values()), edge_s, offered=offered)

    def _spoken_by(self, there: dict[int, Part]) -> bool:
        return len(self._latest) <= len(there.keys() | self._done) and self.members <= there.keys() | self._done

    def _seen(
        self, parts: Sequence[Part], edge_s: float, *, offered: int, early: bool = False, ended: bool = False
    ) -> LoadSnapshot:
        start_s = min((part.start_s for part in parts), default=edge_s - 1.0)
        span_s = max(edge_s - start_s, 1e-3)
        stage = shapes.ENDED if early or ended else shapes.stage_name_at(self.stages, edge_s - self.began_s)
        alive = [part for part in parts if not part.last] or parts
        return LoadSnapshot(
            t_s=round(edge_s, 3),
            stage=stage,
            offered_rps=round(offered / span_s, 3),
            achieved_rps=round(sum(part.achieved for part in parts) / span_s, 3),
            requests=self.finished,
            failures=self.failures,
            inflight=max(self.started - self.finished, 0),
            dropped=self.dropped,
            workers=len({part.worker for part in alive}),
            users=sum(part.users for part in parts),
            cpu_ratio=max((part.cpu_ratio for part in parts), default=0.0),
            lag_s=max((part.lag_s for part in parts), default=0.0),
            turns_rps=round(sum(part.turns for part in parts) / span_s, 3),
            loop_lag_s=max((part.loop_lag_s for part in parts), default=0.0),
        )


__all__ = ["PATIENCE_S", "Muster"]
