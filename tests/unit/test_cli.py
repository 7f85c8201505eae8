"""The command's exit statuses: usage is 4, a crash 3, and no mistake of a user ends in a traceback."""

import signal

import pytest

from harness import cli, registries


def status_of(*arguments):
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
    finally:
        signal.signal(signal.SIGTERM, before)
    return end.value.code


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("run", "nosuch", "--rehearse"), "there is no such experiment file"),
        (("run", "pod-kill-under-burst"), "no target is named"),
        (("run", "pod-kill-under-burst", "--target", "nosuch"), "no target 'nosuch'"),
        (("run", "pod-kill-under-burst", "--seed", "x"), "'x' is not a valid integer"),
        (("run", "pod-kill-under-burst", "--target", "kind", "--with-testbed"), "--target local only"),
        (("run", "pod-kill-under-burst", "--target", "local", "--settings", "."), "cannot be read"),
        (("report", "nosuch", "--runs-dir", "nowhere"), "there is no run 'nosuch'"),
        (("validate", "experiments"), "experiments: is a folder, not an experiment file"),
        (("recover",), "no target is named"),
        (("new", "../Not a name"), "not a name for an experiment"),
        (("nosuch",), "No such command"),
    ],
)
def test_a_mistake_of_the_user_is_exit_4_with_one_clear_message(arguments, told, monkeypatch, capsys):
    monkeypatch.delenv("GAMEDAY_TARGET", raising=False)
    assert status_of(*arguments) == 4
    said = capsys.readouterr().err
    assert told in said
    assert "Traceback" not in said
    assert " min on " not in said  # what a run would take is said only where there can be one


def test_an_unwritable_runs_dir_is_exit_4_and_names_option_and_folder(tmp_path, capsys):
    (tmp_path / "runs").write_text("a file")
    assert status_of("run", "pod-kill-under-burst", "--rehearse", "--runs-dir", str(tmp_path / "runs")) == 4
    said = capsys.readouterr().err
    assert f"--runs-dir: {tmp_path / 'runs'}: create the run folder: Not a directory" in said
    assert "Traceback" not in said


def test_an_exception_that_is_not_ours_is_exit_3_and_told_in_full(monkeypatch, capsys):
    def crash(path):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(registries, "load", crash)
    assert status_of("list") == 3
    assert "ZeroDivisionError: boom" in capsys.readouterr().err
