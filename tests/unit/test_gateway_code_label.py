"""Gateways call the label of an answer's code by different names: the query pack says which (Signal.code_label)."""

import numpy as np
import pytest

from assertions.gateway_counters import SIGNAL, server_side
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.time import Window

TIMES = np.arange(0.0, 40.0, 2.0)


def harvest(label, code_label):
    rises = {"200": 95.0, "201": 3.0, "503": 2.0}
    series = tuple(
        Series(SIGNAL, {label: code, "pod": "gateway-1"}, TIMES, np.where(TIMES > 20, rise, 0.0))
        for code, rise in rises.items()
    )
    signal = Signal(SIGNAL, "q", counter=True, code_label=code_label)
    return Harvest({SIGNAL: SignalHarvest(signal, series, step_s=2.0)}, "2.53", 2.0)


@pytest.mark.parametrize("label", ["status", "response_code", "code"])
def test_answers_are_counted_by_the_class_of_the_label_that_the_pack_names(label):
    found = server_side(harvest(label, label), Window(10.0, 30.0), "")
    assert found.by_class == {2: 98.0, 5: 2.0}


def test_an_experiment_may_still_name_another_label():
    assert server_side(harvest("status", "code"), Window(10.0, 30.0), "status").total == 100.0


def test_a_label_that_no_series_has_is_told():
    found = server_side(harvest("status", "response_code"), Window(10.0, 30.0), "")
    assert found.problem == f"signal {SIGNAL} has no label response_code"
