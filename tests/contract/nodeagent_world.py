"""A light testbed as the node agent's contract tests use it: an administrator's HTTP client, and bounded waits."""

import base64
import json
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml

from testbed.layout import Layout, read_layout

T = TypeVar("T")
Obj = dict[str, Any]
WAIT_LIMIT_S = 40.0
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class NodeAgentWorld:
    """One namespace of a running testbed."""

    def __init__(self, target: Mapping[str, Any]) -> None:
        folder = Path(target["kubeconfig"]).parent
        self.layout: Layout = read_layout(folder)
        self.namespace = f"agent-{uuid.uuid4().hex[:8]}"
        config = yaml.safe_load(self.layout.admin_kubeconfig.read_text())
        self.token = config["users"][0]["user"]["token"]
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(self.layout.ca_cert)
        self.session.headers["Authorization"] = f"Bearer {self.token}"
        self.post("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.until(lambda: self.maybe(self.path("serviceaccounts", "default")), "the namespace's ServiceAccount")

    def close(self) -> None:
        """Remove the namespace; its pods are killed at once."""
        for pod in self.get(self.path("pods"))["items"]:
            self.delete(self.path("pods", pod["metadata"]["name"]), 0)
        self.session.delete(f"{self.layout.api_server}/api/v1/namespaces/{self.namespace}", timeout=10)
        self.session.close()

    def path(self, kind: str, name: str = "", group: str = "api/v1") -> str:
        """Return the path of a kind in the namespace, or of one object of it."""
        return f"/{group}/namespaces/{self.namespace}/{kind}" + (f"/{name}" if name else "")

    def send(
        self, method: str, path: str, body: Obj | None = None, content: str = "application/json"
    ) -> requests.Response:
        return self.session.request(
            method,
            self.layout.api_server + path,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content},
            timeout=15,
        )

    def get(self, path: str) -> Obj:
        answer = self.send("GET", path)
        assert answer.ok, f"GET {path}: {answer.status_code} {answer.text[:500]}"
        return dict(answer.json())

    def maybe(self, path: str) -> Obj | None:
        answer = self.send("GET", path)
        return dict(answer.json()) if answer.ok else None

    def post(self, path: str, body: Obj) -> Obj:
        answer = self.send("POST", path, body)
        assert answer.ok, f"POST {path}: {answer.status_code} {answer.text[:500]}"
        return dict(answer.json())

    def patch(self, path: str, body: Obj, content: str = MERGE) -> Obj:
        answer = self.send("PATCH", path, body, content)
        assert answer.ok, f"PATCH {path}: {answer.status_code} {answer.text[:500]}"
        return dict(answer.json())

    def delete(self, path: str, grace_s: int) -> None:
        answer = self.send("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace_s})
        assert answer.ok or answer.status_code == 404, f"DELETE {path}: {answer.status_code} {answer.text[:500]}"

    def until(self, look: Callable[[], T | None], what: str, limit_s: float = WAIT_LIMIT_S) -> T:
        """Return what `look` finds once it is true, or fail with `what`."""
        deadline_s = time.monotonic() + limit_s
        while True:
            found = look()
            if found:
                return found
            if time.monotonic() > deadline_s:
                raise AssertionError(f"after {limit_s:g} s still not: {what}")
            time.sleep(0.1)

    def run_pod(self, name: str, *containers: Obj, **spec: Any) -> Obj:
        """Create a pod; a container is `{"command": [...], ...}` and gets a name."""
        named = [{"name": f"c{number}", "image": "test", **container} for number, container in enumerate(containers)]
        body = {
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "containers": named,
                "terminationGracePeriodSeconds": 5,
                "automountServiceAccountToken": False,
                **spec,
            },
        }
        return self.post(self.path("pods"), body)

    def pod(self, name: str) -> Obj:
        return self.get(self.path("pods", name))

    def when(self, name: str, condition: Callable[[Obj], object], what: str) -> Obj:
        """Return the pod once `condition` holds for it."""
        last: list[Obj] = []

        def look() -> Obj | None:
            last[:] = [self.pod(name)]
            return last[0] if condition(last[0]) else None

        try:
            return self.until(look, f"pod {name}: {what}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(last[0]['status'], indent=1)}") from error

    def gone(self, name: str) -> None:
        self.until(lambda: self.maybe(self.path("pods", name)) is None, f"pod {name} is gone")

    def log(self, name: str, **options: str) -> str:
        query = "&".join(f"{key}={value}" for key, value in options.items())
        answer = self.send("GET", self.path("pods", f"{name}/log") + f"?{query}")
        assert answer.ok, answer.text
        return answer.text

    def execute(self, name: str, *command: str) -> tuple[int, str]:
        """Run a command in a pod through the agent's control port."""
        answer = requests.post(
            f"http://127.0.0.1:{self.layout.ports.nodeagent_control}/exec",
            json={"namespace": self.namespace, "pod": name, "command": list(command), "timeout_s": 20},
            headers={"Authorization": f"Bearer {self.layout.nodeagent_token.read_text()}"},
            timeout=30,
        )
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert "exit_code" in lines[-1], lines
        said = b"".join(base64.b64decode(line["output"]) for line in lines[:-1])
        return lines[-1]["exit_code"], said.decode()

    def agent_pid(self) -> int:
        return int(json.loads(self.layout.nodeagent_state.read_text())["pid"])


def ready(pod: Obj) -> bool:
    """Tell whether a pod has the condition Ready."""
    return condition(pod, "Ready") == "True"


def condition(pod: Obj, kind: str) -> str:
    found = [c["status"] for c in pod["status"].get("conditions", []) if c["type"] == kind]
    return found[0] if found else ""


def container(pod: Obj, number: int = 0) -> Obj:
    """Return a container's status; empty before the first was written."""
    found = pod["status"].get("containerStatuses") or []
    return dict(found[number]) if len(found) > number else {"state": {}, "restartCount": 0, "lastState": {}}


def waiting(pod: Obj) -> str:
    """Return why the first container waits."""
    return str(container(pod)["state"].get("waiting", {}).get("reason", ""))
