"""Reading a runbook: its steps as a drill shows and runs them, and what is told where it is not in the form."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import SpecError
from harness.registries import PROJECT_DIR
from harness.runbook import page_of, read_runbook, steps_of
from harness.runbook_commands import Command

TEXT = """# Drill: users wait

Experiment: [`experiments/trial.yaml`](../experiments/trial.yaml).

## What happens
1. Not a step.

## Steps
Some words first.

1. **See who is hurt.** Which answers
   do users get?
   ```promql
   up
   ```
   ```console
   kubectl get nodes          # NotReady?

   # only a comment
   kubectl -n agents get pods | tail -5
   ```
   - **Pods are Pending**: wait.
2. **Mend it**
   ```sh
   kubectl get pods > /tmp/x  # for people
   ```
   ```console
   kubectl cordon gpu-1
   ```

## Undo
Nothing.
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trial.md"
    path.write_text(text)
    return path


def test_a_runbook_is_its_title_its_experiment_and_its_steps(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT)
    found = read_runbook(path)
    assert (found.title, found.path, found.experiment) == ("users wait", path, "trial")
    first, second = found.steps
    assert (first.step, first.title) == ("1", "See who is hurt")
    assert first.text == ("Which answers\ndo users get?\n\n```promql\nup\n```\n\n- **Pods are Pending**: wait.")
    assert first.commands == (
        Command("kubectl get nodes", changes=False),
        Command("kubectl -n agents get pods | tail -5", changes=False),
    )
    assert (second.step, second.title) == ("2", "Mend it")
    assert "for people" in second.text
    assert second.commands == (Command("kubectl cordon gpu-1", changes=True),)


@pytest.mark.parametrize(
    ("old", "new", "line", "why"),
    [
        ("## Steps", "## Ideas", 1, "no steps"),
        ("1. **See", "- **See", 8, "has 2 lists"),
        ("1. **See", "4. **See", 8, "does not count from 1"),
        ("Some words first.", "```console\nkubectl get nodes\n```", 9, "outside of a step"),
        ("**See who is hurt.** ", "See who is hurt. ", 11, "step 1 has no title"),
        ("kubectl get nodes ", "kubectl get podz ", 17, "kubectl get podz: unknown kind podz"),
        ("kubectl cordon gpu-1", "kubectl cordon", 28, "does not say of what"),
        (
            "   - **Pods are Pending**: wait.",
            "   - a\n     ```console\n     kubectl get nodes\n     ```",
            23,
            "inside a list",
        ),
    ],
)
def test_what_is_not_in_the_form_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, why: str) -> None:
    assert old in TEXT
    path = written(tmp_path, TEXT.replace(old, new, 1))
    with pytest.raises(SpecError, match=why) as wrong:
        read_runbook(path)
    assert wrong.value.where == f"{path}:{line}"


def test_two_lists_are_no_steps(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace("## Undo", "A word between.\n\n1. **Once more.**\n\n## Undo"))
    with pytest.raises(SpecError, match="has 2 lists"):
        read_runbook(path)


def test_several_problems_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, TEXT.replace("get nodes ", "get podz ").replace("cordon gpu-1", "cordon"))
    with pytest.raises(SpecError, match="and 1 more: gameday runbook lint"):
        read_runbook(path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * 300_000], ids=["no text", "too large"])
def test_a_file_that_is_no_runbook_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trial.md"
    path.write_bytes(content)
    with pytest.raises(SpecError, match=r"trial\.md"):
        read_runbook(path)
    with pytest.raises(SpecError, match="cannot be read"):
        read_runbook(tmp_path / "none.md")


PIECES = st.sampled_from([
    "# T", "## Steps", "1. **a.** b", "2. c", "   ```console", "   kubectl get nodes", "   ```", "", "- x", "> q",
    "| a |", "    code", "---", "***", "[a](b)", "<b>", "```console", "```", "   1. **n**", "kubectl |",
])  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("\n".join))
def test_any_text_is_read_or_told_with_lines_that_it_has(text: str) -> None:
    steps, problems = steps_of(page_of(Path("x.md"), text))
    assert [step.step for step in steps] == [str(n + 1) for n in range(len(steps))]
    assert all(1 <= problem.line <= max(1, len(text.splitlines())) for problem in problems)


@pytest.mark.parametrize("path", sorted((PROJECT_DIR / "runbooks").glob("*.md")), ids=lambda path: path.stem)
def test_every_shipped_runbook_has_steps_with_commands_and_says_how_to_see_that_it_is_over(path: Path) -> None:
    found = read_runbook(path)
    assert len(found.steps) >= 5
    assert found.experiment == path.stem
    assert found.steps[-1].title.startswith("See that")
    assert any(command for step in found.steps for command in step.commands)
