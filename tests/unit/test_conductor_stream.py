"""The conductor's stream and stop channel: neither a slow client nor a torn line may hold up or lose anything."""

import io
import json
import os

import pytest

from harness.conductor_main import _listen, _Stream
from harness.pulse import StopFlag


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        os.close(end)


def test_a_client_that_does_not_read_holds_up_nobody_and_still_gets_everything(pipe):
    read, write = pipe
    stream = _Stream(write)
    for number in range(2_000):  # more than a pipe holds
        stream.send({"m": "event", "number": number, "text": "x" * 100})
    stream.end({"m": "end"}, limit_s=0.0)
    text = b""
    while not text.endswith(b'{"m": "end"}\n'):
        text += os.read(read, 65536)
    told = [json.loads(line) for line in text.splitlines()]
    assert [message["number"] for message in told[:-1]] == list(range(2_000))


def test_a_client_that_is_gone_is_not_waited_for():
    read, write = os.pipe()
    os.close(read)
    stream = _Stream(write)
    stream.send({"m": "event"})
    stream.end({"m": "end"}, limit_s=60.0)
    assert not stream._writer.is_alive()
    os.close(write)


def test_a_torn_line_of_a_client_that_died_is_a_stop_request(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"sto'))
    stop = StopFlag()
    with pytest.raises(ValueError, match="Unterminated"):
        _listen(stop)
    assert stop.reason == "the client is gone"
