"""Abrupt kills by chaosk8s' ``terminate_pods``, on exactly the names that we chose. Only the chaos child imports this.

chaosk8s alone would take the default context, and call a selector that matches nothing a success (CASES A11, A16).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from chaosk8s.pod.actions import terminate_pods

from experiments.faults.context import TerminatePods
from harness.model.errors import PortError


def terminator(kube_context: str) -> TerminatePods:
    """Return a function that kills pods by name.

    Args:
        kube_context: Context of the one kubeconfig file that KUBECONFIG names.
    """
    secrets = {"KUBERNETES_CONTEXT": kube_context, "KUBERNETES_VERIFY_SSL": "true"}

    def terminate(namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        if not names:
            raise PortError("chaosk8s", "terminate_pods", "no pod is named", "it would take every pod of the namespace")
        pattern = f"^({'|'.join(re.escape(name) for name in names)})$"
        try:
            return list(
                terminate_pods(name_pattern=pattern, all=True, grace_period=grace_s, ns=namespace, secrets=secrets)
            )
        except Exception as error:  # whatever chaosk8s or its client raises leaves here as one clear error
            told = str(error).splitlines()[0] if str(error) else ""
            raise PortError("chaosk8s", "terminate_pods", f"{type(error).__name__}: {told}") from error

    return terminate
