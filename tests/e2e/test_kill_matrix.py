"""The kill matrix in short: whoever is killed in the middle of a real run, nothing is left and nothing passes.

`make bench-kill` is the long form. Real API server, reaper, load and chaos children on a light testbed.
"""

from collections.abc import Iterator

import pytest

from tests.bench.kill_lane import Lane
from tests.bench.kill_run import Draw, one_run

pytestmark = [pytest.mark.testbed, pytest.mark.e2e]


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    found = Lane(9, False, tmp_path_factory.mktemp("kill"))
    try:
        found.up()
        yield found
    finally:
        found.down()


def draw(seed: int, who: str, signal: str, subject: str, step: str) -> Draw:
    return Draw(seed, who, signal, "fault", subject, step, 0.2)


@pytest.mark.parametrize(
    "wanted",
    [
        draw(1, "all", "SIGKILL", "drain-a-node", "undo-recorded"),
        draw(2, "conductor", "SIGKILL", "unplug-devices", "acted"),
        draw(3, "conductor", "SIGTERM", "scale-away", "permit"),
        draw(4, "chaos child", "SIGKILL", "drain-a-node", "permit"),
    ],
    ids=lambda wanted: f"{wanted.signal} {wanted.who}",
)
def test_whoever_is_killed_everything_is_taken_back_and_the_run_does_not_pass(lane: Lane, wanted: Draw) -> None:
    found = one_run(lane, wanted)
    log = (lane.work / f"runs-{wanted.seed}" / "client.log").read_text(errors="replace")

    assert found.counted, log[-3000:]
    assert found.broken, "it was struck while something was broken"
    assert found.residue == () and found.restored_s is not None
    assert found.exit_status != 0 and found.further_faults == 0
    slow = [text for text in found.violations if text.startswith("restored after")]  # speed is `make bench-kill`'s
    assert [text for text in found.violations if text not in slow] == [], found.told()
