"""The few programs that come neither as a Python wheel nor as a Go module: is each there, and if not, how to get it.

`python -m testbed.system_packages redis-server prometheus [--for-tests chromium]`. Installs only as root on a
Debian-like system, and leaves no service running that the packages bring; elsewhere it prints the one line to type.
Imports nothing outside the standard library, so that it runs before the requirements are installed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXIT_OPERATOR = 4
_APT_TIMEOUT_S = 900.0
_LOCK_WAIT_S = 300

PROGRAMS = {
    "redis-server": ("redis-server",),
    "prometheus": ("prometheus",),
    "chromium": ("chromium", "chromium-browser", "google-chrome"),
    "wrk": ("wrk",),
}
"""Package -> programs of which any one will do."""

POLICY = Path("/usr/sbin/policy-rc.d")
_GUARD = "#!/bin/sh\n# Of gameday's testbed.system_packages: no service starts while it installs packages.\nexit 101\n"


class PackagesError(Exception):
    """A program is missing and cannot be installed from here."""


def missing(packages: list[str]) -> list[str]:
    """Return the packages of which no program is on PATH (or in /usr/sbin, /usr/bin)."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/bin"])
    return [name for name in packages if not any(shutil.which(program, path=path) for program in PROGRAMS[name])]


def ensure(packages: list[str]) -> None:
    """Install what is missing, or say how.

    Raises:
        PackagesError: not root, not a Debian-like system, or apt-get failed.
    """
    wanted = missing(packages)
    if not wanted:
        return
    line = f"apt-get update && apt-get install -y {' '.join(wanted)}"
    if shutil.which("apt-get") is None:
        raise PackagesError(f"missing: {', '.join(wanted)}. Install them with this system's package manager")
    if os.geteuid() != 0:
        raise PackagesError(f"missing: {', '.join(wanted)}. Type this line, then try again:\n  sudo sh -c '{line}'")
    _say(f"installing {', '.join(wanted)} with apt-get (elsewhere: redis-server and prometheus 20 s, chromium 60 s)")
    with no_service_starts():
        _apt(["update", "-q"])
        _apt(["install", "-y", "-q", "--no-install-recommends", *wanted])
    _keep_services_off(wanted)
    if missing(wanted):
        raise PackagesError(
            f"apt-get has installed {', '.join(wanted)}, and {', '.join(missing(wanted))} is not on PATH"
        )


def _apt(arguments: list[str]) -> None:
    command = ["apt-get", "-o", f"DPkg::Lock::Timeout={_LOCK_WAIT_S}", *arguments]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, timeout=_APT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PackagesError(f"{' '.join(command)} has not ended in {_APT_TIMEOUT_S:.0f} s") from error
    if done.returncode:
        raise PackagesError(f"{' '.join(command)} failed with status {done.returncode}; its message is above")


@contextmanager
def no_service_starts(policy: Path = POLICY) -> Iterator[None]:
    """Keep maintainer scripts from starting services, by policy-rc.d (invoke-rc.d(8)); a policy that is there stays."""
    ours = not policy.exists() or policy.read_text(encoding="utf-8", errors="replace") == _GUARD
    if ours:
        policy.write_text(_GUARD, encoding="utf-8")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            policy.unlink(missing_ok=True)


def _keep_services_off(packages: list[str]) -> None:
    """Where systemd runs, also keep the services that have just come from starting at the next boot."""
    if not Path("/run/systemd/system").is_dir():
        return
    for name in packages:
        subprocess.run(
            ["systemctl", "disable", "--now", name], check=False, timeout=60,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m testbed.system_packages", description="Ensure system packages.")
    parser.add_argument("packages", nargs="+", choices=list(PROGRAMS))
    parser.add_argument("--for-tests", nargs="+", default=[], choices=list(PROGRAMS), metavar="PACKAGE")
    asked = parser.parse_args(arguments)
    try:
        ensure([*asked.packages, *asked.for_tests])
    except PackagesError as error:
        _say(f"Error: {error}")
        return EXIT_OPERATOR
    return 0


if __name__ == "__main__":
    sys.exit(main())
