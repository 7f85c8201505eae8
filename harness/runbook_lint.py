"""Rules for runbooks: what a person on call would stumble over at night is found by `make check`.

Every experiment has a runbook and both link to each other; the sections are there; every link, command and query
resolves; the steps are in the form that a drill runs, and give no fault away. Reads files only: nothing is run, no
cluster is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click
import promql_parser
import yaml

from harness.model.errors import SpecError
from harness.runbook import (
    RUN,
    STEPS,
    Page,
    Problem,
    code_lines,
    experiment_of,
    is_run,
    line_of,
    read_page,
    steps_of,
)  # fmt: skip
from harness.runbook_commands import KUBECTL, pipeline_of, words_of
from harness.runbook_kubectl import FOR_PEOPLE, CommandError, KubectlCall
from harness.runbook_platform import Platform, read_platform

SECTIONS = ("What happens", "Symptoms", STEPS, "What should happen by itself", "Undo")
QUERIES = "promql"
_PROGRAM = "gameday"
_LANGUAGES = (RUN, QUERIES, "sh")

Found = Iterator[tuple[int, str, str]]
"""Line, problem, remedy."""


@dataclass(frozen=True)
class Project:
    """What runbooks are held against.

    Attributes:
        folder: The project's.
        gameday: The command ``gameday``, whose own parser reads the runbooks' command lines.
    """

    folder: Path
    gameday: click.Command

    @property
    def runbooks(self) -> Sequence[Path]:
        """Every runbook."""
        return sorted((self.folder / "runbooks").glob("*.md"))

    @cached_property
    def platform(self) -> Platform:
        """What the sample platform's manifests name."""
        return read_platform(self.folder / "testbed" / "manifests")

    @cached_property
    def experiments(self) -> Mapping[str, Mapping[str, Any]]:
        """Every experiment's file, by name; one that is no YAML is told by ``gameday validate``."""
        return {path.stem: _document(path) for path in sorted((self.folder / "experiments").glob("*.yaml"))}


def lint(paths: Sequence[Path], project: Project) -> list[Problem]:
    """Look runbooks through.

    Args:
        paths: Their files; with none of them, every runbook, and that every experiment has one.
        project: What they are held against.
    """
    found = [] if paths else list(_experiments_without(project))
    for path in paths or project.runbooks:
        found += lint_one(path, project)
    return sorted(found)


def lint_one(path: Path, project: Project) -> list[Problem]:
    """Look one runbook through."""
    try:
        page = read_page(path)
    except SpecError as error:
        return [Problem(path, 1, error.problem, error.remedy)]
    _, problems = steps_of(page)
    told = {problem.line for problem in problems}
    found = (Problem(path, *one) for rule in RULES for one in rule(page, project))
    return [*problems, *(problem for problem in found if problem.line not in told)]


def _experiments_without(project: Project) -> Iterator[Problem]:
    for name, document in project.experiments.items():
        path, runbook = project.folder / "experiments" / f"{name}.yaml", _extension(document).get("runbook")
        if not isinstance(runbook, str) or not (project.folder / runbook).is_file():
            yield Problem(
                path, 1, f"its runbook {runbook or 'is not named and'} is not there", "write runbooks/NAME.md"
            )


def _sections(page: Page, project: Project) -> Found:
    there = [text for level, text, _ in page.headings if level == 2]  # noqa: PLR2004 - the sections' level
    for name in SECTIONS:
        if name not in there:
            yield 1, f"section `## {name}` is missing", "a drill needs all of " + ", ".join(SECTIONS)
    if not page.title:
        yield 1, "it has no title", "begin with `# Drill: …`"


def _linked_with_its_experiment(page: Page, project: Project) -> Found:
    name = experiment_of(page)
    if not name:
        yield 1, "it links to no experiment", "link to ../experiments/NAME.yaml below the title"
        return
    back = _extension(project.experiments.get(name, {})).get("runbook")
    if isinstance(back, str) and (project.folder / back).resolve() != page.path.resolve():
        yield 1, f"experiments/{name}.yaml has another runbook: {back}", "let both name each other"


def _links(page: Page, project: Project) -> Found:
    for node in page.everything():
        if node.type in {"link", "image"}:
            address = str(node.attrs.get("href", node.attrs.get("src", "")))
            missing = _missing(address, page)
            if missing:
                yield line_of(node), f"link to {address}: {missing}", "mend the link"


def _missing(address: str, page: Page) -> str:
    """Return what a link lacks; addresses elsewhere are not asked for."""
    parts = urlsplit(address)
    if parts.scheme in {"http", "https"}:
        return ""
    target = page.path.parent / unquote(parts.path) if parts.path else page.path
    if parts.scheme or parts.netloc or not target.exists():
        return "there is no such file"
    try:
        lost = parts.fragment and unquote(parts.fragment) not in anchors_of(read_page(target))
    except SpecError as error:
        return error.problem
    return "there is no such heading" if lost else ""


def anchors_of(page: Page) -> frozenset[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    seen: dict[str, int] = {}
    found = set()
    for _, text, _ in page.headings:
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        again = seen.get(anchor, 0)
        seen[anchor] = again + 1
        found.add(f"{anchor}-{again}" if again else anchor)
    return frozenset(found)


def _blocks(page: Page, project: Project) -> Found:
    for node in page.everything():
        if node.type in {"fence", "code_block"} and node.info.strip() not in _LANGUAGES:
            yield line_of(node), f"a block of {node.info.strip() or 'no language'}", f"one of {', '.join(_LANGUAGES)}"
        elif is_run(node):
            for line, text in code_lines(node):
                yield from ((line, *wrong) for wrong in _command(text, project))
        elif node.type == "code_inline" and node.content.split(" ", 1)[0] in {KUBECTL, _PROGRAM}:
            yield from ((line_of(node), *wrong) for wrong in _command(node.content, project))


def _command(text: str, project: Project) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a line that a person would type."""
    try:
        first, *rest = words_of(text) or [""]
        if first == _PROGRAM:
            ensure_parses(project.gameday, rest)
            return
        call = pipeline_of(text).call
        for problem, remedy in (*project.platform.unknown_in(call), *_missing_files(call, project)):
            yield f"{text.strip()}: {problem}", remedy
    except CommandError as error:
        yield f"{text.strip()}: {error.problem}", error.remedy


def _missing_files(call: KubectlCall, project: Project) -> Iterator[tuple[str, str]]:
    for flag, value in call.flags:
        if flag in {"filename", "kustomize"} and not (project.folder / value).exists():
            yield f"there is no {value}", "name a file of the project"


def ensure_parses(command: click.Command, arguments: Sequence[str]) -> None:
    """Let click read a command line, without running it.

    Raises:
        CommandError: It has no such command, option or value.
    """
    rest = list(arguments)
    if {"-h", "--help"} & set(rest):
        return
    try:
        context = command.make_context(command.name, rest)
        while isinstance(context.command, click.Group):
            name, *rest = _left_over(context)
            found = context.command.get_command(context, name)
            if found is None:
                raise CommandError(f"{context.info_name} has no command {name}", "see `gameday -h`")
            context = found.make_context(name, rest, parent=context)
    except click.ClickException as error:
        raise CommandError(error.format_message().replace("\n", " "), "see `gameday -h`") from None


def _left_over(context: click.Context) -> list[str]:
    """Return what a group has not taken itself: its command and the words after it, of which click keeps two lists."""
    return [*getattr(context, "_protected_args", ()), *context.args]


def _queries(page: Page, project: Project) -> Found:
    for node in page.everything():
        if node.type == "fence" and node.info.strip() == QUERIES:
            for line, text in code_lines(node):
                try:
                    promql_parser.parse(text)
                except ValueError as error:
                    yield line, f"not PromQL: {error}", "mend the query; one a line"


def _gives_nothing_away(page: Page, project: Project) -> Found:
    words = {word for name in _faults_of(project.experiments.get(experiment_of(page), {})) for word in _spellings(name)}
    for block in page.section(STEPS):
        begin, end = block.map or (0, 0)
        for number, line in enumerate(page.lines[begin:end], start=begin + 1):
            plain = line.lower()
            told = next(
                (word for word in sorted(words) if re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", plain)), ""
            )
            if told:
                yield number, f"the step gives the fault away: {told}", f"say it outside `## {STEPS}`"
            if re.search(rf"\b{_PROGRAM} [a-z]", plain):
                yield number, "a step speaks of gameday itself", f"say it outside `## {STEPS}`, or {FOR_PEOPLE}"


def _faults_of(experiment: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of an experiment's actions, and of what does them."""
    for activity in experiment.get("method", ()):
        if isinstance(activity, dict):
            yield str(activity.get("name", ""))
            yield str((activity.get("provider") or {}).get("func", ""))


def _spellings(name: str) -> Iterator[str]:
    """Yield a name of several words as it is written and as a sentence would say it; one word alone says nothing."""
    if re.search(r"\w[-_]\w", name):
        yield name.lower()
        yield re.sub(r"[-_]", " ", name.lower())


def _extension(document: Mapping[str, Any]) -> Mapping[str, Any]:
    extensions = document.get("extensions") or ()
    return next((one for one in extensions if isinstance(one, dict) and one.get("name") == _PROGRAM), {})


def _document(path: Path) -> Mapping[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        found = yaml.load(path.read_text("utf-8"), Loader=loader)  # noqa: S506 - safe either way, one is faster
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


Rule = Callable[[Page, Project], Found]
RULES: tuple[Rule, ...] = (
    _sections, _linked_with_its_experiment, _links, _blocks, _queries, _gives_nothing_away,
)  # fmt: skip
