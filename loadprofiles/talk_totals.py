"""What all conversations of a load came to, from what each worker says of its own. Pure: no clock, no Locust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(eq=False, slots=True)
class StreamCount:
    """What came of the streams of one endpoint.

    Attributes:
        streams: How many were asked for.
        events: Events that came, of all.
        without_event: Streams on which none came.
        first_event_sum_s: Of the others: time to the first event, of all.
        first_event_max_s: The longest one.
    """

    streams: int = 0
    events: int = 0
    without_event: int = 0
    first_event_sum_s: float = 0.0
    first_event_max_s: float = 0.0

    def add(self, events: int, first_event_s: float | None) -> None:
        """Note one stream."""
        self.streams += 1
        self.events += events
        self.without_event += first_event_s is None
        self.first_event_sum_s += first_event_s or 0.0
        self.first_event_max_s = max(self.first_event_max_s, first_event_s or 0.0)

    def join(self, other: StreamCount) -> None:
        """Add what another worker counted."""
        self.streams += other.streams
        self.events += other.events
        self.without_event += other.without_event
        self.first_event_sum_s += other.first_event_sum_s
        self.first_event_max_s = max(self.first_event_max_s, other.first_event_max_s)

    def told(self) -> dict[str, Any]:
        """Return it as plain values."""
        with_event = self.streams - self.without_event
        mean_s = round(self.first_event_sum_s / with_event, 6) if with_event else None
        return {
            "streams": self.streams, "events": self.events, "without_event": self.without_event,
            "first_event_mean_s": mean_s, "first_event_max_s": round(self.first_event_max_s, 6) if with_event else None,
        }  # fmt: skip


def totals_of(summaries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all workers' conversations came to.

    Args:
        summaries: Of each worker (`loadprofiles.talks.Talks.summary`).
    """
    whole = {"turns": 0, "turns_held_back": 0, "gave_up": 0}
    streams: dict[str, StreamCount] = {}
    for summary in summaries:
        whole["turns"] += summary["turns"]
        whole["turns_held_back"] += summary["held_back"]
        whole["gave_up"] += summary["gave_up"]
        for endpoint, counted in summary["streams"].items():
            streams.setdefault(endpoint, StreamCount()).join(StreamCount(**counted))
    return {**whole, "streams": {endpoint: found.told() for endpoint, found in sorted(streams.items())}}


__all__ = ["StreamCount", "totals_of"]
