"""The other load generators of `make bench-load`: how each is called for the same work, and why one cannot be.

A generator that is not here is named with its reason, never left out.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.controlplane.build import cached_dir
from testbed.controlplane.programs import FAMILIES
from tests.bench.load_reports import Report, k6_report, locust_report, vegeta_report, vegeta_rows, wrk_report
from tests.bench.load_requests import BODY, CONNECTIONS, PATH

HERE = Path(__file__).resolve().parent
PROJECT_DIR = HERE.parents[1]
REPORT_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Work:
    """What a generator is to do.

    Attributes:
        url: The server, without a path.
        method: GET or POST.
        length_s: For how long.
        folder: For its files.
        rate_rps: Requests a second; 0: as fast as `users` can, each after the other's answer.
        users: Connections, or users.
    """

    url: str
    method: str
    length_s: float
    folder: Path
    rate_rps: float = 0.0
    users: int = CONNECTIONS

    @property
    def page(self) -> str:
        """The URL that is asked for."""
        return self.url + PATH

    @property
    def body(self) -> str:
        """The body of a POST."""
        return json.dumps(BODY, separators=(",", ":")) if self.method == "POST" else ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A generator.

    Attributes:
        name: As the tables call it.
        open_loop: Whether it keeps a rate whatever the answers do.
        absent: Says why it cannot be used here, or nothing.
        command: How it is called.
        read: Reads its report from what it printed.
        environment: Added to its environment.
    """

    name: str
    open_loop: bool
    absent: Callable[[], str]
    command: Callable[[Work], list[str]]
    read: Callable[[Work, str], Report]
    environment: Callable[[Work], Mapping[str, str]]


def _program(name: str) -> Path:
    return cached_dir(FAMILIES["bench"]) / name


def _unbuilt(name: str) -> Callable[[], str]:
    return lambda: "" if os.access(_program(name), os.X_OK) else "not built: python -m testbed build bench"


def _no_wrk() -> str:
    return "" if shutil.which("wrk") else "not installed: python -m testbed.system_packages wrk"


def _wrk_command(work: Work) -> list[str]:
    script = ["-s", str(HERE / "load_wrk.lua")] if work.method == "POST" else []
    return ["wrk", "-t1", f"-c{work.users}", f"-d{work.length_s:.0f}s", "--latency", *script, work.page]


def _k6_command(_: Work) -> list[str]:
    # No usage report, and no control port: it must speak to the server alone.
    return [str(_program("k6")), "run", "--quiet", "--no-usage-report", "--address", "", str(HERE / "load_k6.js")]


def _k6_environment(work: Work) -> dict[str, str]:
    return {
        "METHOD": work.method, "URL": work.page, "BODY": work.body, "USERS": str(work.users),
        "RATE_RPS": f"{work.rate_rps:g}", "LENGTH_S": f"{work.length_s:.0f}", "K6_NO_USAGE_REPORT": "true",
    }  # fmt: skip


def _vegeta_command(work: Work) -> list[str]:
    targets, body = work.folder / "vegeta.targets", work.folder / "vegeta.body"
    body.write_text(work.body, encoding="utf-8")
    rest = f"Content-Type: application/json\n@{body}\n" if work.method == "POST" else ""
    targets.write_text(f"{work.method} {work.page}\n{rest}", encoding="utf-8")
    pace = [f"-rate={work.rate_rps:g}/1s"] if work.rate_rps else ["-rate=0", f"-max-workers={work.users}"]
    return [
        str(_program("vegeta")), "attack", *pace, f"-workers={work.users}", f"-duration={work.length_s:.0f}s",
        f"-targets={targets}", f"-output={_vegeta_results(work)}",
    ]  # fmt: skip


def _vegeta_results(work: Work) -> Path:
    return work.folder / "vegeta.results"


def _vegeta_read(work: Work, _: str) -> Report:
    """Read every row where there are few; else its own summary."""
    results = str(_vegeta_results(work))
    few = 0 < work.rate_rps * work.length_s < 100_000
    command = ["encode", "-to=csv", results] if few else ["report", "-type=json", results]
    done = subprocess.run(
        [str(_program("vegeta")), *command], capture_output=True, text=True, timeout=REPORT_LIMIT_S, check=True
    )
    return vegeta_rows(done.stdout) if few else vegeta_report(done.stdout)


def _locust_command(work: Work) -> list[str]:
    locust = [sys.executable, "-m", "locust", "-f", str(HERE / "load_stock.py"), "--headless", "--only-summary"]
    return [
        *locust, "-u", str(work.users), "-r", str(work.users), "-t", f"{work.length_s:.0f}s", "-H", work.url, "--json",
        "--loglevel", "ERROR", work.method.title(),
    ]  # fmt: skip


def _locust_environment(work: Work) -> dict[str, str]:
    rate = {"RATE_RPS": f"{work.rate_rps:g}"} if work.rate_rps else {}
    return {"PYTHONPATH": str(PROJECT_DIR), "USERS": str(work.users), **rate}


STOCK = Tool(
    "Locust FastHttpUser", False, lambda: "", _locust_command, lambda _, out: locust_report(out), _locust_environment
)
WRK = Tool("wrk", False, _no_wrk, _wrk_command, lambda _, out: wrk_report(out), lambda work: {"BODY": work.body})
K6 = Tool("k6", True, _unbuilt("k6"), _k6_command, lambda _, out: k6_report(out), _k6_environment)
VEGETA = Tool("vegeta", True, _unbuilt("vegeta"), _vegeta_command, _vegeta_read, lambda _: {})
TOOLS = (STOCK, WRK, K6, VEGETA)
ABSENT = {"wrk2": "not available: no Debian package, no Go module"}
"""Generators that one would look for, and why they are not here."""
