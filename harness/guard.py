"""The guard: what must be true of a target, a plan and a cluster before anything is touched. Pure; fails closed.

Nothing here reads a cluster or a file: the caller hands in what it read, in the order of `GUARD_ORDER`, and reads no
more after a refusal.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

from harness.blast_radius import Surroundings, objection
from harness.hours import inside, next_opening, parse_hours
from harness.load_limit import crowd_objection
from harness.load_limit import objection as objection_to_load
from harness.model.errors import Refusal
from harness.model.experiment import Experiment
from harness.model.facts import Fact
from harness.model.fault import Loss, Permission, UndoRecord
from harness.model.loopback import host_of, is_loopback
from harness.model.target import ClusterIdentity, Target
from harness.ports import Victims

GUARD_ORDER = (
    "plan", "hours", "identity", "opt-in", "permissions", "safety", "lease", "leftovers", "clocks", "blast-radius"
)  # fmt: skip
SKEW_MAX_S = 2.0
"""Above it windows of two clocks cannot be laid over each other (scrapes are 2 to 15 s apart)."""


def check_plan(experiment: Experiment, target: Target) -> None:
    """Refuse a plan that the target does not allow. Needs no cluster.

    Raises:
        Refusal: Load above the limit, an address that is not loopback on a loopback target; a namespace, a component or
            a signal that the target does not have.
    """
    load, most_rps = experiment.load, target.rate_max_rps
    against = objection_to_load(load, most_rps) or crowd_objection(load, experiment.load_options, most_rps)
    if against is not None:
        raise Refusal("rate", f"target {target.name}: {against.problem}", against.remedy)
    missing = [name for name in experiment.components if name not in target.components]
    if missing:
        remedy = f"`gameday testbed up --with {missing[0]}`" if target.kind == "local" else "install it on the target"
        raise Refusal("components", f"target {target.name} has no {', '.join(missing)}", remedy)
    outside = [name for name in experiment.scope.namespaces if name not in _reachable(target)]
    if outside:
        problem = f"namespace {outside[0]} is not among the target's ({', '.join(target.namespaces)})"
        raise Refusal("namespace", problem, f"add it to targets.{target.name}.namespaces if it may be touched")
    unknown = [s for s in experiment.assertions if s.params.get("signal", "") not in {"", *target.signals}]
    if unknown:
        problem = f"assertion {unknown[0].name} asks for the signal {unknown[0].params['signal']}"
        remedy = "use a name of the target's query pack in gameday.toml, or add the query there"
        raise Refusal("signal", f"{problem}, which target {target.name} has not", remedy)
    if target.loopback_only:
        for url in (target.gateway_url, target.prometheus_url, target.api_server.replace("*", "1")):
            check_loopback(url)


def check_hours(target: Target, experiment: Experiment, now_unix_s: float) -> None:
    """Refuse a run that would not begin and end within the target's allowed hours.

    Raises:
        Refusal: With code ``hours``; the text names the next opening.
    """
    openings = parse_hours(target.allowed_hours)
    now, duration = datetime.fromtimestamp(now_unix_s, UTC), timedelta(seconds=experiment.expected_duration_s)
    if inside(openings, now, now + duration):
        return
    then = next_opening(openings, now, duration)
    when = f"from {then:%a %Y-%m-%d %H:%M} UTC on" if then else "never: no opening is as long as the run"
    problem = f"target {target.name} allows runs {target.allowed_hours}; it is {now:%a %H:%M} UTC"
    raise Refusal("hours", f"{problem}, and the run takes about {duration.total_seconds() / 60:.0f} min", when)


def check_loopback(url: str) -> None:
    """Refuse an address that is not of this machine.

    Raises:
        Refusal: With code ``loopback``; the text names the host and no more of the address, which may be a secret.
    """
    if not is_loopback(url):
        remedy = "this target is loopback only: any other address would leave the machine"
        scheme, separator, _ = url.partition("://")
        where = (scheme + separator if separator else "") + (host_of(url) or "(no host)")
        raise Refusal("loopback", f"{where} is not a loopback address", remedy)


def check_identity(target: Target, identity: ClusterIdentity) -> None:
    """Refuse a cluster that is not positively the target (DESIGN 1.4; CASES A16).

    Raises:
        Refusal: With code ``identity``; the text says which field differs.
    """
    pairs = (
        ("context", identity.context, target.context, identity.context == target.context),
        ("API server", identity.api_server, target.api_server, fnmatchcase(identity.api_server, target.api_server)),
        ("kube-system uid", identity.kube_system_uid, target.kube_system_uid,
         bool(target.kube_system_uid) and identity.kube_system_uid == target.kube_system_uid),
    )  # fmt: skip
    for what, found, wanted, same in pairs:
        if not same:
            problem = f"{what} is {found!r}, target {target.name} is {wanted!r}"
            raise Refusal(
                "identity", problem, "this is another cluster than the one that was permitted; nothing was read"
            )
    if target.kind == "kind" and not identity.context.startswith("kind-"):
        raise Refusal(
            "identity", f"context {identity.context!r} is not a kind cluster's", "kind contexts begin with kind-"
        )
    if target.kind in {"kind", "local"}:
        check_loopback(identity.api_server)
    _check_label(target, "kube-system", identity.kube_system_labels)


def check_opt_in(target: Target, labels: Mapping[str, Mapping[str, str] | None]) -> None:
    """Refuse namespaces that do not exist or do not carry the opt-in label.

    Args:
        target: The target.
        labels: Labels by namespace; None where there is no such namespace.

    Raises:
        Refusal: With code ``opt-in``.
    """
    for namespace, found in labels.items():
        if found is None:
            remedy = "deploy the platform, or create it (docs/targets.md)"
            raise Refusal("opt-in", f"there is no namespace {namespace}", remedy)
        _check_label(target, namespace, found)


def _check_label(target: Target, namespace: str, labels: Mapping[str, str]) -> None:
    key, _, value = target.opt_in_label.partition("=")
    if labels.get(key) != value:
        remedy = f"if it may be broken on purpose: kubectl label namespace {namespace} {target.opt_in_label}"
        raise Refusal("opt-in", f"namespace {namespace} does not carry {target.opt_in_label}", remedy)


def check_permissions(missing: Sequence[Permission]) -> None:
    """Refuse a run that would fail half-way for lack of a permission."""
    if missing:
        raise Refusal(
            "permission",
            "not allowed: " + "; ".join(str(permission) for permission in missing),
            "grant these verbs to the runner",
        )


def check_leftovers(records: Sequence[UndoRecord]) -> None:
    """Refuse a cluster on which an earlier run left something to undo (DESIGN U5)."""
    if records:
        names = ", ".join(f"{r.kind} {r.namespace}/{r.name} (run {r.run_id})" for r in records[:5])
        raise Refusal(
            "leftovers", f"an earlier run left {len(records)} undo record(s): {names}", "run `gameday recover`"
        )


def check_clocks(skews_s: Mapping[str, float]) -> None:
    """Refuse clocks that are too far apart to lay one record over another."""
    for system, skew_s in skews_s.items():
        if not abs(skew_s) <= SKEW_MAX_S:
            problem = f"the clock of {system} differs from ours by {skew_s:+.1f} s (limit {SKEW_MAX_S:g} s)"
            raise Refusal("clocks", problem, "synchronise the clocks (NTP)")


def object_to_victims(
    experiment: Experiment, target: Target, facts: Mapping[str, Sequence[Fact]], fault: str, victims: Victims
) -> str:
    """Say why a fault must not hit its victims, or nothing (`harness.blast_radius`).

    Args:
        experiment: What is run.
        target: Its caps.
        facts: Present facts by kind (`FACTS`), as watched.
        fault: Name of the `FaultPlan`.
        victims: See `Preview.victims`.
    """
    own_pod = os.environ.get("GAMEDAY_POD") or (os.environ.get("HOSTNAME", "") if _in_cluster() else "")
    loss = next((plan.loss for plan in experiment.faults if plan.name == fault), Loss.NONE)
    own_node = os.environ.get("GAMEDAY_NODE", "")
    around = Surroundings(experiment, target, facts, own_node, own_pod, loss is not Loss.CAPACITY)
    return objection(around, fault, victims)


def check_victims(problem: str) -> None:
    """Refuse a plan whose faults would hit what they must not, before anything is touched."""
    if problem:
        raise Refusal("blast-radius", problem, "hit less, or something else")


def _in_cluster() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ


def _reachable(target: Target) -> frozenset[str]:
    return frozenset((*target.namespaces, target.system_namespace))
