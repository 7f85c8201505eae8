"""Credentials that a kubeconfig gets from an exec plugin: asked for within a limit, and anew before they expire (B08).

The client's own way waits for a plugin for ever, goes on as nobody where it fails, and runs it at every call of a token
that lives five minutes or less. What a plugin prints may hold secrets: neither its output nor its errors are ever told.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from harness.drivers.kubernetes.failures import SYSTEM
from harness.model.errors import PortError, SpecError

Json = Mapping[str, Any]

PLUGIN_LIMIT_S = 15.0
"""Longest wait for a plugin; one that asks a cloud's API answers in a second or two."""

AHEAD_MAX_S = 60.0
AHEAD_RATIO = 0.25
"""A token is renewed when this much of its life is left, or the time above if that is less."""

RETRY_EVERY_S = 5.0
VERSIONS = frozenset({"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"})
_CLUSTER_KEYS = ("server", "tls-server-name", "certificate-authority-data", "proxy-url")


@dataclass(frozen=True, slots=True)
class Credential:
    """What a plugin gave.

    Attributes:
        token: Bearer token, or empty.
        certificate: Client certificate (PEM) instead of a token, or empty.
        key: Its key.
        expires_unix_s: When it ends, or None where the plugin does not say.
    """

    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    expires_unix_s: float | None = None

    @property
    def user(self) -> dict[str, str]:
        """The user of a kubeconfig that has it."""
        pair = {"client-certificate-data": self.certificate, "client-key-data": self.key}
        found = {key: b64encode(pem.encode()).decode() for key, pem in pair.items() if pem}
        return found | ({"token": self.token} if self.token else {})


class ExecPlugin:
    """One plugin as a kubeconfig names it."""

    def __init__(self, path: str, context: str, written: Json, cluster: Json) -> None:
        """Check what is written; runs nothing.

        Args:
            path: The kubeconfig; a relative command is looked for beside it.
            context: Name of the context, for messages.
            written: The user's ``exec``.
            cluster: The cluster's entry, for plugins that want it.

        Raises:
            SpecError: It cannot be run as written.
        """
        self._where, self._context = (path, f"exec of context {context}"), context
        self._version = str(written.get("apiVersion", ""))
        if self._version not in VERSIONS:
            raise self._wrong(f"apiVersion {self._version!r} is not known", f"one of {', '.join(sorted(VERSIONS))}")
        if written.get("interactiveMode") == "Always":
            raise self._wrong("the plugin wants a terminal, and a game day has none", "use one that asks nobody")
        self._command = self._found(str(written.get("command", "")), str(written.get("installHint", "")))
        self._arguments = [str(one) for one in written.get("args") or ()]
        more = {str(one["name"]): str(one["value"]) for one in written.get("env") or ()}
        self._environ = {**os.environ, **more, "KUBERNETES_EXEC_INFO": self._info(written, cluster)}

    def _wrong(self, problem: str, remedy: str) -> SpecError:
        return SpecError(*self._where, problem, remedy)

    def _found(self, command: str, hint: str) -> str:
        beside = Path(self._where[0]).parent / command
        found = shutil.which(str(beside) if os.sep in command else command) if command else None
        if found is None:
            raise self._wrong(f"the plugin {command!r} is not there", hint or "install it, or put it on PATH")
        return found

    def _info(self, written: Json, cluster: Json) -> str:
        spec: dict[str, Any] = {"interactive": False}
        if written.get("provideClusterInfo"):
            spec["cluster"] = {key: cluster[key] for key in _CLUSTER_KEYS if key in cluster}
            authority = cluster.get("certificate-authority")
            if authority:
                data = (Path(self._where[0]).parent / authority).read_bytes()
                spec["cluster"]["certificate-authority-data"] = b64encode(data).decode()
        return json.dumps({"apiVersion": self._version, "kind": "ExecCredential", "spec": spec})

    def ask(self) -> Credential:
        """Run it.

        Raises:
            PortError: It failed, did not end within `PLUGIN_LIMIT_S`, or printed no credential.
        """
        status = self._status(self._printed())
        found = Credential(
            str(status.get("token") or ""),
            str(status.get("clientCertificateData") or ""),
            str(status.get("clientKeyData") or ""),
            self._expires(status.get("expirationTimestamp")),
        )
        if not found.token and not (found.certificate and found.key):
            raise self._failed("printed neither a token nor a client certificate with its key")
        return found

    def _printed(self) -> bytes:
        command = [self._command, *self._arguments]
        try:
            process = subprocess.Popen(
                command, env=self._environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise self._failed(f"cannot be started ({type(error).__name__})") from None
        with process:
            try:
                printed, _ = process.communicate(timeout=PLUGIN_LIMIT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with whatever it waits for
                raise self._failed(f"has not ended within {PLUGIN_LIMIT_S:g} s") from None
        if process.returncode:
            raise self._failed(f"ended with status {process.returncode}")
        return printed

    def _status(self, printed: bytes) -> Json:
        try:
            found = json.loads(printed)
            version, status = found["apiVersion"], found["status"]
        except (ValueError, TypeError, KeyError):
            raise self._failed("printed no ExecCredential") from None
        if version != self._version or not isinstance(status, dict):
            raise self._failed(f"printed no ExecCredential of {self._version}")
        return status

    def _expires(self, text: object) -> float | None:
        if not text:
            return None
        try:
            return datetime.fromisoformat(str(text)).timestamp()
        except ValueError:
            raise self._failed("printed an expirationTimestamp that is no time") from None

    def _failed(self, how: str) -> PortError:
        problem = f"the exec plugin {Path(self._command).name} of context {self._context} {how}"
        return PortError(SYSTEM, "get credentials", problem, "run it by hand: do you have to log in again?")


class TokenKeeper:
    """Keeps a plugin's token fresh for one client; as the client's hook it is asked before every request.

    While the old token is good nobody waits for the plugin, and a plugin that fails is only tried again.
    """

    def __init__(self, plugin: ExecPlugin, credential: Credential, now_unix_s: Callable[[], float] = time.time) -> None:
        """Begin with a credential that the plugin gave just now."""
        self._plugin, self._now_unix_s, self._lock = plugin, now_unix_s, threading.Lock()
        self._take(credential)

    def __call__(self, configuration: Any) -> None:
        """Put the token into a client's configuration.

        Raises:
            PortError: It has expired, and the plugin gives no new one.
        """
        configuration.api_key["BearerToken"] = f"Bearer {self._fresh()}"

    def _take(self, credential: Credential) -> None:
        now_unix_s, expires_unix_s = self._now_unix_s(), credential.expires_unix_s
        self._due_unix_s = None
        if expires_unix_s is not None:
            ahead_s = min(AHEAD_MAX_S, AHEAD_RATIO * max(0.0, expires_unix_s - now_unix_s))
            self._due_unix_s = expires_unix_s - ahead_s
        self._credential = credential

    def _fresh(self) -> str:
        if self._is_over:
            with self._lock:
                if self._is_over:  # nobody was quicker
                    self._take(self._plugin.ask())
        elif self._is_due and self._lock.acquire(blocking=False):
            threading.Thread(target=self._renew, name="exec plugin", daemon=True).start()
        return self._credential.token

    @property
    def _is_over(self) -> bool:
        end_unix_s = self._credential.expires_unix_s
        return end_unix_s is not None and self._now_unix_s() >= end_unix_s

    @property
    def _is_due(self) -> bool:
        return self._due_unix_s is not None and self._now_unix_s() >= self._due_unix_s

    def _renew(self) -> None:
        """Ask the plugin beside what is going on; the lock was taken by who started this."""
        try:
            self._take(self._plugin.ask())
        except PortError:  # the old token is good still; once it is not, whoever needs it is told
            self._due_unix_s = self._now_unix_s() + RETRY_EVERY_S
        finally:
            self._lock.release()
