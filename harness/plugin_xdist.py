"""The xdist scheduler that keeps an experiment on one worker. Imported only where xdist is active."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling


class ExperimentScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Groups items by experiment; every other item is a group of its own."""

    def _split_scope(self, nodeid: str) -> str:
        if "test_gameday.py::" not in nodeid or "[" not in nodeid:
            return nodeid
        return nodeid[nodeid.index("[") + 1 :].split(":", 1)[0]
