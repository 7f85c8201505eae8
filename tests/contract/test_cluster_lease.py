"""Contract of `RunLease`: one run a cluster (DESIGN U3)."""

import pytest

from harness.model.errors import Refusal

pytestmark = pytest.mark.testbed


def test_a_second_run_is_refused_and_told_who_holds_the_cluster(real_world):
    first, second = real_world.lease(), real_world.lease()
    first.acquire("run-1")
    assert first.held
    with pytest.raises(Refusal, match="run-1") as raised:
        second.acquire("run-2")
    assert raised.value.code == "lease-held"
    assert raised.value.remedy
    assert not second.held


def test_a_lease_that_was_given_back_is_free_at_once(real_world):
    first, second = real_world.lease(), real_world.lease()
    first.acquire("run-1")
    first.release()
    assert not first.held
    second.acquire("run-2")
    assert second.held


def test_a_lease_whose_holder_died_lapses_and_may_be_taken_over(real_world):
    dead, heir = real_world.lease(duration_s=1, renew_every_s=3600.0), real_world.lease()
    dead.acquire("dead")

    def taken():
        try:
            heir.acquire("heir")
        except Refusal:
            return None
        return True

    with pytest.raises(Refusal):
        heir.acquire("heir")
    real_world.until(taken, "the Lease lapses")
    assert heir.held
    assert not dead.held


def test_a_lease_is_renewed_beyond_its_duration(real_world):
    lease, other = real_world.lease(duration_s=2, renew_every_s=0.5), real_world.lease()
    lease.acquire("run-1")
    began_unix_s = real_world.now_unix_s()
    real_world.until(lambda: real_world.now_unix_s() - began_unix_s > 5.0 or None, "5 s passed")
    assert lease.held
    with pytest.raises(Refusal):
        other.acquire("run-2")
