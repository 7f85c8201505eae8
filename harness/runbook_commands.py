"""The grammar of a runbook's commands: one kubectl, and filters behind it. Pure: it starts nothing.

No shell ever reads a command of a runbook, so whatever only a shell understands (variables, globs, redirects, lists of
commands) is refused here instead of being passed on as a word: what people copy and what the drill runs must do the
same. The filters are those that read nothing but their input and write nothing but their output, by flags that are
listed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.runbook_kubectl import FOR_PEOPLE, CommandError, KubectlCall, read_call

KUBECTL = "kubectl"
LENGTH_MAX = 1000


@dataclass(frozen=True, slots=True)
class Command:
    """A command line of a runbook.

    Attributes:
        text: As it stands there, without a comment behind it.
        changes: Whether it changes the cluster.
    """

    text: str
    changes: bool


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A command line that was understood.

    Attributes:
        call: What it asks of kubectl.
        stages: Program and arguments of each part, kubectl's first.
    """

    call: KubectlCall
    stages: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class _Filter:
    switches: str
    values: str
    words: int = 0


_FILTERS: Mapping[str, _Filter] = {
    "grep": _Filter("cEFhinovwx", "ABCm", words=1),
    "head": _Filter("", "nc"),
    "tail": _Filter("", "nc"),
    "sort": _Filter("bfhnruV", "kt"),
    "uniq": _Filter("cdiu", ""),
    "wc": _Filter("clmw", ""),
    "cut": _Filter("s", "cdf"),
}
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_COMMENT = re.compile(r"(^|\s)#")
_SHELLS_OWN = re.compile(r"[$`\\*?~!{}\[\]();&<>]")
_ALSO_IN_DOUBLE_QUOTES = re.compile(r"[$`\\!]")


def command_of(text: str) -> Command:
    """Return a line of a runbook as a command.

    Raises:
        CommandError: It is not understood, or must not be run.
    """
    pipeline = pipeline_of(text)
    return Command(without_comment(text), pipeline.call.changes)


def without_comment(text: str) -> str:
    """Return the line without the comment behind it."""
    found = _COMMENT.search(_masked(text))
    return (text[: found.start()] if found else text).strip()


def pipeline_of(text: str) -> Pipeline:
    """Read a line.

    Raises:
        CommandError: It is not understood, or must not be run.
    """
    first, *filters = _parts(words_of(text))
    if first[0] != KUBECTL:
        raise CommandError(f"{first[0]}: not a program that a runbook runs", f"kubectl, or {FOR_PEOPLE}")
    call = read_call(first[1:])
    for part in filters:
        _check_filter(part[0], part[1:])
    return Pipeline(call, (tuple(first), *map(tuple, filters)))


def words_of(text: str) -> list[str]:
    """Split a line into words, and ``|`` between the parts of a pipe.

    Raises:
        CommandError: Only a shell would understand it.
    """
    line = without_comment(text)
    if not line.isprintable() or len(line) > LENGTH_MAX:
        raise CommandError("a control character, or a line that is too long", f"one command a line, ≤ {LENGTH_MAX}")
    shells_own = _shells_own(line)
    if shells_own:
        raise CommandError(f"only a shell understands {shells_own}", f"put it in single quotes, or {FOR_PEOPLE}")
    reader = shlex.shlex(line, posix=True, punctuation_chars="|")
    reader.whitespace_split, reader.commenters = True, ""
    try:
        return list(reader)
    except ValueError as error:
        raise CommandError(f"not a command line: {error}", "close the quotes") from None


def _masked(text: str) -> str:
    """Return the text with everything that is quoted painted over, position by position."""
    return _QUOTED.sub(lambda found: "_" * len(found.group()), text)


def _shells_own(line: str) -> str:
    in_double_quotes = "".join(quoted for quoted in _QUOTED.findall(line) if quoted.startswith('"'))
    found = _SHELLS_OWN.search(_masked(line)) or _ALSO_IN_DOUBLE_QUOTES.search(in_double_quotes)
    return found.group() if found else ""


def _parts(words: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if set(word) != {"|"}:
            parts[-1].append(word)
        elif word == "|":
            parts.append([])
        else:
            raise CommandError(f"only a shell understands {word}", f"one command a line, or {FOR_PEOPLE}")
    if not all(parts):
        raise CommandError("an empty command, or a pipe with an empty end", "write the command")
    return parts


def _check_filter(program: str, arguments: Sequence[str]) -> None:
    known = _FILTERS.get(program)
    if known is None:
        raise CommandError(f"| {program}: not a filter that a runbook runs", f"one of {', '.join(_FILTERS)}")
    words = _words_of_filter(program, known, list(arguments))
    if len(words) != known.words:
        raise CommandError(f"| {program}: {len(words)} words, not {known.words}", "it reads the pipe and no file")


def _words_of_filter(program: str, known: _Filter, arguments: list[str]) -> list[str]:
    """Return the words that are no flags."""
    words = []
    while arguments:
        word = arguments.pop(0)
        if not word.startswith("-"):
            words.append(word)
        elif program in {"head", "tail"} and re.fullmatch(r"-\d{1,6}", word):
            continue
        elif len(word) > 1 and word[1] in known.values:
            value = word[2:] or (arguments.pop(0) if arguments else "")
            _check_value(program, word[1], value)
        elif not re.fullmatch(f"-[{known.switches or '='}]+", word):
            raise CommandError(f"| {program}: unknown flag {word}", "leave it out")
    return words


def _check_value(program: str, flag: str, value: str) -> None:
    fits = (
        len(value) == 1 if (program, flag) in {("sort", "t"), ("cut", "d")} else re.fullmatch(r"[+-]?[\d,.n-]+", value)
    )
    if not fits:
        raise CommandError(f"| {program} -{flag} {value}: not a value for it", "write a number")
