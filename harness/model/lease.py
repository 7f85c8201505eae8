"""The run Lease as somebody sees who does not hold it. A value; no I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What the run Lease says.

    Attributes:
        holder: Who holds it, or empty.
        age_s: Seconds since its last renewal, by the API server's clock.
        duration_s: How long it lives without one.
        server_unix_s: The API server's clock.
    """

    holder: str
    age_s: float
    duration_s: float
    server_unix_s: float

    @property
    def alive(self) -> bool:
        """Tell whether somebody holds it and renewed it in time."""
        return bool(self.holder) and self.age_s < self.duration_s
