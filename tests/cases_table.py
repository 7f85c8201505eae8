"""Which test covers which case of `cases.toml`, and `docs/cases.md`, the table of it.

A case is a fault that users of the tools below us met. A test covers it where its own name, or the id of one of its
parameters, has the case's id as a word: ``test_c01_…``, ``…_c17_d08``, ``id="a09 eviction of a pod that is gone"``.
Reads tests by `ast`; must never import one. ``python -m tests.cases_table`` writes the table.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS_DIR = Path(__file__).resolve().parent
CASES_FILE = TESTS_DIR / "cases.toml"
TABLE_FILE = TESTS_DIR.parent / "docs" / "cases.md"
INTRO = """# Cases

Faults that users of Chaos Toolkit, the Kubernetes client, Prometheus, Locust and pytest met, of autoscalers, disruption
budgets, GPUs and queues. Each has a test of its kind, found by the case's id in the test's name. Written by `python -m
tests.cases_table` from [`tests/cases.toml`](../tests/cases.toml); `tests/unit/test_cases_table.py` fails where it is
stale.
"""
HEAD = ("| id | what must hold | test |", "|---|---|---|")
_ID = re.compile(r"(?<![a-z0-9])[a-g][0-9]{2}(?![a-z0-9])")
_OFF = frozenset({"skip", "skipif", "xfail", "importorskip"})


@dataclass(frozen=True, slots=True)
class Case:
    """A case: what must hold, or why no test can hold it yet."""

    id: str
    holds: str
    later: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A test that names cases.

    Attributes:
        path: The file, as seen from the folder of the tests.
        name: The function.
        ids: The cases, in capitals.
        off: Whether the test, or its module, is or may be skipped or expected to fail.
        asserts: Whether it claims anything at all.
    """

    path: str
    name: str
    ids: frozenset[str]
    off: bool
    asserts: bool

    @property
    def counts(self) -> bool:
        """Tell whether it covers its cases."""
        return self.asserts and not self.off


def read_cases(path: Path = CASES_FILE) -> tuple[dict[str, str], list[Case]]:
    """Return the areas by letter, and the cases in order."""
    document = tomllib.loads(path.read_text("utf-8"))
    return document["areas"], [Case(name, **fields) for name, fields in document["cases"].items()]


def find_tests(folder: Path = TESTS_DIR) -> list[Found]:
    """Return the tests under a folder that name cases, by path and line."""
    paths = sorted(folder.rglob("test_*.py"))
    return [found for path in paths for found in _tests_of(path, path.relative_to(folder).as_posix())]


def _tests_of(path: Path, shown: str) -> Iterator[Found]:
    tree = ast.parse(path.read_text("utf-8"))
    module_off = any(_turns_off(node.value) for node in tree.body if isinstance(node, ast.Assign) and _is_mark(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            ids = _ids_in([node.name, *_parameter_ids(node)])
            if ids:
                yield Found(shown, node.name, ids, module_off or _turns_off(node), _asserts(node))


def _is_mark(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def _parameter_ids(test: ast.FunctionDef) -> Iterator[str]:
    decorators = (node for decorator in test.decorator_list for node in ast.walk(decorator))
    for node in decorators:
        if isinstance(node, ast.keyword) and node.arg in {"id", "ids"}:
            constants = (n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant))
            yield from (value for value in constants if isinstance(value, str))


def _ids_in(texts: Iterable[str]) -> frozenset[str]:
    words = (text.lower().replace("_", " ") for text in texts)
    return frozenset(found.upper() for text in words for found in _ID.findall(text))


def _names_in(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Attribute):
            yield inner.attr
        elif isinstance(inner, ast.Name):
            yield inner.id


def _turns_off(node: ast.AST) -> bool:
    return not _OFF.isdisjoint(_names_in(node))


def _asserts(test: ast.FunctionDef) -> bool:
    claimed = any(isinstance(node, ast.Assert) for node in ast.walk(test))
    return claimed or any(name == "raises" or name.startswith("assert_") for name in _names_in(test))


def render(areas: dict[str, str], cases: Sequence[Case], tests: Sequence[Found]) -> str:
    """Return the table as Markdown, one section for each area."""
    parts = [INTRO]
    for letter, area in areas.items():
        rows = [_row(case, tests) for case in cases if case.id.startswith(letter)]
        parts.append(
            "\n".join([f"## {letter}: {area}", "", "| id | what must hold | test |", "|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


def _row(case: Case, tests: Sequence[Found]) -> str:
    links = [f"[`{t.path}::{t.name}`](../tests/{t.path})" for t in tests if t.counts and case.id in t.ids]
    return f"| {case.id} | {case.holds} | {'<br>'.join(links) or f'later: {case.later}'} |"


def main() -> None:
    """Write the table."""
    areas, cases = read_cases()
    TABLE_FILE.write_text(render(areas, cases, find_tests()), "utf-8")


if __name__ == "__main__":
    main()
