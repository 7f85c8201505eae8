"""A query that PromQL accepts and that yet gives a wrong answer is refused, with the reason (CASES C03, C06, C08)."""

from pathlib import Path

import pytest

from harness.model.errors import SpecError
from harness.model.signal import Signal
from harness.query_lint import lint
from harness.registries import PROJECT_DIR
from harness.settings import check_query_packs, load_settings, resolve_target

SCRAPE_S = 15.0


def said(query, counter=False, scrape_s=SCRAPE_S):
    found = lint(Signal("x", query, counter=counter), scrape_s)
    return None if found is None else found[0]


@pytest.mark.parametrize(
    "query", ["envoy_rq_xx", 'up{job="x"}', '{__name__=~"a|b"}', 'planner_requests_total{code!="5"}']
)
def test_raw_counters_are_let_through(query):
    assert said(query, counter=True) is None


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("rate(x_total[5m])", "must be raw"),
        ("sum(x_total)", "must be raw"),
        ("job:x:sum", "recorded sum of counters"),
        ("x_total offset 5m", "another time"),
    ],
)
def test_c08_a_counter_that_is_no_plain_series_is_refused(query, reason):
    assert reason in said(query, counter=True)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("rate(sum(x_total)[5m:15s])", "rate of a sum"),
        ("sum(increase(job:x:sum[5m]))", "recorded series job:x:sum"),
        ("avg(errors / total)", "average of ratios"),
        ("avg_over_time((errors / total)[5m:15s])", "average of ratios"),
        ("sum(rate(x_total[30s]))", "fewer than 4 scrapes"),
        ("sum(rate(total[5m])) or vector(0)", "missing data into a number"),
        ("sum(rate(x[", "not PromQL"),
    ],
)
def test_c03_c06_c08_what_gives_a_wrong_answer_is_refused_with_its_reason(query, reason):
    assert reason in said(query)


@pytest.mark.parametrize(
    "query",
    [
        "queue_depth",
        "sum by (code) (rate(x_total[1m]))",
        "sum(rate(errors[5m])) / sum(rate(total[5m]))",
        "avg(queue_depth)",
        "max_over_time(queue_depth[2m])",
        "errors or total",
    ],
)
def test_sound_queries_are_let_through(query):
    assert said(query) is None


def test_c06_the_window_is_measured_by_the_targets_own_scrape_interval():
    assert said("sum(rate(x_total[30s]))", scrape_s=2.0) is None
    assert "fewer than 4 scrapes of 15 s" in said("sum(rate(x_total[30s]))", scrape_s=15.0)


def test_a_bad_pack_is_one_clear_error_that_names_its_key(tmp_path: Path):
    text = (PROJECT_DIR / "gameday.toml").read_text()
    path = tmp_path / "gameday.toml"
    path.write_text(text.replace("query = 'queue_depth'", "query = 'sum(rate(queue_depth[20s]))'"))
    settings = load_settings(path)
    kind = settings.targets["kind"].model_copy(update={"kube_system_uid": "u"})
    settings = settings.model_copy(update={"targets": {"kind": kind}})
    with pytest.raises(SpecError, match=r"query_packs\.envoy\.queue_depth.*fewer than 4 scrapes"):
        resolve_target(settings, "kind", {})


def test_the_shipped_packs_are_looked_through_by_gameday_validate():
    check_query_packs(load_settings(PROJECT_DIR / "gameday.toml"))
