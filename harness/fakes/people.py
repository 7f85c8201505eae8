"""People who hold conversations with the twin: they think, ask, wait for the answer and think again. A closed loop.

Seeded, and in simulated time. Simpler than the load engine's: nobody gives up, and a turn is one request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush
from random import Random

from harness.model.load import LoadProfile, parse_range

THINK_S = (1.0, 4.0)
"""As the planner's conversations; ``think_s`` of the experiment's options wins."""


class People:
    """All who talk at a time.

    Args:
        profile: Says how many.
        options: Of the experiment.
        seed: Same seed, same pauses.
        began_s: When they begin to think.

    Attributes:
        turns: Requests that they have started.
    """

    def __init__(
        self, profile: LoadProfile, options: Mapping[str, str | int | float], seed: int, began_s: float
    ) -> None:
        self._think_s = parse_range(options["think_s"]) if "think_s" in options else THINK_S
        self._random = Random(f"people/{seed}")  # noqa: S311 - a rehearsal that must repeat
        self._due_s = [began_s + self._pause_s() for _ in range(sum(profile.conversations.values()))]
        heapify(self._due_s)
        self._asked: set[int] = set()
        self.turns = 0

    def _pause_s(self) -> float:
        return self._random.uniform(*self._think_s)

    def step(self, now_s: float, send: Callable[[float], int]) -> None:
        """Ask what is to be asked by now; ``send`` returns the request's number."""
        while self._due_s and self._due_s[0] <= now_s:
            self._asked.add(send(heappop(self._due_s)))
            self.turns += 1

    def answered(self, seq: int, end_s: float) -> bool:
        """Let whoever asked it think again; tell whether a request was theirs."""
        if seq not in self._asked:
            return False
        self._asked.discard(seq)
        heappush(self._due_s, end_s + self._pause_s())
        return True


__all__ = ["People"]
