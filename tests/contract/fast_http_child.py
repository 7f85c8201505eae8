"""Runs exchanges of the fast HTTP path in a process of its own (gevent must stay out of pytest's).

Reads a JSON list of cases from stdin, runs all at once, each in a greenlet with a client of its own, and prints what
became of each. Nothing here limits an exchange but a guard far beyond its limits, which reports ``hang``.
"""

from __future__ import annotations

import sys

if "patched" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import json
from typing import Any

import gevent
from gevent.event import Event

from loadprofiles.fast_http import Answer, ExchangeError, FastClient, Limits

GUARD_S = 20.0


class GaveUp(Exception):
    """A person who waited long enough."""


class Case:
    def __init__(self, case: dict[str, Any]) -> None:
        self.case = case
        self.chunks: list[str] = []
        limits = Limits(**{"connect_s": 5.0, "read_s": 5.0, "total_s": 8.0} | case.get("limits", {}))
        self.client = FastClient(case["url"], case.get("headers", {}), limits, case.get("reconnect_every", 0))

    def run(self) -> list[dict[str, Any]]:
        results = []
        for path in self.case["paths"]:
            self.begun = Event()
            acting = gevent.spawn(self.act) if "act" in self.case else None
            results.append(self.guarded(path))
            if acting is not None:
                acting.join()
            gevent.sleep(self.case.get("pause_s", 0.0))
        self.client.close()
        return results

    def act(self) -> None:
        self.begun.wait()
        gevent.sleep(0.2)  # into the middle of the exchange
        if self.case["act"] == "close":
            self.client.close()
        elif self.case["act"] == "double":
            self.case["second"] = self.guarded(self.case["paths"][0])
        elif self.case["act"] == "kill":
            self.current.kill()

    def guarded(self, path: str) -> dict[str, Any]:
        one = gevent.spawn(self.one, path)
        if self.case.get("act") != "double":
            self.current = one
        one.join(GUARD_S)
        if not one.dead:
            one.kill()
            return {"hang": True}
        return one.value if isinstance(one.value, dict) else {"killed": True}

    def one(self, path: str) -> dict[str, Any]:
        case = self.case
        self.begun.set()
        on_chunk = self.take if "chunks" in case else None
        try:
            body = b"x" * case.get("body_bytes", 0)
            answer = self.client.exchange(case.get("method", "GET"), path, body, case.get("of_request", {}), on_chunk)
        except ExchangeError as error:
            return {
                "kind": error.kind, "outcome": str(error.outcome), "reason": str(error), "status": error.status,
                "chunks": self.chunks,
            }  # fmt: skip
        except Exception as error:
            return {"exception": f"{type(error).__name__}: {error}", "chunks": self.chunks}
        return self.shown(answer)

    def shown(self, answer: Answer) -> dict[str, Any]:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in answer.headers.items()}
        return {
            "status": answer.status, "body": answer.body.decode("latin-1"), "pod": answer.pod, "headers": headers,
            "chunks": self.chunks, "in_order": 0 < answer.first_byte_s <= answer.last_byte_s,
            "spread": answer.last_byte_s > answer.first_byte_s,
        }  # fmt: skip

    def take(self, piece: bytes) -> None:
        self.chunks.append(piece.decode("latin-1"))
        gevent.sleep(self.case.get("taking_s", 0.0))
        if len(self.chunks) == self.case["chunks"]:
            raise GaveUp("enough")


def main() -> None:
    cases = [Case(case) for case in json.load(sys.stdin)]
    running = [gevent.spawn(case.run) for case in cases]
    gevent.joinall(running, raise_error=True)
    found = {case.case["name"]: greenlet.value for case, greenlet in zip(cases, running, strict=True)}
    found |= {f"{case.case['name']}/second": [case.case["second"]] for case in cases if "second" in case.case}
    loaded = sorted(set(sys.modules) & {"locust"})
    json.dump({"found": found, "loaded": loaded}, sys.stdout)


if __name__ == "__main__":
    main()
