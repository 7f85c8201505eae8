"""One worker's portion of the arrivals: which are its own by the shares it knows, and which it has done with. Pure.

Every arrival is handed out or passed over at most once, however often the shares change. Must not read a clock: times
are handed in, in seconds after the load's beginning.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.model.load import LoadProfile
from loadprofiles.arrivals import arrival_chunks, class_choices
from loadprofiles.shares import Share, owned


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the profile's arrivals.

    Attributes:
        first: Number of its first arrival within the profile.
        due_s: When they are due, rising.
        choices: Their user classes, by place in the profile.
    """

    first: int
    due_s: npt.NDArray[np.float64]
    choices: npt.NDArray[np.intp]


def chunks_of(profile: LoadProfile, seed: int) -> Iterator[Chunk]:
    """Yield all arrivals of a profile, piece by piece."""
    first = 0
    for due_s in arrival_chunks(profile, seed):
        yield Chunk(first, due_s, class_choices(profile, seed, first, len(due_s)))
        first += len(due_s)


class Portion:
    """What one worker has to send, and how far it is.

    Args:
        worker: Its number.
        chunks: All arrivals of the profile.
    """

    def __init__(self, worker: int, chunks: Iterable[Chunk]) -> None:
        self._worker = worker
        self._chunks = iter(chunks)
        self._chunk = Chunk(0, np.empty(0), np.empty(0, dtype=np.intp))
        self._done = 0
        """Number of the first arrival that is not done with."""
        self._shares: Sequence[Share] = ()

    def assign(self, shares: Sequence[Share]) -> None:
        """Take over a list of shares; what is done with stays so. Ends what `arrivals` gave before."""
        self._shares = shares

    def arrivals(self) -> Iterator[tuple[float, int | None]]:
        """Yield when the next own arrival is due and its class, in order: done with once the one after it is asked for.

        Where all arrivals of a chunk are done with, its end comes without a class: to be waited for, like an arrival,
        because other shares may make what lies before it this worker's.
        """
        while True:
            chunk, at = self._chunk, self._at
            mine = self._mine(chunk, at, len(chunk.due_s)).nonzero()[0] + at
            due_s, choices = chunk.due_s[mine].tolist(), chunk.choices[mine].tolist()
            for place, when_s, choice in zip(mine.tolist(), due_s, choices, strict=True):
                yield when_s, choice
                self._done = chunk.first + place + 1
            if self._at < len(chunk.due_s):
                yield float(chunk.due_s[-1]), None
            if not self._go_on():
                return

    def pass_over(self, until_s: float) -> list[float]:
        """Be done with all that is due until then; return when those were due which the shares leave to this worker."""
        passed: list[float] = []
        while True:
            chunk, at = self._chunk, self._at
            past = max(int(np.searchsorted(chunk.due_s, until_s, side="right")), at)
            passed += chunk.due_s[at:past][self._mine(chunk, at, past)].tolist()
            self._done = chunk.first + past
            if past < len(chunk.due_s) or not self._go_on():
                return passed

    @property
    def _at(self) -> int:
        """Place within the chunk of the first arrival that is not done with."""
        return self._done - self._chunk.first

    def _mine(self, chunk: Chunk, at: int, end: int) -> npt.NDArray[np.bool_]:
        return owned(self._worker, chunk.first + at, chunk.due_s[at:end], self._shares)

    def _go_on(self) -> bool:
        """Be done with this chunk and take the next; tell whether there is one."""
        self._done = self._chunk.first + len(self._chunk.due_s)
        following = next(self._chunks, None)
        self._chunk = following or self._chunk
        return following is not None


__all__ = ["Chunk", "Portion", "chunks_of"]
