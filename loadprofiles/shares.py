"""Which worker sends which arrival, and from when on: pure. Every arrival of the profile has exactly one owner.

Arrival n belongs to the worker at place ``n mod`` the number of workers. When a worker is lost or comes back, all are
told a time from which the new list holds, so that no arrival is sent twice and none falls between two lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Share:
    """A list of workers.

    Attributes:
        from_s: Seconds after the load's beginning from which it holds.
        members: Numbers of the workers, in order; empty: nobody sends.
    """

    from_s: float
    members: tuple[int, ...]


def owned(
    worker: int, first_number: int, due_s: npt.NDArray[np.float64], shares: Sequence[Share]
) -> npt.NDArray[np.bool_]:
    """Tell which of some arrivals are a worker's.

    Args:
        worker: Number of the worker.
        first_number: Number of the first of these arrivals within the profile.
        due_s: When they are due, rising, in seconds after the load's beginning.
        shares: By ``from_s``, rising; nobody owns what is due before the first.

    Returns:
        True for each arrival that the worker is to send.
    """
    numbers = first_number + np.arange(len(due_s))
    mine = np.zeros(len(due_s), dtype=np.bool_)
    for share in shares:
        holds = due_s >= share.from_s
        if worker in share.members:
            its = numbers % len(share.members) == share.members.index(worker)
            mine = np.where(holds, its, mine)
        else:
            mine = mine & ~holds
    return mine


__all__ = ["Share", "owned"]
