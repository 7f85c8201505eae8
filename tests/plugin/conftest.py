"""A pytester project that is only Gameday's plugin and its one generic test, pointed at the shipped experiments."""

import shutil

import pytest

from harness.registries import PROJECT_DIR

INI = """
[pytest]
addopts = -p no:locust -p harness.plugin -p no:cacheprovider
markers =
    gameday: a game day
    e2e: end to end
filterwarnings =
    error
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """Return a pytester folder with the generic test, an ordinary test, and the shipped settings."""
    monkeypatch.delenv("GAMEDAY_TARGET", raising=False)
    pytester.makefile(".ini", pytest=INI)
    shutil.copy(PROJECT_DIR / "experiments" / "test_gameday.py", pytester.path / "test_gameday.py")
    pytester.makepyfile(test_ordinary="def test_ordinary():\n    pass\n")
    return pytester
