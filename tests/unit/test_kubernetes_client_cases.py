"""The client's known traps that no other suite names (CASES B04, B10, B12)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
from harness.drivers.kubernetes import kubeconfig
from harness.drivers.kubernetes.connection import Connection
from tests.unit.kubernetes_stub import client_of, stub_api

THREADS = kubeconfig.POOL_SIZE


def test_nothing_of_ours_execs_through_a_client_that_others_share_b04():
    sources = Path(harness.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "kubernetes.stream" in path.read_text(encoding="utf-8")] == []


def test_as_many_threads_as_the_pool_holds_are_all_answered_over_one_connection_b12():
    together = threading.Barrier(THREADS, timeout=20.0)

    def answer(exchange):
        together.wait()  # answers only once every thread has its own socket open
        exchange.json(200, {"ok": True})

    with stub_api() as (stub, connection), ThreadPoolExecutor(THREADS) as pool:
        stub.on("GET", "/version", answer)
        asked = [pool.submit(connection.get, "read", "/version") for _ in range(THREADS)]
        assert [future.result(timeout=30.0) for future in asked] == [{"ok": True}] * THREADS


def test_credentials_are_read_anew_from_their_file_after_a_401_b08_b10(tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text("old")

    def answer(exchange):
        good = exchange.headers["Authorization"] == "Bearer new"
        exchange.json(200 if good else 401, {"ok": good})

    with stub_api() as (stub, first):
        stub.on("GET", "/version", answer)
        port = int(first.server.rpartition(":")[2])
        connection = Connection(lambda: client_of(port, token_file.read_text()), "stub")
        token_file.write_text("new")
        assert connection.get("read", "/version") == {"ok": True}
        connection.close()
    assert [r.headers["Authorization"] for r in stub.requests] == ["Bearer old", "Bearer new"]
