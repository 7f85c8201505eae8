"""`--gameday-dry-run`: pytest says whom a game day would hit and touches nothing."""

LOOK = ("-m", "gameday", "--gameday-rehearse", "--gameday-dry-run", "--gameday-seed", "7", "-k", "cascade")


def test_a_dry_run_names_the_victims_and_undos_and_leaves_no_run(project):
    result = project.runpytest_subprocess(*LOOK)

    assert result.ret == 0, result.stdout.str()
    assert set(result.parseoutcomes()) <= {"skipped", "deselected"}
    result.stdout.fnmatch_lines(
        ["gameday: dry run, rehearsal, seed 7*", "fault hold-every-free-gpu*", "  would hit Node gpu-1",
         "  undo: Node general-2: uncordoned", "nothing was touched; it would run"]
    )  # fmt: skip
    assert not (project.path / "runs").exists()


def test_a_dry_run_of_what_would_be_refused_is_an_error_and_exit_20(project, monkeypatch):
    monkeypatch.setenv("GAMEDAY_TWIN", '{"hpa_missing": true}')
    result = project.runpytest_subprocess(*LOOK)

    assert result.ret == 20, result.stdout.str()
    assert set(result.parseoutcomes()) <= {"errors", "deselected"}
    result.stdout.fnmatch_lines(["in the way: *hpa agents/planner*", "nothing was touched; it would be refused"])


def test_a_dry_run_over_xdist_says_the_same(project):
    result = project.runpytest_subprocess(*LOOK, "-n", "2")

    assert result.ret == 0, result.stdout.str()
    result.stdout.fnmatch_lines(["fault drain-a-general-node*", "nothing was touched; it would run"])
