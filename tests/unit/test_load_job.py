"""What the load child is told, and what it refuses before it makes a single user."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from harness.model.load import LoadPlan, Stage, whole_share
from loadprofiles.job import (
    LoadJob,
    PlanRefused,
    base_url,
    check_plan,
    header_values,
    job_from_plain,
    parse_job,
    read_payloads,
    room_rps,
)
from loadprofiles.profiles import PROFILES

PLAN = LoadPlan(
    PROFILES["smoke"], "http://127.0.0.1:8080", seed=3, rate_max_rps=100, loopback_only=True,
    header_names=("Authorization",), options={"tool_calls": 2},
)  # fmt: skip


def test_a_job_survives_its_way_through_the_pipe() -> None:
    job = LoadJob(PLAN, 1_700_000_000.5, 12.25)
    line = json.dumps({"plan": asdict(PLAN), "origin_unix_s": 1_700_000_000.5, "origin_monotonic_s": 12.25})
    assert parse_job(line) == job


def test_a_child_may_live_no_longer_than_its_plan_needs() -> None:
    assert LoadJob(PLAN, 0, 0).longest_s == PLAN.profile.duration_s + PLAN.profile.request_timeout_s + 32


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(PLAN, rate_max_rps=9.9), "peaks at 10 rps, and 9.9 are allowed"),
        (replace(PLAN, profile=replace(PLAN.profile, stages=())), "offers nothing"),
        (replace(PLAN, profile=replace(PLAN.profile, user_classes={})), "no users"),
        (replace(PLAN, profile=replace(PLAN.profile, request_timeout_s=0)), "no users or no time-out"),
    ],
)
def test_a_plan_that_no_target_allows_is_refused(plan: LoadPlan, message: str) -> None:
    with pytest.raises(PlanRefused, match=message):
        check_plan(plan)


TALKS = replace(PLAN, profile=replace(PLAN.profile, conversations={"PlannerConversation": 3}), rate_max_rps=25.0)


def test_conversations_stay_under_what_is_left_beside_the_arrivals() -> None:
    check_plan(TALKS)
    assert room_rps(TALKS) == 15.0
    plain = json.loads(json.dumps({"plan": asdict(TALKS), "origin_unix_s": 1.0, "origin_monotonic_s": 2.0}))
    assert job_from_plain(plain).plan == TALKS


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (replace(TALKS, rate_max_rps=10.0), "nothing of the target's rate_max_rps is left for conversations"),
        (replace(TALKS, profile=TALKS.profile.scaled(1e-9), rate_max_rps=0.0), "and 0 are allowed"),
        (replace(TALKS, profile=replace(TALKS.profile, conversations={"PlannerConversation": 0})), "without users"),
        (replace(TALKS, profile=replace(TALKS.profile, stages=(Stage("burst", 1.0, 0.0, 0.0),))), "no arrivals"),
        (replace(TALKS, profile=replace(TALKS.profile, conversations=dict.fromkeys(TALKS.profile.user_classes, 1))),
         "for arrivals and for conversations"),
    ],
)  # fmt: skip
def test_conversations_that_cannot_be_judged_or_bounded_are_refused(plan: LoadPlan, message: str) -> None:
    with pytest.raises(PlanRefused, match=message):
        check_plan(plan)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://user:word@127.0.0.1"])
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(PlanRefused, match="not a gateway's URL"):
        base_url(replace(PLAN, gateway_url=url), lambda host: [host])


@pytest.mark.parametrize("address", ["198.18.0.1", "10.96.0.1", "10.0.0.7", "::1"])
def test_a_loopback_only_target_refuses_every_other_address(address: str) -> None:
    with pytest.raises(PlanRefused, match="not in 127"):
        base_url(replace(PLAN, gateway_url="http://gateway"), lambda host: [address])


def test_a_name_with_one_address_off_the_machine_is_refused() -> None:
    with pytest.raises(PlanRefused, match="not in 127"):
        base_url(replace(PLAN, gateway_url="http://gateway"), lambda host: ["127.0.0.1", "203.0.113.9"])


def test_a_loopback_name_is_resolved_once_and_keeps_its_host_header() -> None:
    plan = replace(PLAN, gateway_url="http://localhost:8080/edge/")
    assert base_url(plan, lambda host: ["127.0.0.1", "::1"]) == ("http://127.0.0.1:8080/edge", "localhost:8080")


def test_another_target_keeps_its_name_for_every_connect() -> None:
    plan = replace(PLAN, gateway_url="https://gw.example", loopback_only=False)
    assert base_url(plan, lambda host: pytest.fail("no name may be resolved here")) == (
        "https://gw.example",
        "gw.example",
    )


def test_header_values_come_from_the_environment_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("Bearer from-file\n")
    names = ("Authorization", "X-Tenant")
    environ = {"GAMEDAY_HEADER_X_TENANT": "acme", "GAMEDAY_HEADER_AUTHORIZATION_FILE": str(tmp_path / "token")}
    assert header_values(names, environ) == {"Authorization": "Bearer from-file", "X-Tenant": "acme"}


def test_a_header_without_a_value_names_its_variable() -> None:
    with pytest.raises(PlanRefused, match="neither GAMEDAY_HEADER_X_TENANT nor"):
        header_values(("X-Tenant",), {})
    with pytest.raises(PlanRefused, match="No such file"):
        header_values(("X-Tenant",), {"GAMEDAY_HEADER_X_TENANT_FILE": "/nonexistent/token"})


def test_a_header_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "token").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanRefused, match="not UTF-8"):
        header_values(("X-Tenant",), {"GAMEDAY_HEADER_X_TENANT_FILE": str(tmp_path / "token")})


def test_payloads_are_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "payloads.jsonl"
    file.write_text('"one"\n\n{"two": 2}\n')
    assert read_payloads(str(file)) == ("one", {"two": 2})
    assert read_payloads("") == ()


@pytest.mark.parametrize(("text", "message"), [("\n", "holds no payload"), ('"a"\n{', "line 2: not JSON")])
def test_a_bad_payload_file_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "payloads.jsonl"
    file.write_text(text)
    with pytest.raises(PlanRefused, match=message):
        read_payloads(str(file))


@pytest.mark.parametrize(
    ("per_request", "first"), [(0.2, [0, 0, 0, 0, 1, 0]), (2, [2, 2, 2]), (0, [0, 0]), (1.5, [1, 2, 1, 2])]
)
def test_a_share_is_spread_evenly_in_whole_numbers(per_request, first):
    assert [whole_share(index, per_request) for index in range(len(first))] == first
    assert abs(sum(whole_share(i, per_request) for i in range(1000)) - 1000 * per_request) <= 1
