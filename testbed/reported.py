"""How the commands of the testbeds end: one message for what the person at the keyboard can put right, and the status.

Exit status: 4 usage or environment · 130 stopped · 3 anything unexpected, told in full; never 1, a broken assertion's.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec, TypeVar

import click

EXIT_UNEXPECTED, EXIT_OPERATOR = 3, 4
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Refused(click.ClickException):
    """What the person at the keyboard can put right."""

    exit_code = EXIT_OPERATOR


def reported(*errors: type[Exception]) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Return a decorator that turns our own errors into one message and `EXIT_OPERATOR`."""

    def decorate(command: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(command)
        def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            try:
                return command(*args, **kwargs)
            except errors as error:
                raise Refused(str(error)) from error

        return wrapped

    return decorate


def run_program(commands: click.Group, arguments: Sequence[str] | None, prog_name: str) -> int:
    """Run a group of commands as a program; return its exit status."""
    try:
        status = commands.main(args=arguments, prog_name=prog_name, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.ClickException as error:
        error.show()
        return EXIT_OPERATOR
    except click.Abort:
        click.echo("stopped", err=True)
        return 128 + signal.SIGINT
    except Exception:  # the outermost frame: a fault of ours, told in full
        traceback.print_exc(file=sys.stderr)
        return EXIT_UNEXPECTED
