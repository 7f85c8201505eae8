"""`make bench-run`: measures a whole game day on the local testbed and prints a table. Asserts nothing about time.

What an idle testbed costs is `testbed.measure`'s.

With ``--cold`` it also clones the checkout into a fresh folder with empty caches and runs `make gameday` there, which
takes as long as building the control plane does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

PROJECT_DIR = Path(__file__).resolve().parents[2]
RUN_LIMIT_S = 3600.0


@dataclass
class Usage:
    """CPU seconds and memory of a set of processes, sampled while they live."""

    cpu_s: dict[tuple[int, float], float] = field(default_factory=dict)
    rss_bytes_max: int = 0

    def sample(self, processes: list[psutil.Process]) -> None:
        """Take the present figures; processes that ended keep their last ones."""
        rss_bytes = 0
        for process in processes:
            try:
                times = process.cpu_times()
                self.cpu_s[(process.pid, process.create_time())] = times.user + times.system
                rss_bytes += process.memory_full_info().pss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        self.rss_bytes_max = max(self.rss_bytes_max, rss_bytes)

    @property
    def total_s(self) -> float:
        """All CPU seconds seen."""
        return sum(self.cpu_s.values())


def gameday(*arguments: str) -> float:
    """Run a command of ours; return its wall seconds, or stop with its status where it failed."""
    started_s = time.monotonic()
    code = subprocess.run(
        [sys.executable, "-m", "harness.cli", *arguments], timeout=RUN_LIMIT_S, check=False
    ).returncode
    if code != 0:
        raise SystemExit(f"bench-run: gameday {' '.join(arguments)} ended with {code}; nothing is measured")
    return time.monotonic() - started_s


def conductor_usage(usage: Usage, done: threading.Event) -> None:
    """Sample the conductor's process (conductor and observer) until told to stop."""
    while not done.wait(0.5):
        mine = [p for p in psutil.process_iter(["cmdline"]) if "harness.conductor_main" in (p.info["cmdline"] or [])]
        usage.sample(mine)


def measured_run(name: str) -> list[tuple[str, str]]:
    """Run a game day and return its figures."""
    usage, done = Usage(), threading.Event()
    sampler = threading.Thread(target=conductor_usage, args=(usage, done))
    sampler.start()
    try:
        wall_s = gameday("run", name, "--target", "local")
    finally:  # else a run that did not hold would leave the thread, and so this process, for ever
        done.set()
        sampler.join()
    run_dir = (Path("runs") / "latest").resolve()
    header = json.loads((run_dir / "run.json").read_text())
    last = json.loads((run_dir / "events.jsonl").read_text().splitlines()[-1])
    started_unix_s = float(header["origin_unix_s"])
    report_s = (run_dir / "report.html").stat().st_mtime - (started_unix_s + last["t_s"])
    return [
        (f"game day {name} on a running testbed", f"{wall_s:.0f} s"),
        ("harness (conductor + observer) CPU during the run", f"{100 * usage.total_s / last['t_s']:.1f} % of a core"),
        ("harness memory (PSS)", f"{usage.rss_bytes_max / 2**20:.0f} MiB"),
        ("last event to report.html", f"{report_s:.1f} s"),
    ]


def cold() -> list[tuple[str, str]]:
    """Run `make gameday` in a fresh clone with empty caches; return its figure."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(PROJECT_DIR), str(clone)], check=True, timeout=120)
        caches = {
            name: str(Path(folder) / name)
            for name in ("GAMEDAY_CACHE_DIR", "GOCACHE", "GOMODCACHE", "PIP_CACHE_DIR", "GAMEDAY_STATE_DIR")
        }
        environ = {k: v for k, v in os.environ.items() if k not in {"GAMEDAY_BIN_DIR", "VIRTUAL_ENV"}} | caches
        started_s = time.monotonic()
        code = subprocess.run(["make", "gameday"], cwd=clone, env=environ, timeout=RUN_LIMIT_S, check=False).returncode
        wall_s = time.monotonic() - started_s
        subprocess.run(["chmod", "-R", "u+w", folder], check=True, timeout=120)
    return [(f"make gameday, fresh clone, empty caches (exit {code})", f"{wall_s / 60:.1f} min")]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true", help="also run `make gameday` in a fresh clone")
    parser.add_argument("--experiment", default="pod-kill-under-burst")
    options = parser.parse_args()
    up_s = gameday("testbed", "up")
    rows = [("testbed up, programs built, to platform Ready", f"{up_s:.1f} s")]
    try:
        rows += measured_run(options.experiment)
    finally:
        gameday("testbed", "down")
    if options.cold:
        rows += cold()
    table = Table("figure", "measured", title=f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
