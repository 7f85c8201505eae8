"""The simulated load generator: arrivals as the real one's, sent to the simulated gateway, one row a request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import pandas as pd

from harness.fakes.clock import FakeClock
from harness.fakes.gateway import SimRequest, SimulatedGateway
from harness.fakes.people import People
from harness.fakes.switches import Switches, passed
from harness.load_limit import objection
from harness.model.errors import PortError
from harness.model.load import REQUEST_COLUMNS, TURN_MARK, LoadPlan, LoadSnapshot, RequestOutcome
from harness.model.record import LoggedRequests
from harness.ports import Observation
from loadprofiles import shapes
from loadprofiles.arrivals import arrival_chunks

USERS = 8
WORKERS = 2
CPU_RATIO = 0.05
DRAIN_LIMIT_S = 10.0
ENDPOINT = "POST /v1/plan"


class FakeLoad:
    """A `LoadDriver` over the simulated gateway."""

    def __init__(self, gateway: SimulatedGateway, clock: FakeClock, switches: Switches) -> None:
        self._gateway, self._clock, self._switches = gateway, clock, switches
        gateway.answered = self._take
        self._plan: LoadPlan | None = None
        self._people: People | None = None
        self._arrivals: Iterator[float] = iter(())
        self._next_s = float("inf")
        self._began_s = self._second_s = self._last_answer_s = 0.0
        self._rows: list[tuple[object, ...]] = []
        self._offered = self._achieved = self._dropped = self._failures = self._seq = self._told_turns = 0
        self._credit = 0.0
        self._sending = False
        self._ended = False
        self._why = "completed"
        self._lost = 0
        self._news: list[Observation] = []
        self._latest: LoadSnapshot | None = None
        self.tool_calls = 0.0

    def start(self, plan: LoadPlan) -> None:
        """Start the load.

        Raises:
            PortError: The plan does not fit the target's limit, or says of people what cannot be.
        """
        if against := objection(plan.profile, plan.rate_max_rps):
            raise PortError("load", "start", *against)
        self._plan = plan
        self.tool_calls = float(plan.options.get("tool_calls", 0))
        self._began_s = self._second_s = self._clock.now_s()
        self._arrivals = (due for chunk in arrival_chunks(plan.profile, plan.seed) for due in chunk.tolist())
        self._next_s = next(self._arrivals, float("inf"))
        try:
            self._people = People(plan.profile, plan.options, plan.seed, self._began_s)
        except ValueError as error:
            raise PortError(
                "load", "start", f"option think_s: {error}", "write it like 2-6, or as one number"
            ) from error
        self._sending = True
        self._say("load-edge", "started", self._began_s, {"profile": plan.profile.name})

    def step(self, now_s: float) -> None:
        """Send what is due, and speak once a second."""
        if self._plan is None or self._ended:
            return
        if self._sending and passed(self._switches.load_dies_at_s, now_s):
            self._die(now_s)
            return
        while self._sending and self._began_s + self._next_s <= now_s:
            self._arrive(self._began_s + self._next_s)
            self._next_s = next(self._arrivals, float("inf"))
        if self._sending and self._people is not None:
            self._people.step(min(now_s, self._began_s + self._plan.profile.duration_s), self._send)
        if now_s >= self._second_s + 1.0:
            self._snapshot(now_s)
        if self._sending and now_s >= self._began_s + self._plan.profile.duration_s:
            self._sending = False
        if not self._sending and not self._gateway.inflight:
            self._end(now_s, self._why)

    def _arrive(self, due_s: float) -> None:
        self._offered += 1
        self._credit += self._switches.load_ratio * self._workers / WORKERS
        if self._credit < 1 - 1e-9:
            self._dropped += 1
            return
        self._credit -= 1
        self._achieved += 1
        self._send(due_s)

    def _send(self, due_s: float) -> int:
        if self._seq == 0:
            self._say("load-edge", "first-request", due_s, {})
        self._gateway.send(self._seq, due_s, due_s)
        self._seq += 1
        return self._seq - 1

    @property
    def _workers(self) -> int:
        return WORKERS // 2 if passed(self._switches.workers_lost_at_s, self._clock.now_s()) else WORKERS

    def _take(self, request: SimRequest) -> None:
        ok = request.outcome is RequestOutcome.OK
        self._failures += not ok
        self._last_answer_s = request.end_s
        talked = self._people is not None and self._people.answered(request.seq, request.end_s)
        endpoint = TURN_MARK + ENDPOINT if talked else ENDPOINT
        latency_s = request.end_s - request.start_s
        self._rows.append((request.intended_s, request.start_s, latency_s, request.status, request.outcome.value,
                           endpoint, 0, request.seq, request.pod if ok else ""))  # fmt: skip

    def _snapshot(self, now_s: float) -> None:
        assert self._plan is not None  # noqa: S101 - `step` looked
        span_s = max(now_s - self._second_s, 1e-3)
        stage = shapes.ENDED if self._ended else shapes.stage_name_at(self._plan.profile.stages, now_s - self._began_s)
        turns = self._people.turns if self._people is not None else 0
        self._latest = LoadSnapshot(
            now_s, stage, self._offered / span_s, self._achieved / span_s, len(self._rows), self._failures,
            len(self._gateway.inflight), self._dropped, self._workers, USERS, CPU_RATIO, 0.0,
            turns_rps=(turns - self._told_turns) / span_s,
        )  # fmt: skip
        self._told_turns = turns
        self._second_s, self._offered, self._achieved = now_s, 0, 0
        self._say("load", stage, now_s, asdict(self._latest))

    def _end(self, now_s: float, reason: str) -> None:
        self._sending, self._ended = False, True
        self._snapshot(now_s)
        if self._rows:
            self._say("load-edge", "last-answer", self._last_answer_s, {})
        detail = {"reason": reason, "requests": len(self._rows), "failures": self._failures, "dropped": self._dropped}
        if self._people is not None and self._plan is not None and self._plan.profile.conversations:
            detail |= {"turns": self._people.turns, "turns_held_back": 0, "gave_up": 0}
        self._say("load-edge", "ended", now_s, detail)

    def _die(self, now_s: float) -> None:
        self._sending, self._ended = False, True
        self._lost = len(self._gateway.inflight)
        self._gateway.answered = lambda request: None
        self._say("load-edge", "lost", now_s, {"reason": "the load generator died: killed by SIGKILL"})

    def _say(self, kind: str, subject: str, t_s: float, detail: dict[str, object]) -> None:
        self._news.append(Observation(t_s, "load", kind, subject, detail))

    def poll(self) -> Sequence[Observation]:
        """Return what is new."""
        news, self._news = self._news, []
        return news

    def latest(self) -> LoadSnapshot | None:
        """Return the newest snapshot."""
        return self._latest

    def ask_to_stop(self) -> None:
        """Stop sending."""
        if self._plan is not None and not self._ended:
            self._sending, self._why = False, "the run asked for it"

    def stop(self) -> None:
        """Stop sending and wait for answers in flight."""
        self.ask_to_stop()
        if self._plan is None or self._ended:
            return
        deadline_s = self._clock.now_s() + DRAIN_LIMIT_S
        while not self._ended and self._clock.now_s() < deadline_s:
            self._clock.sleep(0.25)

    def collect(self) -> tuple[pd.DataFrame, int]:
        """Return the request log and the number of rows that are lost."""
        frame = pd.DataFrame(self._rows, columns=list(REQUEST_COLUMNS)).sort_values("seq", ignore_index=True)
        kept = frame.iloc[: round(len(frame) * (1 - self._switches.rows_lost_ratio))]
        lost = len(frame) - len(kept)
        bad = kept.index[kept["outcome"] != RequestOutcome.OK.value]
        hidden = bad[: round(len(bad) * self._switches.rows_hidden_ratio)]
        return kept.drop(index=hidden).reset_index(drop=True), self._lost + lost

    def request_log(self) -> tuple[LoggedRequests, int]:
        """Return the same: the twin's rows are in memory."""
        return self.collect()
