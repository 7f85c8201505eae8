"""Users that hold conversations: they think, ask, read, and ask again. The closed loop beside the arrivals.

Name such a class under ``conversations`` of a profile, with how many people of its kind there are at a time. A stall
shows as fewer turns, never as a late generator: what a public does that does not wait is the arrivals' business.
Imported by Locust's processes only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar

import gevent
from locust import between, task

from harness.model.load import TURN_MARK, parse_range
from loadprofiles.accounts import Open
from loadprofiles.fast_answer import Answer
from loadprofiles.fast_http import ExchangeError, Limits
from loadprofiles.fast_user import EventTap, FastSession, OnChunk
from loadprofiles.job import PlanRefused
from loadprofiles.measured import SessionRules
from loadprofiles.paced import PacedBooks
from loadprofiles.talks import Talks
from loadprofiles.users import GamedayUser

Range = tuple[float, float]
EMPTY_TURN_S = 0.05
"""Pause after a turn that asked for nothing: a class without think time must not spin."""


@dataclass
class Conversation:
    """What one conversation has come to.

    Attributes:
        id: Unique over all runs; every request carries it.
        turns: How many it is to have.
        turn: Number of the turn that is on, from 0.
        attempt: How many before it were given up by the same person, without one that was not.
    """

    id: str
    turns: int
    turn: int = -1
    attempt: int = 0

    @property
    def over(self) -> bool:
        """Whether no turn is left."""
        return self.turn + 1 >= self.turns


class ConversationUser(GamedayUser):
    """Somebody who holds one conversation after the other; each task is a turn, whatever it asks.

    Options of the experiment win over what a class says: ``think_s``, ``turns``, ``patience_s``, ``comes_back_ratio``.
    A range is written ``2-6``.

    Attributes:
        think_s: Range of the pause before each turn; None: the class's ``wait_time``.
        turns: Range of the number of turns.
        patience_s: The person hangs up where no answer has begun within it, and the conversation is over.
        comes_back_ratio: How many of those who gave up try again, with a new conversation.
        comes_back_after_s: Range of the pause until then.
        quiet_s: A stream that says nothing for so long is timed out.
        affinity_header: Carries the conversation's id; empty: none does.
        affinity_cookie: Name of a cookie that the platform sets for session affinity; sent back until the
            conversation is over.
        conversation: The one that is on.
    """

    abstract = True
    think_s: Range | None = None
    turns: tuple[int, int] = (3, 8)
    patience_s: float = math.inf
    comes_back_ratio: float = 0.0
    comes_back_after_s: Range = (5.0, 30.0)
    quiet_s: float = 30.0
    affinity_header: str = "X-Conversation-Id"
    affinity_cookie: str = ""
    wait_time: Any = between(1.0, 5.0)

    client: TalkSession
    conversation: Conversation
    talks: ClassVar[Talks]
    named: ClassVar[str]

    def begin_turn(self) -> None:
        """Think, and be ready to ask."""
        if self.conversation.over:
            self._begin_conversation(attempt=0)
        pause_s = self._pause_s()
        self.client.due_s = self.talks.think(pause_s)
        self.conversation.turn += 1
        self._asked = self.client.asked

    def end_turn(self) -> None:
        """Note what the turn came to."""
        if self.client.asked == self._asked:
            self.talks.empty[self.named] += 1
            gevent.sleep(EMPTY_TURN_S)
        if self.client.gave_up:
            self.talks.gave_up += 1
            again = self.random.random() < self.comes_back_ratio
            self._begin_conversation(self.conversation.attempt + 1 if again else 0)

    def hang_up(self) -> None:
        """End the conversation with this turn."""
        self.conversation.turns = self.conversation.turn + 1

    def enter(self) -> None:
        """Begin the first conversation."""
        self._begun, self._asked = 0, 0
        self._fresh = True
        self._begin_conversation(attempt=0)

    def _begin_conversation(self, attempt: int) -> None:
        turns = self.random.randint(*self.turns)
        self.conversation = Conversation(f"{self.load.run_tag}-c{self.number}-{self._begun}", turns, attempt=attempt)
        self._begun += 1
        affinity = {self.affinity_header: self.conversation.id} if self.affinity_header else {}
        self.client.begin_conversation(affinity, self.affinity_cookie)

    def _pause_s(self) -> float:
        if self._fresh:  # not all of them at once
            self._fresh = False
            return self.random.random() * self._think_time_s()
        if self.conversation.attempt and self.conversation.turn < 0:
            return self.random.uniform(*self.comes_back_after_s)
        return self._think_time_s()

    def _think_time_s(self) -> float:
        return self.random.uniform(*self.think_s) if self.think_s is not None else max(float(self._own_wait_s()), 0.0)

    def _own_wait_s(self) -> float:
        """Return the pause that the class's ``wait_time`` says; bound by the engine, which takes its place."""
        raise NotImplementedError


class TalkBooks(PacedBooks):
    """Accounts for a conversation's requests: rows like all others, and no arrivals."""

    __slots__ = ("_named", "_talks", "due_s")

    def __init__(self, rules: SessionRules, talks: Talks, named: str) -> None:
        super().__init__(rules)
        self._talks, self._named = talks, named
        self.due_s: float | None = None

    def begin(self, endpoint: str) -> Open:
        """Open a row: the first of a turn was meant for the end of the think time, each further one for now."""
        intended_s = self._now_s() if self.due_s is None else self.due_s
        self.due_s = None
        return self._log.start(intended_s, self._talks.admit(self._named), TURN_MARK + endpoint)


class TalkSession(FastSession):
    """Asks for one person: one connection a conversation, and an end of patience.

    Attributes:
        gave_up: Whether the last request was given up by the person.
    """

    def __init__(self, rules: SessionRules, talks: Talks, user: ConversationUser, longest_s: float) -> None:
        self._talks, self._rules, self._patience_s = talks, rules, user.patience_s
        connect_s = min(rules.timeout_s, user.patience_s)
        limits = Limits(connect_s, max(user.quiet_s, rules.timeout_s), max(longest_s, rules.timeout_s))
        self._talk_books = TalkBooks(rules, talks, user.named)
        super().__init__(rules.base_url, rules.headers, limits, 0, self._talk_books)
        self._affinity: dict[str, str] = {}
        self._cookie: re.Pattern[bytes] | None = None
        self._cause = ""

    @property
    def gave_up(self) -> bool:
        """Whether the last request was given up by the person."""
        return self._cause == "gave-up"

    @property
    def due_s(self) -> float | None:
        """When the next request is meant to go, on the run's clock; None: at once."""
        return self._talk_books.due_s

    @due_s.setter
    def due_s(self, due_s: float) -> None:
        self._talk_books.due_s = due_s

    def begin_conversation(self, affinity: Mapping[str, str], cookie: str) -> None:
        """Forget the last conversation, its connection too.

        Args:
            affinity: Headers that all requests of the new one carry.
            cookie: Name of the cookie that is kept, or empty.
        """
        self.close()
        self._affinity, self._cause = dict(affinity), ""
        self._cookie = re.compile(rb"(?:^|, )(" + re.escape(cookie).encode() + rb"=[^;,]*)") if cookie else None

    def cut(self) -> None:
        """Hang up: the load is over."""
        self._client.close()

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], on_chunk: OnChunk | None
    ) -> Answer:
        self._cause = ""
        begun_s = monotonic()
        alarms = self._alarms(streams=on_chunk is not None)
        try:
            answer = super()._exchange(method, path, body, {**self._affinity, **headers}, on_chunk)
        except ExchangeError as error:
            raise self._meant(error, monotonic() - begun_s) from error
        finally:
            self._talks.open_streams.discard(self)
            for alarm in alarms:
                alarm.kill(block=False)
        self._keep_cookie(answer)
        return answer

    def _alarms(self, *, streams: bool) -> list[gevent.Greenlet]:
        alarms = []
        if self._patience_s < math.inf:
            alarms.append(gevent.spawn_later(self._patience_s, self._lose_patience))
        if streams:
            self._talks.open_streams.add(self)
        else:
            alarms.append(gevent.spawn_later(self._rules.timeout_s, self._hang_up, "total-timeout"))
        return alarms

    def _lose_patience(self) -> None:
        if not self._client.answering:
            self._hang_up("gave-up")

    def _hang_up(self, cause: str) -> None:
        self._cause = self._cause or cause
        self._client.close()

    def _meant(self, error: ExchangeError, took_s: float) -> ExchangeError:
        """Say why it ended, where it was us."""
        if error.kind == "connect-timeout" and took_s >= self._patience_s:
            self._cause = "gave-up"
        if error.kind == "gave-up":
            self._cause = error.kind
        return ExchangeError(self._cause, "nobody waits for it any more", error.status) if self._cause else error

    def _keep_cookie(self, answer: Answer) -> None:
        if self._cookie is None:
            return
        found = self._cookie.search(answer.headers.get(b"set-cookie", b""))
        if found is not None:
            self._affinity["Cookie"] = found[1].decode("latin-1")

    def _streamed(self, endpoint: str, tap: EventTap) -> None:
        if tap.begun_s:
            self._talks.note_stream(endpoint, tap.events, tap.first_event_s)


class PlannerConversation(ConversationUser):
    """Talks with the planner: each turn waits for the plan, reads it, and thinks about it.

    Options ``tool_calls`` (of each turn, rounded) and those of every `ConversationUser`.
    """

    wait_time = between(1.0, 4.0)
    turns = (3, 10)
    patience_s = 10.0
    comes_back_ratio = 0.5

    @task
    def plan(self) -> None:
        """Ask for the next turn."""
        body = {
            "conversation_id": self.conversation.id,
            "turn": self.conversation.turn,
            "tool_calls": round(float(self.load.options.get("tool_calls", 0))),
            "payload": self.payload("Plan the next step of the incident review."),
        }
        with self.client.post("/v1/plan", json=body, catch_response=True) as answer:
            if answer.ok and self.conversation.id not in answer.text:
                answer.failure("an answer to somebody else")


def wished(user_class: type[ConversationUser], options: Mapping[str, str | int | float]) -> dict[str, Any]:
    """Return what the experiment's options change about a class.

    Raises:
        PlanRefused: An option, or what the class itself says, is no use.
    """
    found: dict[str, Any] = {}
    if "think_s" in options:
        found["think_s"] = _range("think_s", options["think_s"])
    if "turns" in options:
        low, high = _range("turns", options["turns"])
        found["turns"] = (round(low), round(high))
    for name in ("patience_s", "comes_back_ratio"):
        if name in options:
            found[name] = _range(name, options[name])[0]
    if found.get("turns", user_class.turns)[0] < 1 or found.get("patience_s", user_class.patience_s) <= 0:
        raise PlanRefused(f"{user_class.__name__} never asks", "turns are 1 or more, patience_s is more than 0")
    return found


def _range(name: str, written: str | float) -> Range:
    try:
        return parse_range(written)
    except ValueError as error:
        raise PlanRefused(f"option {name}: {error}", "write it like 2-6, or as one number") from error


__all__ = ["Conversation", "ConversationUser", "PlannerConversation", "TalkSession", "wished"]
