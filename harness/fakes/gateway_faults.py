"""What the simulated gateway's fault filters do: values of a ConfigMap, read at each step as Envoy's runtime is.

Delay and abort of one request are drawn independently, and each that is drawn is counted, as Envoy's filter does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from random import Random

MANAGERS = ("gateway", "inference", "tool_api")
DELAYS, ABORTS = "envoy_http_fault_delays_injected", "envoy_http_fault_aborts_injected"
DEFAULT_STATUS = 503
SIGNAL = "gateway_faults_injected"


class GatewayFaults:
    """The fault filters of every HTTP manager.

    Attributes:
        injected: Faults so far by ``(manager, counter)``.
    """

    def __init__(self, seed: int) -> None:
        self.injected: Counter[tuple[str, str]] = Counter()
        self._random = Random(f"gateway-faults/{seed}")  # noqa: S311 - a rehearsal that must repeat
        self._values: Mapping[str, str] = {}

    def load(self, values: Mapping[str, str]) -> None:
        """Take over the ConfigMap's values; with none the filters do nothing."""
        self._values = values

    def meet(self, manager: str) -> tuple[float, int]:
        """Return how long a request of a manager waits in seconds, and the status it is aborted with; 0 for none."""
        delay_s, status = 0.0, 0
        if self._drawn(manager, "delay_percent", DELAYS):
            delay_s = self._value(manager, "delay_ms", 0) / 1000
        if self._drawn(manager, "abort_percent", ABORTS):
            status = self._value(manager, "abort_status", DEFAULT_STATUS)
        return delay_s, status

    def _drawn(self, manager: str, key: str, counter: str) -> bool:
        percent = self._value(manager, key, 0)
        drawn = percent > 0 and self._random.random() * 100 < percent
        self.injected[manager, counter] += drawn
        return drawn

    def _value(self, manager: str, key: str, default: int) -> int:
        return int(self._values.get(f"gameday.{manager}.{key}", default))

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Yield the counters of every manager, also those at 0."""
        for manager in MANAGERS:
            for counter in (ABORTS, DELAYS):
                labels = {"__name__": counter, "envoy_http_conn_manager_prefix": manager}
                yield SIGNAL, labels, float(self.injected[manager, counter])
