"""One resource, listed and watched in a thread of its own. Never writes to the cluster, never waits without a limit.

The server is asked to end each watch after `ROUND_S` (it then sends a bookmark first, so that the next watch goes on
without a replay), and a stream that stays silent for longer than `SILENCE_S` is given up by us (CASES B01). So no watch
can be dead for longer than that without the record saying so.

Edges (event kind ``watch``): ``open`` once listed; ``hole`` when we could not see for at least `HOLE_MIN_S`, or when
history had expired and states in between are lost for good (410, CASES B02); ``lost`` while still blind; ``closed`` at
the end. An end of the stream that is followed at once by the next is neither: nothing was missed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import urllib3

from harness.drivers.kubernetes.connection import Call, Connection
from harness.drivers.kubernetes.failures import ApiError, SilenceError, status_error
from harness.drivers.kubernetes.inventory import News, Sink
from harness.drivers.kubernetes.resources import GONE, Resource, list_all
from harness.model.errors import PortError

ROUND_S = 20
SILENCE_S = 25.0
HOLE_MIN_S = 1.0
"""A shorter gap is the resolution of the record's times, not a hole: the watch goes on from where it was."""

LOST_AFTER_S = 5.0
PAUSE_S = 0.25
PAUSE_MAX_S = 2.0


class ResourceWatch:
    """Follows one resource of one namespace (or of the cluster) and hands on what is new."""

    def __init__(  # noqa: PLR0913 - what a watch consists of
        self,
        connection: Connection,
        resource: Resource,
        namespace: str,
        sink: Sink,
        say: Callable[[float, News], None],
        now_s: Callable[[], float],
        *,
        query: Mapping[str, str] | None = None,
        round_s: int = ROUND_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster.
            resource: What is watched.
            namespace: Where, or empty for a cluster resource.
            sink: Knows what is new.
            say: Takes the time (s since the origin) and the news; called from this watch's thread.
            now_s: The run's clock.
            query: What narrows it, such as a fieldSelector; nothing by default.
            round_s: When the server is asked to end a watch.
            silence_s: When we give up a silent one; above ``round_s``.
        """
        self._connection, self._resource, self._namespace = connection, resource, namespace
        self._sink, self._say, self._now_s = sink, say, now_s
        self._narrowed = dict(query or {})
        self._round_s, self._silence_s = round_s, silence_s
        self._version = ""
        self._alive_s = 0.0
        self._pause_s = PAUSE_S
        self._blind_since_s: float | None = None
        self._blind_reason = ""
        self._lost_said = False
        self._stopping = threading.Event()
        self._stream: urllib3.BaseHTTPResponse | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch {self.subject}", daemon=True)

    @property
    def subject(self) -> str:
        """Resource and namespace, as in the timeline."""
        return f"{self._resource} in {self._namespace}" if self._namespace else str(self._resource)

    def start(self) -> None:
        """List once, in the caller's thread, then watch.

        Raises:
            PortError: The list failed.
        """
        self._list()
        self._edge("open")
        self._thread.start()

    def stop(self) -> None:
        """Ask the watch to end; `join` waits for it."""
        self._stopping.set()
        stream = self._stream
        if stream is not None:
            try:
                stream.shutdown()
            except (OSError, RuntimeError, ValueError):
                return  # the stream ended by itself meanwhile, which is what was wanted

    def join(self, limit_s: float) -> bool:
        """Wait for the thread; tells whether it ended."""
        if self._thread.ident is not None:
            self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._rounds()
        except Exception as error:
            # A dead watch must never look like a quiet one: the record says so, and judges lean on that.
            self._edge("lost", self._now_s() - self._alive_s, f"the watch failed: {type(error).__name__}: {error}")
        self._say_closed()

    def _rounds(self) -> None:
        while not self._stopping.is_set():
            started_s = self._now_s()
            try:
                self._follow()
            except PortError as error:
                if self._stopping.is_set():
                    return
                self._note_failure(error)
                self._rest()
            if self._now_s() - started_s < PAUSE_S:
                self._stopping.wait(PAUSE_S)

    def _rest(self) -> None:
        """Wait before the next attempt; not where only history expired: the next list ends the gap."""
        if self._version:
            self._stopping.wait(self._pause_s)
            self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)

    def _follow(self) -> None:
        """Watch from the known version until the server ends the round."""
        if not self._version:
            self._list()
        query = {
            **self._narrowed,
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": self._round_s,
        }
        operation = f"watch {self.subject}"
        path = self._resource.path(self._namespace)
        stream = self._connection.stream(Call(operation, "GET", path, query, timeout_s=self._silence_s))
        self._stream = stream
        self._alive_s, self._pause_s = self._now_s(), PAUSE_S
        self._see_again()
        try:
            lines = self._connection.lines(operation, stream)
            while not self._stopping.is_set() and (line := next(lines, None)) is not None:
                self._take(operation, line)
        finally:
            self._stream = None
            stream.close()

    def _take(self, operation: str, line: Mapping[str, Any]) -> None:
        change, obj = line["type"], line["object"]
        if change == "ERROR":
            raise status_error(operation, obj)
        self._alive_s = self._now_s()
        self._version = obj["metadata"]["resourceVersion"]
        if change != "BOOKMARK":
            self._hand_on(self._sink.apply(change, {**obj, "kind": self._resource.kind}))

    def _list(self) -> None:
        items, version = list_all(self._connection, self._resource, self._namespace, self._narrowed)
        self._alive_s = self._now_s()
        self._see_again(relisted=True)
        self._hand_on(self._sink.replace([{**item, "kind": self._resource.kind} for item in items]))
        self._version = version

    def _note_failure(self, error: PortError) -> None:
        """Remember since when we cannot see, and say so once it lasts."""
        if self._blind_since_s is None:
            # A broken connection is noticed at once; a silent one may have been dead since its last byte.
            self._blind_since_s = self._alive_s if isinstance(error, SilenceError) else self._now_s()
            self._blind_reason = error.problem
        if isinstance(error, ApiError) and error.status == GONE:
            self._version = ""
            self._blind_since_s = self._alive_s
        gap_s = self._now_s() - self._blind_since_s
        if gap_s >= LOST_AFTER_S and not self._lost_said:
            self._lost_said = True
            self._edge("lost", gap_s, str(error))

    def _see_again(self, relisted: bool = False) -> None:
        """End a blind span, if there is one: a hole where it was long, or where states in between are lost."""
        if self._blind_since_s is None:
            return
        gap_s = self._now_s() - self._blind_since_s
        if relisted or gap_s >= HOLE_MIN_S:
            self._edge("hole", gap_s, self._blind_reason + (" (listed anew)" if relisted else ""))
        self._blind_since_s, self._lost_said = None, False

    def _say_closed(self) -> None:
        if self._blind_since_s is not None:
            self._edge("lost", self._now_s() - self._blind_since_s, f"still blind at the end: {self._blind_reason}")
        self._edge("closed")

    def _hand_on(self, news: list[News]) -> None:
        t_s = self._now_s()
        for one in news:
            self._say(t_s, one)

    def _edge(self, state: str, gap_s: float = 0.0, reason: str = "") -> None:
        detail = {"state": state, "gap_s": round(gap_s, 3), "reason": reason}
        self._say(self._now_s(), News("watch", self.subject, detail))
