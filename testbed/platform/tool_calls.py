"""One tool call over HTTP: backs off on 429 and time-outs within a bounded budget, and then gives the call up.

What is given up stays in the queue and is delivered again, so nothing is retried here for long: an attempt that
outlived the queue's idle limit would be taken over by another adapter while it still runs.
"""

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from prometheus_client import CollectorRegistry, Counter
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_exponential_jitter

from testbed.platform import launching
from testbed.platform.settings import Environment, SettingsError, is_loopback

TOO_MANY_REQUESTS = 429
OK = 200
CODES = ("200", "429", "503", "timeout", "error")
BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 1.0


class ToolCallError(Exception):
    """The call brought no result; the text says why."""


class BusyError(ToolCallError):
    """The API refused by its rate limit or did not answer in time: later it may."""


@dataclass(frozen=True)
class ToolApiSettings:
    """Where tools are called, and how long one task may try."""

    url: str
    timeout_s: float  # for one request
    budget_s: float  # no further request begins after this
    attempts_max: int

    @classmethod
    def from_env(cls, env: Environment) -> "ToolApiSettings | None":
        """Read the settings, None without TOOL_API_URL: tools are then only a latency. Raises SettingsError."""
        url = env.text("TOOL_API_URL", "")
        if not url:
            return None
        if launching.pod_addresses(env) == launching.LOOPBACK and not is_loopback(urlsplit(url).hostname or ""):
            raise SettingsError(
                f"TOOL_API_URL={url!r} is not on loopback, but POD_ADDRESSES says loopback: "
                "set it to the gateway's listener"
            )
        return cls(
            url=url.rstrip("/"),
            timeout_s=env.number("TOOL_API_TIMEOUT_S", 1.0, 0.01, 60),
            budget_s=env.number("TOOL_API_BUDGET_S", 2.5, 0, 600),
            attempts_max=env.integer("TOOL_API_ATTEMPTS_MAX", 4, 1, 20),
        )

    @property
    def longest_ms(self) -> int:
        """How long a call can take at most, in milliseconds."""
        return int(1000 * (self.budget_s + self.timeout_s))


class ToolClient:
    """Calls the tool API."""

    def __init__(self, settings: ToolApiSettings, session: aiohttp.ClientSession, registry: CollectorRegistry) -> None:
        self._settings, self._session = settings, session
        self._requests = Counter(
            "tool_api_requests", "Requests sent to the tool API, by code of the answer.", ["code"], registry=registry
        )
        for code in CODES:
            self._requests.labels(code)

    async def call(self, task_id: str) -> None:
        """Have the tool do its work for a task.

        Raises:
            ToolCallError: no result within the budget, or an answer that no retry makes better.
        """
        settings = self._settings
        trials = AsyncRetrying(
            retry=retry_if_exception_type(BusyError),
            stop=stop_after_attempt(settings.attempts_max) | stop_before_delay(settings.budget_s),
            wait=wait_exponential_jitter(initial=BACKOFF_FIRST_S, max=BACKOFF_MAX_S, jitter=BACKOFF_FIRST_S),
            reraise=True,
        )
        async for trial in trials:
            with trial:
                await self._once(task_id)

    async def _once(self, task_id: str) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                status = await self._post(task_id)
        except TimeoutError:
            self._requests.labels("timeout").inc()
            raise BusyError(f"no answer within {self._settings.timeout_s:g} s") from None
        except aiohttp.ClientError as error:
            self._requests.labels("error").inc()
            raise ToolCallError(f"{type(error).__name__}: {error}") from error
        self._requests.labels(str(status)).inc()
        if status == TOO_MANY_REQUESTS:
            raise BusyError("429: over the rate limit")
        if status != OK:
            raise ToolCallError(f"the tool API answered {status}")

    async def _post(self, task_id: str) -> int:
        url = f"{self._settings.url}/v1/tool"
        async with self._session.post(url, json={"task_id": task_id}, allow_redirects=False) as response:
            await response.read()
            return response.status
