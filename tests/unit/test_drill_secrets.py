"""The secrets of a drill's webhooks: by variable or by a file that is ours alone, and shown nowhere."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.drill.alert_route import route_of
from harness.drill.journal import Journal
from harness.drill.secret_values import BYTES_MAX, PAGERDUTY_ENV, SLACK_ENV, hook_secrets, read_secret, secret_value
from harness.model.drill import DrillError
from harness.model.target import AlertRoute
from tests.unit.conductor_doubles import TARGET

SECRET = "pl4nted-secret-in-a-file"


def written(folder: Path, data: bytes = SECRET.encode(), mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_comes_from_a_variable_or_from_a_file_of_ours(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, f"\n{SECRET}\n".encode(), mode)
    assert secret_value("HOOK", {"HOOK_FILE": str(path)}) == SECRET
    assert secret_value("HOOK", {"HOOK": f" {SECRET} "}) == SECRET
    assert secret_value("HOOK", {}) == ""


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_file_that_others_may_use_is_refused_with_how_to_mend_it(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, mode=mode)
    with pytest.raises(DrillError, match=rf"HOOK_FILE: .* \(mode {mode:04o}\): chmod 600 {path}") as refused:
        secret_value("HOOK", {"HOOK_FILE": str(path)})
    assert SECRET not in str(refused.value)


def test_a_link_is_as_good_as_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(written(tmp_path, mode=0o644))
    with pytest.raises(DrillError, match="mode 0644"):
        read_secret(tmp_path / "link", "HOOK_FILE")


@pytest.mark.parametrize("data", [b"", b" \n", b"\xff\xfe", b"a" * (BYTES_MAX + 1)])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DrillError, match="is empty, no text, or larger than 4096 bytes"):
        read_secret(written(tmp_path, data), "HOOK_FILE")


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("gone", "pipe", "."):
        with pytest.raises(DrillError, match=r"HOOK_FILE: .* is not a file"):
            read_secret(tmp_path / name, "HOOK_FILE")


def test_both_ways_at_once_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DrillError, match="HOOK and HOOK_FILE are both set"):
        secret_value("HOOK", {"HOOK": SECRET, "HOOK_FILE": str(written(tmp_path))})


def test_what_signs_comes_several_at_a_time_and_is_never_shown(tmp_path: Path) -> None:
    path = written(tmp_path, b"pl4nted-new-signing-secret\npl4nted-old-signing-secret\n")
    found = hook_secrets({PAGERDUTY_ENV: f"{SECRET}, pl4nted-another", f"{SLACK_ENV}_FILE": str(path)})
    assert found.pagerduty == (SECRET, "pl4nted-another")
    assert found.slack == ("pl4nted-new-signing-secret", "pl4nted-old-signing-secret")
    assert "pl4nted" not in repr(found)


def test_the_token_of_alertmanager_and_opsgenie_comes_from_a_file_too(tmp_path: Path) -> None:
    told = AlertRoute("http://127.0.0.1:9093", "AM", "drill", "HOOK")
    environ = {"HOOK_FILE": str(written(tmp_path)), "AM": "pl4nted-am-token"}
    assert route_of(replace(TARGET, drill=told), environ).webhook_token == SECRET
    testbeds = replace(told, webhook_token_file=str(written(tmp_path, mode=0o644)))
    with pytest.raises(DrillError, match=r"alert route of local: .*mode 0644"):
        route_of(replace(TARGET, drill=testbeds), environ)


def test_what_came_from_a_file_is_kept_out_of_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path, environ={}, secrets=(SECRET,))
    journal.append(("note", "ana", {"text": f"it is {SECRET}"}))
    assert SECRET not in (tmp_path / "journal.jsonl").read_text()
