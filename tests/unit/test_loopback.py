"""What counts as this machine, for everything that may send something."""

import pytest

from harness.drivers import prometheus_session
from harness.guard import check_loopback
from harness.model.errors import PortError, Refusal
from harness.model.loopback import is_loopback


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1", "https://127.8.9.10:6443/x", "http://[::1]:9090", "HTTP://127.0.0.1:1"]
)
def test_addresses_of_this_machine(url: str) -> None:
    assert is_loopback(url)


ELSEWHERE = [
    "http://10.0.0.7",
    "http://198.18.0.1:9090",
    "http://localhost",
    "http://127.0.0.1.example.invalid",
    "127.0.0.1",
    "http://127.0.0.1@10.0.0.7/",
    "http://10.0.0.7#127.0.0.1",
    "http://0.0.0.0",
    "http://[fd00::1]",
    "http://[::1",
    "",
]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_whatever_else_there_is_leaves_it(url: str) -> None:
    assert not is_loopback(url)
    with pytest.raises(Refusal, match="is not a loopback address"):
        check_loopback(url)
    with pytest.raises(PortError, match="is not a loopback address"):
        prometheus_session.check_loopback(url)


def test_a_refusal_tells_the_host_and_no_secret() -> None:
    with pytest.raises(Refusal) as refused:
        check_loopback("https://user:pl4nted@hooks.example.invalid/T0/pl4nted?key=pl4nted")
    assert "https://hooks.example.invalid is not" in str(refused.value) and "pl4nted" not in str(refused.value)
    with pytest.raises(Refusal, match=r"^(?!.*pl4nted)"):
        check_loopback("pl4nted")
