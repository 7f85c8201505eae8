"""The simulated tool-call queue: tasks come in order, adapters work them off in order, every task is counted. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

TASK_S = 0.2
SLOTS_PER_ADAPTER = 4
"""As the sample platform's adapter: 4 at a time, 200 ms each, so 20 tasks a second."""

LATE_S = 300.0
RETRY_S = 1.0
"""How long an adapter's slot is taken by a call that is refused: it backs off, then calls again."""


@dataclass
class SimulatedQueue:
    """A Redis stream with one consumer group, as its exporter shows it.

    Attributes:
        enqueued: Tasks that came so far.
        done: Tasks that were finished.
        late: Of these, finished too late.
        meet: Draws the fault that a tool call meets: seconds it waits, status it is refused with (0: none).
    """

    enqueued: int = 0
    done: int = 0
    late: int = 0
    meet: Callable[[], tuple[float, int]] = lambda: (0.0, 0)
    _waiting: deque[float] = field(default_factory=deque)
    _busy: list[tuple[float, float, bool]] = field(default_factory=list)
    _worked_until_s: float = 0.0

    @property
    def lag(self) -> int:
        """Tasks that no adapter has taken yet."""
        return len(self._waiting)

    @property
    def pending(self) -> int:
        """Tasks that are being worked on."""
        return len(self._busy)

    @property
    def depth(self) -> int:
        """Tasks that are not done."""
        return self.lag + self.pending

    def age_s(self, now_s: float) -> float:
        """Return the age of the oldest task that is not done; 0 for none."""
        oldest = [*(enqueued_s for _, enqueued_s, _ in self._busy), *list(self._waiting)[:1]]
        return now_s - min(oldest) if oldest else 0.0

    def add(self, tasks: int, now_s: float) -> None:
        """Append tasks."""
        self.enqueued += tasks
        self._waiting.extend([now_s] * tasks)

    def work(self, adapters: int, now_s: float) -> None:
        """Let adapters work until now; a task that was taken is finished even if its adapter leaves."""
        slots = adapters * SLOTS_PER_ADAPTER
        free_s = self._worked_until_s
        while True:
            if self._waiting and len(self._busy) < slots and max(self._waiting[0], free_s) <= now_s:
                enqueued_s = self._waiting.popleft()
                self._call(max(enqueued_s, free_s), enqueued_s)
            elif self._busy and self._busy[0][0] <= now_s:
                free_s = max(free_s, self._finish(free_s))
            else:
                break
        self._worked_until_s = now_s

    def _call(self, start_s: float, enqueued_s: float) -> None:
        delay_s, refused = self.meet()
        end_s = start_s + delay_s + (RETRY_S if refused else TASK_S)
        heapq.heappush(self._busy, (end_s, enqueued_s, not refused))

    def _finish(self, free_s: float) -> float:
        """Finish the first call that is due; one that was refused is made again, and frees no slot."""
        finished_s, enqueued_s, done = heapq.heappop(self._busy)
        if not done:
            self._call(finished_s, enqueued_s)
            return free_s
        self.done += 1
        self.late += finished_s - enqueued_s > LATE_S
        return finished_s
