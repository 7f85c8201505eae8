"""Every signal that an assertion asks for is in the shipped query packs, and the sample platform exports it."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

from assertions.registry import ASSERTIONS
from harness.drivers.prometheus_answers import is_selector, label_set, pages, readable
from testbed.platform.queue_exporter import gauges_of
from testbed.platform.queue_state import QueueState

ROOT = Path(__file__).parents[2]
PACKS = tomllib.loads((ROOT / "gameday.toml").read_text("utf-8"))["query_packs"]
NOT_ON_THE_TESTBED = {
    "gpu_engine_active_ratio",
    "kafka_committed_offset",
    "kafka_end_offset",
    "pod_cpu_request_cores",
    "pod_cpu_seconds",
}
"""Signals that the sample platform has not; packs for clusters that have them are shipped beside its own."""

ASKED = sorted({signal for definition in ASSERTIONS.values() for signal in definition.signals})


def test_the_shipped_packs_have_every_signal_and_the_testbeds_all_that_its_platform_has() -> None:
    assert set(ASKED) - {signal for pack in PACKS.values() for signal in pack} == set()
    assert set(ASKED) - PACKS["envoy"].keys() == NOT_ON_THE_TESTBED


@pytest.mark.parametrize("pack", sorted(PACKS))
def test_the_counters_of_a_shipped_pack_are_raw_c08(pack: str) -> None:
    assert all(is_selector(signal["query"]) for signal in PACKS[pack].values() if signal.get("counter"))


def test_the_queue_exporter_exports_what_the_pack_asks_for() -> None:
    exported = {*gauges_of(QueueState(0, 0, 0, 0, 0.0, 0, 0, 0, 0, 0)), "queue_up"}
    asked = {name: PACKS["envoy"][name]["query"] for name in PACKS["envoy"] if name.startswith(("queue_", "tasks_"))}
    assert {name: query for name, query in asked.items() if query not in exported} == {}


@pytest.mark.parametrize(
    ("query", "selector"),
    [
        ("up", True),
        ('up{job="a b", pod=~"x{2}|y"}', True),
        (' {__name__="up"} ', True),
        ("sum(up)", False),
        ("rate(x[1m])", False),
        ("up / up", False),
        ("up offset 5m", False),
        ('up{job="a"} or vector(0)', False),
        ("1", False),
    ],
)
def test_a_plain_selector_is_told_from_an_expression(query: str, selector: bool) -> None:
    assert is_selector(query) is selector


@pytest.mark.parametrize("points_max", [2, 3, 11_000])
def test_pages_touch_and_hold_no_more_points_than_allowed_c05(points_max: int) -> None:
    found = list(pages(100.0, 163.0, 2.0, points_max))
    assert (found[0].start_s, found[-1].end_s) == (100.0, 163.0)
    assert all(one.end_s == two.start_s for one, two in itertools.pairwise(found))
    assert all(page.duration_s / 2.0 + 1 <= points_max for page in found)


def test_labels_are_told_in_a_fixed_order() -> None:
    assert readable(label_set({"pod": "a", "__name__": "up", "code": "2"}, keep_name=False)) == 'code="2", pod="a"'
    assert readable(label_set({}, keep_name=True)) == "value"
