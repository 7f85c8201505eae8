"""Writes a target into `gameday.toml`: comments, order and every other line stay as they are. Never overwrites a value.

What is written is read back and compared before the file is touched.
"""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from harness.model.errors import SpecError

Values = Mapping[str, Any]
_HEADER = re.compile(r"^\s*\[+\s*(?P<name>[^\]]+?)\s*\]")


def target_text(name: str, values: Values) -> str:
    """Return the table of a new target as TOML."""
    table = tomlkit.table()
    for key, value in values.items():
        table.add(key, value)
    inner = tomlkit.table(is_super_table=True)
    inner.add(name, table)
    document = tomlkit.document()
    document.add("targets", inner)
    return tomlkit.dumps(document).strip() + "\n"


def with_target(path: Path, name: str, values: Values) -> str:
    """Return the text of a settings file with one target more, or with the empty keys of one filled in.

    Args:
        path: The file.
        name: Name of the target.
        values: What it is to say, in this order.

    Raises:
        SpecError: The target is there and says something else.
    """
    before = path.read_text("utf-8")
    present = tomllib.loads(before).get("targets", {}).get(name)
    if present is None:
        after = _inserted(before, target_text(name, values))
    else:
        _check_free(path, name, present, values)
        after = _filled(before, name, values)
    _check_rest(path, name, before, after, {**(present or {}), **values})
    return after


def write_settings(path: Path, text: str) -> None:
    """Put a text in the file's place, at once or not at all."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as new:
            new.write(text)
        Path(temporary).chmod(path.stat().st_mode)
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise SpecError(str(path), "", f"cannot be written: {error.strerror}", "check its folder's rights") from error


def _check_free(path: Path, name: str, present: Values, values: Values) -> None:
    """Refuse to change what somebody wrote."""
    for key, value in values.items():
        if present.get(key) and present[key] != value:
            problem = f"is {present[key]!r} already, not {value!r}: nothing is overwritten"
            raise SpecError(path.name, f"targets.{name}.{key}", problem, "edit it by hand, or use another name")


def _filled(before: str, name: str, values: Values) -> str:
    document = tomlkit.parse(before)
    table = document["targets"][name]
    for key, value in values.items():
        if table.get(key) != value:
            table[key] = value
    return tomlkit.dumps(document)


def _inserted(before: str, table: str) -> str:
    """Put a table behind the last target, before the comment that belongs to what follows."""
    lines = before.splitlines(keepends=True)
    ours, last = False, None
    for number, line in enumerate(lines):
        header = _HEADER.match(line)
        if header:
            ours = header["name"].replace(" ", "").startswith("targets.")
        if ours and line.strip() and not line.lstrip().startswith("#"):
            last = number
    at = len(lines) if last is None else last + 1
    ended = "" if not lines[:at] or lines[at - 1].endswith("\n") else "\n"
    return "".join([*lines[:at], ended, "\n", table, *lines[at:]])


def _check_rest(path: Path, name: str, before: str, after: str, expected: Values) -> None:
    """Make sure that nothing but the target has changed, and that it says what it should."""
    try:
        was, now = tomllib.loads(before), tomllib.loads(after)
        found = now["targets"].pop(name)
    except (tomllib.TOMLDecodeError, KeyError) as error:
        raise SpecError(path.name, f"targets.{name}", f"cannot be added: {error}", "add it by hand") from error
    was.setdefault("targets", {}).pop(name, None)
    if was != now or found != expected:
        raise SpecError(path.name, f"targets.{name}", "would change more than itself", "add it by hand")
