"""The rules for runbooks: what is shipped keeps them, and each rule finds what breaks it, with file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from harness import cli_runbook, exits, registries
from harness.cli import gameday
from harness.runbook import page_of
from harness.runbook_commands import pipeline_of
from harness.runbook_kubectl import CommandError
from harness.runbook_lint import Project, anchors_of, ensure_parses, lint
from harness.runbook_platform import read_platform
from harness.spec_template import new_experiment, new_runbook

ROOT = registries.PROJECT_DIR


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one experiment and its runbook, as `gameday new` writes them."""
    for folder, ending, text in (("experiments", "yaml", new_experiment), ("runbooks", "md", new_runbook)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"trial.{ending}").write_text(text("trial"))
    shutil.copytree(ROOT / "testbed" / "manifests", tmp_path / "testbed" / "manifests")
    return Project(tmp_path, gameday)


def change(project: Project, old: str, new: str, file: str = "runbooks/trial.md") -> None:
    path = project.folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def told(project: Project) -> list[str]:
    return [str(problem).removeprefix(f"{project.folder}/") for problem in lint((), project)]


def test_everything_that_is_shipped_keeps_the_rules() -> None:
    assert [str(problem) for problem in lint((), Project(ROOT, gameday))] == []


def test_what_gameday_new_writes_keeps_the_rules(project: Project) -> None:
    assert told(project) == []


PODS = "kubectl -n agents get pods,hpa,pdb -o wide"
BROKEN = {
    "no section": ("## Symptoms", "## Signs", "md:1: section `## Symptoms` is missing"),
    "no title": ("# Drill: trial", "Drill: trial", "md:1: it has no title"),
    "no steps": ("## Steps", "## Step", "md:1: no steps"),
    "no link to its experiment": ("(../experiments/trial.yaml)", "(https://example.com)", "links to no experiment"),
    "a link to nothing": (
        "Which controller",
        "[Which](../none.md) controller",
        "link to ../none.md: there is no such file",
    ),
    "an anchor of nothing": (
        "Which controller",
        "[Which](#none) controller",
        "link to #none: there is no such heading",
    ),
    "an address of another kind": (
        "Which controller",
        "[Which](ftp://example.com/x) controller",
        "there is no such file",
    ),
    "an unknown command": (PODS, "kubectl frob", "md:18: kubectl frob: unknown verb of kubectl: frob"),
    "an unknown flag": (PODS, f"{PODS} --frob", "md:18:"),
    "no namespace": (PODS, "kubectl get pods", "names no namespace"),
    "an unknown namespace": (PODS, "kubectl -n agent get pods", "unknown namespace agent"),
    "an unknown object": (
        PODS,
        "kubectl -n agents get hpa plannr",
        "no horizontalpodautoscalers/plannr in the manifests",
    ),
    "an unknown label": (PODS, "kubectl -n agents get pods -l app=plannr", "nothing has the label app=plannr"),
    "an unknown file": (PODS, "kubectl diff -f testbed/none.yaml", "there is no testbed/none.yaml"),
    "gameday in a block": (PODS, "gameday recover --target local", "not a program that a runbook runs"),
    "gameday in a step": ("Which figures", "Ask `gameday list`. Which figures", "a step speaks of gameday itself"),
    "an unknown command of gameday": ("gameday recover --target local", "gameday recoverr", "has no command recoverr"),
    "an unknown option of gameday": ("recover --target local", "recover --frob", "No such option"),
    "a missing argument of gameday": ("gameday recover --target local", "gameday run", "Missing argument"),
    "a broken command in a line": ("Which controller", "`kubectl get podz` which controller", "unknown kind podz"),
    "a broken query": ("sum by (code)", "sum by by (code)", "md:14: not PromQL"),
    "a block of another language": ("```promql", "```", "md:13: a block of no language"),
    "a fault given away": ("Which figures", "See who did evict-one-planner. Which figures", "gives the fault away"),
    "a fault given away in words": (
        "Which figures",
        "Somebody: evict one planner! Which figures",
        "gives the fault away",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_each_rule_finds_what_breaks_it(project: Project, what: str) -> None:
    change(project, "name: kill-one-planner", "name: evict-one-planner", "experiments/trial.yaml")
    old, new, why = BROKEN[what]
    change(project, old, new)
    found = told(project)
    assert found
    assert any(why in line for line in found), found
    assert all(line.startswith("runbooks/trial.md:") and " — " in line for line in found)


def test_an_experiment_without_a_runbook_is_found(project: Project) -> None:
    (project.folder / "runbooks/trial.md").unlink()
    assert told(project) == [
        "experiments/trial.yaml:1: its runbook runbooks/trial.md is not there — write runbooks/NAME.md"
    ]


def test_a_runbook_and_its_experiment_name_each_other(project: Project) -> None:
    change(project, "runbook: runbooks/trial.md", "runbook: runbooks/other.md", "experiments/trial.yaml")
    (project.folder / "runbooks/other.md").write_text(new_runbook("trial"))
    assert told(project) == [
        "runbooks/trial.md:1: experiments/trial.yaml has another runbook: runbooks/other.md — let both name each other"
    ]


def test_a_file_that_cannot_be_read_is_one_problem_of_its_own(project: Project) -> None:
    (project.folder / "runbooks/broken.md").write_bytes(b"\xff")
    (found,) = told(project)
    assert "runbooks/broken.md:1: cannot be read" in found


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = page_of(tmp_path, "# A `b` + c!\n\n## Twice\n\n## Twice\n\n## under_score, and-dash\n")
    assert anchors_of(page) == {"a-b--c", "twice", "twice-1", "under_score-and-dash"}


def test_objects_are_only_held_against_manifests_that_have_their_kind(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("kind: Deployment\nmetadata: {name: shop, namespace: shop, labels: {app: shop}}\n")
    platform = read_platform(tmp_path)
    for line in ("kubectl -n shop get deploy shop", "kubectl -n shop get hpa any", "kubectl get node any"):
        assert list(platform.unknown_in(pipeline_of(line).call)) == []
    ((problem, _),) = platform.unknown_in(pipeline_of("kubectl -n shop get deploy any").call)
    assert problem == "there is no deployments/any in the manifests"


@pytest.mark.parametrize(
    "line",
    [
        "run trial --target local --seed 3",
        "testbed up --with keda",
        "recover --check",
        "drill trial --target local",
        "halt -h",
        "--help",
    ],
)
def test_command_lines_of_gameday_are_read_by_its_own_parser(line: str) -> None:
    ensure_parses(gameday, line.split())


@pytest.mark.parametrize("line", ["", "run", "run trial --seed x", "testbed", "testbed none", "--frob", "run a b"])
def test_command_lines_that_gameday_would_refuse_are_refused(line: str) -> None:
    with pytest.raises(CommandError):
        ensure_parses(gameday, line.split())


def invoke(*arguments: str) -> tuple[int, str]:
    root = click.Group("gameday", commands=[cli_runbook.runbook])
    root.add_command(gameday.commands["recover"])
    root.add_command(gameday.commands["run"])
    root.add_command(gameday.commands["halt"])
    result = CliRunner().invoke(root, ["runbook", "lint", *arguments], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.return_value, result.output


def test_the_command_names_files_from_where_one_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registries, "PROJECT_DIR", project.folder)
    monkeypatch.chdir(project.folder)
    assert invoke() == (exits.HELD, "trial.md: valid\n")
    change(project, PODS, "kubectl frob")
    status, output = invoke("runbooks/trial.md")
    assert status == exits.USAGE
    assert output.startswith("runbooks/trial.md:18: kubectl frob: unknown verb")
    assert invoke("none.md")[1].startswith("none.md:1: cannot be read")
