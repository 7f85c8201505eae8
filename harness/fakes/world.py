"""The twin: a whole platform in this process, on simulated time, made for one experiment. Composition and order only.

`Twin` builds what the experiment names (workloads, autoscalers, budgets) on top of the sample platform, steps
everything in one order, and hands out a fake for every port.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from harness.fakes.autoscaling import SimHpa, SimScaledObject
from harness.fakes.chaos import FakeChaos, RunIdentity
from harness.fakes.clock import STEP_S, FakeClock
from harness.fakes.cluster import SimulatedCluster
from harness.fakes.gateway import BUCKETS_S, SimRequest, SimulatedGateway
from harness.fakes.gateway_faults import GatewayFaults
from harness.fakes.kube import FakeActor, FakeLease, FakeObserver, FakeSafety
from harness.fakes.ledger import FakeLedger
from harness.fakes.load import FakeLoad
from harness.fakes.meddling import Meddler
from harness.fakes.metrics import SCRAPE_S, SIGNALS, TASKS_WAIT, FakeMetrics, Sample
from harness.fakes.node_scaling import SimNodeAutoscaler
from harness.fakes.nodes import GPU
from harness.fakes.objects import ObjectStore
from harness.fakes.platform import INFRA, OBJECTS, REPLICAS, pod_spec, reaches_queue
from harness.fakes.queue import SimulatedQueue
from harness.fakes.switches import Switches, passed
from harness.fakes.workloads import SimPdb, SimPod, SimWorkload
from harness.model.experiment import Experiment
from harness.model.fault import ObjectRef, UndoRecord
from harness.model.load import RequestOutcome, whole_share
from harness.model.restoration import SWITCH_CONFIG_MAP
from harness.model.selector import parse_selector
from harness.model.target import Target
from harness.ports import Drivers

NAMESPACE, PLANNER, ADAPTER = "agents", "planner", "tool-adapter"
PLANNER_PODS, ADAPTER_PODS, OTHER_PODS = 3, 1, 3
PDB_MIN_AVAILABLE = 2
TASKS_WAIT_S = 3.0
"""As the sample platform's alert ToolTasksWait."""

GATEWAY_FAULTS = ObjectRef("v1", "ConfigMap", SWITCH_CONFIG_MAP, INFRA)


TURNS_MAX_RPS = 10.0
"""Room that the twin leaves for each of those who talk beside the arrivals."""


def twin_target(experiment: Experiment) -> Target:
    """Return the target that the twin is: it has what the experiment needs and allows the load that it asks for."""
    people = sum(experiment.load.conversations.values())
    return Target(
        name="twin",
        kind="local",
        context="twin",
        kubeconfig="",
        api_server="https://127.0.0.1:1",
        kube_system_uid="twin",
        opt_in_label="gameday.local/opt-in=true",
        namespaces=tuple(dict.fromkeys((NAMESPACE, *experiment.scope.namespaces))),
        gateway_url="http://127.0.0.1:1",
        prometheus_url="http://127.0.0.1:1",
        rate_max_rps=max(200.0, experiment.load.densest_second + TURNS_MAX_RPS * people),
        loopback_only=True,
        scrape_interval_s=SCRAPE_S,
        components=tuple(dict.fromkeys(("core", "platform", *experiment.components))),
        signals=SIGNALS,
        gpu_resource=next(iter(gpu_resources(experiment)), ""),
    )


def gpu_resources(experiment: Experiment) -> tuple[str, ...]:
    """Return what the experiment calls its GPUs, so that the twin has what it asks for."""
    named = (plan.arguments.get("resource") for plan in experiment.faults)
    return tuple(dict.fromkeys(str(name) for name in named if name))


class Twin:
    """A simulated platform for one run.

    Attributes:
        target: The target that it is.
        clock: Its time.
        cluster: Its cluster.
        store: Its objects.
        queue: Its tool-call queue.
        filters: The gateway's fault filters.
        switches: How it misbehaves.
    """

    def __init__(
        self,
        experiment: Experiment,
        seed: int,
        switches: Switches | None = None,
        origin_unix_s: float | None = None,
    ) -> None:
        self.target = twin_target(experiment)
        self.switches = Switches.from_environ(os.environ) if switches is None else switches
        self.clock = FakeClock(time.time() if origin_unix_s is None else origin_unix_s)
        self._seed = seed
        random = Random(f"twin/{seed}")  # noqa: S311 - a rehearsal that must repeat
        self.filters = GatewayFaults(seed)
        self.queue = SimulatedQueue(meet=lambda: self.filters.meet("tool_api"))
        self.cluster = SimulatedCluster(self.clock, random, self.switches.pod_start_s, switches=self.switches)
        self.store = ObjectStore(self.cluster, self.clock)
        self._meddler = Meddler(self.store, self.switches.undone_early_s)
        self._records: list[UndoRecord] = []
        self._lease: dict[str, str] = {}
        self._hpas: list[SimHpa] = []
        self._scaled: list[SimScaledObject] = []
        self._node_scalers: list[SimNodeAutoscaler] = []
        self._build(experiment)
        self.gateway = SimulatedGateway(
            self._endpoints, random, self.switches.error_ratio, lambda: self.filters.meet("gateway")
        )
        self.gateway.refuses = self._refuses
        self.cluster.lost = lambda name: self.gateway.lose(name, self.clock.now_s())
        self.load = FakeLoad(self.gateway, self.clock, self.switches)
        self.metrics = FakeMetrics(self.clock, self.switches, lambda: self._infra_up("prometheus"))
        self._count_tasks()
        self._lost_pods = False
        self._unsent = 0
        self._cut_off = itertools.count()
        self._queue_unavailable: Counter[str] = Counter()
        self.clock.every_step(self._step)
        if self.switches.pace_ratio > 0:
            self.clock.every_step(lambda now_s: time.sleep(STEP_S * self.switches.pace_ratio))

    # what there is --------------------------------------------------------------------------------------------------

    def _build(self, experiment: Experiment) -> None:
        self.cluster.add_nodes(gpu_resources(experiment) or (GPU,))
        self._served = self._workload(NAMESPACE, PLANNER, {"app": PLANNER}, PLANNER_PODS)
        scaled = any(
            str(spec.params.get("autoscaler", "")).startswith("scaledobject/") for spec in experiment.assertions
        )
        adapters = 0 if scaled else ADAPTER_PODS  # KEDA rests them at zero; without it the manifests keep one
        self._adapter = self._workload(NAMESPACE, ADAPTER, {"app": ADAPTER}, adapters)
        for (namespace, name), replicas in REPLICAS.items():
            self._workload(namespace, name, {"app": name}, replicas)
        for obj in OBJECTS:
            self.store.create(obj)
        for ref in experiment.scope.workloads:
            self._workload(ref.namespace, ref.name, dict(ref.selector), OTHER_PODS)
        for plan in experiment.faults:
            self._add_targets(str(plan.arguments.get("namespace", "")), str(plan.arguments.get("selector", "")))
        for spec in experiment.assertions:
            if "autoscaler" in spec.params:
                self._add_autoscaler(*str(spec.params["autoscaler"]).split("/", 2))
            if "pdb" in spec.params and not self.switches.pdb_missing:
                self._add_pdb(*str(spec.params["pdb"]).split("/", 1))

        if not self.switches.node_scaler_missing:
            for status in experiment.scope.node_autoscalers:
                self._node_scalers.append(SimNodeAutoscaler(self.cluster, status, self.switches))

    def _workload(self, namespace: str, name: str, selector: dict[str, str], replicas: int) -> SimWorkload:
        found = self.cluster.workload(namespace, name)
        if found is None:
            spec = pod_spec(namespace, name, self.target.gpu_resource or GPU)
            found = SimWorkload(namespace, name, selector, replicas, spec=spec)
            self.cluster.add_workload(found)
        return found

    def _add_targets(self, namespace: str, selector_text: str) -> None:
        """Add pods for a fault whose selector no workload has."""
        if not namespace or not selector_text:
            return
        selector = parse_selector(selector_text)
        known = any(w.namespace == namespace and selector.items() <= w.selector.items() for w in self.cluster.workloads)
        if not known:
            self._workload(namespace, "-".join(selector.values()), selector, OTHER_PODS)

    def _add_autoscaler(self, kind: str, namespace: str, name: str) -> None:
        workload = self._workload(namespace, name, {"app": name}, OTHER_PODS)
        if self.switches.hpa_missing:
            return
        if kind == "scaledobject":
            self._scaled.append(SimScaledObject(self.cluster, workload, name, self.queue, self.switches))
        else:
            self._hpas.append(SimHpa(self.cluster, workload, name, self.switches, lambda: self.store.metrics_served))

    def _add_pdb(self, namespace: str, name: str) -> None:
        workload = self._workload(namespace, name, {"app": name}, OTHER_PODS)
        self.cluster.pdbs.append(SimPdb(namespace, name, workload.selector, PDB_MIN_AVAILABLE))
        self.cluster.step(0.0)

    def _endpoints(self) -> list[SimPod]:
        return [pod for pod in self.cluster.serving(self._served) if self.cluster.reachable(pod)]

    def _refuses(self, pod: SimPod) -> bool:
        """Tell whether a turn with a tool call meets a planner that cannot give it to the queue."""
        if reaches_queue(pod, self.store):
            return False
        refused = bool(whole_share(next(self._cut_off), self.load.tool_calls))
        self._queue_unavailable[pod.fact.name] += refused
        return refused

    def _infra_up(self, name: str) -> bool:
        workload = self.cluster.workload(INFRA, name)
        return workload is not None and any(self.cluster.reachable(pod) for pod in self.cluster.serving(workload))

    # what happens ---------------------------------------------------------------------------------------------------

    def _step(self, now_s: float) -> None:
        self._lose_pods(now_s)
        self._meddler.step(now_s)
        self.cluster.step(now_s)
        self.filters.load((self.store.get(GATEWAY_FAULTS) or {}).get("data") or {})
        self.load.step(now_s)
        self.gateway.step(now_s)
        broker = self._infra_up("redis")
        if broker and self._unsent:
            self.queue.add(self._unsent, now_s)
            self._unsent = 0
        adapters = len(self.cluster.serving(self._adapter)) if broker and not self.switches.adapters_stuck else 0
        self.queue.work(adapters, now_s)
        for hpa in self._hpas:
            hpa.step(now_s, self.gateway.cpu_s)
        for scaled in self._scaled:
            scaled.step(now_s)
        for node_scaler in self._node_scalers:
            node_scaler.step(now_s)
        if self.metrics.due:
            self.metrics.scrape(self._samples(now_s))

    def _count_tasks(self) -> None:
        """Let each good answer enqueue its tool calls."""
        log, turns = self.gateway.answered, itertools.count()

        def answered(request: SimRequest) -> None:
            if request.outcome is RequestOutcome.OK:
                tasks = whole_share(next(turns), self.load.tool_calls)
                if tasks and self._infra_up("redis"):
                    self.queue.add(tasks, request.end_s)
                elif tasks:
                    self._unsent += tasks  # the planner keeps them until the broker answers
            log(request)

        self.gateway.answered = answered

    def _lose_pods(self, now_s: float) -> None:
        if passed(self.switches.pods_lost_at_s, now_s) and not self._lost_pods:
            self._lost_pods = True
            for pod in self.cluster.serving(self._served)[1:]:
                self.cluster.kill(pod, now_s)

    def _samples(self, now_s: float) -> Iterator[Sample]:
        gateway = self.gateway
        yield from self._class_samples()
        yield from self.filters.samples()
        below = 0
        for bucket in BUCKETS_S:
            below += gateway.latency_counts[bucket]
            yield "gateway_latency_bucket", {"le": f"{bucket * 1000:g}"}, float(below)
        for (pod, code), count in gateway.by_pod.items():
            yield "planner_requests_total", {"pod": pod, "code": str(code)}, float(count)
        for planner in self.cluster.alive(self._served):
            name = planner.fact.name
            yield "planner_queue_unavailable_total", {"pod": name}, float(self._queue_unavailable[name])
        up = self._infra_up("redis")
        yield "queue_up", {}, float(up)
        if up:  # the exporter shows no stale depth
            yield from self._queue_samples(now_s)
        yield "targets_up", {"job": "pods"}, 1.0
        yield "alert_rules", {"rule_group": "platform"}, 2.0 if self.switches.alert_rule_missing else 3.0
        if up and self.queue.age_s(now_s) > TASKS_WAIT_S and not self.switches.alert_rule_missing:
            yield "alerts_firing", {"alertname": TASKS_WAIT}, 1.0

    def _class_samples(self) -> Iterator[Sample]:
        counted = dict(self.gateway.by_class)
        if self.switches.errors_hidden:
            counted[2] = counted.get(2, 0) + counted.pop(5, 0)
        for digit in range(1, 6):
            yield "gateway_requests_total", {"envoy_response_code_class": str(digit)}, float(counted.get(digit, 0))

    def _queue_samples(self, now_s: float) -> Iterator[Sample]:
        queue = self.queue
        yield "queue_oldest_task_age_seconds", {}, queue.age_s(now_s)
        yield "queue_depth", {}, float(queue.depth)
        yield "queue_lag", {}, float(queue.lag)
        yield "queue_pending", {}, float(queue.pending)
        yield "tasks_unique_enqueued", {}, float(queue.enqueued)
        yield "tasks_unique_done", {}, float(queue.done)
        yield "tasks_dead", {}, 0.0
        yield "tasks_duplicate", {}, 0.0
        yield "tasks_late", {}, float(queue.late)

    # the ports ------------------------------------------------------------------------------------------------------

    def drivers(self, run_dir: Path, run_id: str) -> Drivers:
        """Return a fake for every port, all over this one world."""
        actor = FakeActor(self.cluster, self.clock, self.switches, self.store, self._meddler, self._records)
        ledger = FakeLedger(self.switches, self._records, self.store)
        return Drivers(
            clock=self.clock,
            load=self.load,
            chaos=FakeChaos(actor, ledger, self.clock, RunIdentity(run_id, self._seed, self.target), self.metrics),
            observer=FakeObserver(self.cluster, self.clock, self.target, self.switches, self.store),
            actor=actor,
            metrics=self.metrics,
            ledger=ledger,
            lease=FakeLease(self.clock, self.switches, self._lease),
            safety=FakeSafety(self.clock, self.switches),
            run_dir=run_dir,
        )


def twin_drivers(
    experiment: Experiment, seed: int, run_dir: Path, run_id: str = "rehearsal", switches: Switches | None = None
) -> Drivers:
    """Return the twin's drivers for one run of an experiment."""
    return Twin(experiment, seed, switches).drivers(run_dir, run_id)
