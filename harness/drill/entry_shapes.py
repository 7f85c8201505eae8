"""What an entry of a drill's journal must look like to be one: whoever reads a journal may lean on it.

The shapes are those of `harness.model.drill`. Keys and kinds that we do not know are no damage: another version may
have written them. Must not repair anything, and no problem tells what stood there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.model.drill import DrillEnd, DrillState, Entry, Mark

UNIX_MAX_S = 253_402_300_799
"""The last second of the year 9999: no calendar goes on."""


class OtherShape(ValueError):
    """A line that is whole, and holds something else than an entry of ours."""


AtUnix = Annotated[float, Field(ge=0, le=UNIX_MAX_S)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Entry(_Shape):
    model_config = ConfigDict(extra="forbid")

    seq: int = Field(ge=1)
    at_unix_s: AtUnix
    kind: str
    by: str
    detail: dict[str, Any] = {}


class _Opened(_Shape):
    drill_id: str = ""
    target: str = ""
    limit_s: float = 0.0
    targets_s: dict[str, float] = {}
    seal: str = ""


class _State(_Shape):
    state: DrillState = Field(strict=False)


class _Mark(_Shape):
    mark: Mark = Field(strict=False)
    implied: bool = False


class _Hint(_Shape):
    text: str
    number: int = 0


class _Note(_Shape):
    text: str


class _Step(_Shape):
    step: str
    done: bool


class _Command(_Shape):
    command: str
    step: str = ""
    changes: bool = False
    exit_status: int | None = None
    output: str = ""
    duration_s: float = 0.0
    refused: str = ""


class _Page(_Shape):
    alert: str
    state: str = ""
    source: str = ""
    event: str = ""
    severity: str = ""
    labels: dict[str, str] = {}
    summary: str = ""


class _Action(_Shape):
    what: str
    object: str = ""
    manager: str = ""
    origin: str = ""
    at_unix_s: AtUnix | None = None


class _Steady(_Shape):
    ok: bool | None = None
    reason: str = ""


class _Stop(_Shape):
    reason: str


class _Trouble(_Shape):
    message: str
    remedy: str = ""


class _Revealed(_Shape):
    experiment: str = ""
    fault: str = ""
    title: str = ""
    answer: str = ""
    nonce: str = ""
    runbook: list[str] = []


class _Ended(_Shape):
    end: DrillEnd = Field(strict=False)
    reason: str = ""
    run_dir: str = ""
    exit_status: int | None = None


_SHAPES: Mapping[str, type[_Shape]] = {
    "opened": _Opened,
    "state": _State,
    "mark": _Mark,
    "hint": _Hint,
    "note": _Note,
    "step": _Step,
    "command": _Command,
    "page": _Page,
    "action": _Action,
    "steady": _Steady,
    "stop": _Stop,
    "trouble": _Trouble,
    "revealed": _Revealed,
    "ended": _Ended,
}


def entry_of(line: bytes | str) -> Entry:
    """Return the entry that a line of a journal holds.

    Raises:
        OtherShape: It holds something else; says what is wrong first.
        ValueError: It is damaged.
    """
    try:
        found = json.loads(line)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8")  # neither NaN nor half a character
        head = _Entry.model_validate(found)
        _SHAPES.get(head.kind, _Shape).model_validate(head.detail)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise OtherShape(f"{'.'.join(map(str, first['loc'])) or 'the line'}: {first['msg']}") from None
    return Entry(**found)
