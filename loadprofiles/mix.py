"""The request mix: finds the user classes that a profile names and binds them to the pacer. Locust inside.

Imported by the load child only.
"""

from __future__ import annotations

import importlib
from typing import Any

from locust import FastHttpUser

from harness.model.load import LoadProfile
from loadprofiles.job import PlanRefused
from loadprofiles.measured import MeasuredSession, SessionRules
from loadprofiles.users import LoadContext

OWN_MODULE = "loadprofiles.users"


def load_user_class(name: str) -> type[FastHttpUser]:
    """Return a user class by ``module:Class``; a plain ``Class`` is one of ours.

    Raises:
        PlanRefused: There is no such class, or it is not a ``FastHttpUser`` with tasks.
    """
    module, _, class_name = name.rpartition(":")
    try:
        found = getattr(importlib.import_module(module or OWN_MODULE), class_name)
    except (ImportError, AttributeError) as error:
        raise PlanRefused(f"user class {name!r}: {error}", "name it as module:Class, importable from here") from error
    if not (isinstance(found, type) and issubclass(found, FastHttpUser)):
        raise PlanRefused(f"user class {name!r} is no locust.FastHttpUser", "derive it from FastHttpUser")
    if not found.tasks:
        raise PlanRefused(f"user class {name!r} has no tasks", "mark a method with @task")
    return found


def users_by_class(profile: LoadProfile) -> dict[str, int]:
    """Return how many users each class gets: by weight, at least one."""
    total = sum(profile.user_classes.values())
    return {name: max(1, round(profile.users_max * w / total)) for name, w in profile.user_classes.items()}


def paced_class(name: str, rules: SessionRules, context: LoadContext, users: int) -> type[FastHttpUser]:
    """Return a subclass of the named class whose requests wait for arrivals, with its number of users.

    It carries the whole name: Locust wants names to be unique, and two modules may call a class alike.
    """
    base = load_user_class(name)

    def start(self: Any, environment: Any) -> None:
        base.__init__(self, environment)
        self.client = MeasuredSession(self, rules)

    members = {
        "__init__": start,
        "__module__": base.__module__,
        "abstract": False,
        "fixed_count": users,
        "insecure": False,
        "load": context,
        "wait_time": lambda self: 0.0,
    }
    return type(name.replace(":", "."), (base,), members)
