"""Which alerts experiments lean on, and which of those no loaded rule could ever fire. Pure.

A drill asks for all faults of all its experiments, never for the chosen one alone: what is missing must tell nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from harness.model.experiment import Experiment

ALERTS_KIND = "alerts"
RULES_REMEDY = "load its rule into Prometheus; those that are shipped are in deploy/alerts/platform.yaml"


@dataclass(frozen=True, slots=True)
class Expected:
    """An alert that somebody counts on.

    Attributes:
        alert: By alertname.
        by: What expects it.
    """

    alert: str
    by: str


def expected_of_drill(experiment: Experiment) -> Iterator[Expected]:
    """Yield what its drill expects to page people, fault by fault."""
    for fault in experiment.drill.faults if experiment.drill else ():
        for alert in fault.expect:
            yield Expected(alert, f"fault {fault.fault} of {experiment.name}")


def expected_of_assertions(experiment: Experiment) -> Iterator[Expected]:
    """Yield what its assertions expect to fire."""
    for spec in experiment.assertions:
        for alert in spec.params.get("expect", ()) if spec.kind == ALERTS_KIND else ():
            yield Expected(str(alert), f"assertion {spec.name} of {experiment.name}")


def unable(expected: Iterable[Expected], rules: Mapping[str, str]) -> list[str]:
    """Return one line for each alert that cannot fire: why, and who expects it.

    Args:
        expected: What is counted on.
        rules: As `harness.ports.MetricsSource.alert_rules` tells them.
    """
    users: dict[str, list[str]] = {}
    for one in expected:
        users.setdefault(one.alert, []).append(one.by)
    return [
        f"{_why(alert, rules)} (expected by {', '.join(dict.fromkeys(found))})"
        for alert, found in sorted(users.items())
        if rules.get(alert, "missing")
    ]


def _why(alert: str, rules: Mapping[str, str]) -> str:
    return f"the rule of {alert} fails: {rules[alert]}" if alert in rules else f"there is no rule {alert}"
