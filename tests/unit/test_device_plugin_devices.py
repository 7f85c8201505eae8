"""The GPU mock's devices: what an order may say, and whose word about a node's status counts."""

from typing import Any

import pytest

from testbed.kind.devices import DeviceState, Mode, Order, OrderError, devices_of, order_text, read_order


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "an object"), ("{", "not JSON"), ('{"count": -1}', "count -1"), ('{"count": 1.5}', "count 1.5"),
        ('{"count": 65}', "count 65"), ('{"count": true}', "count True"), ('{"count": 2, "sick": [2]}', "sick [2]"),
        ('{"mode": "odd"}', "mode 'odd'"), ('{"gpus": 4}', "an object with"),
    ],
)  # fmt: skip
def test_an_order_that_cannot_be_followed_says_why(text: str, said: str) -> None:
    with pytest.raises(OrderError) as refused:
        read_order(text)
    assert said in str(refused.value)


def test_an_order_for_the_node_itself_goes_before_the_default() -> None:
    data = {"default": '{"count": 4}', "gpu-1": '{"count": 1, "sick": [0], "mode": "hang"}'}
    assert read_order(order_text(data, "gpu-1")) == Order(1, frozenset({0}), Mode.HANG)
    assert read_order(order_text(data, "gpu-2")).count == read_order(order_text({}, "gpu-2")).count == 4


def test_devices_keep_their_names_and_differ_between_nodes() -> None:
    four, two = devices_of(Order(4), "gpu-1"), devices_of(Order(2), "gpu-1")
    assert four[:2] == two
    assert not {one.uuid for one in four} & {one.uuid for one in devices_of(Order(4), "gpu-2")}


def node(count: int, manager: str) -> dict[str, Any]:
    fields = {"f:status": {"f:allocatable": {"f:nvidia.com/gpu": {}}}}
    return {
        "metadata": {"managedFields": [{"manager": manager, "subresource": "status", "fieldsV1": fields}]},
        "status": {"allocatable": {"nvidia.com/gpu": str(count)}},
    }


def test_g01_what_a_game_day_unplugs_in_the_status_is_gone_until_it_is_plugged_in_again() -> None:
    state = DeviceState("gpu-1")
    assert not state.see_node(node(4, "kubelet"))
    assert state.see_node(node(0, "gameday"))
    assert state.devices == ()
    assert not state.see_node(node(4, "kubelet")), "the kubelet repeats what it was told before"
    assert not state.see_node(node(0, "kubelet"))
    assert state.devices == ()
    assert state.see_node(node(4, "gameday"))
    assert len(state.devices) == 4


def test_a_kubelet_that_starts_anew_says_none_and_unplugs_nothing() -> None:
    state = DeviceState("gpu-1")
    assert not state.see_node(node(0, "kubelet"))
    assert not state.see_node({"metadata": {}, "status": {}})
    assert len(state.devices) == 4


def test_a_new_order_plugs_everything_in_again() -> None:
    state = DeviceState("gpu-1")
    state.see_node(node(1, "kubectl-patch"))
    assert len(state.devices) == 1
    assert state.take_order(Order(3))
    assert len(state.devices) == 3
    assert not state.take_order(Order(3))
