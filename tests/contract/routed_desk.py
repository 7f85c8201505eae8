"""A drill's desk that tells a test of the alert route from a page, as a session does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.drill.alert_route import RouteTests
from tests.unit.drill_desk import DeskTwin


@dataclass
class RoutedDesk(DeskTwin):
    """A desk that keeps tests of the route apart, as a drill's session does."""

    tests: RouteTests = field(default_factory=RouteTests)

    def page(self, detail: Mapping[str, Any], by: str) -> None:
        if not self.tests.took(detail):
            super().page(detail, by)

    def pages(self) -> list[tuple[str, str]]:
        return [(entry.detail["alert"], entry.detail["state"]) for entry in self.drill().of("page")]
