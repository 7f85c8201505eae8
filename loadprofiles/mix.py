"""The request mix: finds the user classes that a profile names and binds them to the pacer. Locust inside.

Imported by the load child only.
"""

from __future__ import annotations

import importlib
from typing import Any

from locust import FastHttpUser, TaskSet, User
from locust.exception import RescheduleTaskImmediately

from harness.model.load import LoadProfile
from loadprofiles.fast_user import FastUser
from loadprofiles.job import PlanRefused
from loadprofiles.measured import MeasuredSession, SessionRules
from loadprofiles.paced import paced_session
from loadprofiles.users import LoadContext

OWN_MODULE = "loadprofiles.users"


def load_user_class(name: str) -> type[User]:
    """Return a user class by ``module:Class``; a plain ``Class`` is one of ours.

    Raises:
        PlanRefused: There is no such class, or it is not a class that can be paced, with tasks.
    """
    module, _, class_name = name.rpartition(":")
    try:
        found = getattr(importlib.import_module(module or OWN_MODULE), class_name)
    except (ImportError, AttributeError) as error:
        raise PlanRefused(f"user class {name!r}: {error}", "name it as module:Class, importable from here") from error
    if not (isinstance(found, type) and issubclass(found, (FastUser, FastHttpUser))):
        remedy = "derive it from loadprofiles.fast_user.FastUser or locust.FastHttpUser"
        raise PlanRefused(f"user class {name!r} is no user class that can be paced", remedy)
    if not found.tasks:
        raise PlanRefused(f"user class {name!r} has no tasks", "mark a method with @task")
    return found


def users_by_class(profile: LoadProfile) -> dict[str, int]:
    """Return how many users each class gets: by weight, at least one."""
    total = sum(profile.user_classes.values())
    return {name: max(1, round(profile.users_max * w / total)) for name, w in profile.user_classes.items()}


def paced_class(name: str, rules: SessionRules, context: LoadContext, users: int) -> type[User]:
    """Return a subclass of the named class whose requests wait for arrivals, with its number of users.

    It carries the whole name: Locust wants names to be unique, and two modules may call a class alike.
    """
    base = load_user_class(name)
    fast = issubclass(base, FastUser)

    def start(self: Any, environment: Any) -> None:
        base.__init__(self, environment)
        self.client = paced_session(rules) if fast else MeasuredSession(self, rules)

    members: dict[str, Any] = {
        "__init__": start,
        "__module__": base.__module__,
        "abstract": False,
        "fixed_count": users,
        "insecure": False,
        "load": context,
        "wait_time": lambda self: 0.0,
    }
    made: type[User] = type(name.replace(":", "."), (base,), members)
    if fast:  # afterwards: Locust would add them to those of the base
        made.tasks = [one if _is_task_set(one) else _at_once(one) for one in base.tasks]
    return made


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
