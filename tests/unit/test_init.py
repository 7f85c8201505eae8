"""`gameday init`: what it finds out by reading, what it asks, and how it writes without harming the file."""

import tomllib
from dataclasses import dataclass, field

import numpy as np
import pytest

from harness.init_file import target_text, with_target, write_settings
from harness.init_survey import ClusterSurvey, MetricsSurvey
from harness.init_target import Interview, _rate, find_context
from harness.model.errors import PortError, SpecError
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.registries import PROJECT_DIR
from harness.settings import load_settings
from tests.unit.conductor_doubles import TickClock

LABEL = "gameday.local/opt-in=true"


@dataclass
class Cluster:
    """Objects by kind; what is not there may not be read."""

    objects: dict = field(default_factory=dict)
    apis: frozenset = frozenset()

    def find(self, api_version, kind, namespace="", selector="", field_selector=""):
        if kind not in self.objects:
            raise PortError("kubernetes", f"list {kind}", "403: forbidden")
        return [o for o in self.objects[kind] if not namespace or o["metadata"].get("namespace") == namespace]

    def serves(self, api_version, kind):
        return kind in self.apis


def survey(**objects):
    return ClusterSurvey(Cluster(objects), LABEL)


def named(name, namespace="agents", **rest):
    return {"metadata": {"name": name, "namespace": namespace}, **rest}


def ingress(host, tls=False, service="planner", namespace="agents"):
    backend = {"http": {"paths": [{"backend": {"service": {"name": service}}}]}}
    return named("i", namespace, spec={"rules": [{"host": host, **backend}], "tls": [{"hosts": [host]}] if tls else []})


def test_what_may_not_be_read_is_not_derived():
    found = survey()
    assert found.namespaces() == found.gateway_urls(["agents"]) == found.prometheus_urls() == []
    assert (found.gpu_resource(), found.queue_kind(["agents"])) == ("", "")
    assert found.components() == ["core", "platform"]


def test_labelled_namespaces_are_taken_but_for_our_own_and_kubernetes():
    found = survey(Namespace=[named(name) for name in ("kube-system", "gameday-system", "b", "a")])
    assert found.namespaces() == ["a", "b"]


def test_gateways_come_from_ingresses_and_from_gateway_api():
    gateway = named("g", spec={"listeners": [{"protocol": "HTTPS", "port": 443}, {"protocol": "TCP", "port": 1}]})
    gateway["status"] = {"addresses": [{"value": "203.0.113.7"}]}
    found = survey(Ingress=[ingress("a.example"), ingress("b.example", tls=True), ingress("*.c")], Gateway=[gateway])
    assert found.gateway_urls(["agents"]) == ["http://a.example", "https://b.example", "https://203.0.113.7:443"]


def test_prometheus_is_known_by_the_service_that_an_ingress_leads_to():
    here = ingress("p.example", True, "prometheus-server", "monitoring")
    service = named("prom", "monitoring", spec={"ports": [{"port": 9090}]})
    found = survey(Ingress=[ingress("a.example"), here], Service=[service])
    assert found.prometheus_urls() == ["https://p.example"]
    assert found.prometheus_services() == ["monitoring/prom:9090"]


@pytest.mark.parametrize(
    ("offered", "resource"),
    [
        ([{"cpu": "4"}, {"cpu": "4", "nvidia.com/gpu": "8"}], "nvidia.com/gpu"),
        ([{"nvidia.com/mig-1g.5gb": "7"}], "nvidia.com/mig-1g.5gb"),
        ([{"nvidia.com/gpu": "1"}, {"amd.com/gpu": "1"}], ""),
        ([{"cpu": "4", "example.com/fpga": "1"}], ""),
    ],
)
def test_gpus_are_what_the_nodes_offer_where_all_offer_the_same(offered, resource):
    nodes = [named(f"n{n}", status={"allocatable": one}) for n, one in enumerate(offered)]
    assert survey(Node=nodes).gpu_resource() == resource


@pytest.mark.parametrize(
    ("types", "kind"),
    [(["kafka"], "kafka"), (["redis-streams", "cpu"], "redis"), (["kafka", "redis"], ""), (["cron"], "")],
)
def test_the_queue_is_what_the_scaledobjects_scale_by(types, kind):
    scaled = named("s", spec={"triggers": [{"type": one} for one in types]})
    assert survey(ScaledObject=[scaled]).queue_kind(["agents"]) == kind


class Metrics:
    """A store that has some metrics, scraped every 15 s."""

    def __init__(self, *names):
        self.names = names

    def instant(self, signal):
        return {"value": 1.0} if any(name in signal.query for name in self.names) else {}

    def harvest(self, signals, window):
        times = np.arange(window.start_s, window.end_s, 15.0)
        return Harvest({"up": SignalHarvest(Signal("up", "up"), (Series("up", {}, times, times),))})


@pytest.mark.parametrize(
    ("names", "kind", "chosen"),
    [
        (('prefix="gateway"', "queue_depth", "DCGM_FI_DEV"), "", ["envoy"]),
        (("nginx_ingress", "kafka_", "DCGM_FI_DEV"), "kafka", ["ingress-nginx", "queue-kafka", "gpu-dcgm"]),
        (("istio_requests", "redis_", "kafka_", "kube_pod"), "redis", ["istio", "queue-redis", "cluster"]),
        (("https?-.*",), "", ["gateway-api"]),
        (("http_requests_total",), "none", ["app"]),
        (("kafka_",), "", ["queue-kafka"]),
        ((), "", []),
    ],
)
def test_packs_are_those_whose_signals_have_series(names, kind, chosen):
    known = load_settings(PROJECT_DIR / "gameday.toml").query_packs
    assert MetricsSurvey(Metrics(*names), TickClock()).packs(known, kind) == chosen


def test_the_scrape_interval_is_what_lies_between_samples():
    assert MetricsSurvey(Metrics(), TickClock()).scrape_interval_s() == 15.0


# asking ---------------------------------------------------------------------------------------------------------------


def test_an_option_comes_first_then_the_file_then_a_look_then_a_person():
    asked = []

    def ask(question, default):
        asked.append((question, default))
        return "told"

    about = Interview({"a": "given"}, {"a": "present", "b": "present"}, ask)
    for key in "abcd":
        about.settle(key, f"what is {key}", lambda key=key: "seen" if key in "abc" else None, "maybe")
    assert about.values == {"a": "given", "b": "present", "c": "seen", "d": "told"}
    assert asked == [("what is d", "maybe")]


def test_where_nobody_may_be_asked_the_option_is_named():
    with pytest.raises(SpecError, match=r"--gateway-url: where is it: cannot be found out — pass --gateway-url"):
        Interview({}, {}, None).settle("gateway_url", "where is it")


@pytest.mark.parametrize(("written", "rate"), [("1700", 1700), ("0.5", 0.5), (50, 50)])
def test_a_rate_is_a_number(written, rate):
    assert _rate(written) == rate


@pytest.mark.parametrize("written", ["many", "0", "-1", "nan"])
def test_a_rate_that_is_none_is_refused(written):
    with pytest.raises(SpecError, match="--rate-max-rps"):
        _rate(written)


def test_the_context_is_taken_where_there_is_one_and_asked_where_there_are_several(tmp_path):
    path = tmp_path / "config"
    path.write_text("contexts: [{name: one}]")
    assert find_context("", str(path), None) == (str(path), "one")
    path.write_text("contexts: [{name: one}, {name: two}]")
    assert find_context("", str(path), lambda question, default: "two") == (str(path), "two")
    with pytest.raises(SpecError, match=r"--context: .* has one, two"):
        find_context("", str(path), None)


# writing --------------------------------------------------------------------------------------------------------------

VALUES = {
    "kind": "cluster",
    "context": "prod-eu",
    "namespaces": ["agents"],
    "rate_max_rps": 50,
    "scrape_interval_s": 15.0,
}


def shipped(tmp_path):
    path = tmp_path / "gameday.toml"
    path.write_text((PROJECT_DIR / "gameday.toml").read_text())
    return path


def test_a_new_target_is_put_behind_the_others_and_every_other_line_stays(tmp_path):
    path = shipped(tmp_path)
    before, after = path.read_text(), with_target(path, "eu", VALUES)
    added = target_text("eu", VALUES)
    assert added.startswith('[targets.eu]\nkind = "cluster"\n')
    assert after.replace(f"\n{added}", "", 1) == before
    assert after.index("[targets.staging]") < after.index("[targets.eu]") < after.index("# Query packs: one PromQL")
    assert tomllib.loads(after)["targets"]["eu"] == VALUES


def test_the_empty_keys_of_a_target_that_is_there_are_filled_and_its_comments_stay(tmp_path):
    path = shipped(tmp_path)
    before = path.read_text()
    after = with_target(path, "staging", {"context": "prod-eu", "kube_system_uid": "u", "namespaces": ["agents"]})
    assert 'context = "prod-eu"                 # name of the kubeconfig context' in after or (
        'context = "prod-eu"' in after and "# name of the kubeconfig context" in after
    )
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert len(changed) == 2
    assert tomllib.loads(after)["targets"]["staging"]["rate_max_rps"] == 1700


def test_a_value_that_somebody_wrote_is_never_overwritten(tmp_path):
    path = shipped(tmp_path)
    with pytest.raises(SpecError, match=r"targets\.staging\.rate_max_rps: is 1700 already, not 50"):
        with_target(path, "staging", VALUES)


def test_a_file_without_targets_and_without_a_last_newline_takes_one(tmp_path):
    path = tmp_path / "gameday.toml"
    path.write_text('default_target = ""')
    text = with_target(path, "eu", VALUES)
    assert tomllib.loads(text) == {"default_target": "", "targets": {"eu": VALUES}}


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path):
    path = tmp_path / "gameday.toml"
    path.write_text("a")
    path.chmod(0o640)
    write_settings(path, "b")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("b", 0o640)
    assert [found.name for found in tmp_path.iterdir()] == ["gameday.toml"]
