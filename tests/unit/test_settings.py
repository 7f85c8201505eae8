import json

import pytest

from harness.model.errors import SpecError
from harness.registries import EXPERIMENTS_DIR, PROJECT_DIR, load
from harness.settings import (
    check_objectives,
    check_query_packs,
    choose_target,
    load_settings,
    resolve_target,
    sparse_signals,
)

LOCAL = """
[targets.local]
kind = "local"
opt_in_label = "gameday.local/opt-in=true"
namespaces = ["agents"]
rate_max_rps = 100
query_pack = "envoy"
[query_packs.envoy]
queue_up = { query = "queue_up" }
"""
TOLD = {
    "schema": "gameday.target/1", "context": "gameday-default", "kubeconfig": "/k", "api_server": "https://127.0.0.1:21000",
    "kube_system_uid": "u", "gateway_url": "http://127.0.0.1:21020", "prometheus_url": "http://127.0.0.1:21022",
    "redis_url": "redis://127.0.0.1:21023/0", "scrape_interval_s": 2.0, "components": ["core"], "generation": "g",
}  # fmt: skip


def write(tmp_path, text):
    path = tmp_path / "gameday.toml"
    path.write_text(text)
    return path


def tell(tmp_path, told):
    folder = tmp_path / "testbeds" / "default"
    folder.mkdir(parents=True)
    (folder / "target.json").write_text(json.dumps(told))
    return {"GAMEDAY_STATE_DIR": str(tmp_path)}


def test_the_local_target_takes_its_identity_from_the_testbeds_target_file(tmp_path):
    settings = load_settings(write(tmp_path, LOCAL))
    target = resolve_target(settings, "local", tell(tmp_path, TOLD))
    assert (target.kube_system_uid, target.loopback_only, target.components) == ("u", True, ("core",))
    assert target.signals["queue_up"].query == "queue_up"


def test_a_local_target_whose_testbed_is_down_says_how_to_start_it(tmp_path):
    settings = load_settings(write(tmp_path, LOCAL))
    with pytest.raises(SpecError, match=r"not up.*gameday testbed up"):
        resolve_target(settings, "local", {"GAMEDAY_STATE_DIR": str(tmp_path)})


@pytest.mark.parametrize("key", sorted(set(TOLD) - {"schema"}))
def test_a_target_file_that_lacks_a_key_is_named_with_the_key(tmp_path, key):
    settings = load_settings(write(tmp_path, LOCAL))
    environ = tell(tmp_path, {k: v for k, v in TOLD.items() if k != key})
    with pytest.raises(SpecError, match=key):
        resolve_target(settings, "local", environ)


def test_a_target_file_of_another_schema_is_refused(tmp_path):
    settings = load_settings(write(tmp_path, LOCAL))
    with pytest.raises(SpecError, match="schema"):
        resolve_target(settings, "local", tell(tmp_path, TOLD | {"schema": "gameday.target/9"}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[targets", "not TOML"),
        (LOCAL.replace("rate_max_rps = 100\n", ""), "targets.local.rate_max_rps"),
        (LOCAL.replace("rate_max_rps", "rate_max_rsp"), "rate_max_r"),
        (LOCAL.replace('kind = "local"', 'kind = "prod"'), "targets.local.kind"),
    ],
)
def test_a_bad_settings_file_is_named_with_file_and_key(tmp_path, text, words):
    with pytest.raises(SpecError, match=words) as caught:
        load_settings(write(tmp_path, text))
    assert "gameday.toml" in str(caught.value)


def test_a_missing_settings_file_is_one_sentence(tmp_path):
    with pytest.raises(SpecError, match="no such file"):
        load_settings(tmp_path / "gameday.toml")


CLUSTER = LOCAL.replace('kind = "local"', 'kind = "cluster"\ncontext = "c"\napi_server = "https://a"\n'
    'gateway_url = "https://g"\nprometheus_url = "https://p"')  # fmt: skip


def test_an_empty_identity_is_never_a_wildcard(tmp_path):
    settings = load_settings(write(tmp_path, CLUSTER))
    with pytest.raises(SpecError, match=r"targets\.local\.kube_system_uid: is empty"):
        resolve_target(settings, "local", {})


def test_a_kubeconfig_of_two_paths_is_refused_a16(tmp_path):
    settings = load_settings(write(tmp_path, CLUSTER + "\n").with_name("gameday.toml"))
    text = CLUSTER.replace('context = "c"', 'context = "c"\nkube_system_uid = "u"')
    settings = load_settings(write(tmp_path, text))
    with pytest.raises(SpecError, match="several files"):
        resolve_target(settings, "local", {"KUBECONFIG": "a.yaml:b.yaml"})
    assert resolve_target(settings, "local", {"KUBECONFIG": "a.yaml"}).kubeconfig == "a.yaml"


def test_an_unknown_target_lists_the_known_ones(tmp_path):
    settings = load_settings(write(tmp_path, LOCAL))
    with pytest.raises(SpecError, match="known targets: local"):
        resolve_target(settings, "stagin", {})


def test_a_target_must_be_named_by_option_environment_or_file(tmp_path):
    settings = load_settings(write(tmp_path, LOCAL))
    assert choose_target(settings, None, {}) is None
    assert choose_target(settings, None, {"GAMEDAY_TARGET": "local"}) == "local"
    assert choose_target(settings, "kind", {"GAMEDAY_TARGET": "local"}) == "kind"


def test_a_folder_instead_of_a_settings_file_is_one_clear_message(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_a_mistyped_key_is_named_before_the_key_that_is_missing_for_it(tmp_path):
    with pytest.raises(SpecError, match=r"targets\.local\.rate_max_rsp"):
        load_settings(write(tmp_path, LOCAL.replace("rate_max_rps", "rate_max_rsp")))


@pytest.mark.parametrize("told", [[], {**TOLD, "scrape_interval_s": "soon"}, {**TOLD, "components": None}])
def test_a_target_file_that_the_testbed_did_not_write_is_one_clear_message(tmp_path, told):
    settings = load_settings(write(tmp_path, LOCAL))
    with pytest.raises(SpecError, match=r"target\.json"):
        resolve_target(settings, "local", tell(tmp_path, told))


@pytest.mark.parametrize(
    ("objectives", "told"),
    [
        ("success_ratio = 0.999", r"assertions\.error-budget\.objective: 0\.995 is laxer than .* 0\.999"),
        ('backlog_age_max = "1m"', r"assertions\.queue-backlog\.age_max: 5m is laxer than .* 1m"),
    ],
)
def test_an_experiment_may_not_be_laxer_than_the_objectives(tmp_path, objectives, told):
    experiment = load(EXPERIMENTS_DIR / "pod-kill-under-burst.yaml")
    check_objectives(load_settings(write(tmp_path, LOCAL)), experiment)
    with pytest.raises(SpecError, match=told):
        check_objectives(load_settings(write(tmp_path, f"[objectives]\n{objectives}\n{LOCAL}")), experiment)


def test_an_objective_that_is_no_duration_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"objectives\.backlog_age_max"):
        load_settings(write(tmp_path, f'[objectives]\nbacklog_age_max = "5q"\n{LOCAL}'))


STAGING = CLUSTER.replace('context = "c"', 'context = "c"\nkube_system_uid = "u"\nkubeconfig = "/k"')
BASIC = 'prometheus_user_env = "U"\nprometheus_password_env = "P"\n'


def with_keys(text):
    return STAGING.replace("rate_max_rps", f"{text}\nrate_max_rps")


def test_ways_in_to_prometheus_and_who_is_told_reach_the_target(tmp_path):
    told = '[targets.local.announce]\nwebhook_url_env = "W"\nalertmanager_url = "https://am"\n'
    told += """silence = ['alertname=~"T.*"']\n"""
    text = with_keys(BASIC).replace("[query_packs", f"{told}[query_packs")
    target = resolve_target(load_settings(write(tmp_path, text)), "local", {})
    assert (target.prometheus_user_env, target.prometheus_password_env) == ("U", "P")
    assert target.announce.silence == ('alertname=~"T.*"',)
    assert target.secret_envs == ("P", "W")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (f'{BASIC}prometheus_token_env = "T"', "a token or a user, not both"),
        ('prometheus_user_env = "U"', "basic authentication takes"),
        (f'{BASIC}prometheus_password_file = "/p"', "basic authentication takes"),
        ('prometheus_password_env = "P"', "basic authentication takes"),
        ('prometheus_key_file = "/k"', "name prometheus_cert_file too"),
        ("announce = { grafana_url = 'https://g' }", "grafana_url and grafana_token_env go together"),
        ("announce = { alertmanager_url = 'https://a' }", "alertmanager_url and silence go together"),
        ("announce = { grafana_url = 'https://a:b@g', grafana_token_env = 'T' }", "holds a user or a password"),
        ("announce = { alertmanager_url = 'https://a', silence = ['Tool'] }", "is no matcher"),
        ("announce = { alertmanager_url = 'https://a', silence = ['alertname=~.*'] }", "no run expects"),
        ("announce = { alertmanager_url = 'https://a', silence = ['team!=me'] }", "silence all other alerts"),
        ("announce = { alertmanager_url = 'https://a', silence = ['a=~(']}", "not a regular expression"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(tmp_path, keys, words):
    with pytest.raises(SpecError, match=words):
        load_settings(write(tmp_path, with_keys(keys)))


def test_an_address_with_a_password_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"prometheus_url: .*holds a user or a password"):
        load_settings(write(tmp_path, STAGING.replace("https://p", "https://me:pl4nted@p")))


def test_every_shipped_pack_is_looked_through_also_those_that_no_target_names():
    settings = load_settings(PROJECT_DIR / "gameday.toml")
    check_query_packs(settings)
    for pack in ("ingress-nginx", "istio", "gateway-api", "app", "envoy"):
        signal = settings.query_packs[pack]["gateway_requests_total"]
        assert signal.counter
        assert signal.code_label


def test_a_pack_that_no_target_names_is_refused_for_a_bad_query_too(tmp_path):
    text = LOCAL + '[query_packs.other]\nx = { query = "sum(rate(a[1m]))", counter = true }\n'
    with pytest.raises(SpecError, match=r"query_packs\.other\.x: a counter must be raw"):
        check_query_packs(load_settings(write(tmp_path, text)))


def test_of_several_packs_a_later_query_takes_the_place_of_an_earlier_one(tmp_path):
    other = '[query_packs.other]\nqueue_up = { query = "redis_up", sparse = true }\n'
    other += 'x = { query = "up", code_label = "c" }\n'
    text = LOCAL.replace('query_pack = "envoy"', 'query_pack = ["envoy", "other"]') + other
    settings = load_settings(write(tmp_path, text))
    signals = resolve_target(settings, "local", tell(tmp_path, TOLD)).signals
    assert {name: signal.query for name, signal in signals.items()} == {"queue_up": "redis_up", "x": "up"}
    assert signals["x"].code_label == "c"
    assert sparse_signals(settings, "local") == {"queue_up"}


@pytest.mark.parametrize("pack", ['"nosuch"', '["envoy", "nosuch"]'])
def test_a_pack_that_is_not_there_is_named_with_those_that_are(tmp_path, pack):
    settings = load_settings(write(tmp_path, LOCAL.replace('query_pack = "envoy"', f"query_pack = {pack}")))
    with pytest.raises(SpecError, match="no query pack 'nosuch' — known packs: envoy"):
        resolve_target(settings, "local", tell(tmp_path, TOLD))


def test_a_testbed_with_alerting_tells_the_alert_route(tmp_path):
    alerting = {
        "alertmanager_url": "http://127.0.0.1:21040", "receiver": "drill", "webhook_listen": "127.0.0.1:21041",
        "webhook_token_file": "/t", "programs": "/p",
    }  # fmt: skip
    environ = tell(tmp_path, {**TOLD, "alerting": alerting})
    target = resolve_target(load_settings(write(tmp_path, LOCAL)), "local", environ)
    assert (target.drill.alertmanager_url, target.drill.listen) == ("http://127.0.0.1:21040", "127.0.0.1:21041")
    assert (target.drill.receiver, target.drill.webhook_token_file, target.drill.programs) == ("drill", "/t", "/p")


def test_a_testbed_without_alerting_has_no_alert_route(tmp_path):
    target = resolve_target(load_settings(write(tmp_path, LOCAL)), "local", tell(tmp_path, TOLD))
    assert target.drill.alertmanager_url == ""


def test_an_alert_route_that_lacks_a_key_is_named_with_the_key(tmp_path):
    environ = tell(tmp_path, {**TOLD, "alerting": {"receiver": "drill"}})
    with pytest.raises(SpecError, match=r"target\.json: alertmanager_url: missing"):
        resolve_target(load_settings(write(tmp_path, LOCAL)), "local", environ)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ('alertmanager = "https://a.example"', "go together"),
        ('receiver = "drill"', "go together"),
        ('alertmanager = "https://u:p@a.example"\nreceiver = "d"\nwebhook_token_env = "T"', "holds a user"),
        ('listen = "everywhere"', "pattern"),
        ('webhook_token = "s3cret"', "not permitted"),
    ],
)
def test_half_an_alert_route_is_refused(tmp_path, written, problem):
    text = LOCAL.replace("[query_packs", f"[targets.local.drill]\n{written}\n[query_packs")
    with pytest.raises(SpecError, match=problem):
        load_settings(write(tmp_path, text))
