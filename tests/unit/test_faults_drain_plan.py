"""What a drain does with each pod, and what budgets want (experiments.faults.drain_plan)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.faults.drain_plan import Fate, desired_healthy, lowest_replicas_notes, plan_drain, read_budget

RS = [{"kind": "ReplicaSet", "name": "rs", "controller": True}]


def pod(name="p", **changes):
    meta = {"namespace": "agents", "name": name, "uid": f"uid-{name}", "labels": {"app": "planner"}}
    meta |= {"ownerReferences": RS, **changes.pop("metadata", {})}
    return {"metadata": meta, "spec": {}, "status": {"phase": "Running"}, **changes}


def pdb(name="planner", spec=None, expected=3, healthy=3, **status):
    body = {"minAvailable": 2, "selector": {"matchLabels": {"app": "planner"}}, **(spec or {})}
    said = {"observedGeneration": 1, "expectedPods": expected, "currentHealthy": healthy, **status}
    return {"metadata": {"namespace": "agents", "name": name, "generation": 1}, "spec": body, "status": said}


def fate(one, *pdbs, **options):
    (entry,) = plan_drain([one], pdbs, **options)
    return entry


@pytest.mark.parametrize(
    ("changes", "expected", "reason"),
    [
        ({}, Fate.EVICT, ""),
        ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, Fate.SKIP, "mirror"),
        ({"metadata": {"ownerReferences": [{"kind": "DaemonSet", "controller": True}]}}, Fate.SKIP, "DaemonSet"),
        ({"status": {"phase": "Succeeded"}}, Fate.SKIP, "ended"),
        ({"status": {"phase": "Failed"}}, Fate.SKIP, "ended"),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, Fate.WAIT, "terminating"),
        ({"metadata": {"ownerReferences": None}}, Fate.REFUSE, "no controller"),
        ({"metadata": {"ownerReferences": [{"kind": "Node"}]}}, Fate.REFUSE, "no controller"),
        ({"spec": {"volumes": [{"name": "shm", "emptyDir": {}}]}}, Fate.EVICT, "local storage"),
        ({"spec": {"volumes": None}}, Fate.EVICT, ""),
    ],
)
def test_a07_a09_every_kind_of_pod_has_its_fate_and_absent_lists_are_empty(changes, expected, reason):
    found = fate(pod(**changes))
    assert found.fate is expected and reason in found.reason


def test_a_bare_pod_goes_only_by_force():
    assert fate(pod(metadata={"ownerReferences": []}), force=True).fate is Fate.EVICT


def test_f01_two_budgets_on_one_pod_are_found_before_the_first_write():
    found = fate(pod(), pdb("a"), pdb("b"))
    assert "2 budgets" in found.hopeless and found.budgets == ("agents/a", "agents/b")


def test_a_budget_of_another_namespace_or_selector_does_not_count():
    other = pdb("other", {"selector": {"matchLabels": {"app": "else"}}})
    elsewhere = {**pdb("planner"), "metadata": {"namespace": "x", "name": "planner", "generation": 1}}
    assert fate(pod(), other, elsewhere).budgets == ()


@pytest.mark.parametrize(
    ("spec", "expected", "hopeless"),
    [
        ({"minAvailable": 2}, 3, False),
        ({"minAvailable": 3}, 3, True),
        ({"minAvailable": None, "maxUnavailable": 0}, 3, True),
        ({"minAvailable": None, "maxUnavailable": 1}, 3, False),
        ({"minAvailable": "80%"}, 1, True),
        ({"minAvailable": None, "maxUnavailable": "20%"}, 1, False),
        ({"minAvailable": 1}, 1, True),
        ({"minAvailable": 1}, 20, False),
    ],
)
def test_f02_f06_a_budget_that_never_allows_anything_is_found_before_the_first_write(spec, expected, hopeless):
    found = fate(pod(), pdb(spec=spec, expected=expected, healthy=expected))
    assert bool(found.hopeless) is hopeless


def test_f03_an_unready_pod_may_go_where_the_policy_always_allows_it():
    strict = pdb(spec={"minAvailable": 3}, expected=3, healthy=1)
    kind = pdb(spec={"minAvailable": 3, "unhealthyPodEvictionPolicy": "AlwaysAllow"}, expected=3, healthy=1)
    ready = pod(status={"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})

    assert fate(pod(), strict).hopeless and not fate(pod(), kind).hopeless
    assert fate(ready, kind).hopeless


def test_f04_a_status_of_an_older_spec_is_not_believed():
    stale = pdb(spec={"minAvailable": 3}, observedGeneration=0)
    budget = read_budget(stale)
    assert (budget.current, budget.healthy, budget.desired, budget.never) == (False, None, None, False)
    assert "unknown" in budget.describe()


def test_f06_a_budget_that_blocks_at_the_autoscalers_minimum_is_told():
    hpa = {"metadata": {"name": "planner"}, "spec": {"minReplicas": 2}}
    assert "minimum of HPA planner" in lowest_replicas_notes([hpa], [pdb()])[0]
    hpa = {"metadata": {"name": "planner"}, "spec": {"minReplicas": 3}}
    assert lowest_replicas_notes([hpa], [pdb()]) == ()


@given(percent=st.integers(0, 100), expected=st.integers(0, 200))
def test_f02_percentages_are_rounded_up_for_both_fields(percent, expected):
    part = math.ceil(percent * expected / 100)
    assert desired_healthy({"minAvailable": f"{percent}%"}, expected) == part
    assert desired_healthy({"maxUnavailable": f"{percent}%"}, expected) == expected - part


@given(st.lists(st.sampled_from(["Running", "Succeeded", "Failed"]), max_size=12))
def test_every_pod_has_exactly_one_entry_and_the_order_is_stable(phases):
    pods = [pod(f"p{n}", status={"phase": phase}) for n, phase in enumerate(phases)]
    found = plan_drain(pods, [pdb()])

    assert sorted(entry.uid for entry in found) == sorted(p["metadata"]["uid"] for p in pods)
    assert plan_drain(list(reversed(pods)), [pdb()]) == found
    assert all((entry.fate is Fate.EVICT) == (phases[int(entry.name[1:])] == "Running") for entry in found)
