"""What stays on this machine: the one rule of guard, metrics store and API client. Must look up no name."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_of(url: str) -> str:
    """Return the host of a URL, and no more of it, which may be a secret; empty where there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_loopback(url: str) -> bool:
    """Tell whether the host of a URL is a loopback address (127.0.0.0/8, ``::1``).

    A name is none, whatever it may mean today. (Load is IPv4 alone: `loadprofiles.job` says so.)
    """
    try:
        return ipaddress.ip_address(host_of(url)).is_loopback
    except ValueError:
        return False
