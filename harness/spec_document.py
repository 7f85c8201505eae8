"""A YAML file with the lines of its keys, and JSON-schema errors in plain words. Knows nothing of experiments."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from harness.model.errors import SpecError
from harness.model.selector import parse_selector
from harness.model.time import parse_duration_s

KeyPath: TypeAlias = tuple[str | int, ...]
Problem: TypeAlias = tuple[KeyPath, str, str]
"""Where, what is wrong, what to do; a `Document` makes an error of it."""

_SHOWN_MAX = 60


class SpecErrors(SpecError):
    """Several things are wrong at once; the fields are those of the first."""

    def __init__(self, errors: Sequence[SpecError]) -> None:
        first = errors[0]
        super().__init__(first.where, first.key, first.problem, first.remedy)
        self.errors = tuple(errors)

    def __str__(self) -> str:
        """Return one line for each."""
        return "\n".join(str(error) for error in self.errors)


def raise_all(errors: Sequence[SpecError]) -> None:
    """Raise what was found; nothing where nothing was."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise SpecErrors(errors)


@dataclass(frozen=True)
class Document:
    """A parsed file.

    Attributes:
        where: Name of the file, for messages.
        data: Its content.
        lines: Line (from 1) of each key path.
    """

    where: str
    data: Any
    lines: Mapping[KeyPath, int]

    def error(self, path: KeyPath, problem: str, remedy: str = "") -> SpecError:
        """Return an error at a key; where the key is missing, the line is its parent's."""
        known = next((path[:n] for n in range(len(path), -1, -1) if path[:n] in self.lines), ())
        return SpecError(f"{self.where}:{self.lines.get(known, 1)}", key_text(path), problem, remedy)


def key_text(path: KeyPath) -> str:
    """Return ``extensions[0].load.profile``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def read_document(text: str, where: str) -> Document:
    """Parse YAML safely.

    Args:
        text: The file's text.
        where: Its name, for messages.

    Raises:
        SpecError: Not YAML, too deep, a key stands twice, or a number is not finite.
    """
    try:
        return _document(text, where)
    except yaml.YAMLError as error:
        raise _not_yaml(where, error) from None
    except ValueError as error:  # a date or a number that is none
        raise SpecError(where, "", f"not YAML: {error}", "quote it where a text is meant") from None
    except RecursionError:
        raise SpecError(where, "", "is nested too deeply, or holds itself", "write out what an alias repeats") from None


def _document(text: str, where: str) -> Document:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    data = yaml.safe_load(text)
    lines: dict[KeyPath, int] = {(): 1}
    document = Document(where, data, lines)
    errors = [] if node is None else list(_walk(document, node, (), lines))
    raise_all(errors + list(_not_finite(document, data, ())))
    return document


def _not_yaml(where: str, error: yaml.YAMLError) -> SpecError:
    mark = getattr(error, "problem_mark", None)
    place = f"{where}:{mark.line + 1}" if mark else where
    return SpecError(place, "", f"not YAML: {getattr(error, 'problem', None) or error}", "mend the line named")


def _walk(document: Document, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Iterator[SpecError]:
    """Note the line of every key; yield an error for a key that stands twice (YAML would keep the last, silently)."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[(*path, number)] = item.start_mark.line + 1
            yield from _walk(document, item, (*path, number), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            seen = lines.get(inner)
            lines[inner] = key.start_mark.line + 1
            if seen is not None:
                yield document.error(inner, f"stands twice, first in line {seen}", "leave one of them")
            yield from _walk(document, value, inner, lines)


def _not_finite(document: Document, data: Any, path: KeyPath) -> Iterator[SpecError]:
    if isinstance(data, float) and not math.isfinite(data):
        yield document.error(path, f"{data} is not a finite number", "write a number")
    inside: Iterable[tuple[str | int, Any]] = ()
    if isinstance(data, Mapping):
        inside = ((str(key), value) for key, value in data.items())
    elif isinstance(data, list):
        inside = enumerate(data)
    for key, value in inside:
        yield from _not_finite(document, value, (*path, key))


# Schemas -------------------------------------------------------------------------------------------------------------

FORMATS = FormatChecker(formats=())
"""Formats that our schemas may name."""


@FORMATS.checks("duration", raises=ValueError)
def _is_duration(value: object) -> bool:
    return not isinstance(value, (str, int, float)) or parse_duration_s(value) >= 0


@FORMATS.checks("selector", raises=ValueError)
def _is_selector(value: object) -> bool:
    return not isinstance(value, str) or bool(parse_selector(value))


def schema_errors(
    document: Document,
    path: KeyPath,
    value: Any,
    schema: Mapping[str, Any],
    refused: Mapping[str, str] | None = None,
) -> list[SpecError]:
    """Check a part of a document against a JSON schema.

    Args:
        document: For places.
        path: Where the value stands.
        value: The value.
        schema: Draft 2020-12; its descriptions become remedies.
        refused: Keys that are known but refused, with the reason.

    Returns:
        What is wrong, in the order of the file.
    """
    validator = Draft202012Validator(schema, format_checker=FORMATS)
    found = sorted(validator.iter_errors(value), key=lambda e: ([str(p) for p in e.absolute_path], str(e.validator)))
    return [one for error in found for one in _in_words(document, path, error, refused or {})]


def _in_words(
    document: Document, base: KeyPath, error: ValidationError, refused: Mapping[str, str]
) -> Iterator[SpecError]:
    path: KeyPath = (*base, *error.absolute_path)
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if error.validator == "additionalProperties" and isinstance(error.instance, Mapping):
        known = [str(key) for key in schema.get("properties", {})]
        for key in (str(key) for key in error.instance if str(key) not in known):
            reason = refused.get(key)
            problem, remedy = ("refused", reason) if reason else (f"unknown key {key!r}", suggestion(key, known))
            yield document.error((*path, key), problem, remedy)
    elif error.validator == "required" and isinstance(error.instance, Mapping):
        yield from _missing(document, path, schema, error)
    else:
        yield document.error(path, _problem(error), str(schema.get("description", "")))


def _missing(
    document: Document, path: KeyPath, schema: Mapping[str, Any], error: ValidationError
) -> Iterator[SpecError]:
    name = error.message.split("'")[1]
    described = schema.get("properties", {}).get(name, {})
    yield document.error((*path, name), "missing", str(described.get("description", "")) or "add it")


def _problem(error: ValidationError) -> str:
    wordings: Mapping[str, Callable[[], str]] = {
        "const": lambda: f"got {shown(error.instance)}, allowed is {shown(error.validator_value)}",
        "enum": lambda: f"got {shown(error.instance)}, allowed are {_listed(error.validator_value)}",
        "type": lambda: f"got {shown(error.instance)}, needs {_types(error.validator_value)}",
        "oneOf": lambda: f"got {shown(error.instance)}",
        "anyOf": lambda: f"got {shown(error.instance)}",
        "format": lambda: f"got {shown(error.instance)}, which is not a {error.validator_value}",
        "pattern": lambda: f"got {shown(error.instance)}, which does not fit {error.validator_value}",
        "maxItems": lambda: "must be empty" if error.validator_value == 0 else error.message,
        "minItems": lambda: "is empty",
        "minProperties": lambda: "is empty",
    }
    wording = wordings.get(str(error.validator))
    return wording() if wording else error.message


_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}


def _types(value: Any) -> str:
    names = value if isinstance(value, list) else [value]
    return " or ".join(_TYPES.get(str(name), str(name)) for name in names)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def shown(value: Any) -> str:
    """Return a value for a message, cut short."""
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…"


def suggestion(got: str, allowed: Iterable[str], label: str = "allowed") -> str:
    """Return "did you mean …?" where something is near, and what there is, after a label."""
    names = sorted(allowed)
    near = difflib.get_close_matches(got, names, n=1)
    listed = f"{label}: {', '.join(names) or 'none'}"
    return f"did you mean {near[0]!r}? {listed}" if near else listed
