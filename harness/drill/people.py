"""What people do to the cluster while a drill runs, and which of it the participants may see. Decides no score.

A participant's page may only show what people and GitOps did. A change that nobody's name is on may be the hidden
fault's, and what a controller does may be its answer to it: both are kept until the reveal, and are in the debrief.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.drivers.kubernetes.connection import connect
from harness.drivers.kubernetes.people import PeopleWatch as ClusterWatch
from harness.model.drill import Origin
from harness.model.target import Target

SHOWN = frozenset({Origin.HUMAN, Origin.GITOPS})


class PeopleWatch(ClusterWatch):
    """Watches a target's cluster, over a connection of its own."""

    def __init__(self, target: Target, namespaces: Sequence[str]) -> None:
        """Prepare; sends nothing.

        Args:
            target: Where the drill runs.
            namespaces: The experiment's scope.

        Raises:
            SpecError: The target's kubeconfig cannot be used.
        """
        super().__init__(connect(target), namespaces, target.system_namespace)


def may_be_shown(action: Mapping[str, Any]) -> bool:
    """Tell whether participants may see an ``action`` entry's detail before the reveal."""
    return action.get("origin") in SHOWN
