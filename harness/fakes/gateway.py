"""The simulated gateway: picks a serving pod for each request, decides its fate, and counts answers by class.

A request is in flight from its start to its answer; a pod that is lost meanwhile takes it along (503, as Envoy answers
when its upstream is reset). Deterministic for a seed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from harness.fakes.workloads import SimPod
from harness.model.load import RequestOutcome

CPU_S_PER_REQUEST = 0.0105
LIMIT_CORES = 0.4
"""As the sample platform's planner: 10 ms a turn, 400m."""

BASE_LATENCY_S = 0.018
RATE_WINDOW_S = 1.0
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OK_STATUS, ERROR_STATUS, UNAVAILABLE_STATUS = 200, 500, 503


@dataclass(eq=False)
class SimRequest:
    """A request on its way."""

    seq: int
    intended_s: float
    start_s: float
    end_s: float
    status: int
    pod: str

    @property
    def outcome(self) -> RequestOutcome:
        """How it ends."""
        return RequestOutcome.OK if self.status == OK_STATUS else RequestOutcome.HTTP_ERROR


@dataclass
class SimulatedGateway:
    """The gateway and, behind it, what a pod does with a request.

    Attributes:
        endpoints: Returns the pods that serve now.
        random: Seeded source of choices.
        error_ratio: Share of requests that are answered with 500.
        meet: Draws the fault that a request meets at the entry: seconds it waits, status it is aborted with (0: none).
        refuses: Tells whether a pod refuses a turn that it has the time for.
        answered: Told of each answer.
        by_class: Answers by first digit of their code.
        by_pod: Answers by ``(pod, code)``.
        latency_counts: Answers by bucket, not cumulated.
        cpu_s: CPU seconds that the pods have used.
    """

    endpoints: Callable[[], list[SimPod]]
    random: Random
    error_ratio: float = 0.0
    meet: Callable[[], tuple[float, int]] = lambda: (0.0, 0)
    refuses: Callable[[SimPod], bool] = lambda pod: False
    answered: Callable[[SimRequest], None] = lambda request: None
    by_class: Counter[int] = field(default_factory=Counter)
    by_pod: Counter[tuple[str, int]] = field(default_factory=Counter)
    latency_counts: Counter[float] = field(default_factory=Counter)
    cpu_s: float = 0.0
    inflight: list[SimRequest] = field(default_factory=list)
    _recent: deque[float] = field(default_factory=deque)

    def send(self, seq: int, intended_s: float, start_s: float) -> None:
        """Take a request."""
        while self._recent and self._recent[0] <= start_s - RATE_WINDOW_S:
            self._recent.popleft()
        self._recent.append(start_s)
        delay_s, aborted = self.meet()
        pods = [] if aborted else self.endpoints()
        if not pods:
            end_s, status = start_s + delay_s + 0.001, aborted or UNAVAILABLE_STATUS
            self.inflight.append(SimRequest(seq, intended_s, start_s, end_s, status, ""))
            return
        pod = self.random.choice(pods)
        load_ratio = len(self._recent) / RATE_WINDOW_S * CPU_S_PER_REQUEST / (len(pods) * LIMIT_CORES)
        status = self._status(load_ratio)
        if status == OK_STATUS and self.refuses(pod):
            status = UNAVAILABLE_STATUS
        latency_s = delay_s + BASE_LATENCY_S * (1 + self.random.random()) / (1 - min(load_ratio, 0.9))
        self.cpu_s += CPU_S_PER_REQUEST if status == OK_STATUS else 0.0
        name = pod.fact.name
        self.inflight.append(SimRequest(seq, intended_s, start_s, start_s + latency_s, status, name))

    def _status(self, load_ratio: float) -> int:
        if load_ratio > 1 and self.random.random() > 1 / load_ratio:
            return UNAVAILABLE_STATUS  # the planner sheds what it cannot do
        return ERROR_STATUS if self.random.random() < self.error_ratio else OK_STATUS

    def lose(self, pod: str, now_s: float) -> None:
        """Break what is in flight to a pod."""
        for request in self.inflight:
            if request.pod == pod and request.end_s > now_s:
                request.end_s, request.status = now_s, UNAVAILABLE_STATUS

    def step(self, now_s: float) -> None:
        """Answer what is due."""
        due = [request for request in self.inflight if request.end_s <= now_s]
        self.inflight = [request for request in self.inflight if request.end_s > now_s]
        for request in sorted(due, key=lambda r: r.end_s):
            self.by_class[request.status // 100] += 1
            self.by_pod[request.pod, request.status] += 1
            latency_s = request.end_s - request.start_s
            self.latency_counts[next((b for b in BUCKETS_S if latency_s <= b), float("inf"))] += 1
            self.answered(request)
