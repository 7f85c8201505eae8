"""The request mix: finds the user classes that a profile names and binds them to their clock. Locust inside.

Imported by the load child only.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from locust import FastHttpUser, HttpUser, TaskSet, User
from locust.exception import RescheduleTaskImmediately

from harness.model.load import LoadPlan
from loadprofiles.conversations import ConversationUser, TalkSession, wished
from loadprofiles.fast_user import FastUser
from loadprofiles.job import PlanRefused
from loadprofiles.measured import MeasuredSession, SessionRules
from loadprofiles.measured_requests import MeasuredRequests
from loadprofiles.paced import paced_session
from loadprofiles.talks import Talks
from loadprofiles.users import LoadContext

OWN_MODULE = "loadprofiles.users"
OWN_CONVERSATIONS = "loadprofiles.conversations"

Starter = Callable[[Any, Any], None]


def load_user_class(name: str) -> type[User]:
    """Return a user class by ``module:Class``; a plain ``Class`` is one of ours.

    Raises:
        PlanRefused: There is no such class, or it is not a class that can be paced, with tasks.
    """
    found = _found(name, OWN_MODULE)
    if not (isinstance(found, type) and issubclass(found, (FastUser, FastHttpUser, HttpUser))):
        remedy = "derive it from loadprofiles.fast_user.FastUser, locust.FastHttpUser or locust.HttpUser"
        raise PlanRefused(f"user class {name!r} is no user class that can be paced", remedy)
    if issubclass(found, ConversationUser):
        raise PlanRefused(f"user class {name!r} keeps its own time", "name it under conversations of the profile")
    if not found.tasks:
        raise PlanRefused(f"user class {name!r} has no tasks", "mark a method with @task")
    return found


def load_conversation_class(name: str) -> type[ConversationUser]:
    """Return a class of conversations by ``module:Class``; a plain ``Class`` is one of ours.

    Raises:
        PlanRefused: There is no such class, or it holds no conversations.
    """
    found = _found(name, OWN_CONVERSATIONS)
    if not (isinstance(found, type) and issubclass(found, ConversationUser)):
        remedy = "derive it from loadprofiles.conversations.ConversationUser"
        raise PlanRefused(f"user class {name!r} holds no conversations", remedy)
    if not found.tasks or any(_is_task_set(one) for one in found.tasks):
        raise PlanRefused(f"user class {name!r} has no turns", "mark methods with @task; each is a turn")
    return found


def _found(name: str, own_module: str) -> Any:
    module, _, class_name = name.rpartition(":")
    try:
        return getattr(importlib.import_module(module or own_module), class_name)
    except (ImportError, AttributeError) as error:
        raise PlanRefused(f"user class {name!r}: {error}", "name it as module:Class, importable from here") from error


def users_by_class(plan: LoadPlan) -> dict[str, int]:
    """Return how many users each class gets: by weight, at least one; and all who hold conversations.

    Paced classes get at least one on each worker: an arrival goes to the worker that its number says, and somebody must
    be there to take it up.
    """
    profile, least = plan.profile, plan.workers.count
    total = sum(profile.user_classes.values())
    paced = {name: max(least, round(profile.users_max * w / total)) for name, w in profile.user_classes.items()}
    return paced | dict(profile.conversations)


def paced_class(name: str, rules: SessionRules, context: LoadContext, users: int) -> type[User]:
    """Return a subclass of the named class whose requests wait for arrivals, with its number of users."""
    base = load_user_class(name)
    fast, plain = issubclass(base, FastUser), issubclass(base, HttpUser)

    def start(self: Any, environment: Any) -> None:
        base.__init__(self, environment)
        self.client = (
            paced_session(rules) if fast else MeasuredRequests(self, rules) if plain else MeasuredSession(self, rules)
        )

    made = _derived(name, base, start, {"load": context, "fixed_count": users})
    if fast:  # afterwards: Locust would add them to those of the base
        made.tasks = [one if _is_task_set(one) else _at_once(one) for one in base.tasks]
    return made


def talking_class(
    name: str, rules: SessionRules, context: LoadContext, users: int, talks: Talks, longest_s: float
) -> type[User]:
    """Return a subclass of the named class that holds conversations, with its number of users."""
    base = load_conversation_class(name)

    def start(self: Any, environment: Any) -> None:
        base.__init__(self, environment)
        self.client = TalkSession(rules, talks, self, longest_s)
        self.enter()

    own = {"load": context, "fixed_count": users, "talks": talks, "named": name, "_own_wait_s": base.wait_time}
    made = _derived(name, base, start, own | wished(base, context.options))
    made.tasks = [_turn(one) for one in base.tasks]
    return made


def _derived(name: str, base: type[User], start: Starter, members: dict[str, Any]) -> type[User]:
    own: dict[str, Any] = {
        "__init__": start,
        "__module__": base.__module__,
        "abstract": False,
        "insecure": False,
        "wait_time": lambda self: 0.0,
    }
    return type(unique_name(name), (base,), own | members)


def unique_name(name: str) -> str:
    """Return what Locust knows a class by: names must be unique there, and two modules may call a class alike."""
    return name.replace(":", ".")


def _is_task_set(task: Any) -> bool:
    return isinstance(task, type) and issubclass(task, TaskSet)


def _at_once(task: Any) -> Any:
    """Return a task after which the next one follows at once: its requests wait for arrivals, not for a pause.

    A task that sent nothing is followed by Locust's own pause, which lets others run.
    """

    def run(user: Any) -> None:
        before = user.client.asked
        task(user)
        if user.client.asked > before:
            raise RescheduleTaskImmediately

    return run


def _turn(task: Any) -> Any:
    """Return a task that is one turn of a conversation, with the thinking before it."""

    def run(user: Any) -> None:
        user.begin_turn()
        try:
            task(user)
        except Exception:  # not where it is stopped: that is no end of a turn
            user.end_turn()
            raise
        user.end_turn()
        raise RescheduleTaskImmediately

    return run
