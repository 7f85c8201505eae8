"""`SafetyWatch` on a real cluster: the halt lever (a ConfigMap) and the reaper's Lease, read each second in a thread.

The watch only looks; what the reaper does is `harness.reaper`. Old news is trouble: a
run that cannot see the lever must not go on as if nobody had pulled it. `HaltLever` is what `gameday halt` moves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from harness.drivers.kubernetes.connection import Call, Connection, Json
from harness.drivers.kubernetes.facts import unix_s
from harness.drivers.kubernetes.failures import ApiError
from harness.drivers.kubernetes.resources import CONFIG_MAPS, LEASES, NOT_FOUND, read, read_dated
from harness.model.errors import PortError, Refusal
from harness.model.fault import Permission

HALT_NAME = "gameday-halt"
REAPER_NAME = "gameday-reaper"
UNDOES_ANNOTATION = "gameday.local/undoes"
"""On the reaper's Lease: which operations of undo records it can carry out."""

SILENCE = "silence"
"""The operation that a run does not ask of its reaper: a silence has an end of its own."""

LOOK_EVERY_S = 1.0
CALL_LIMIT_S = 4.0
STALE_S = 15.0
"""As long as the run's own Lease: by then the reaper takes everything back anyway."""

REAPER_PATIENCE_S = 15.0
"""A run goes on this long without a reaper: one that died is followed by another after about 10 s. Faults do not."""

SKEW_MARGIN_S = 2.0
CONFLICT = 409
JOIN_LIMIT_S = CALL_LIMIT_S + 2.0


class KubernetesSafety:
    """Reads the lever and the reaper's sign of life."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        operations: Collection[str] = (),
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster.
            namespace: The target's ``system_namespace``.
            operations: Operations of undo records that the reaper must be able to carry out.
            monotonic_s: Clock by which news grow old.
        """
        self._connection, self._namespace, self._monotonic_s = connection, namespace, monotonic_s
        self._operations = frozenset(operations)
        self._found = ""
        self._unreaped_s: float | None = None
        self._looked_s = monotonic_s()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Look once, then keep looking.

        Raises:
            Refusal: Halted, or no reaper is alive.
            PortError: No answer.
        """
        code, found = self._look()
        if found:
            raise Refusal(code, found, _REMEDIES[code])
        self._thread = threading.Thread(target=self._keep, name="safety", daemon=True)
        self._thread.start()

    def trouble(self) -> str:
        """Return why the run must stop, by the last look; at once."""
        age_s = self._monotonic_s() - self._looked_s
        if self._thread is not None and age_s >= STALE_S:
            return f"the halt lever and the reaper could not be seen for {age_s:.0f} s"
        return self._found

    def ask(self) -> str:
        """Look now and return why no fault may start; no answer is a reason."""
        try:
            return self._look()[1]
        except PortError as error:
            return f"the halt lever and the reaper cannot be seen: {error}"

    def stop(self) -> None:
        """Stop looking."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(JOIN_LIMIT_S)

    def _keep(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            try:
                self._look()
            except PortError:
                continue  # `trouble` says so once it lasts

    def _look(self) -> tuple[str, str]:
        sent_s = self._monotonic_s()
        lever, _ = self._read(CONFIG_MAPS.path(self._namespace, HALT_NAME))
        lease, server_unix_s = self._read(LEASES.path(self._namespace, REAPER_NAME))
        code, found = (
            ("halted", halt_text(lever)) if lever is not None else ("reaper", self._reaper(lease, server_unix_s))
        )
        if code == "reaper" and found:
            self._unreaped_s = sent_s if self._unreaped_s is None else self._unreaped_s
        else:
            self._unreaped_s = None
        patient = self._unreaped_s is not None and sent_s - self._unreaped_s < REAPER_PATIENCE_S
        self._found, self._looked_s = "" if patient else found, sent_s
        return code, found

    def _reaper(self, lease: Json | None, server_unix_s: float) -> str:
        """Return what is wrong with the reaper, or nothing."""
        spec = (lease or {}).get("spec") or {}
        if lease is None or not spec.get("holderIdentity"):
            return "no reaper is alive"
        age_s = server_unix_s - (unix_s(spec.get("renewTime")) or 0.0)
        if age_s >= float(spec.get("leaseDurationSeconds") or 0) + SKEW_MARGIN_S:
            return f"the reaper gave its last sign of life {age_s:.0f} s ago"
        able = ((lease["metadata"].get("annotations") or {}).get(UNDOES_ANNOTATION) or "").split(",")
        unable = sorted(self._operations.difference(able))
        return f"the reaper cannot take back by {', '.join(unable)}" if unable else ""

    def _read(self, path: str) -> tuple[Json | None, float]:
        call = Call("read the halt lever and the reaper's Lease", "GET", path, timeout_s=CALL_LIMIT_S)
        return read_dated(self._connection, call)


class HaltLever:
    """The lever itself: while it is pulled, every run on the cluster stops and none starts."""

    def __init__(self, connection: Connection, namespace: str) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster.
            namespace: The target's ``system_namespace``.
        """
        self._connection, self._namespace = connection, namespace

    def state(self) -> str:
        """Return who pulled it and why, or an empty string.

        Raises:
            PortError: No answer.
        """
        lever = read(self._connection, CONFIG_MAPS, self._namespace, HALT_NAME)
        return "" if lever is None else halt_text(lever)

    def pull(self, by: str, reason: str) -> bool:
        """Pull it. Returns False where it was pulled already; what that one said stays.

        Raises:
            PortError: It could not be pulled.
        """
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": HALT_NAME, "namespace": self._namespace},
            "data": {"by": by, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")},
        }
        try:
            self._connection.send(Call("pull the halt lever", "POST", CONFIG_MAPS.path(self._namespace), body=body))
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            return False
        return True

    def release(self) -> bool:
        """Release it. Returns False where it was not pulled.

        Raises:
            PortError: It could not be released.
        """
        path = CONFIG_MAPS.path(self._namespace, HALT_NAME)
        try:
            self._connection.send(Call("release the halt lever", "DELETE", path))
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            return False
        return True


_REMEDIES = {
    "halted": "release it once it is safe: `gameday halt --release`",
    "reaper": "nothing would take a fault back if this run died; start one: `gameday reaper` (docs/targets.md)",
}


def halt_text(lever: Json) -> str:
    """Return who pulled the lever, and why."""
    data = lever.get("data") or {}
    by, reason = data.get("by") or "somebody", data.get("reason") or "no reason given"
    return f"the halt lever was pulled by {by}: {reason}"


def safety_permissions(namespace: str) -> tuple[Permission, ...]:
    """Return what looking needs to be allowed in the system namespace."""
    return (
        Permission("get", CONFIG_MAPS.plural, "", "", namespace),
        Permission("get", LEASES.plural, LEASES.group, "", namespace),
    )
