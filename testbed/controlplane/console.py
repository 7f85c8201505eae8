"""Progress of long steps, as it happens: one line per step with the seconds since the start."""

import time
from collections.abc import Callable

import click


class Progress:
    """Says what is being done and when, in seconds since the first word."""

    def __init__(self, echo: Callable[[str], None] = click.echo) -> None:
        self._echo = echo
        self._start_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start_s

    def say(self, text: str) -> None:
        """Print `text` with the seconds elapsed."""
        self._echo(f"[{self.elapsed_s:6.1f} s] {text}")
