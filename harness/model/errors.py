"""The errors Gameday raises on purpose. They hold fields; the sentence is made by ``__str__``. No I/O here.

GameDayError
├── SpecError         the file, setting or option is wrong (usage: exit 4)
├── Refusal           the target may not be touched, or not now (exit 20; identity: exit 4)
├── PortError         a system behind a port did not answer as it must
│   └── ChangedMeanwhileError   an object is no longer in the state that a change was made for
├── Aborted           the live guard ended the run early, for the platform's sake
└── Stopped           a stop request ended the run early (exit 2)
"""

from __future__ import annotations

from dataclasses import dataclass


class GameDayError(Exception):
    """Base of all errors that have one clear sentence for the user."""


@dataclass(eq=False)
class SpecError(GameDayError):
    """A file, setting or option that cannot be used.

    Attributes:
        where: File (or option) in which it stands.
        key: Path of the key inside the file, such as ``extensions[0].load.profile``; empty for the whole file.
        problem: What is wrong, in one sentence.
        remedy: What to do about it.
    """

    where: str
    key: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``where: key: problem. remedy``."""
        place = f"{self.where}: {self.key}" if self.key else self.where
        return f"{place}: {self.problem}" + (f" — {self.remedy}" if self.remedy else "")


@dataclass(eq=False)
class Refusal(GameDayError):
    """The run must not start, and nothing was touched.

    Attributes:
        code: Short machine-readable reason, such as ``identity`` or ``lease-held``.
        problem: What was found.
        remedy: What to do about it.
    """

    code: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``refused (code): problem. remedy``."""
        return f"refused ({self.code}): {self.problem}" + (f" — {self.remedy}" if self.remedy else "")


@dataclass(eq=False)
class PortError(GameDayError):
    """A system behind a port did not answer as it must.

    Attributes:
        system: Which system, such as ``kubernetes`` or ``prometheus``.
        operation: What was asked of it.
        problem: What came back instead.
        remedy: What to do about it.
    """

    system: str
    operation: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return ``system: operation: problem. remedy``."""
        return f"{self.system}: {self.operation}: {self.problem}" + (f" — {self.remedy}" if self.remedy else "")


class ChangedMeanwhileError(PortError):
    """An object is no longer in the state that a change was made for; nothing was written."""


@dataclass(eq=False)
class Aborted(GameDayError):
    """The live guard ended the run early."""

    reason: str

    def __str__(self) -> str:
        """Return the reason."""
        return f"aborted: {self.reason}"


@dataclass(eq=False)
class Stopped(GameDayError):
    """A stop request (signal, client gone, halt lever, lost Lease) ended the run early."""

    reason: str

    def __str__(self) -> str:
        """Return the reason."""
        return f"stopped: {self.reason}"
