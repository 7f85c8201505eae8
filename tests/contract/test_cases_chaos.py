"""The user's own Chaos Toolkit settings have no say in a game day (CASES A19), with the real chaoslib."""

from pathlib import Path

import pytest
import yaml
from chaoslib.run import Runner
from chaoslib.types import Strategy

from tests.contract.test_chaos_driver import Office, Trial, experiment, trial

__all__ = ["trial"]

CONTROL = """
import os
from pathlib import Path


def before_experiment_control(context, **kwargs):
    Path(os.environ["CONTROL_RAN"]).touch()
    raise RuntimeError("stop: it is not safe")
"""
SETTINGS = {"controls": {"safety": {"provider": {"type": "python", "module": "touching"}}}}


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the user a settings file with a control; return the file that the control leaves."""
    home = tmp_path / "home" / ".chaostoolkit"
    home.mkdir(parents=True)
    (home / "settings.yaml").write_text(yaml.safe_dump(SETTINGS))
    (tmp_path / "touching.py").write_text(CONTROL)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CONTROL_RAN", str(tmp_path / "ran"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "ran"


def test_a19_chaoslib_alone_swallows_what_a_safety_control_raises(ran: Path) -> None:
    """The reason why a file with a control is refused."""
    control = {"name": "safety", **SETTINGS["controls"]["safety"]}
    written = {"title": "t", "description": "d", "controls": [control], "method": []}
    assert Runner(Strategy.SKIP).run(written, {})["status"] == "completed"
    assert ran.exists()


def test_a19_a_control_of_the_users_settings_is_not_run_in_a_game_day(trial: Trial, ran: Path) -> None:
    trial.driver.start(experiment(("kill", "kill_pods", 0)), Office())
    trial.until_over()
    assert trial.driver.failure == ""
    assert not ran.exists()
