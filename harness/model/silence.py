"""Matchers of an Alertmanager silence, as people write them in PromQL's way. Pure; asks nobody."""

from __future__ import annotations

import re
from typing import Any

_MATCHER = re.compile(r'\s*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)\s*(?P<how>=~|!~|!=|=)\s*"?(?P<value>[^"]*)"?\s*')


def parse_matcher(text: str) -> dict[str, Any]:
    """Read one matcher, such as ``alertname=~"Tool.*"``.

    Returns:
        As Alertmanager's API v2 takes it: ``name``, ``value``, ``isRegex``, ``isEqual``.

    Raises:
        ValueError: It is no matcher, its regular expression is none, or it would match every alert.
    """
    found = _MATCHER.fullmatch(text)
    if found is None:
        raise ValueError(f'{text!r} is no matcher; write it like alertname=~"Tool.*"')
    name, how, value = found["name"], found["how"], found["value"]
    regex = how.endswith("~")
    if regex:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"{text!r}: not a regular expression: {error}") from None
    if not value or (regex and value in {".*", ".+", "^.*$"}):
        raise ValueError(f"{text!r} would silence alerts that no run expects: name them")
    return {"name": name, "value": value, "isRegex": regex, "isEqual": not how.startswith("!")}
