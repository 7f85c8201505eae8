"""`gateway_fault` with a real API server that keeps its switch and a real Prometheus that keeps its counters."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from experiments.faults.context import FaultContext, FaultError, drive
from experiments.faults.gateway import GATEWAY_FAULT, SIGNAL
from harness.drivers.kubernetes.connection import Call
from harness.drivers.prometheus import PrometheusSource
from harness.model.fault import FaultPlan, ObjectRef
from harness.model.restoration import SWITCH_CONFIG_MAP
from harness.model.signal import Signal
from harness.model.target import Target
from harness.ports import Observation, Permit
from harness.settings import load_settings
from harness.undo import recover
from tests.contract.cluster_world import RealWorld, WallClock
from tests.contract.scraped import SCRAPE_S, Exporter, prometheus

pytestmark = pytest.mark.testbed

RUN = "20261125-0900-gateway-1"
SETTINGS = Path(__file__).parents[2] / "gameday.toml"
OFF = {
    f"gameday.{manager}.{key}": value
    for manager in ("gateway", "tool_api")
    for key, value in (("delay_percent", "0"), ("delay_ms", "0"), ("abort_percent", "0"), ("abort_status", "503"))
}


def counter(manager: str) -> str:
    """Name an Envoy counter as `test_platform_gateway` sees it at a real Envoy."""
    return f'envoy_http_fault_aborts_injected{{envoy_http_conn_manager_prefix="{manager}"}}'


class Bench:
    """One switch, one store, and a page of counters that rise while the switch is on."""

    def __init__(self, world: RealWorld, exporter: Exporter, prometheus_url: str) -> None:
        self.world, self.exporter, self.clock = world, exporter, WallClock()
        self.ref = ObjectRef("v1", "ConfigMap", SWITCH_CONFIG_MAP, world.namespace)
        shipped = load_settings(SETTINGS).query_packs["envoy"][SIGNAL]
        self.target = Target(
            "t", "local", "c", "", "", "", "a=b", (world.namespace,), "", prometheus_url, 1.0, loopback_only=True,
            scrape_interval_s=SCRAPE_S, signals={SIGNAL: Signal(SIGNAL, shipped.query, counter=shipped.counter)},
        )  # fmt: skip
        self.seen: list[Observation] = []
        self.deaf = False
        self.carried_out = 0
        body = {"metadata": {"name": SWITCH_CONFIG_MAP}, "data": OFF}
        path = f"/api/v1/namespaces/{world.namespace}/configmaps"
        world._admin.send(Call("create the switch", "POST", path, body=body))

    def _traffic(self) -> str:
        """Let the requests of one look meet the filters, as Envoy does; never asks for a stop."""
        data = self.data()
        for manager in ("gateway", "tool_api"):
            if data[f"gameday.{manager}.abort_percent"] != "0" and not self.deaf:
                self.exporter.samples[counter(manager)] = str(int(self.exporter.samples[counter(manager)]) + 3)
        return ""

    def data(self) -> dict[str, str]:
        found = self.world.actor().get(self.ref)
        assert found is not None
        return dict(found["data"])

    def carry_out(self, **arguments: Any) -> dict[str, Any]:
        asked = {"namespace": self.world.namespace, **arguments}
        self.carried_out += 1
        plan = FaultPlan(
            f"refuse-{self.carried_out}", "gateway_fault", asked, 0.0, 15.0, GATEWAY_FAULT.loss, "patch", "", 5.0
        )
        actor = self.world.actor()
        with closing(PrometheusSource(self.target, self.clock)) as metrics:
            context = FaultContext(
                RUN, 7, actor, self.world.ledger(), self.clock, lambda *_: Permit(True), self.seen.append,
                actor.terminate_pods, stopping=self._traffic, target=self.target, metrics=metrics,
            )  # fmt: skip
            return drive(GATEWAY_FAULT.steps(context, plan), self.clock)

    def undo(self) -> None:
        done = recover(self.world.ledger(), self.clock, RUN)
        assert done and all(record.done for record in done), done


@pytest.fixture
def bench(real_world: RealWorld, tmp_path: Path) -> Iterator[Bench]:
    exporter = Exporter()
    exporter.samples = {counter("gateway"): "0", counter("tool_api"): "0"}
    try:
        with prometheus(tmp_path, exporter) as url:
            found = Bench(real_world, exporter, url)
            yield found
            recover(real_world.ledger(), found.clock, RUN)
            real_world.ledger().close(RUN)
    finally:
        exporter.close()


def test_refused_tool_calls_are_proven_by_the_shipped_query_and_the_undo_sets_every_value_back(bench: Bench) -> None:
    told = bench.carry_out(part="tool-api", abort_percent=100, abort_status=429)
    assert told["effect"] == "CONFIRMED" and "aborts at tool-api" in told["reason"]
    on = bench.data()
    assert (on["gameday.tool_api.abort_percent"], on["gameday.tool_api.abort_status"]) == ("100", "429")
    assert {key: on[key] for key in OFF if "tool_api.abort" not in key} == {
        key: value for key, value in OFF.items() if "tool_api.abort" not in key
    }
    bench.undo()
    assert bench.data() == OFF


def test_a_switch_that_envoy_does_not_follow_is_absent_and_a_second_fault_is_refused_while_it_is_on(
    bench: Bench,
) -> None:
    bench.deaf = True
    with pytest.raises(FaultError, match="ABSENT: Envoy injected 0 aborts at gateway"):
        bench.carry_out(part="gateway", abort_percent=50)
    with pytest.raises(FaultError, match="abort_percent at 50 already"):
        bench.carry_out(part="gateway", abort_percent=10)
    bench.undo()
    assert bench.data() == OFF


def test_what_an_earlier_fault_injected_last_is_no_proof_of_the_next(bench: Bench) -> None:
    bench.carry_out(part="gateway", abort_percent=50)
    bench.undo()
    bench.exporter.samples[counter("gateway")] = str(int(bench.exporter.samples[counter("gateway")]) + 40)
    bench.deaf = True
    with pytest.raises(FaultError, match="ABSENT: Envoy injected 0 aborts at gateway"):
        bench.carry_out(part="gateway", abort_percent=50)
