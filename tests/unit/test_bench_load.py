"""The pure parts of `make bench-load`: tables and limits, what other generators print, ladders, truth."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.bench import bench_request_log
from tests.bench.load_bench import highest_carried, ladder
from tests.bench.load_cost import OURS, Cost, cost_table, guarded
from tests.bench.load_envoy import Counts
from tests.bench.load_ours import Spec, prefix
from tests.bench.load_reports import (
    UnreadableError,
    k6_report,
    locust_report,
    nearest_rank,
    vegeta_report,
    vegeta_rows,
    wrk_report,
)
from tests.bench.load_scripted_server import Book
from tests.bench.load_table import BEGIN, END, Limit, Table, limits_table, markdown, missed, ms, number, placed
from tests.bench.load_tools import K6, STOCK, TOOLS, VEGETA, WRK, Work
from tests.bench.load_truth import distributions, excess, late_by_schedule, percentiles
from tests.bench.load_window import ToolError, Window

NAN = float("nan")


# tables and limits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "at_least", "kept"),
    [
        (3.0, True, True),
        (2.99, True, False),
        (3.0, False, True),
        (3.01, False, False),
        (NAN, True, False),
        (NAN, False, False),
    ],
)
def test_a_limit_is_kept_at_its_edge_and_never_by_what_was_not_measured(
    value: float, at_least: bool, kept: bool
) -> None:
    assert Limit("it", value, 3.0, at_least=at_least).kept is kept


def test_missed_limits_are_named_with_figure_and_limit() -> None:
    limits = [Limit("lag", 4.0, 5.0, " ms"), Limit("ratio", 2.5, 3.0, " x", True), Limit("lost", NAN, 0.0)]
    assert missed(limits) == ["ratio: 2.5 x, limit ≥ 3 x", "lost: not measured, limit ≤ 0"]
    text = markdown([limits_table(limits)])
    assert "| lag | 4 ms | ≤ 5 ms | kept |" in text
    assert "| lost | not measured | ≤ 0 | **missed** |" in text


def test_a_table_is_markdown_with_its_cells_escaped_and_refuses_a_row_of_another_width() -> None:
    table = Table("Title", ("a", "b"), [("x|y", "z")], ("Note.",))
    assert markdown([table]) == "### Title\n\n| a | b |\n| --- | --- |\n| x\\|y | z |\n\nNote.\n"
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        markdown([replace(table, rows=[("alone",)])])


def test_only_what_stands_between_the_markers_is_replaced() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert placed(text, "new\n\n") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
    assert placed(placed(text, "new"), "newer") == placed(text, "newer")


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"])
def test_a_document_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="once each and in this order"):
        placed(text, "new")


def test_numbers_that_are_none_are_shown_as_none() -> None:
    assert (number(12345.6), number(1.25, 1), number(NAN)) == ("12,346", "1.2", "—")
    assert (ms(0.0123), ms(1.5), ms(NAN)) == ("12.3 ms", "1500 ms", "—")


# what generators print -----------------------------------------------------------------------------------------------

WRK_OUT = """Running 7s test @ http://127.0.0.1:1/v1/plan
  Latency Distribution
     50%  843.00us
     75%    1.43ms
     99%    1.20s
  300594 requests in 7.10s, 66.22MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:  42343.11
"""


def test_wrk_is_read_with_its_errors_and_units() -> None:
    report = wrk_report(WRK_OUT)
    assert (report.requests, report.bad, report.late) == (300594, 10, None)
    assert report.latency_s == pytest.approx({50.0: 0.000843, 75.0: 0.00143, 99.0: 1.2})


def k6_metrics(**more: object) -> str:
    durations = {"p(50)": 10.0, "p(90)": 20.0, "p(99)": 30.0, "p(99.9)": 40.0}
    metrics = {
        "http_reqs": {"values": {"count": 200}},
        "http_req_failed": {"values": {"rate": 0.05}},
        "http_req_duration": {"values": durations},
    }
    return json.dumps({**metrics, **more})


def test_k6_leaves_counters_out_that_are_0() -> None:
    report = k6_report(k6_metrics())
    assert (report.requests, report.bad, report.late, report.dropped) == (200, 10, 0, 0)
    assert report.latency_s[99.9] == pytest.approx(0.04)
    assert k6_report(k6_metrics(late={"values": {"count": 7}})).late == 7
    assert k6_report(k6_metrics(dropped_iterations={"values": {"count": 3}})).dropped == 3


def test_vegeta_is_read_from_its_summary_and_from_its_rows() -> None:
    latencies = {"50th": 1e6, "90th": 2e6, "99th": 3e6}
    summary = {"requests": 10, "status_codes": {"200": 7, "204": 1, "0": 2}, "latencies": latencies}
    told = vegeta_report(json.dumps(summary))
    assert (told.requests, told.bad, told.latency_s[99.0]) == (10, 2, 0.003)
    rows = vegeta_rows("1,200,5000000,0,9,,body,a,0\n2,500,1500000000,0,9,,body,a,1\n")
    assert (rows.requests, rows.bad, rows.late) == (2, 1, 1)
    assert rows.latency_s[50.0] == pytest.approx(0.005)
    assert rows.latency_s[99.9] == pytest.approx(1.5)


def test_locust_is_read_from_its_histogram() -> None:
    entry = {"num_requests": 4, "num_failures": 1, "response_times": {"7": 2, "1000": 1, "3000": 1}}
    report = locust_report(json.dumps([entry]))
    assert (report.requests, report.bad, report.late) == (4, 1, 1)
    assert (report.latency_s[50.0], report.latency_s[99.9]) == (0.007, 3.0)


@pytest.mark.parametrize("reader", [wrk_report, k6_report, vegeta_report, vegeta_rows, locust_report])
def test_what_cannot_be_read_is_said_and_is_no_zero(reader: object) -> None:
    assert callable(reader)
    with pytest.raises(UnreadableError):
        reader("" if reader is vegeta_rows else "panic: no such thing")


@pytest.mark.parametrize(("percent", "value"), [(50.0, 5), (90.0, 9), (99.0, 10), (99.9, 10), (0.0, 1)])
def test_a_rank_is_the_smallest_that_enough_do_not_exceed(percent: float, value: int) -> None:
    assert nearest_rank(range(1, 11), percent) == value


# how they are called -------------------------------------------------------------------------------------------------


def work(tmp_path: Path, **changes: object) -> Work:
    return replace(Work("http://127.0.0.1:1", "POST", 3.0, tmp_path), **changes)  # type: ignore[arg-type]


def test_every_generator_is_called_for_the_same_page_and_body(tmp_path: Path) -> None:
    job = work(tmp_path)
    for tool in TOOLS:
        told = " ".join([*tool.command(job), *tool.environment(job).values()])
        told += "".join(path.read_text() for path in tmp_path.iterdir())
        assert job.url in told
        if tool is not STOCK:  # its user class has them from the same module
            assert job.page in told
            assert job.body in told
    assert 100 < len(job.body) < 200
    assert work(tmp_path, method="GET").body == ""


def test_a_rate_is_told_to_those_that_can_keep_one(tmp_path: Path) -> None:
    job = work(tmp_path, rate_rps=1200.0)
    assert "-rate=1200/1s" in VEGETA.command(job)
    assert K6.environment(job)["RATE_RPS"] == STOCK.environment(job)["RATE_RPS"] == "1200"
    assert not WRK.open_loop
    assert not STOCK.open_loop


def test_k6_is_told_to_report_its_usage_to_nobody(tmp_path: Path) -> None:
    assert "--no-usage-report" in K6.command(work(tmp_path))
    assert K6.command(work(tmp_path))[K6.command(work(tmp_path)).index("--address") + 1] == ""


# costs ---------------------------------------------------------------------------------------------------------------


def window(cpu_s: float, requests: int = 100_000) -> Window:
    return Window(10.0, requests, cpu_s, 0.1, 0)


def test_a_cost_is_the_median_of_its_rounds_and_a_ratio_is_of_stock() -> None:
    stock, ours = Cost([window(9.0), window(9.2), window(30.0)]), Cost([window(3.0)], highest_rps=11_000.0)
    text = markdown([cost_table({(STOCK.name, "GET"): stock, (OURS, "GET"): ours})])
    assert "| Locust FastHttpUser | GET | 92.0 µs | 10,870 | 1.00 x | 10,000/s | — |" in text
    assert "| Gameday, FastUser | GET | 30.0 µs | 33,333 | 3.07 x | 11,000/s | 1.0 µs |" in text
    assert "| wrk2 |  | not available: no Debian package, no Go module | — |" in text


def test_a_generator_that_failed_once_is_shown_with_its_reason_and_has_no_cost() -> None:
    def fail(_: Cost) -> None:
        raise ToolError("it is not built")

    cost = Cost([window(3.0)])
    guarded(cost, fail)
    guarded(cost, lambda c: c.windows.append(window(1.0)))
    assert np.isnan(cost.cost_s)
    assert len(cost.windows) == 1
    text = markdown([cost_table({(STOCK.name, "GET"): Cost([window(9.0)]), (WRK.name, "GET"): cost})])
    assert "| wrk | GET | not available: it is not built | — | — | — | — |" in text


def test_a_window_without_requests_costs_no_number() -> None:
    assert np.isnan(window(1.0, requests=0).cost_s)
    assert Counts(10, 9, 3, 2.0).since(Counts(4, 4, 1, 0.5)) == Counts(6, 5, 2, 1.5)


# ladder --------------------------------------------------------------------------------------------------------------


def climbed(lags_s: list[float], rates: list[float], missing: int = 0) -> float:
    due_s = np.concatenate([np.arange(int(r)) / r + n for n, r in enumerate(rates)])
    lag_s = np.repeat(lags_s, [int(r) for r in rates])
    return highest_carried(rates, 1.0, due_s[: len(due_s) - missing], lag_s[: len(due_s) - missing])


def test_the_highest_rate_is_the_last_that_was_kept_up_with() -> None:
    assert climbed([0.001, 0.002, 0.003], [100, 200, 300]) == 300
    assert climbed([0.001, 0.002, 0.2], [100, 200, 300]) == 200
    assert climbed([0.001, 0.2, 0.002], [100, 200, 300]) == 300  # a hiccup
    assert climbed([0.001, 0.2, 0.3, 0.001], [100, 200, 300, 400]) == 100
    assert climbed([0.001, 0.002, 0.003], [100, 200, 300], missing=50) == 200
    assert np.isnan(climbed([0.2, 0.3], [100, 200]))


def test_a_ladder_rises_by_its_ratio_and_ends() -> None:
    rates = ladder(1.25)
    assert rates[0] < 2000
    assert 30_000 < rates[-1] <= 60_000
    assert all(b / a == pytest.approx(1.25) for a, b in pairwise(rates))


# workers and the log --------------------------------------------------------------------------------------------------


def spec(folder: Path, **changes: object) -> Spec:
    stages = [("steady", 1.0, 10.0, 10.0)]
    return replace(Spec("http://127.0.0.1:1", "Get", stages, str(folder), (1,)), **changes)  # type: ignore[arg-type]


def test_a_generator_is_in_its_control_groups_before_it_begins(tmp_path: Path) -> None:
    files = (str(tmp_path / "cpu" / "cgroup.procs"), str(tmp_path / "with space"))
    (tmp_path / "cpu").mkdir()
    core = min(os.sched_getaffinity(0))
    command = [*prefix(spec(tmp_path, procs_files=files, cores=(core,))), "cat", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    assert done.stdout == "0\n0\n"
    assert prefix(spec(tmp_path, cores=(0, 1))) == ("taskset", "-c", "0,1")


def test_a_generator_that_cannot_enter_its_control_group_does_not_begin(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    gone = spec(tmp_path, procs_files=(str(tmp_path / "gone" / "cgroup.procs"),), cores=(core,))
    done = subprocess.run([*prefix(gone), "echo", "began"], capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode
    assert not done.stdout


def test_a_request_log_is_measured_step_by_step_and_held_to_its_limits() -> None:
    found = bench_request_log.checks(900_000)  # its outage must be in it
    limited = {name: unit for name, value, limit, unit in found if limit is not None and value > 0}
    assert limited == {
        "on disk, Parquet": "bytes",
        "memory of who writes the stream": "bytes",
        "memory of who makes the Parquet": "bytes",
        "reading, cut to 72,000 rows": "s",
    }


def test_a_step_that_fails_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(bench_request_log.StepError, match=r"read failed:[\s\S]*requests\.parquet"):
        bench_request_log.measured("read", tmp_path, 5)


# truth ---------------------------------------------------------------------------------------------------------------


def test_the_scripted_server_holds_what_comes_in_its_stall_and_delays_the_rest_in_turn() -> None:
    book = Book({"delays_s": [0.1, 0.2], "stall": [5.0, 3.0]})
    due_s = [book.take(at)[1] for at in (100.0, 101.0, 104.9, 105.0, 107.95, 108.0)]
    assert due_s == pytest.approx([100.1, 101.2, 105.0, 108.0, 108.05, 108.2])
    book.answered(0, 100.11)
    assert book.rows[0] == [100.0, 100.11]


def test_what_is_late_in_a_stall_follows_from_the_schedule() -> None:
    assert late_by_schedule(100.0, 3.0) == 200


def test_an_error_counts_against_1_ms_or_1_percent_and_silence_is_no_accuracy() -> None:
    assert excess({50.0: 0.02, 99.0: 0.5}, {50.0: 0.0205, 99.0: 0.505}) == pytest.approx(1.0)
    assert excess({50.0: 0.02}, {50.0: 0.018}) == pytest.approx(2.0)
    assert np.isnan(excess({50.0: 0.02, 99.0: 0.5}, {50.0: 0.02}))
    assert np.isnan(excess({}, {}))


def test_percentiles_leave_out_what_was_never_answered() -> None:
    assert percentiles(np.array([1.0, 2.0, np.nan, 3.0, 4.0]))[50.0] == 2.0
    assert np.isnan(percentiles(np.array([np.nan]))[99.0])


def test_known_distributions_are_the_same_every_time() -> None:
    first, second = distributions(1000), distributions(1000)
    assert all((first[name] == second[name]).all() for name in first)
    assert all((0 < values_s).all() for values_s in first.values())
