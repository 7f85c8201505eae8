"""How a command of the testbeds tells what the person at the keyboard can put right: one message, exit status 4."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import click

EXIT_OPERATOR = 4
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
