"""Whether faults get a metrics store: where it can be asked without a secret, and never by failing the whole method."""

from dataclasses import replace

import pytest

from harness.drivers.chaostoolkit_child import connect_metrics
from harness.drivers.chaostoolkit_job import ChaosJob
from harness.drivers.system_clock import RealClock
from harness.model.target import Target

TARGET = Target(
    "t", "local", "c", "", "", "", "a=b", ("agents",), "", "http://127.0.0.1:9", 1.0, loopback_only=True
)  # fmt: skip
CLOCK = RealClock(0.0, 0.0)


def job(target: Target) -> ChaosJob:
    return ChaosJob("run-1", 7, 0.0, 0.0, 0.0, "", (), target, "journal.json")


def test_a_store_that_can_be_asked_is_handed_to_the_faults() -> None:
    assert connect_metrics(job(TARGET), CLOCK) is not None


@pytest.mark.parametrize(
    ("changes", "logged"),
    [
        ({"prometheus_url": ""}, ""),
        ({"prometheus_token_env": "NOT_GIVEN_TO_THE_CHILD"}, "NOT_GIVEN_TO_THE_CHILD"),
        ({"prometheus_url": "http://192.0.2.1:9090"}, "192.0.2.1"),
    ],
)
def test_without_one_there_is_none_and_the_log_says_why(
    changes: dict[str, str], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect_metrics(job(replace(TARGET, **changes)), CLOCK) is None  # type: ignore[arg-type]
    assert logged in caplog.text
