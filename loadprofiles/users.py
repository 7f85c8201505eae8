"""Locust user classes: what one user asks for. When a request may go is the engine's business, not theirs.

Load is the user's own: any ``FastUser`` or ``FastHttpUser`` with tasks can be named in a profile as ``module:Class``.
Every request through ``self.client`` waits for an arrival of the profile; the class's own ``wait_time`` is not used.
Imported by Locust's processes only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any, ClassVar

from locust import task

from harness.model.load import whole_share
from loadprofiles.fast_user import FastUser

TURNS_PER_CONVERSATION = 10


@dataclass(frozen=True)
class LoadContext:
    """What the plan hands to its users, as ``self.load``.

    Attributes:
        seed: Seed of the run.
        run_tag: Unique for each run; part of every conversation id, since a queue knows the ids of earlier runs.
        options: Options of the experiment, such as ``tool_calls``.
        payloads: From the payload file, or empty.
    """

    seed: int = 0
    run_tag: str = "plain"
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    payloads: tuple[Any, ...] = ()


class GamedayUser(FastUser):
    """Base of our users: a seeded random source and payloads of its own."""

    abstract = True
    load: LoadContext = LoadContext()
    _numbers: ClassVar[count[int]] = count()

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.number = next(self._numbers)
        self.random = Random(f"{self.load.seed}:{self.number}")  # noqa: S311 - load, not secrets

    def payload(self, default: str) -> Any:
        """Return one of the payload file's values, or the default where there is no file."""
        return self.random.choice(self.load.payloads) if self.load.payloads else default

    def whole(self, option: str, default: int) -> int:
        """Return an option as a whole number."""
        return int(self.load.options.get(option, default))


class PlannerUser(GamedayUser):
    """Holds conversations with the planner, turn by turn.

    Option ``tool_calls``: tasks that each turn enqueues; 0.2 is one in every fifth turn, over all users.
    """

    _all_turns: ClassVar[count[int]] = count()

    def on_start(self) -> None:
        """Begin the first conversation."""
        self._turns = count()

    @task
    def plan(self) -> None:
        """Ask for the next turn."""
        conversation, turn = divmod(next(self._turns), TURNS_PER_CONVERSATION)
        body = {
            "conversation_id": f"{self.load.run_tag}-{self.number}-{conversation}",
            "turn": turn,
            "tool_calls": whole_share(next(self._all_turns), float(self.load.options.get("tool_calls", 0))),
            "payload": self.payload("Plan the next step of the incident review."),
        }
        self.client.post("/v1/plan", json=body)


class InferenceUser(GamedayUser):
    """Asks the model for completions. Option ``max_tokens``."""

    @task
    def infer(self) -> None:
        """Ask for one completion."""
        prompt = str(self.payload("Summarise the last conversation in two sentences."))
        self.client.post("/v1/infer", json={"prompt": prompt, "max_tokens": self.whole("max_tokens", 64)})
