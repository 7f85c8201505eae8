"""Matchers of a silence: written as in PromQL, taken as Alertmanager's API takes them."""

import pytest

from harness.model.silence import parse_matcher


@pytest.mark.parametrize(
    ("text", "regex", "equal"),
    [
        ('alertname="Slow"', False, True),
        ("alertname=Slow", False, True),
        ('alertname=~"Slow"', True, True),
        ('alertname!="Slow"', False, False),
        ('alertname !~ "Slow"', True, False),
    ],
)
def test_each_way_to_match(text, regex, equal):
    assert parse_matcher(text) == {"name": "alertname", "value": "Slow", "isRegex": regex, "isEqual": equal}


@pytest.mark.parametrize(
    "text", ["", "alertname", "alertname=", '="x"', 'a=~".*"', 'a=~".+"', 'a=~"("', "1a=x", 'a="x" b']
)
def test_what_is_no_matcher_or_would_match_everything_is_refused(text):
    with pytest.raises(ValueError, match=r"matcher|silence|regular expression"):
        parse_matcher(text)
