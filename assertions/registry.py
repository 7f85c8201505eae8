"""`ASSERTIONS`: every kind of assertion by name. Explicit; nothing is scanned."""

from __future__ import annotations

from collections.abc import Mapping

from assertions.definition import Definition

ASSERTIONS: Mapping[str, Definition] = {}
