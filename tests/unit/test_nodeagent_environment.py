"""Environment and command line of containers by table."""

import pytest

from testbed.nodeagent.environment import (
    ContainerConfigError,
    PodFacts,
    SourceRef,
    command_line,
    container_environment,
    contents,
    env_references,
    expand,
)
from testbed.nodeagent.objects import Obj
from testbed.nodeagent.quantities import in_units, parse_quantity

POD: Obj = {
    "metadata": {
        "name": "p",
        "namespace": "ns",
        "uid": "u",
        "labels": {"app": "web", "batch.kubernetes.io/job-name": "j"},
        "annotations": {"note": 'say "hi"'},
    },
    "spec": {"nodeName": "general-1", "serviceAccountName": "sa"},
}
FACTS = PodFacts(POD, "198.18.1.2", "127.45.0.1", {"cpu": "4", "memory": "8Gi"})
SOURCES = {("ConfigMap", "conf"): {"a": b"1", "b": b"2"}, ("Secret", "key"): {"token": b"t"}, ("ConfigMap", "no"): None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(B)", "x1y2"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(MISSING)", "$(MISSING)"),
        ("$A $( ", "$A $( "),
        ("$()", "$()"),
    ],
)
def test_references_are_expanded_as_a_kubelet_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['batch.kubernetes.io/job-name']", "j"),
        ("metadata.labels['absent']", ""),
        ("spec.nodeName", "general-1"),
        ("status.podIP", "198.18.1.2"),
        ("status.hostIP", "127.45.0.1"),
        ("spec.serviceAccountName", "sa"),
    ],
)
def test_the_downward_api_tells_fields_of_the_pod(path: str, expected: str) -> None:
    assert FACTS.field(path) == expected


def test_an_unknown_field_is_a_clear_error() -> None:
    with pytest.raises(ContainerConfigError, match=r"spec\.color"):
        FACTS.field("spec.color")


def test_the_spec_wins_over_what_the_agent_gives_and_later_entries_over_earlier() -> None:
    container: Obj = {
        "name": "c",
        "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "C_"}],
        "env": [
            {"name": "C_a", "value": "own"},
            {"name": "HOME", "value": "/home"},
            {"name": "BOTH", "value": "$(C_a)-$(C_b)-$(BIND_IP)"},
            {"name": "EMPTY"},
        ],
    }
    env = container_environment(container, FACTS, SOURCES, {"HOME": "/agent", "BIND_IP": "127.44.1.2"})
    assert env == {
        "HOME": "/home", "BIND_IP": "127.44.1.2", "C_a": "own", "C_b": "2", "BOTH": "own-2-127.44.1.2", "EMPTY": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"configMapKeyRef": {"name": "no", "key": "a"}}, 'configmap "no" not found'),
        ({"configMapKeyRef": {"name": "conf", "key": "z"}}, "couldn't find key z in ConfigMap conf"),
        ({"secretKeyRef": {"name": "other", "key": "a"}}, 'secret "other" not found'),
        ({"fileKeyRef": {}}, "not known to the node agent"),
    ],
)
def test_what_is_missing_is_named(entry: Obj, said: str) -> None:
    container = {"name": "c", "env": [{"name": "X", "valueFrom": entry}]}
    with pytest.raises(ContainerConfigError, match=said):
        container_environment(container, FACTS, SOURCES, {})


def test_optional_sources_may_be_missing() -> None:
    container: Obj = {
        "name": "c",
        "envFrom": [{"secretRef": {"name": "absent", "optional": True}}],
        "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "a", "optional": True}}}],
    }
    assert container_environment(container, FACTS, SOURCES, {}) == {}


def test_a_value_that_is_no_text_cannot_be_an_environment_variable() -> None:
    container: Obj = {"name": "c", "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
    for value in (b"\xff", b"a\0b"):
        with pytest.raises(ContainerConfigError, match="environment variable"):
            container_environment(container, FACTS, {("Secret", "s"): {"k": value}}, {})


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "400"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "8192"),
        ({"resource": "requests.cpu", "divisor": "0"}, "0"),
    ],
)
def test_resources_are_rounded_up_and_a_missing_limit_is_the_nodes(reference: Obj, expected: str) -> None:
    container = {"resources": {"limits": {"cpu": "400m"}}}
    assert FACTS.resource(container, reference) == expected


def test_every_object_that_the_environment_needs_is_listed() -> None:
    container: Obj = {
        "envFrom": [{"configMapRef": {"name": "conf"}}],
        "env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token", "optional": True}}}],
    }
    assert list(env_references(container)) == [SourceRef("ConfigMap", "conf"), SourceRef("Secret", "key", True)]


def test_secrets_and_binary_data_are_decoded() -> None:
    assert contents("Secret", {"data": {"a": "aGk="}}) == {"a": b"hi"}
    assert contents("ConfigMap", {"data": {"a": "hi"}, "binaryData": {"b": "/w=="}}) == {"a": b"hi", "b": b"\xff"}


def test_command_and_args_are_expanded_and_a_missing_command_is_refused() -> None:
    container: Obj = {"name": "c", "command": ["run", "$(A)"], "args": ["$(B)"]}
    assert command_line(container, {"A": "1", "B": "2"}) == ["run", "1", "2"]
    with pytest.raises(ContainerConfigError, match="has no command"):
        command_line({"name": "c", "args": ["x"]}, {})


def test_whole_label_and_annotation_maps_are_written_as_the_kubelet_does() -> None:
    assert FACTS.labels_or_annotations("metadata.annotations") == 'note="say \\"hi\\""'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", "0.1"),
        ("2", "2"),
        ("64Mi", "67108864"),
        ("1e3", "1000"),
        ("1.5Gi", "1610612736"),
        (".5", "0.5"),
        (3, "3"),
    ],
)
def test_quantities_are_read(text: str | int, value: str) -> None:
    assert parse_quantity(text) == parse_quantity(value)


@pytest.mark.parametrize("text", ["", "m", "1MB", "1 Gi", "0x10"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        parse_quantity(text)


def test_units_round_up() -> None:
    assert in_units(parse_quantity("1001m"), parse_quantity("1")) == "2"
