"""One kubeconfig file and one named context to one client configuration, verified TLS or nothing (CASES A16, B10, B11).

Must never touch the client's process-global default configuration, the current context or another file.
"""

from __future__ import annotations

import atexit
import binascii
import os
import shutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs
import psutil
import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config
from kubernetes.config.kube_config import KubeConfigLoader

from harness.drivers.kubernetes.exec_plugin import ExecPlugin, TokenKeeper
from harness.model.errors import SpecError
from harness.model.loopback import is_loopback

POOL_SIZE = 32
"""Connections kept open; more than the watches of three namespaces and the calls beside them (CASES B12)."""


def load(path: str, context: str) -> Configuration:
    """Read one context of one kubeconfig file.

    Args:
        path: The file. Two paths joined as in ``KUBECONFIG`` are an error: the client would fall to ``http://localhost``.
        context: Name of the context; there is no default.

    Returns:
        A configuration of its own, with retries off (each caller decides) and no proxy for loopback addresses.

    Raises:
        SpecError: The file cannot be used, has no such context, or does not verify TLS.
        PortError: Its exec plugin gives no credentials.
    """
    _check_context(path, context)
    configuration = Configuration()
    try:
        document, plugin = _document(path, context)
        credential = plugin.ask() if plugin is not None else None
        if credential is not None:
            _user_of(document, context)["user"] = credential.user
        loader = KubeConfigLoader(  # type: ignore[no-untyped-call]
            document, context, config_base_path=str(Path(path).resolve().parent), temp_file_path=str(_private_folder())
        )
        loader.load_and_set(configuration)  # type: ignore[no-untyped-call]
    except (ConfigException, binascii.Error, KeyError, TypeError, ValueError, OSError) as error:
        problem = f"cannot be used: {error}"
        raise SpecError(path, f"contexts.{context}", problem, "check the entries it names") from error
    if plugin is not None and credential is not None and credential.token:
        configuration.refresh_api_key_hook = TokenKeeper(plugin, credential)  # type: ignore[assignment]
    _check_transport(path, context, configuration)
    configuration.retries = False  # urllib3's word for "none at all": no wrapped errors, no sleeping on Retry-After
    configuration.connection_pool_maxsize = POOL_SIZE
    if is_loopback(str(configuration.host)):
        configuration.proxy = None
    return configuration


def load_in_cluster() -> Configuration:
    """Read the ServiceAccount that a pod is given; its token is read again when it has been renewed.

    Raises:
        SpecError: This process runs in no pod, or its files cannot be used.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise SpecError("--kubeconfig", "", f"no kubeconfig, and no pod: {error}", "name a kubeconfig") from error
    configuration.retries = False
    configuration.connection_pool_maxsize = POOL_SIZE
    return configuration


def _check_file(path: str) -> None:
    if not path:
        raise SpecError("kubeconfig", "", "no file is named", "set `kubeconfig` of the target in gameday.toml")
    if Path(path).is_file():
        return
    if os.pathsep in path:
        raise SpecError(path, "", "names several files; a target has exactly one", "merge them or name the right one")
    raise SpecError(path, "", "is not a file", "set `kubeconfig` of the target to an existing kubeconfig file")


def context_names(path: str) -> list[str]:
    """Return the contexts of a kubeconfig file; the client's own list wants a current-context, which we never use.

    Raises:
        SpecError: The file is none, or no kubeconfig.
    """
    _check_file(path)
    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return [str(entry["name"]) for entry in document["contexts"] or ()]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, OSError) as error:
        problem = f"is not a kubeconfig: {' '.join(str(error).split())}"
        raise SpecError(path, "", problem, "check it with `kubectl config view`") from error


def _check_context(path: str, context: str) -> None:
    names = context_names(path)
    if context not in names:
        problem = f"there is no context {context!r}; it has {', '.join(names) or 'none'}"
        raise SpecError(path, "contexts", problem, "set `context` of the target in gameday.toml")


def _document(path: str, context: str) -> tuple[dict[str, Any], ExecPlugin | None]:
    """Return the file's content, and the exec plugin that the context's user is known by, if it is."""
    document: dict[str, Any] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    user = _user_of(document, context).get("user") or {}
    if not user.get("exec") or user.get("token") or user.get("tokenFile"):  # these win, as they do for kubectl
        return document, None
    named = _named(document["contexts"], context)["context"]["cluster"]
    cluster = _named(document["clusters"], named).get("cluster") or {}
    return document, ExecPlugin(path, context, user["exec"], cluster)


def _user_of(document: Mapping[str, Any], context: str) -> dict[str, Any]:
    name = _named(document["contexts"], context)["context"].get("user", "")
    return _named(document.get("users") or (), name) if name else {}


def _named(entries: Iterable[dict[str, Any]], name: str) -> dict[str, Any]:
    found = next((entry for entry in entries if entry["name"] == name), None)
    if found is None:
        raise KeyError(name)
    return found


def _check_transport(path: str, context: str, configuration: Any) -> None:
    where = f"cluster of context {context}"
    if not str(configuration.host).startswith("https://"):
        raise SpecError(path, where, f"{configuration.host} is not https", "an API server is only talked to over TLS")
    if not configuration.verify_ssl:
        remedy = "remove insecure-skip-tls-verify and name its certificate-authority"
        raise SpecError(path, where, "TLS would not be verified", remedy)


@cache
def _private_folder() -> Path:
    """Return this process's own folder for keys that a kubeconfig holds inline; a tmp cleaner never reaps it."""
    parent = Path(platformdirs.user_state_dir("gameday")) / "tls"
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for old in parent.iterdir():
        if old.name.isdecimal() and not psutil.pid_exists(int(old.name)):
            shutil.rmtree(old, ignore_errors=True)
    mine = parent / str(os.getpid())
    mine.mkdir(mode=0o700, exist_ok=True)
    atexit.register(_remove, mine, os.getpid())
    return mine


def _remove(folder: Path, owner_pid: int) -> None:
    if os.getpid() == owner_pid:  # a forked child inherits the exit handler, not the folder
        shutil.rmtree(folder, ignore_errors=True)
