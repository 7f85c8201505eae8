"""Devices that do not exist: how many there are, which are sick, and how they misbehave. Pure; no clock, no I/O.

Two things decide. The *order* (a ConfigMap or a file) says what the hardware is like. And what somebody other than the
kubelet writes to the node's status is taken at its word: devices that a game day unplugs there are gone for the plugin
too, else the kubelet would bring them back within seconds.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RESOURCE = "nvidia.com/gpu"
COUNT_MAX = 64
KUBELET = "kubelet"
DEFAULT_ORDER = '{"count": 4, "sick": [], "mode": "serve"}'

Json = Mapping[str, Any]


class Mode(StrEnum):
    """How the plugin behaves.

    SERVE answers; HANG says nothing more and lets every Allocate wait; GONE takes its socket away, as a dead plugin.
    """

    SERVE = "serve"
    HANG = "hang"
    GONE = "gone"


class OrderError(ValueError):
    """An order that cannot be followed; the one before it stays."""


@dataclass(frozen=True)
class Order:
    """What the hardware is like.

    Attributes:
        count: How many devices there are.
        sick: Numbers of those that are unhealthy.
        mode: How the plugin behaves.
    """

    count: int = 4
    sick: frozenset[int] = frozenset()
    mode: Mode = Mode.SERVE


@dataclass(frozen=True)
class Device:
    """One device."""

    uuid: str
    healthy: bool


def read_order(text: str) -> Order:
    """Return the order of a JSON text such as ``{"count": 4, "sick": [1], "mode": "serve"}``.

    Raises:
        OrderError: Not such a text; it says what is wrong.
    """
    try:
        told = json.loads(text)
    except ValueError as error:
        raise OrderError(f"not JSON: {error}") from None
    if not isinstance(told, dict) or set(told) - {"count", "sick", "mode"}:
        raise OrderError("an object with count, sick and mode is wanted, and nothing else")
    count, sick, mode = told.get("count", 4), told.get("sick", []), told.get("mode", "serve")
    if not _is_number(count) or not 0 <= count <= COUNT_MAX:
        raise OrderError(f"count {count!r}: a whole number from 0 to {COUNT_MAX}")
    if not isinstance(sick, list) or not all(_is_number(n) and 0 <= n < count for n in sick):
        raise OrderError(f"sick {sick!r}: a list of numbers of devices, below count {count}")
    if mode not in list(Mode):
        raise OrderError(f"mode {mode!r}: one of {', '.join(Mode)}")
    return Order(count, frozenset(sick), Mode(mode))


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def order_text(data: Mapping[str, str], node: str) -> str:
    """Return the order for a node: its own key, else ``default``."""
    return data.get(node) or data.get("default") or DEFAULT_ORDER


def devices_of(order: Order, node: str, unplugged_to: int | None = None) -> tuple[Device, ...]:
    """Return the devices of a node, the same ones at every call; the last ones are unplugged first."""
    count = order.count if unplugged_to is None else min(order.count, unplugged_to)
    return tuple(
        Device(f"GPU-{zlib.crc32(f'{node}/{number}'.encode()):08x}", number not in order.sick)
        for number in range(count)
    )


def written_by_others(node: Json, resource: str = RESOURCE) -> int | None:
    """Return how many devices somebody other than the kubelet wrote to the node's status; None where nobody did.

    Who wrote a field is what the API server notes in managedFields.
    """
    field = f"f:{resource}"
    for entry in node["metadata"].get("managedFields") or ():
        status = (entry.get("fieldsV1") or {}).get("f:status") or {}
        if entry.get("manager") != KUBELET and field in (status.get("f:allocatable") or {}):
            return int((node["status"].get("allocatable") or {}).get(resource, 0))
    return None


class DeviceState:
    """The devices as they are now, and a way to wait until they change."""

    def __init__(self, node: str, order: Order | None = None) -> None:
        self.node = node
        self.order = order or Order()
        self.unplugged_to: int | None = None
        self._changed = asyncio.Event()

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices; none while the plugin is gone."""
        return () if self.order.mode is Mode.GONE else devices_of(self.order, self.node, self.unplugged_to)

    def take_order(self, order: Order) -> bool:
        """Follow an order; returns whether it is a new one. A new one plugs everything in again."""
        if order == self.order:
            return False
        self.order, self.unplugged_to = order, None
        self._tell()
        return True

    def see_node(self, node: Json) -> bool:
        """Follow what others wrote to the node's status; returns whether that changes anything."""
        written = written_by_others(node)
        if written is None:  # the kubelet repeats what it was told: that is no order, and lifts none
            return False
        limit = written if written < self.order.count else None
        if limit == self.unplugged_to:
            return False
        self.unplugged_to = limit
        self._tell()
        return True

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self) -> None:
        """Wait until anything changes."""
        await self._changed.wait()
