"""`gameday init` (composition root): describes a target from a kubeconfig context, asks only what it cannot find out.

What an option says comes first, then what the file says already, then what the cluster and its Prometheus tell; the
rest is asked, or refused by name where nobody may be asked. It reads only, and nothing but the cluster's identity
before somebody has said that this is the one.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.drivers.kubernetes.actor import KubernetesActor
from harness.drivers.kubernetes.connection import connect_context
from harness.drivers.kubernetes.kubeconfig import context_names
from harness.drivers.kubernetes.observer import KubernetesObserver
from harness.drivers.prometheus import PrometheusSource
from harness.drivers.system_clock import RealClock
from harness.init_survey import ClusterSurvey, MetricsSurvey, Packs
from harness.model.errors import SpecError
from harness.model.loopback import is_loopback
from harness.model.target import ClusterIdentity, Target
from harness.settings import one_kubeconfig

Ask = Callable[[str, str], str]
"""Puts a question with its default (may be empty) to a person and returns the answer."""

Say = Callable[[str], None]
OPT_IN_LABEL = "gameday.local/opt-in=true"
ACCESS = (
    "prometheus_token_env", "prometheus_user_env", "prometheus_password_env", "prometheus_password_file",
    "prometheus_cert_file", "prometheus_key_file", "prometheus_ca_file",
)  # fmt: skip


@dataclass
class Interview:
    """Finds the value of each key: from an option, the file, a look, or a person.

    Attributes:
        given: What options say, by key of the file.
        present: What the file says about the target already.
        ask: Asks a person; None where nobody may be asked.
        values: What was found, in the order of the file.
    """

    given: Mapping[str, Any]
    present: Mapping[str, Any]
    ask: Ask | None
    values: dict[str, Any] = field(default_factory=dict)

    def settle(self, key: str, question: str, look: Callable[[], Any] = lambda: None, default: str = "") -> Any:
        """Find one value and keep it.

        Args:
            key: Key of the file.
            question: What a person is asked.
            look: Finds it out; what is empty is unknown.
            default: What a person is offered.

        Raises:
            SpecError: It cannot be found out, and nobody may be asked.
        """
        found = self.known(key) or look()
        if not found:
            found = self._asked(key, question, default)
        self.values[key] = found
        return found

    def keep(self, key: str, found: Any) -> Any:
        """Keep what may as well be empty; then the key is left out."""
        found = self.known(key) or found
        if found:
            self.values[key] = found
        return found

    def known(self, key: str) -> Any:
        """Return what an option or the file says, or None."""
        return self.given.get(key) or self.present.get(key) or None

    def _asked(self, key: str, question: str, default: str) -> str:
        if self.ask is None:
            option = f"--{key.replace('_', '-')}"
            raise SpecError(option, "", f"{question}: cannot be found out", f"pass {option}")
        return self.ask(question, default)


def find_context(given: str, kubeconfig: str, ask: Ask | None) -> tuple[str, str]:
    """Return the kubeconfig file and the context.

    Raises:
        SpecError: The file cannot be used, or has several contexts and nobody may be asked.
    """
    path = kubeconfig or one_kubeconfig(os.environ)
    names = context_names(path)
    if given or len(names) == 1:
        return path, given or names[0]
    if ask is None:
        raise SpecError("--context", "", f"{path} has {', '.join(names) or 'no context'}", "name one of them")
    return path, ask(f"context ({', '.join(names)})", "")


def present_target(path: Path, name: str) -> Mapping[str, Any]:
    """Return what a settings file says about a target already; `load_settings` has read it before."""
    found = tomllib.loads(path.read_text("utf-8")).get("targets", {}).get(name, {})
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Finder:
    """Describes one target.

    Attributes:
        kubeconfig: Path of the file.
        context: Name of the context.
        interview: Keeps what is found.
        packs: Query packs of the settings file.
        say: Prints a line.
    """

    kubeconfig: str
    context: str
    interview: Interview
    packs: Packs
    say: Say

    def identify(self) -> ClusterIdentity:
        """Read which cluster this is; nothing else is read of it yet.

        Raises:
            GameDayError: No answer, or credentials that are not taken.
        """
        return KubernetesObserver(self._connect(), RealClock.starting_now()).identify()

    def describe(self, identity: ClusterIdentity) -> Mapping[str, Any]:
        """Return the target's keys and values.

        Raises:
            SpecError: Something can neither be found out nor asked.
        """
        about = self.interview
        kind = "kind" if self.context.startswith("kind-") and is_loopback(identity.api_server) else "cluster"
        label = about.known("opt_in_label") or OPT_IN_LABEL
        cluster = ClusterSurvey(KubernetesActor(self._connect()), label)
        about.keep("kind", kind)
        about.keep("context", self.context)
        about.keep("kubeconfig", about.given.get("kubeconfig"))
        about.keep("api_server", identity.api_server)
        about.keep("kube_system_uid", identity.kube_system_uid)
        about.keep("opt_in_label", label)
        namespaces = self._namespaces(cluster, label)
        self._one("gateway_url", "URL of the platform's gateway", cluster.gateway_urls(namespaces))
        self._prometheus(cluster)
        self._metrics(cluster, namespaces)
        rate = about.settle("rate_max_rps", "most requests a second that this cluster may ever get")
        about.values["rate_max_rps"] = _rate(rate)
        for key in ("allowed_hours", "loopback_only"):
            about.keep(key, None)
        about.keep("components", cluster.components())
        return about.values

    def _connect(self) -> Any:
        return connect_context(self.kubeconfig, self.context)

    def _namespaces(self, cluster: ClusterSurvey, label: str) -> list[str]:
        question = f"namespaces that may be broken (none carries {label}; separate by commas)"
        found = self.interview.settle("namespaces", question, cluster.namespaces)
        names = [part.strip() for part in found.split(",")] if isinstance(found, str) else list(found)
        self.interview.values["namespaces"] = names
        return names

    def _one(self, key: str, question: str, found: list[str]) -> None:
        """Take what was found where it is one; offer the first of several, and say which there are."""
        if len(found) > 1:
            self.say(f"{question}: found {', '.join(found)}")
        self.interview.settle(key, question, lambda: found[0] if len(found) == 1 else None, next(iter(found), ""))

    def _prometheus(self, cluster: ClusterSurvey) -> None:
        if not self.interview.known("prometheus_url"):
            for service in cluster.prometheus_services():
                place, _, port = service.partition(":")
                namespace, _, name = place.partition("/")
                forward = f"kubectl --context {self.context} -n {namespace} port-forward service/{name} 9090:{port}"
                self.say(f"Prometheus may be Service {service}: from here `{forward}` and http://127.0.0.1:9090")
        self._one("prometheus_url", "URL of Prometheus", cluster.prometheus_urls())
        for key in ACCESS:
            self.interview.keep(key, None)

    def _metrics(self, cluster: ClusterSurvey, namespaces: list[str]) -> None:
        about, clock = self.interview, RealClock.starting_now()
        kind = about.given.get("queue_kind") or cluster.queue_kind(namespaces)
        with closing(PrometheusSource(self._asked_target(), clock)) as metrics:
            metrics.identify()
            survey = MetricsSurvey(metrics, clock)
            about.settle(
                "query_pack",
                f"query packs, by commas (known: {', '.join(self.packs)}; none of them finds a gateway's counters)",
                lambda: survey.packs(self.packs, kind),
            )
            about.settle("scrape_interval_s", "seconds between two scrapes", survey.scrape_interval_s, "15")
        packs = about.values["query_pack"]
        if isinstance(packs, str) and packs != about.present.get("query_pack"):
            about.values["query_pack"] = [part.strip() for part in packs.split(",")]
        about.values["scrape_interval_s"] = float(about.values["scrape_interval_s"])
        about.keep("gpu_resource", cluster.gpu_resource())

    def _asked_target(self) -> Target:
        """Return a target that only says how Prometheus is asked."""
        access = {key: self.interview.values[key] for key in ACCESS if key in self.interview.values}
        url = self.interview.values["prometheus_url"]
        return Target("", "cluster", self.context, self.kubeconfig, "", "", "", (), "", url, 1.0, **access)


def _rate(written: Any) -> float | int:
    try:
        rate = float(written)
    except ValueError:
        raise SpecError("--rate-max-rps", "", f"{written!r} is not a number", "such as 1700") from None
    if not rate > 0:
        raise SpecError("--rate-max-rps", "", f"{written} would allow no request at all", "such as 1700")
    return int(rate) if rate.is_integer() else rate
