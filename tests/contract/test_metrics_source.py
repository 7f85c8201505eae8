"""The contract of `MetricsSource`: the twin's store and a real Prometheus give the same answers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from harness.drivers import prometheus as driver
from harness.drivers.prometheus import PrometheusSource
from harness.drivers.prometheus_answers import pages
from harness.drivers.system_clock import RealClock
from harness.fakes.clock import FakeClock
from harness.fakes.metrics import FakeMetrics
from harness.fakes.switches import Switches
from harness.model.errors import PortError
from harness.model.signal import Harvest, Series, Signal, increase
from harness.model.target import Target
from harness.model.time import Window
from harness.ports import MetricsSource
from tests.contract.scraped import SCRAPE_S, Exporter, free_port, prometheus

REQUESTS = Signal("requests", "demo_requests_total", "requests", counter=True)
RULES = {"groups": [{"name": "all", "interval": "500ms", "rules": [
    {"alert": "ToolTasksWait", "expr": "vector(0) > 1"},
    {"alert": "Twofold", "expr": "vector(0) > 1"}, {"alert": "Twofold", "expr": "vector(1) > 2"},
    {"alert": "Fails", "expr": "demo_requests_total * on () demo_requests_total > 0"},
    {"record": "demo:requests:sum", "expr": "sum(demo_requests_total)"},
]}]}  # fmt: skip
NOTHING = Signal("nothing", "demo_nothing")


def target(url: str, **changes: object) -> Target:
    fields: dict[str, object] = {
        "name": "local", "kind": "local", "context": "", "kubeconfig": "", "api_server": "", "kube_system_uid": "",
        "opt_in_label": "", "namespaces": ("agents",), "gateway_url": "", "prometheus_url": url, "rate_max_rps": 1,
        "loopback_only": True, "scrape_interval_s": SCRAPE_S,
    }  # fmt: skip
    return Target(**(fields | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Bench:
    """A store in which two counters rose from 5 to 8, and what was done in it."""

    source: MetricsSource
    window: Window
    interval_s: float


def fake_bench() -> Bench:
    clock = FakeClock()
    store = FakeMetrics(clock, Switches())
    for value in (5.0, 5.0, 6.0, 8.0, 8.0):
        store.scrape([("requests", {"code": code}, value) for code in ("200", "500")])
        clock.sleep(2.0)
    return Bench(store, Window(1.0, clock.now_s()), 2.0)


@dataclass(frozen=True)
class Real:
    """What was scraped in one go for all tests, since it takes real seconds."""

    url: str
    clock: RealClock
    window: Window
    hole: Window
    late_s: float


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    folder: Path = tmp_path_factory.mktemp("prometheus")
    (folder / "rules.json").write_text(json.dumps(RULES))  # JSON is YAML
    exporter = Exporter()
    exporter.samples = {'demo_requests_total{code="200"}': "5", 'demo_requests_total{code="500"}': "5"}
    exporter.samples |= {"demo_ratio": "NaN", "demo_limit": "+Inf"}
    clock = RealClock.starting_now()
    try:
        with prometheus(folder, exporter) as url:
            time.sleep(4 * SCRAPE_S)
            start_s = clock.now_s()
            exporter.samples |= {'demo_requests_total{code="200"}': "8", 'demo_requests_total{code="500"}': "8"}
            time.sleep(3 * SCRAPE_S)
            hole_s = clock.now_s()
            exporter.status = 500
            time.sleep(6 * SCRAPE_S)
            exporter.status = 200
            hole = Window(hole_s, clock.now_s())
            late_s = clock.now_s()
            exporter.samples['demo_requests_total{code="429"}'] = "3"
            time.sleep(4 * SCRAPE_S)
            yield Real(url, clock, Window(start_s, clock.now_s()), hole, late_s)
    finally:
        exporter.close()


@pytest.fixture(params=["fake", "prometheus"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "fake":
        yield fake_bench()
        return
    real: Real = request.getfixturevalue("real")
    with closing(PrometheusSource(target(real.url), real.clock)) as source:
        yield Bench(source, real.window, SCRAPE_S)


def test_it_names_its_version(bench: Bench) -> None:
    assert bench.source.identify()


def test_its_clock_is_near_ours(bench: Bench) -> None:
    assert abs(bench.source.skew_s()) < 1.0


def test_an_instant_answer_has_a_value_by_readable_labels(bench: Bench) -> None:
    values = bench.source.instant(REQUESTS)
    assert 8.0 in values.values()
    assert all("code=" in labels for labels in values)


def test_c14_an_instant_answer_without_samples_is_empty(bench: Bench) -> None:
    assert bench.source.instant(NOTHING) == {}


def test_a_harvest_has_each_label_set_once_with_rising_times_near_the_window(bench: Bench) -> None:
    harvest = bench.source.harvest([REQUESTS], bench.window)
    series = harvest.series("requests")
    assert len({tuple(sorted(one.labels.items())) for one in series}) == len(series) >= 2
    assert harvest.scrape_interval_s == harvest.signals["requests"].step_s == bench.interval_s
    for one in series:
        assert (np.diff(one.t_s) > 0).all()
        assert one.t_s[0] >= bench.window.start_s - bench.interval_s
        assert one.t_s[-1] < bench.window.end_s + bench.interval_s


def test_counters_can_be_taken_from_each_other(bench: Bench) -> None:
    series = [s for s in bench.source.harvest([REQUESTS], bench.window).series("requests") if s.labels["code"] != "429"]
    assert increase(series, bench.window) == 6.0


def test_a_signal_without_samples_has_no_series_no_error_and_is_a_problem_c01(bench: Bench) -> None:
    harvest = bench.source.harvest([NOTHING], bench.window)
    assert harvest.series("nothing") == ()
    assert not harvest.signals["nothing"].error
    assert "no series" in harvest.problem("nothing")


def test_an_alert_with_a_rule_can_fire(bench: Bench) -> None:
    assert bench.source.alert_rules()["ToolTasksWait"] == ""


# What only a real Prometheus can show


def test_rules_that_fail_say_why_and_records_are_no_alerts(real: Real) -> None:
    with closing(PrometheusSource(target(real.url), real.clock)) as source:
        rules = source.alert_rules()
    assert "many-to-many" in rules.pop("Fails")
    assert rules == {"ToolTasksWait": "", "Twofold": ""}


def ask(real: Real, *signals: Signal) -> Harvest:
    with closing(PrometheusSource(target(real.url), real.clock)) as source:
        return source.harvest(signals, real.window)


def only(harvest: Harvest, name: str, code: str) -> Series:
    return next(one for one in harvest.series(name) if one.labels["code"] == code)


def test_c09_samples_are_those_that_were_scraped_so_a_hole_is_a_hole(real: Real) -> None:
    raw = only(ask(real, REQUESTS), "requests", "200")
    assert not ((raw.t_s > real.hole.start_s + 0.1) & (raw.t_s < real.hole.end_s - 0.1)).any()
    assert raw.coverage(real.window, SCRAPE_S).gap_max_s > 4 * SCRAPE_S
    assert (np.diff(raw.t_s) < 10 * SCRAPE_S).all()


def test_a_label_set_that_came_late_begins_when_it_was_first_scraped(real: Real) -> None:
    assert only(ask(real, REQUESTS), "requests", "429").t_s[0] >= real.late_s - 0.1


def test_labels_do_not_carry_the_name_and_keep_the_instance(real: Real) -> None:
    labels = only(ask(real, REQUESTS), "requests", "200").labels
    assert "__name__" not in labels
    assert labels["job"] == "demo"


def test_values_that_are_not_finite_arrive_as_such_c02(real: Real) -> None:
    harvest = ask(real, Signal("ratio", "demo_ratio"), Signal("limit", "demo_limit"))
    assert all(math.isnan(v) for one in harvest.series("ratio") for v in one.values)
    assert all(v == math.inf for one in harvest.series("limit") for v in one.values)


def test_an_expression_is_asked_as_a_range_c05(real: Real) -> None:
    (one,) = ask(real, Signal("sum", "sum(demo_requests_total)")).series("sum")
    assert one.values.max() == 19.0


def test_a_counter_that_is_no_plain_selector_is_refused_c08(real: Real) -> None:
    for query in ("sum(demo_requests_total)", "rate(demo_requests_total[1m])"):
        assert "rate inside, sum outside" in ask(real, Signal("x", query, counter=True)).problem("x")


def test_a_query_that_does_not_parse_is_an_error_of_its_signal_alone(real: Real) -> None:
    harvest = ask(real, Signal("bad", "sum("), REQUESTS)
    assert "parse error" in harvest.problem("bad")
    assert not harvest.problem("requests")


def test_pages_are_joined_without_losing_or_doubling_a_sample_c05_c15(
    real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = only(ask(real, REQUESTS), "requests", "200")
    monkeypatch.setattr(driver, "pages", lambda start, end, step: pages(start, end, step, points_max=3))
    paged = only(ask(real, REQUESTS), "requests", "200")
    assert np.array_equal(whole.t_s, paged.t_s)
    assert np.array_equal(whole.values, paged.values)


def test_a_window_before_the_first_scrape_has_no_series(real: Real) -> None:
    with closing(PrometheusSource(target(real.url), real.clock)) as source:
        assert source.harvest([REQUESTS], Window(-7200.0, -3600.0)).series("requests") == ()


def test_a_store_that_does_not_answer_is_an_error_of_every_signal(real: Real) -> None:
    with closing(PrometheusSource(target(f"http://127.0.0.1:{free_port()}"), real.clock)) as source:
        harvest = source.harvest([REQUESTS, NOTHING], real.window)
        assert all("no answer" in harvest.problem(name) for name in ("requests", "nothing"))
        assert math.isnan(harvest.skew_s)
        with pytest.raises(PortError, match="curl"):
            source.identify()
