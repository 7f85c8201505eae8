"""Which sessions run a game day at all. None of these may reach a cluster or read an experiment file."""

import pytest

from harness.plugin import asks_for_gameday


@pytest.mark.parametrize("expression", ["gameday", "gameday and not e2e", "gameday or unit", "(gameday)"])
def test_an_expression_that_needs_the_mark_asks_for_it(expression):
    assert asks_for_gameday(expression)


@pytest.mark.parametrize(
    "expression", ["", "not e2e", "not gameday", "unit", "not (unit and gameday)", "gameday and unit"]
)
def test_an_expression_that_does_not_need_the_mark_does_not_ask(expression):
    assert not asks_for_gameday(expression)


def test_a_mark_expression_with_a_mistake_is_pytests_own_usage_error(project):
    result = project.runpytest_subprocess("-m", "gameday and (", "--target", "local")
    assert result.ret == 4
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_a_plain_pytest_deselects_game_days_and_needs_no_target(project):
    result = project.runpytest_subprocess("--gameday-experiments", "nowhere")
    result.assert_outcomes(passed=1)
    assert result.ret == 0


def test_not_e2e_does_not_start_a_game_day_even_with_a_target_named(project):
    result = project.runpytest_subprocess("-m", "not e2e", "--target", "local")
    result.assert_outcomes(passed=1)


def test_asking_without_a_target_is_a_usage_error_that_names_the_ways(project):
    result = project.runpytest_subprocess("-m", "gameday")
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--target NAME*--gameday-rehearse*"])


def test_a_typo_in_the_name_of_an_experiment_is_exit_4_not_5_e05(project):
    result = project.runpytest_subprocess("-m", "gameday", "--gameday-rehearse", "-k", "nosuch")
    assert result.ret == 4


def test_a_broken_experiment_file_is_one_clear_usage_error(project):
    (project.path / "files").mkdir()
    (project.path / "files" / "broken.yaml").write_text("title: [")
    result = project.runpytest_subprocess("-m", "gameday", "--gameday-rehearse", "--gameday-experiments", "files")
    assert result.ret == 4
    text = result.stdout.str() + result.stderr.str()
    assert "broken.yaml" in text
    assert "Traceback" not in text


def test_an_unknown_target_is_exit_4_or_named_before_anything_is_touched(project):
    result = project.runpytest_subprocess("-m", "gameday", "--target", "prod", "-k", "restored")
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == 4
    assert "no target 'prod'" in text
