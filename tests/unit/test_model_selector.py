"""Label selectors: what is read, what is written, and what they select."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.selector import parse_selector, selector_text, selects

KEYS, VALUES = st.from_regex(r"\A[a-z./_-]{1,8}\Z"), st.from_regex(r"\A[a-z0-9._-]{0,8}\Z")
POD = {"app": "planner", "tier": "web"}


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_again(labels: dict[str, str]) -> None:
    assert parse_selector(selector_text(labels)) == labels


def test_keys_are_written_in_order() -> None:
    assert selector_text({"tier": "web", "app": "planner"}) == "app=planner,tier=web"


@pytest.mark.parametrize("text", ["app=planner,tier=web", " app == planner , tier=web "])
def test_both_ways_to_write_equality_are_read(text: str) -> None:
    assert parse_selector(text) == POD


@pytest.mark.parametrize("text", ["", "app", "app=planner,", "app in (a,b)", "app!=planner", "app===planner"])
def test_a06_anything_else_is_an_error_that_says_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_selector(text)
    hint = "is not a selector; write it like app=planner or app=planner,tier=web"
    assert str(caught.value) == f"{text!r} {hint}"


def one(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": None, "matchExpressions": None}, True),
        ({"matchLabels": {"app": "planner"}}, True),
        ({"matchLabels": {"app": "planner", "zone": "a"}}, False),
        (one("app", "In", "planner", "router"), True),
        (one("app", "In", "router"), False),
        (one("zone", "In", "a"), False),
        (one("app", "NotIn", "planner"), False),
        (one("zone", "NotIn", "a"), True),
        (one("app", "Exists"), True),
        (one("zone", "Exists"), False),
        (one("app", "DoesNotExist"), False),
        (one("zone", "DoesNotExist"), True),
        ({"matchLabels": {"app": "planner"}, **one("tier", "In", "db")}, False),
        ({"matchLabels": {"app": "router"}, **one("tier", "In", "web")}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn"}]}, True),
    ],
)
def test_labels_and_expressions_must_all_be_met(selector: dict[str, Any] | None, selected: bool) -> None:
    assert selects(selector, POD) is selected


def test_an_unknown_operator_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^'Near' is no operator of a label selector$"):
        selects(one("app", "Near", "planner"), POD)
