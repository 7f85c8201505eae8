"""Reads a runbook: Markdown whose section `Steps` is what people see, tick and run in a drill.

A step is an item of that section's numbered list: a bold title, text, and ```console blocks with one command a line.
Blocks of any other language stay in the text, for people alone. Everything outside `Steps` is the facilitator's. Must
never run anything, and never guess: what is not in this form is told with its line.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from harness.model.errors import SpecError
from harness.runbook_commands import Command, command_of, without_comment
from harness.runbook_kubectl import CommandError

STEPS = "Steps"
RUN = "console"
SIZE_MAX_BYTES = 256 * 1024
_EXPERIMENT = re.compile(r"(?:\.\./)+experiments/([a-z0-9-]+)\.yaml")
_TITLED = re.compile(r"\*\*(?P<title>[^*]+)\*\*\s*(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a runbook.

    Attributes:
        step: Its id: its number in the list, from 1.
        title: What to do, in a few words.
        text: The rest, as Markdown, without the commands that can be run.
        commands: Those, in order.
    """

    step: str
    title: str
    text: str
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook as a drill uses it.

    Attributes:
        title: Its heading, without ``Drill:``.
        path: Its file.
        experiment: Name of the experiment that it links to; empty where it links to none.
        steps: What people see of it.
    """

    title: str
    path: Path
    experiment: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """What is wrong with a runbook, and where.

    Attributes:
        path: Its file.
        line: From 1.
        problem: What is wrong.
        remedy: What to do.
    """

    path: Path
    line: int
    problem: str
    remedy: str

    def __str__(self) -> str:
        """Return ``file:line: problem — remedy``."""
        return f"{self.path}:{self.line}: {self.problem} — {self.remedy}"


@dataclass(frozen=True, slots=True)
class Page:
    """A Markdown file and its tree.

    Attributes:
        path: Its file.
        lines: Its text.
        blocks: What stands in it, in order.
    """

    path: Path
    lines: tuple[str, ...]
    blocks: tuple[SyntaxTreeNode, ...] = field(repr=False)

    @property
    def headings(self) -> tuple[tuple[int, str, int], ...]:
        """Level, text and line of every heading."""
        return tuple((int(b.tag[1]), _text(b), line_of(b)) for b in self.blocks if b.type == "heading")

    @property
    def title(self) -> str:
        """The heading of the first level; empty without one."""
        return next((text for level, text, _ in self.headings if level == 1), "")

    def section(self, name: str) -> tuple[SyntaxTreeNode, ...]:
        """Return the blocks of a section of the second level; none where there is none."""
        return self._sections().get(name, ())

    def everything(self) -> Iterator[SyntaxTreeNode]:
        """Yield every node, blocks and what stands in their lines."""
        for block in self.blocks:
            yield from block.walk()

    def _sections(self) -> Mapping[str, tuple[SyntaxTreeNode, ...]]:
        found: dict[str, tuple[SyntaxTreeNode, ...]] = {}
        name = ""
        for block in self.blocks:
            if block.type == "heading" and block.tag in {"h1", "h2"}:
                name = _text(block)
            else:
                found[name] = (*found.get(name, ()), block)
        return found


def read_runbook(path: Path) -> Runbook:
    """Read a runbook for a drill.

    Args:
        path: Its file.

    Raises:
        SpecError: It cannot be read, has no steps, or a step or a command of it is not in the form.
    """
    page = read_page(path)
    steps, problems = steps_of(page)
    if problems:
        first, more = problems[0], f" (and {len(problems) - 1} more: gameday runbook lint)" if problems[1:] else ""
        raise SpecError(f"{path}:{first.line}", "", f"{first.problem}{more}", first.remedy)
    return Runbook(page.title.removeprefix("Drill:").strip(), path, experiment_of(page), steps)


def read_page(path: Path) -> Page:
    """Read a Markdown file.

    Raises:
        SpecError: It is not there, too large, or no text.
    """
    try:
        if path.stat().st_size > SIZE_MAX_BYTES:
            raise SpecError(str(path), "", "is too large for a runbook", f"keep it below {SIZE_MAX_BYTES // 1024} KiB")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), "", f"cannot be read: {error}", "name a Markdown file in UTF-8") from None
    return page_of(path, text)


def page_of(path: Path, text: str) -> Page:
    """Return a text as a page of that path."""
    tree = SyntaxTreeNode(MarkdownIt("commonmark").enable("table").parse(text))
    return Page(path, tuple(text.splitlines()), tuple(tree.children))


def experiment_of(page: Page) -> str:
    """Return the name of the first experiment that the page links to."""
    for node in page.everything():
        found = _EXPERIMENT.fullmatch(str(node.attrs.get("href", ""))) if node.type == "link" else None
        if found:
            return found[1]
    return ""


def line_of(node: SyntaxTreeNode) -> int:
    """Return the line on which a block begins, or the one in which a part of a line stands."""
    place: SyntaxTreeNode | None = node
    while place is not None and not place.is_root:
        if place.map:
            return place.map[0] + 1
        place = place.parent
    return 1


def code_lines(fence: SyntaxTreeNode) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line of a code block that is more than a comment."""
    for number, line in enumerate(fence.content.splitlines(), start=line_of(fence) + 1):
        if without_comment(line):
            yield number, line


def steps_of(page: Page) -> tuple[tuple[Step, ...], tuple[Problem, ...]]:
    """Return the steps of a page, and what is wrong with them."""
    section = page.section(STEPS)
    lists = [block for block in section if block.type in {"ordered_list", "bullet_list"}]
    problems = [] if len(lists) == 1 and _counts_from_one(lists[0]) else [_no_list(page, lists)]
    stray = [block for block in section if is_run(block)]
    problems += [
        Problem(page.path, line_of(block), "commands outside of a step", "move them to one") for block in stray
    ]
    if problems:
        return (), tuple(problems)
    readings = [_StepReading(page, number, item) for number, item in enumerate(lists[0].children, start=1)]
    return tuple(one.step() for one in readings), tuple(problem for one in readings for problem in one.problems)


def _counts_from_one(block: SyntaxTreeNode) -> bool:
    return block.type == "ordered_list" and block.attrs.get("start", 1) == 1


def _no_list(page: Page, lists: Sequence[SyntaxTreeNode]) -> Problem:
    line = next((line for _, text, line in page.headings if text == STEPS), 1)
    problem = f"section `{STEPS}` has {len(lists)} lists, or one that does not count from 1" if lists else "no steps"
    return Problem(page.path, line, problem, f"write one numbered list under `## {STEPS}`, each step with its number")


class _StepReading:
    """Reads one item of the list; what is wrong is collected."""

    def __init__(self, page: Page, number: int, item: SyntaxTreeNode) -> None:
        self._page, self._number, self._item = page, number, item
        self.problems: list[Problem] = []

    def step(self) -> Step:
        """Return the step, as far as it can be read."""
        title, first = self._titled()
        rest = [self._source(block) for block in self._item.children[1:] if not is_run(block)]
        commands = [one for block in self._item.children if is_run(block) for one in self._commands(block)]
        for block in filter(is_run, self._item.walk()):
            if block.parent is not self._item:
                self._wrong(
                    line_of(block), "commands inside a list of the step", "move the block out, to the step itself"
                )
        return Step(str(self._number), title, "\n\n".join(filter(None, (first, *rest))), tuple(commands))

    def _titled(self) -> tuple[str, str]:
        first = self._item.children[0] if self._item.children else self._item
        found = _TITLED.match(first.children[0].content) if first.type == "paragraph" else None
        if found is None:
            self._wrong(line_of(self._item), f"step {self._number} has no title", "begin it with **what to do.**")
            return "", ""
        return found["title"].strip().rstrip("."), found["text"].strip()

    def _source(self, block: SyntaxTreeNode) -> str:
        if block.type == "paragraph":
            return block.children[0].content
        begin, end = block.map or (0, 0)
        return textwrap.dedent("\n".join(self._page.lines[begin:end])).rstrip()

    def _commands(self, block: SyntaxTreeNode) -> Iterator[Command]:
        for number, line in code_lines(block):
            try:
                yield command_of(line)
            except CommandError as error:
                self._wrong(number, f"{without_comment(line)}: {error.problem}", error.remedy)

    def _wrong(self, line: int, problem: str, remedy: str) -> None:
        self.problems.append(Problem(self._page.path, line, problem, remedy))


def is_run(block: SyntaxTreeNode) -> bool:
    """Return whether a block holds commands that a drill runs."""
    return block.type == "fence" and block.info.strip() == RUN


def _text(node: SyntaxTreeNode) -> str:
    """Return what people read of a heading."""
    return "".join(part.content for part in node.walk() if part.type in {"text", "code_inline"})
