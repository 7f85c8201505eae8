"""`RunLease` by a coordination.k8s.io Lease: one run a cluster, across processes and machines (DESIGN U3).

Whether it is held is a matter of the monotonic clock: renewed within its duration, or no longer ours, for good. Once it
lapsed somebody else may have taken back what we did, so it is never picked up again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from harness.drivers.kubernetes.connection import Call, Connection, Json
from harness.drivers.kubernetes.facts import unix_s
from harness.drivers.kubernetes.failures import SYSTEM, ApiError
from harness.drivers.kubernetes.resources import LEASES, NOT_FOUND, read_dated
from harness.model.errors import PortError, Refusal
from harness.model.fault import Permission
from harness.model.lease import LeaseState

NAME = "gameday-run"
DURATION_S = 15
RENEW_EVERY_S = 5.0
RETRY_EVERY_S = 1.0
CALL_LIMIT_S = 4.0
"""Of one renewal, so that three fit into the duration."""

SKEW_MARGIN_S = 2.0
"""Another holder's clock may be this far from the server's (the guard refuses more) before we call its Lease lapsed."""

CONFLICT = 409
JOIN_LIMIT_S = CALL_LIMIT_S + 2.0


class KubernetesLease:
    """Takes, renews and gives back the Lease of a cluster."""

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        *,
        name: str = NAME,
        annotations: Mapping[str, str] | None = None,
        duration_s: int = DURATION_S,
        renew_every_s: float = RENEW_EVERY_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; sends nothing.

        Args:
            connection: The cluster.
            namespace: The target's ``system_namespace``.
            name: Of the Lease; the run's by default.
            annotations: What it says beside who holds it.
            duration_s: How long it lives without a renewal.
            renew_every_s: How often it is renewed; at most a third of the duration.
            monotonic_s: Clock by which it lapses.
        """
        self._connection, self._namespace = connection, namespace
        self._name, self._annotations = name, dict(annotations or {})
        self._duration_s, self._renew_every_s = duration_s, renew_every_s
        self._monotonic_s = monotonic_s
        self._holder = ""
        self._lease: Json = {}
        self._renewed_s = 0.0
        self._lost = False
        self._released = threading.Event()
        self._thread: threading.Thread | None = None
        self._given_back: bool | None = None

    def acquire(self, holder: str) -> None:
        """Take the Lease and keep renewing it in a daemon thread.

        Args:
            holder: Unique name of the run.

        Raises:
            Refusal: Another run holds it; the text names the holder.
            PortError: No answer, or no permission.
        """
        self._holder, self._lost = holder, False
        self._released.clear()
        try:
            self._take()
        except (PortError, Refusal):
            self._holder = ""
            raise
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    @property
    def held(self) -> bool:
        """Tell whether it is still ours and renewed in time; once False, it stays so."""
        if not self._holder or self._released.is_set():
            return False
        if self._monotonic_s() - self._renewed_s >= self._duration_s:
            self._lost = True
        return not self._lost

    def release(self) -> bool:
        """Give it back and tell whether that worked; what did not lapses by itself. Idempotent, never raises."""
        if self._given_back is None:
            self._given_back = self._give_back()
        return self._given_back

    def _give_back(self) -> bool:
        ours, taken = self.held, self._thread is not None
        self._released.set()
        if self._thread is not None:
            self._thread.join(JOIN_LIMIT_S)
            self._thread = None
        if not ours:
            return not taken
        try:
            self._put(self._spec(holder="", duration_s=1))
        except PortError:
            return False  # it lapses within its duration, and the next run is told until when
        return True

    def _take(self) -> None:
        sent_s = self._monotonic_s()
        found, server_unix_s = self._read()
        try:
            if found is None:
                self._lease = self._create()
            else:
                self._refuse_if_alive(found, server_unix_s)
                self._lease = found
                self._lease = self._put(self._spec(acquired=True))
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            raise self._lost_race() from error
        self._renewed_s = sent_s

    def _read(self) -> tuple[Json | None, float]:
        call = Call("read the run Lease", "GET", LEASES.path(self._namespace, self._name), timeout_s=CALL_LIMIT_S)
        return read_dated(self._connection, call)

    def _refuse_if_alive(self, found: Json, server_unix_s: float) -> None:
        spec = found.get("spec") or {}
        other = spec.get("holderIdentity") or ""
        if other in {"", self._holder}:
            return
        age_s = server_unix_s - (unix_s(spec.get("renewTime")) or 0.0)
        if age_s >= float(spec.get("leaseDurationSeconds") or self._duration_s) + SKEW_MARGIN_S:
            return
        raise self._held_by(other, str(spec.get("acquireTime", "an unknown time")), age_s)

    def _held_by(self, other: str, since: str, age_s: float) -> Refusal:
        problem = (
            f"another run holds this cluster: {other}, since {since}, last sign of life {max(0.0, age_s):.0f} s ago"
        )
        remedy = f"wait until it ends, or stop it; its Lease lapses {self._duration_s} s after its last sign of life"
        return Refusal("lease-held", problem, remedy)

    def _lost_race(self) -> Refusal:
        found, server_unix_s = self._read()
        spec = (found or {}).get("spec") or {}
        age_s = server_unix_s - (unix_s(spec.get("renewTime")) or server_unix_s)
        return self._held_by(
            spec.get("holderIdentity") or "one that ended", str(spec.get("acquireTime", "just now")), age_s
        )

    def _create(self) -> Json:
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace, "annotations": self._annotations},
            "spec": self._spec(acquired=True),
        }
        path = LEASES.path(self._namespace)
        try:
            return self._connection.send(Call("take the run Lease", "POST", path, body=body, timeout_s=CALL_LIMIT_S))
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            problem = f"there is no namespace {self._namespace}"
            remedy = f"kubectl create namespace {self._namespace}"
            raise PortError(SYSTEM, "take the run Lease", problem, remedy) from error

    def _put(self, spec: Json) -> Json:
        """Write the Lease under the resourceVersion that we know (409 where somebody else wrote it)."""
        meta = self._lease["metadata"]
        annotations = {**(meta.get("annotations") or {}), **self._annotations}
        body = {**self._lease, "metadata": {**meta, "annotations": annotations}, "spec": spec}
        path = LEASES.path(self._namespace, self._name)
        return self._connection.send(Call("renew the run Lease", "PUT", path, body=body, timeout_s=CALL_LIMIT_S))

    def _spec(self, *, acquired: bool = False, holder: str | None = None, duration_s: int | None = None) -> Json:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        known = self._lease.get("spec") or {}
        changes = int(known.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._holder if holder is None else holder,
            "leaseDurationSeconds": self._duration_s if duration_s is None else duration_s,
            "acquireTime": now if acquired else known.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": changes + 1 if acquired and known else changes,
        }

    def _keep(self) -> None:
        pause_s = self._renew_every_s
        while not self._released.wait(pause_s) and self.held:
            sent_s = self._monotonic_s()
            try:
                self._lease = self._put(self._spec())
                self._renewed_s = sent_s
                pause_s = self._renew_every_s
            except ApiError as error:
                pause_s = RETRY_EVERY_S
                if error.status in {CONFLICT, NOT_FOUND} and not self._still_ours():
                    self._lost = True
            except PortError:
                pause_s = RETRY_EVERY_S  # `held` turns False by itself when this goes on for too long

    def _still_ours(self) -> bool:
        """Read the Lease anew after a refused renewal; our own write whose answer was lost is no reason to stop."""
        try:
            found, _ = self._read()
        except PortError:
            return True  # cannot be told; `held` decides by the clock
        if found is None or (found.get("spec") or {}).get("holderIdentity") != self._holder:
            return False
        self._lease = found
        return True


class KubernetesLeaseView:
    """Reads a Lease that somebody else holds."""

    def __init__(self, connection: Connection, namespace: str, name: str = NAME) -> None:
        self._connection, self._path = connection, LEASES.path(namespace, name)

    def look(self) -> LeaseState:
        """Return its present state; without a Lease nobody holds it.

        Raises:
            PortError: No answer.
        """
        call = Call("read the run Lease", "GET", self._path, timeout_s=CALL_LIMIT_S)
        found, server_unix_s = read_dated(self._connection, call)
        if found is None:
            return LeaseState("", 0.0, 0.0, server_unix_s)
        spec = found.get("spec") or {}
        age_s = server_unix_s - (unix_s(spec.get("renewTime")) or 0.0)
        duration_s = float(spec.get("leaseDurationSeconds") or 0.0) + SKEW_MARGIN_S
        return LeaseState(str(spec.get("holderIdentity") or ""), age_s, duration_s, server_unix_s)


def lease_permissions(namespace: str) -> tuple[Permission, ...]:
    """Return what the Lease needs to be allowed in the system namespace."""
    return tuple(Permission(verb, LEASES.plural, LEASES.group, "", namespace) for verb in ("get", "create", "update"))
