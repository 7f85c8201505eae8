"""Allowed hours, and the least rights of an experiment (harness.hours, harness.rbac, harness.guard)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness import guard
from harness.hours import inside, next_opening, parse_hours
from harness.model.errors import Refusal
from harness.model.fault import Permission
from harness.rbac import as_yaml, manifests, subject_of
from tests.unit.conductor_doubles import EXPERIMENT, TARGET

OFFICE = "Mon-Fri 09:00-16:00 Europe/Berlin"
WEDNESDAY = datetime(2026, 11, 25, tzinfo=UTC)  # Berlin is one hour ahead


def at(hour, minute=0, day=0):
    return WEDNESDAY + timedelta(days=day, hours=hour, minutes=minute)


@pytest.mark.parametrize(
    ("start", "minutes", "allowed"),
    [
        (at(8), 10, True),
        (at(7, 59), 10, False),
        (at(14, 50), 10, True),
        (at(14, 51), 10, False),
        (at(12, day=3), 10, False),
    ],
)
def test_a_run_must_begin_and_end_within_the_hours(start, minutes, allowed):
    assert inside(parse_hours(OFFICE), start, start + timedelta(minutes=minutes)) is allowed


def test_without_hours_a_run_may_always_start():
    assert inside(parse_hours(""), at(3), at(4)) and next_opening((), at(3), timedelta(0)) is None


def test_a_change_of_summer_time_does_not_move_the_opening():
    summer, winter = datetime(2026, 7, 1, 7, 30, tzinfo=UTC), datetime(2026, 12, 2, 7, 30, tzinfo=UTC)
    hours = parse_hours(OFFICE)
    assert inside(hours, summer, summer) and not inside(hours, winter, winter)


def test_days_may_run_over_the_end_of_the_week():
    hours = parse_hours("Sat-Mon 10:00-12:00 UTC")
    days = [n for n in range(7) if inside(hours, at(11, day=n), at(11, day=n))]
    assert days == [3, 4, 5]  # Saturday, Sunday, Monday after a Wednesday


@pytest.mark.parametrize(
    "text", ["daily", "Mon-Fri 9-16 UTC", "Xyz 09:00-10:00 UTC", "Mon 10:00-09:00 UTC", "Mon 09:00-10:00 Nowhere/Land",
             "Mon 25:00-26:00 UTC"],
)  # fmt: skip
def test_what_is_no_opening_is_refused_with_how_to_write_it(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_hours(text)


def test_outside_the_hours_a_run_is_refused_and_the_next_opening_named():
    target = replace(TARGET, allowed_hours=OFFICE)
    with pytest.raises(Refusal, match="from Thu 2026-11-26 08:00 UTC on") as refused:
        guard.check_hours(target, EXPERIMENT, at(20).timestamp())
    assert refused.value.code == "hours"
    guard.check_hours(target, EXPERIMENT, at(9).timestamp())
    guard.check_hours(TARGET, EXPERIMENT, at(3).timestamp())


def test_an_opening_that_is_too_short_for_the_run_is_said_to_be():
    target = replace(TARGET, allowed_hours="Mon-Fri 09:00-09:01 UTC")
    with pytest.raises(Refusal, match="no opening is as long as the run"):
        guard.check_hours(target, replace(EXPERIMENT, settle_s=600.0), at(9).timestamp())


@given(st.integers(0, 7 * 24 * 60), st.integers(1, 400))
def test_the_next_opening_holds_the_whole_run(minute, minutes):
    hours, now, duration = parse_hours(OFFICE), at(0, minute), timedelta(minutes=minutes)
    then = next_opening(hours, now, duration)
    assert then is not None and then >= now and inside(hours, then, then + duration)


NEEDED = (
    Permission("get", "pods", "", "", "agents"),
    Permission("delete", "pods", "", "", "agents"),
    Permission("create", "pods", "", "eviction", "agents"),
    Permission("patch", "nodes"),
    Permission("patch", "nodes", "", "status"),
    Permission("get", "leases", "coordination.k8s.io", "", "gameday-system"),
    Permission("create", "selfsubjectaccessreviews", "authorization.k8s.io"),
)


def test_a_permission_of_one_namespace_becomes_a_role_there_and_every_other_a_cluster_role():
    found = manifests("gameday:x", NEEDED, subject_of("runner", ""))
    kinds = [(m["kind"], m["metadata"].get("namespace", "")) for m in found]
    assert kinds == [
        ("ClusterRole", ""), ("ClusterRoleBinding", ""), ("Role", "agents"), ("RoleBinding", "agents"),
        ("Role", "gameday-system"), ("RoleBinding", "gameday-system"),
    ]  # fmt: skip
    assert found[0]["rules"] == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    assert found[2]["rules"][0] == {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete", "get"]}
    assert {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]} in found[2]["rules"]


def test_nothing_more_than_what_is_needed_is_granted_and_no_wildcard_is_used():
    found = manifests("gameday:x", NEEDED, subject_of("", "ci/runner"))
    granted = {
        Permission(verb, r.split("/")[0], rule["apiGroups"][0], r.partition("/")[2], m["metadata"].get("namespace", ""))
        for m in found
        for rule in m.get("rules", ())
        for r in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == set(NEEDED) - {NEEDED[-1]}
    assert "*" not in as_yaml(found) and list(yaml.safe_load_all(as_yaml(found))) == found
    assert found[1]["subjects"] == [{"kind": "ServiceAccount", "name": "runner", "namespace": "ci"}]


@pytest.mark.parametrize(("user", "account"), [("", ""), ("a", "b/c"), ("", "no-namespace"), ("", "ns/")])
def test_rights_are_granted_to_exactly_one_subject(user, account):
    with pytest.raises(ValueError, match=r".+"):
        subject_of(user, account)
