"""Reads a program's configuration from its environment and nothing else.

Every value is checked here, before a program opens a socket. A bad value is one ``SettingsError`` whose text names the
variable, what it holds and what is allowed. No defaults live here: each program states its own beside its fields.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PORT_MAX = 65535


class SettingsError(ValueError):
    """An environment variable is missing or holds a value that is not allowed."""


def is_loopback(host: str) -> bool:
    """Return whether ``host`` is a loopback address; a name is none."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class HostPort:
    """A TCP address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Environment:
    """Typed, checked reads of environment variables."""

    values: Mapping[str, str]

    def text(self, name: str, default: str | None = None) -> str:
        """Return a non-empty text, or ``default``; raises SettingsError when both are missing."""
        value = self.values.get(name, "").strip()
        if value:
            return value
        if default is None:
            raise SettingsError(f"{name} is not set: give it a value in the container's env")
        return default

    def number(self, name: str, default: float, minimum: float, maximum: float) -> float:
        """Return a number within [minimum, maximum]; raises SettingsError otherwise."""
        raw = self.text(name, str(default))
        try:
            value = float(raw)
        except ValueError:
            raise SettingsError(f"{name}={raw!r} is not a number") from None
        if not minimum <= value <= maximum:
            raise SettingsError(f"{name}={raw!r} must be from {minimum:g} to {maximum:g}")
        return value

    def integer(self, name: str, default: int, minimum: int, maximum: int) -> int:
        """Return a whole number within [minimum, maximum]; raises SettingsError otherwise."""
        value = self.number(name, default, minimum, maximum)
        if value != int(value):
            raise SettingsError(f"{name}={value!r} must be a whole number")
        return int(value)

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        """Return one of ``allowed``; raises SettingsError otherwise."""
        value = self.text(name, default)
        if value not in allowed:
            raise SettingsError(f"{name}={value!r} must be one of {', '.join(allowed)}")
        return value

    def port(self, name: str, default: int | None = None) -> int:
        """Return a TCP port; raises SettingsError when it is missing or out of range."""
        if default is None:
            self.text(name)
        return self.integer(name, default or 0, 1, PORT_MAX)

    def host_port(self, name: str) -> HostPort:
        """Return ``host:port``; raises SettingsError when it is missing or has another form."""
        raw = self.text(name)
        host, _, port = raw.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) <= PORT_MAX:
            raise SettingsError(f"{name}={raw!r} must be host:port")
        return HostPort(host, int(port))

    def bind_ip(self) -> str:
        """Return where to listen: BIND_IP, else POD_IP; raises SettingsError when neither is set."""
        for name in ("BIND_IP", "POD_IP"):
            if value := self.values.get(name, "").strip():
                return value
        raise SettingsError("neither BIND_IP nor POD_IP is set: set one to the address to listen on")

    def pod_path(self, path: str) -> Path:
        """Return where the container path ``path`` lies: below GAMEDAY_POD_ROOT if that is set."""
        return Path(self.values.get("GAMEDAY_POD_ROOT", "") + path)
