"""Files of a run folder: names, versions, atomic writes, redaction, the codec of our values. Knows no run and no judge.

Every write goes through here, so that a full disk has one message and no known secret reaches a file. JSON is strict:
a float that is not finite becomes null (and is NaN again where the type says float), since NaN is no JSON.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
from base64 import b64encode
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from harness.model.errors import PortError, SpecError
from harness.model.target import Target

T = TypeVar("T")

HEADER_FILE = "run.json"
EXPERIMENT_TEXT_FILE = "experiment.yaml"
EXPERIMENT_FILE = "experiment.json"
TARGET_FILE = "target.json"
EVENTS_FILE = "events.jsonl"
REQUESTS_STREAM_FILE = "requests.arrow"
REQUESTS_FILE = "requests.parquet"
HARVEST_FILE = "harvest.json"
SERIES_FILE = "harvest.parquet"
FINGERPRINT_FILE = "fingerprint.json"
UNDO_FILE = "undo.json"
VERDICTS_FILE = "verdicts.json"
LOGS_DIR = "logs"

SECRET_LENGTH_MIN = 6
"""Shorter values are no secrets worth the name; replacing them would mangle plain text."""

_STANDS_IN = "[redacted]"
_HEADER_FILE = re.compile(r"^GAMEDAY_HEADER_.+_FILE$")
_USER_INFO = re.compile(r"(?<=://)[^\s/@\"']+@")
_BEARER = re.compile(r"(?i)\b(bearer)\s+[A-Za-z0-9._~+/=-]{16,}")


class StoreError(PortError):
    """A run folder cannot be written: the disk is full, read-only or gone. The run must end, and undo first."""


class Redactor:
    """Takes known secrets, and what looks like one, out of texts."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long_enough = {secret for secret in secrets if len(secret) >= SECRET_LENGTH_MIN}
        escaped = {json.dumps(secret)[1:-1] for secret in long_enough}
        self._secrets = sorted(long_enough | escaped, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text without secrets, without passwords in URLs and without bearer tokens."""
        for secret in self._secrets:
            text = text.replace(secret, _STANDS_IN)
        return _BEARER.sub(rf"\1 {_STANDS_IN}", _USER_INFO.sub(f"{_STANDS_IN}@", text))


def secrets_in(environ: Mapping[str, str], names: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the values that must not be recorded.

    Args:
        environ: The environment.
        names: Further variables that hold secrets, such as a target's ``prometheus_token_env``.

    Returns:
        Values of ``names``, of ``GAMEDAY_HEADER_*`` and of every variable called token, password or secret, and what
        is in the files that ``GAMEDAY_HEADER_*_FILE`` name.
    """
    named = set(names)
    telling = re.compile(r"(?i)^GAMEDAY_HEADER_|TOKEN|PASSWORD|SECRET")
    values = [value for name, value in environ.items() if value and (name in named or telling.search(name))]
    files = [Path(value) for name, value in environ.items() if value and _HEADER_FILE.search(name)]
    return (*values, *filter(None, map(_content, files)))


def secrets_of(target: Target, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what must not be recorded of a run on a target: also its password as it travels.

    Args:
        target: Names variables and the file that hold secrets.
        environ: The environment.
    """
    found = secrets_in(environ, target.secret_envs)
    user = environ.get(target.prometheus_user_env, "") if target.prometheus_user_env else ""
    path = target.prometheus_password_file
    password = _content(Path(path)) if path else environ.get(target.prometheus_password_env, "")
    if not user or not password:
        return found
    return (*found, password, b64encode(f"{user}:{password}".encode()).decode())


def _content(path: Path) -> str:
    """Return a header's value (or a password) as whoever uses it reads it; a file that cannot be read holds none."""
    try:
        return path.read_text("utf-8").strip() if path.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return ""


def strict(value: Any) -> Any:
    """Return plain JSON with null for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def dump_line(value: Any) -> str:
    """Return one line of strict JSON."""
    return json.dumps(strict(value), ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)


def dump_text(value: Any) -> str:
    """Return strict JSON for people."""
    return json.dumps(strict(value), ensure_ascii=False, indent=2, default=str, allow_nan=False) + "\n"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def encode(kind: type[T], value: T) -> Any:
    """Return one of our values (a frozen dataclass, or a tuple of them) as plain JSON."""
    return _adapter(cast(Hashable, kind)).dump_python(value, mode="json")


def decode(kind: type[T], document: Any, where: str) -> T:
    """Build one of our values from plain JSON; unknown keys of later additions are ignored.

    Raises:
        SpecError: The document does not fit; names the file and the key.
    """
    try:
        return _adapter(cast(Hashable, kind)).validate_python(document)  # type: ignore[no-any-return] # of the kind
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SpecError(where, key, first["msg"], "the run folder is damaged or from another version") from None


def read_json(path: Path) -> Any:
    """Read a JSON file of a run folder.

    Raises:
        SpecError: It is missing, cannot be read or is no JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SpecError(
            str(path), "", "there is no such file", "name a run folder; `gameday list` shows them"
        ) from None
    except OSError as error:
        raise SpecError(str(path), "", error.strerror or str(error), "check the folder and its permissions") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SpecError(str(path), "", f"not JSON: {error}", "the run folder is damaged") from None


def json_object(path: Path) -> Mapping[str, Any]:
    """Return the JSON object of a file, or an empty one where there is none that can be read: for lists of runs."""
    try:
        document = read_json(path)
    except SpecError:
        return {}
    return document if isinstance(document, dict) else {}


def check_schema(document: Any, wanted: str, where: str) -> int:
    """Return the version of a document, or refuse one of another kind or of a newer version than we can read.

    Raises:
        SpecError: Names both versions.
    """
    found = str(document.get("schema", "")) if isinstance(document, dict) else ""
    name, _, version = found.partition("/")
    wanted_name, _, wanted_version = wanted.partition("/")
    if name != wanted_name or not (version.isascii() and version.isdigit()):
        raise SpecError(
            where, "schema", f"{found or 'no schema'!r} is not {wanted_name}", "name a run folder of Gameday"
        )
    if int(version) > int(wanted_version):
        raise SpecError(where, "schema", f"{found} is newer than {wanted}", "read it with a newer Gameday")
    return int(version)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all: a temporary neighbour, synced, then renamed over it.

    Raises:
        StoreError: The disk refused it.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    neighbour = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with neighbour.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(neighbour, path)
    except OSError as error:
        neighbour.unlink(missing_ok=True)
        raise store_error(f"write {path.name}", path.parent, error) from error


def store_error(operation: str, folder: Path, error: OSError) -> StoreError:
    """Return the one message for what a disk refused."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free some space, or point --runs-dir elsewhere" if full else "check the folder and its permissions"
    return StoreError("store", operation, f"{error.strerror or error} in {folder}", remedy)


def labels_text(labels: Mapping[str, str]) -> str:
    """Return labels as sorted JSON: the key of a series inside the samples file."""
    return json.dumps(dict(sorted(labels.items())), ensure_ascii=False, separators=(",", ":"))
