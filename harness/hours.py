"""Hours in which runs may start: ``Mon-Fri 09:00-16:00 Europe/Berlin; Sat 10:00-12:00 UTC``. Pure; time is an argument.

An opening lies within one day of its own time zone, so that a change of summer time never moves it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_OPENING = re.compile(
    r"(?P<first>[A-Z][a-z]{2})(?:-(?P<last>[A-Z][a-z]{2}))? (?P<opens>\d\d:\d\d)-(?P<closes>\d\d:\d\d) (?P<zone>\S+)"
)
_LOOK_DAYS = 8


@dataclass(frozen=True, slots=True)
class Opening:
    """Hours of some days of the week.

    Attributes:
        days: Numbers of the days, Monday is 0.
        opens: From when.
        closes: Until when, on the same day.
        zone: Whose clock.
    """

    days: frozenset[int]
    opens: time
    closes: time
    zone: ZoneInfo

    def window(self, day: datetime) -> tuple[datetime, datetime] | None:
        """Return when it opens and closes on the day of a moment, or None where it does not."""
        local = day.astimezone(self.zone)
        if local.weekday() not in self.days:
            return None
        start, end = (datetime.combine(local.date(), at, self.zone).astimezone(UTC) for at in (self.opens, self.closes))
        return start, end


def parse_hours(text: str) -> tuple[Opening, ...]:
    """Read openings; an empty text has none, which means always.

    Raises:
        ValueError: What is wrong, and how to write it.
    """
    return tuple(_opening(part.strip()) for part in text.split(";") if part.strip())


def _opening(text: str) -> Opening:
    match = _OPENING.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no opening; write it like Mon-Fri 09:00-16:00 Europe/Berlin")
    first, last = match["first"], match["last"] or match["first"]
    for day in (first, last):
        if day not in DAYS:
            raise ValueError(f"{day!r} is no day of the week ({', '.join(DAYS)})")
    begin, count = DAYS.index(first), (DAYS.index(last) - DAYS.index(first)) % len(DAYS) + 1
    days = frozenset((begin + n) % len(DAYS) for n in range(count))
    try:
        opens, closes = time.fromisoformat(match["opens"]), time.fromisoformat(match["closes"])
        zone = ZoneInfo(match["zone"])
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise ValueError(f"{text!r}: {error}") from None
    if opens >= closes:
        raise ValueError(f"{text!r} closes before it opens; write two openings for a night")
    return Opening(days, opens, closes, zone)


def inside(openings: Sequence[Opening], start: datetime, end: datetime) -> bool:
    """Tell whether a whole span lies within one opening; always where there is none."""
    if not openings:
        return True
    windows = (opening.window(start) for opening in openings)
    return any(window is not None and window[0] <= start and end <= window[1] for window in windows)


def next_opening(openings: Sequence[Opening], now: datetime, duration: timedelta) -> datetime | None:
    """Return when a span of a duration could begin at the earliest, or None where no opening is long enough."""
    found = []
    for opening in openings:
        for number in range(_LOOK_DAYS):
            window = opening.window(now + timedelta(days=number))
            if window is not None:
                start = max(window[0], now)
                if start + duration <= window[1]:
                    found.append(start)
    return min(found, default=None)
