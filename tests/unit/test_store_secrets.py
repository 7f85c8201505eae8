"""No secret reaches a run's folder, wherever it comes from and however it travels."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from pathlib import Path

from harness import store
from harness.model.record import Ending
from harness.model.target import Target
from harness.model.timeline import Event
from harness.store import RunStore
from tests.unit import stored_runs as runs


def planted_target() -> Target:
    """Return a target whose addresses carry passwords."""
    return Target(
        "local", "local", "ctx", "/k", "https://127.0.0.1:*", "uid", "a=b", ("agents",),
        "http://127.0.0.1:1", "https://admin:pl4nted-userinfo@127.0.0.1:2", 10.0,
        prometheus_token_env="PROM_AUTH", addresses={"redis_url": "redis://:pl4nted-redis@127.0.0.1:3"},
    )  # fmt: skip


def test_no_secret_reaches_the_folder(tmp_path: Path) -> None:
    environ = {
        "PROM_AUTH": 'pl4nted-"prom"-token',
        "GAMEDAY_HEADER_AUTHORIZATION": "Bearer pl4nted-header-value",
        "SOME_API_TOKEN": "pl4nted-other",
    }
    experiment = replace(runs.experiment(), text="token: pl4nted-other\n", load_options={"key": "pl4nted-other"})
    stored = RunStore.create(tmp_path, runs.header(), experiment, environ=environ)
    stored.save_target(planted_target())
    for n, secret in enumerate([*environ.values(), "Bearer pl4nted-unknown-to-the-environment"], 1):
        stored.append(Event(n, 0.0, "chaos", "note", "x", {"message": f"401 for {secret} at redis://:pl4nted-r@h"}))
    stored.save_undo([{"prior": environ["PROM_AUTH"]}])
    stored.save_fingerprint({"secret": environ["PROM_AUTH"]}, None)
    stored.save_harvest(runs.harvest())
    stored.finish(runs.header(), Ending.STOPPED, f"error {environ['SOME_API_TOKEN']}", {"user": environ["PROM_AUTH"]})
    found = [f.name for f in stored.run_dir.rglob("*") if f.is_file() and b"pl4nted" in f.read_bytes()]
    assert found == []
    assert store.load_record(stored.run_dir).header.ending is Ending.STOPPED


def test_a_header_that_comes_from_a_file_reaches_the_folder_no_more_than_one_of_the_environment(tmp_path: Path) -> None:
    secret = tmp_path / "authorization"
    secret.write_text("Basic pl4nted-in-a-file\n")
    environ = {
        "GAMEDAY_HEADER_AUTHORIZATION_FILE": str(secret),
        "GAMEDAY_HEADER_X_MISSING_FILE": str(tmp_path / "nosuch"),
        "GAMEDAY_HEADER_X_FOLDER_FILE": str(tmp_path),
    }
    stored = RunStore.create(tmp_path / "runs", runs.header(), runs.experiment(), environ=environ)
    stored.save_target(planted_target())
    stored.append(Event(1, 0.0, "load", "note", "x", {"message": "401 for Basic pl4nted-in-a-file"}))
    stored.close()
    assert b"pl4nted" not in (stored.run_dir / "events.jsonl").read_bytes()
    assert b"401 for [redacted]" in (stored.run_dir / "events.jsonl").read_bytes()


def test_a_password_reaches_the_folder_neither_plain_nor_as_it_travels(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("pl4nted-password\n")
    access = {"prometheus_token_env": "", "prometheus_user_env": "PROM_USER", "prometheus_password_file": str(secret)}
    stored = RunStore.create(tmp_path / "runs", runs.header(), runs.experiment(), environ={"PROM_USER": "me"})
    stored.save_target(replace(planted_target(), **access))
    travels = b64encode(b"me:pl4nted-password").decode()
    stored.append(Event(1, 0.0, "metrics", "note", "x", {"message": f"401 for Basic {travels}, pl4nted-password"}))
    stored.close()
    written = (stored.run_dir / "events.jsonl").read_text()
    assert "pl4nted" not in written
    assert travels not in written
