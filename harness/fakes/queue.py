"""The simulated tool-call queue: tasks come in order, adapters work them off in order, every task is counted. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

TASKS_PER_ADAPTER_PER_S = 20.0
"""As the sample platform's adapter: 4 at a time, 200 ms each."""

SLOTS_PER_ADAPTER = 4
LATE_S = 300.0


@dataclass
class SimulatedQueue:
    """A Redis stream with one consumer group, as its exporter shows it."""

    enqueued: int = 0
    done: int = 0
    late: int = 0
    pending: int = 0
    _waiting: deque[float] = field(default_factory=deque)
    _credit: float = 0.0

    @property
    def depth(self) -> int:
        """Tasks that are not done."""
        return len(self._waiting)

    @property
    def lag(self) -> int:
        """Tasks that no adapter has taken yet."""
        return self.depth - self.pending

    def age_s(self, now_s: float) -> float:
        """Return the age of the oldest task that is not done; 0 for none."""
        return now_s - self._waiting[0] if self._waiting else 0.0

    def add(self, tasks: int, now_s: float) -> None:
        """Append tasks."""
        self.enqueued += tasks
        self._waiting.extend([now_s] * tasks)

    def work(self, adapters: int, elapsed_s: float, now_s: float) -> None:
        """Let adapters work for a while; no more than they can do, and nothing saved up while there is none to do."""
        self._credit += adapters * TASKS_PER_ADAPTER_PER_S * elapsed_s
        while self._waiting and self._credit >= 1:
            self.late += now_s - self._waiting.popleft() > LATE_S
            self.done += 1
            self._credit -= 1
        if not self._waiting:
            self._credit = min(self._credit, 1.0)
        self.pending = min(self.depth, adapters * SLOTS_PER_ADAPTER)
