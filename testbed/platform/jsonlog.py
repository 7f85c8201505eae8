"""One JSON object per log line on standard output, so that a task or conversation id can be searched for.

Secrets and payloads must never be logged: pass ids, counts and durations only.
"""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from testbed.platform.settings import Environment

LOGGER = logging.getLogger("platform")
LEVELS = ("debug", "info", "warning", "error")


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time, level, program, pod, message, and the given fields."""

    def __init__(self, program: str, pod: str) -> None:
        super().__init__()
        self._common = {"program": program, "pod": pod}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for ``record``; fields come from ``extra={"fields": {...}}``."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            **self._common,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping):
            line.update(fields)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, separators=(",", ":"))


def configure(program: str, env: Environment) -> None:
    """Send every log record of this process to standard output as JSON, from LOG_LEVEL on."""
    level = env.choice("LOG_LEVEL", "info", LEVELS)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(program, env.text("POD_NAME", "-")))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def log(level: int, message: str, **fields: object) -> None:
    """Log ``message`` with ``fields`` (ids, counts, durations)."""
    LOGGER.log(level, message, extra={"fields": fields})


def why(error: BaseException) -> str:
    """Return an error's class and text, for a log field."""
    return f"{type(error).__name__}: {error}"
