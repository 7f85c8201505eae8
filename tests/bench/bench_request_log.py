"""`make bench-log`: a request log of 10 M rows: its size on disk, the memory it takes to write, the time to read it.

Written batch by batch as a load makes it (4 workers, 12 pods, 3 endpoints, an outage), converted, read back and cut to
a window; each step in a process of its own. Prints a table; 1 where a limit is not kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

ROWS = 10_000_000
RATE_RPS = 1200.0
WORKERS, PODS, ENDPOINTS = 4, 12, ("POST /v1/plan", "POST /v1/chat", "GET /v1/status")
BATCH_EVERY_S = 1.0
OUTAGE_S, TIMEOUT_S = (600.0, 660.0), 5.0

MIB = 2**20
DISK_MAX_BYTES, MEMORY_MAX_BYTES, READ_MAX_S = 100_000_000, 200_000_000, 3.0

Columns = list[Any]


class StepError(Exception):
    """A step failed, or did not find again what was written."""


def columns_of_a_second(second: int, rng: np.random.Generator) -> Columns:
    """Return one second of requests: exponential gaps and lags, lognormal latencies, and time-outs in the outage."""
    count = int(RATE_RPS * BATCH_EVERY_S)
    intended_s = second + np.sort(rng.random(count))
    out = (intended_s >= OUTAGE_S[0]) & (intended_s < OUTAGE_S[1])
    latency_s = np.where(out, TIMEOUT_S + rng.exponential(0.001, count), rng.lognormal(np.log(0.02), 0.5, count))
    start_s = intended_s + rng.exponential(0.0005, count)
    worker = rng.integers(0, WORKERS, count)
    pods = np.where(
        out, "", np.array([f"planner-7c9d8b6f5-{n:05x}" for n in range(PODS)])[rng.integers(0, PODS, count)]
    )
    endpoint = np.array(ENDPOINTS)[rng.integers(0, len(ENDPOINTS), count)]
    outcome, status = np.where(out, "timeout", "ok"), np.where(out, 0, 200)
    return [intended_s, start_s, latency_s, status, outcome, endpoint, worker, np.zeros(count, dtype=int), pods]


def batches(rows: int) -> Iterator[tuple[int, int, Columns]]:
    """Yield worker, number of its first row and columns, each second's rows by the order in which they ended."""
    rng, sent = np.random.default_rng(7), [0] * WORKERS
    for second in range(int(np.ceil(rows / (RATE_RPS * BATCH_EVERY_S)))):
        columns = columns_of_a_second(second, rng)
        for worker in range(WORKERS):
            mine = np.flatnonzero(columns[6] == worker)
            columns[7][mine] = sent[worker] + np.arange(len(mine))
            ended = mine[np.argsort((columns[1] + columns[2])[mine])]
            yield worker, sent[worker], [column[ended] for column in columns]
            sent[worker] += len(mine)


# Steps, each in a process of its own ---------------------------------------------------------------------------------


def write(folder: Path, rows: int) -> dict[str, float]:
    """Append all batches to the stream, as the driver does with what the workers send."""
    from harness.request_log import RequestStream, batch_bytes, batch_from, batch_of  # noqa: PLC0415 - measured

    stream, seconds = RequestStream(folder / "requests.arrow"), 0.0
    for worker, first, columns in batches(rows):
        blob = batch_bytes(batch_of([column.tolist() for column in columns]))
        began_s = time.perf_counter()
        stream.append(batch_from(blob), worker, first)
        seconds += time.perf_counter() - began_s
    stream.close()
    if stream.problem or stream.lost:
        raise SystemExit(f"{stream.lost} rows lost: {stream.problem}")
    return {"seconds": seconds, "bytes": stream.path.stat().st_size, "rows": stream.received}


def convert(folder: Path, _: int) -> dict[str, float]:
    """Make Parquet of the stream."""
    from harness.request_log_files import to_parquet  # noqa: PLC0415 - measured

    began_s = time.perf_counter()
    to_parquet(folder / "requests.arrow", folder / "requests.parquet")
    return {"seconds": time.perf_counter() - began_s, "bytes": (folder / "requests.parquet").stat().st_size}


def read(folder: Path, rows: int) -> dict[str, float]:
    """Read the log and cut it to the window of the outage."""
    from harness.request_log_files import read_requests  # noqa: PLC0415 - measured

    began_s = time.perf_counter()
    found = read_requests(folder / "requests.parquet").rows
    read_s = time.perf_counter() - began_s
    intended_s: npt.NDArray[np.float64] = found["intended_s"].to_numpy()
    window = found[(intended_s >= OUTAGE_S[0]) & (intended_s < OUTAGE_S[1])]
    seconds = time.perf_counter() - began_s
    if len(found) < rows or not (window["outcome"] == "timeout").all():
        raise SystemExit(f"{len(found)} rows came back, {len(window)} of them in the window")
    return {"seconds": seconds, "read_s": read_s, "rows": len(found), "window_rows": len(window)}


STEPS = {"write": write, "convert": convert, "read": read}


def measured(step: str, folder: Path, rows: int) -> dict[str, float]:
    """Run a step in a process of its own; return what it says, with its peak of memory.

    Raises:
        StepError: It failed.
    """
    command = [sys.executable, "-m", "tests.bench.bench_request_log", "--step", step, "--rows", str(rows), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        raise StepError(f"{step} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def peak_bytes() -> int:
    """Return the most memory that this process ever had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


Check = tuple[str, float, float | None, str]
"""What is measured, its value, its limit and the unit of both."""


def checks(rows: int) -> list[Check]:
    """Write, convert and read a log of so many rows; return what it took.

    Raises:
        StepError: A step failed, or rows were lost.
    """
    with tempfile.TemporaryDirectory() as folder:
        found = {step: measured(step, Path(folder), rows) for step in STEPS}
    written, converted, back = found["write"], found["convert"], found["read"]
    return [
        ("on disk, Parquet", converted["bytes"], DISK_MAX_BYTES, "bytes"),
        ("on disk, stream while the run is on", written["bytes"], None, "bytes"),
        ("memory of who writes the stream", written["peak_bytes"], MEMORY_MAX_BYTES, "bytes"),
        ("memory of who makes the Parquet", converted["peak_bytes"], MEMORY_MAX_BYTES, "bytes"),
        ("appending, a row", written["seconds"] / written["rows"] * 1e6, None, "us"),
        ("making the Parquet", converted["seconds"], None, "s"),
        (f"reading, cut to {back['window_rows']:,.0f} rows", back["seconds"], READ_MAX_S, "s"),
        ("memory of who reads it", back["peak_bytes"], None, "bytes"),
    ]


def report(rows: int) -> bool:
    """Measure and print; tell whether every limit was kept."""
    found = checks(rows)
    table = Table("request log", "measured", "limit", "kept", box=None, title=f"{rows:,.0f} rows")
    for name, value, limit, unit in found:
        kept = "" if limit is None else "yes" if value <= limit else "NO"
        table.add_row(name, shown(value, unit), "" if limit is None else shown(limit, unit), kept)
    Console(width=120).print(table)
    return all(limit is None or value <= limit for _, value, limit, _ in found)


def shown(value: float, unit: str) -> str:
    """Return a figure with its unit."""
    return f"{value / 1e6:,.1f} MB" if unit == "bytes" else f"{value:,.2f} {unit}"


def main() -> int:
    """Measure and print, or do one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        found = STEPS[options.step](options.folder, options.rows)
        sys.stdout.write(json.dumps(found | {"peak_bytes": peak_bytes()}))
        return 0
    try:
        return 0 if report(options.rows) else 1
    except StepError as error:
        parser.exit(1, f"bench-log: {error}\n")


if __name__ == "__main__":
    sys.exit(main())
