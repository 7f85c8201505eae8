"""The platform's alert rules with every time divided: those of a platform on which five minutes are a whole game day.

Divided are the ranges in expressions, what an alert waits ``for``, and records that end in ``:seconds`` and are one
constant. Ratios, severities and texts stay. A file that holds a time which this would miss is refused, not half
divided.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from testbed.platform.settings import SettingsError

SAMPLES_MIN = 5
"""Scrapes that the shortest range must span: of fewer no rate can be told."""

_DURATION = r"(?:\d+(?:ms|[smhdwy]))+"
_RANGE = re.compile(rf"\[({_DURATION})(?::({_DURATION})?)?\]")
_MISSED = re.compile(rf"\[\s*\d|\boffset\b|\[{_DURATION}\s|@\s")
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
_CONSTANT = re.compile(r"vector\((\d+(?:\.\d+)?)\)")
_UNIT_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def divided(text: str, divisor: int, interval_s: int) -> str:
    """Return rules (YAML) with every time divided; none becomes shorter than what can be measured.

    Args:
        text: Prometheus' rules.
        divisor: 1 leaves the times as they are.
        interval_s: how often Prometheus scrapes and evaluates.

    Raises:
        SettingsError: these are no rules, or they hold a time of a form that is not known here.
    """
    try:
        document = yaml.safe_load(text)
        if divisor > 1:
            for rule in (rule for group in document["groups"] for rule in group["rules"]):
                _divide(rule, divisor, interval_s)
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise SettingsError(f"alert rules: not a file of Prometheus' rules: {error}") from error
    return str(yaml.safe_dump(document, sort_keys=False, width=1000, allow_unicode=True))


def _divide(rule: dict[str, Any], divisor: int, interval_s: int) -> None:
    name = _name(rule)

    def shorter(found: re.Match[str]) -> str:
        range_s = max(seconds_of(found[1]) / divisor, SAMPLES_MIN * interval_s)
        step = f":{_text(max(seconds_of(found[2]) / divisor, interval_s))}" if found[2] else ""
        return f"[{_text(range_s)}{step or (':' if ':' in found[0] else '')}]"

    expression = str(rule["expr"])
    if _MISSED.search(_RANGE.sub("", expression)):
        raise SettingsError(f"alert rules: {name} holds a time that is not divided here (offset, @, spaces in a range)")
    rule["expr"] = _RANGE.sub(shorter, expression)
    if "for" in rule:
        rule["for"] = _text(max(seconds_of(str(rule["for"])) / divisor, interval_s))
    if name.endswith(":seconds"):
        rule["expr"] = _constant(name, expression, divisor)


def _constant(name: str, expression: str, divisor: int) -> str:
    found = _CONSTANT.fullmatch(expression.strip())
    if found is None:
        raise SettingsError(f"alert rules: record {name} must be vector(SECONDS), so that it can be divided")
    return f"vector({float(found[1]) / divisor:g})"


def _name(rule: Mapping[str, Any]) -> str:
    return str(rule.get("record") or rule.get("alert") or "a rule without a name")


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration as Prometheus writes it, such as 1h30m."""
    return sum(int(number) * _UNIT_S[unit] for number, unit in _PART.findall(duration))


def _text(seconds: float) -> str:
    return f"{math.ceil(seconds)}s"
