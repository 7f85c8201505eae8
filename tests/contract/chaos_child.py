"""The chaos child over a small made-up cluster: chaosk8s and the API server replaced, everything else as it ships.

Run by `test_chaos_driver` as a program; the environment variable CHAOS_SCENARIO says how the cluster behaves.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.faults.context import TerminatePods
from harness.drivers.chaostoolkit_child import main
from harness.drivers.chaostoolkit_job import ChaosJob
from harness.model.errors import PortError
from harness.model.facts import PdbFact, PodFact
from harness.model.fault import UndoRecord
from harness.ports import ClusterActor, EvictionResult, UndoLedger


class Cluster:
    """Nine Ready planner pods; one that is gone is replaced at once, unless the scenario says otherwise."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.alive = {f"planner-{n}": self._pod(n) for n in range(9)}
        self.made = 9

    def _pod(self, number: int) -> PodFact:
        name = f"planner-{number}"
        return PodFact(uid=f"uid-{number}", namespace="agents", name=name, labels={"app": "planner"}, ready=True)

    def pods(self, namespace: str, selector: Mapping[str, str]) -> Sequence[PodFact]:
        return [pod for pod in self.alive.values() if selector.items() <= pod.labels.items()]

    def pod(self, namespace: str, name: str) -> PodFact | None:
        return self.alive.get(name)

    def pdbs(self, namespace: str) -> Sequence[PdbFact]:
        return []

    def delete_pod(self, pod: PodFact, grace_s: int | None) -> bool:
        raise NotImplementedError

    def evict_pod(self, pod: PodFact, dry_run: bool = False) -> EvictionResult:
        if self.scenario == "budget":
            return EvictionResult("blocked", "The disruption budget planner needs 2 healthy pods and has 2 currently")
        self._lose(pod.name)
        return EvictionResult("accepted")

    def terminate_pods(self, namespace: str, names: Sequence[str], grace_s: int) -> Sequence[str]:
        if self.scenario == "forbidden":
            raise PortError("chaosk8s", "terminate_pods", "ApiException: (403) Forbidden")
        if self.scenario == "deaf":
            deaf_until_s = time.monotonic() + 60
            while time.monotonic() < deaf_until_s:
                time.sleep(1)
        for name in names:
            self._lose(name)
        return list(names)

    def _lose(self, name: str) -> None:
        if self.scenario == "nothing-happens":
            return
        lost = self.alive.pop(name)
        if self.scenario != "never-replaced":
            fresh = replace(lost, uid=f"uid-{self.made}", name=f"planner-{self.made}")
            self.alive[fresh.name] = fresh
            self.made += 1


class Ledger:
    def write(self, record: UndoRecord) -> None:
        sys.stderr.write(f"undo record {record.record_id} {record.uid}\n")

    def open_records(self, run_id: str | None = None) -> Sequence[UndoRecord]:
        return []

    def run_records(self, run_id: str) -> Sequence[UndoRecord]:
        return []

    def undo(self, record: UndoRecord) -> UndoRecord:
        return record

    def close(self, run_id: str) -> None:
        return


def made_up(job: ChaosJob) -> tuple[ClusterActor, UndoLedger, TerminatePods]:
    scenario = os.environ.get("CHAOS_SCENARIO", "")
    if scenario == "crash":
        raise RuntimeError("the child has a bug")
    if scenario == "no-cluster":
        raise PortError("kubernetes", "connect", "refused", "is it up?")
    cluster = Cluster(scenario)
    return cluster, Ledger(), cluster.terminate_pods


if __name__ == "__main__":
    sys.exit(main(made_up))
