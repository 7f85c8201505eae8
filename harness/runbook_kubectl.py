"""What a runbook may ask of kubectl: its verbs, their flags, the kinds. Pure: it starts nothing and asks no cluster.

What is not listed here is refused: a flag that nobody thought of must not run on a cluster. What chooses another
cluster or identity, reaches into pods, opens a tunnel, follows without end or shows a secret is refused by name, so
that the message can say why. `tests/contract/test_runbook_kubectl.py` holds the tables against a real kubectl.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.model.errors import GameDayError

FOR_PEOPLE = "write it into an ```sh block: shown to people, run by nobody else"


@dataclass(eq=False)
class CommandError(GameDayError):
    """A command of a runbook that is not understood, or must not be run.

    Attributes:
        problem: What is wrong.
        remedy: What to do.
    """

    problem: str
    remedy: str

    def __str__(self) -> str:
        """Return both in one sentence."""
        return f"{self.problem} — {self.remedy}"


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb of kubectl as a runbook may use it.

    Attributes:
        changes: Whether it changes the cluster.
        switches: Flags without a value.
        values: Flags with one.
        least: How many words it needs after itself at the least; a selector stands for a name.
        kinds: Whether the first of them is a kind.
    """

    changes: bool
    switches: frozenset[str]
    values: frozenset[str]
    least: int = 0
    kinds: bool = True


def _verb(changes: bool, switches: str, values: str, least: int = 0, kinds: bool = True) -> Verb:
    return Verb(changes, frozenset(switches.split()), frozenset(values.split()), least, kinds)


VERBS: Mapping[str, Verb] = {
    "get": _verb(
        False,
        "all-namespaces no-headers show-labels show-kind show-managed-fields ignore-not-found",
        "output selector field-selector sort-by label-columns",
        1,
    ),
    "describe": _verb(False, "all-namespaces show-events", "selector", 1),
    "top pods": _verb(
        False, "all-namespaces containers no-headers sum", "selector field-selector sort-by", kinds=False
    ),
    "top nodes": _verb(False, "no-headers show-capacity", "selector sort-by", kinds=False),
    "logs": _verb(
        False,
        "previous prefix all-containers timestamps ignore-errors",
        "selector container tail since limit-bytes max-log-requests",
        1,
        kinds=False,
    ),
    "events": _verb(False, "all-namespaces no-headers", "for types output", kinds=False),
    "explain": _verb(False, "recursive", "api-version output", 1, kinds=False),
    "api-resources": _verb(False, "no-headers namespaced", "api-group output sort-by verbs", kinds=False),
    "version": _verb(False, "client", "output", kinds=False),
    "cluster-info": _verb(False, "", "", kinds=False),
    "rollout status": _verb(False, "watch", "revision timeout selector", 2),
    "rollout history": _verb(False, "", "revision output selector", 2),
    "auth can-i": _verb(False, "all-namespaces list quiet", "subresource", kinds=False),
    "auth whoami": _verb(False, "", "output", kinds=False),
    "diff": _verb(False, "server-side", "filename kustomize", kinds=False),
    "argo rollouts get": _verb(False, "no-color", "", 2, kinds=False),
    "argo rollouts status": _verb(False, "watch", "timeout", 1, kinds=False),
    "argo rollouts list": _verb(False, "all-namespaces", "", 1, kinds=False),
    "scale": _verb(True, "", "replicas current-replicas resource-version timeout selector dry-run", 2),
    "rollout undo": _verb(True, "", "to-revision selector dry-run", 2),
    "rollout restart": _verb(True, "", "selector", 2),
    "rollout pause": _verb(True, "", "selector", 2),
    "rollout resume": _verb(True, "", "selector", 2),
    "patch": _verb(True, "", "patch type subresource dry-run", 2),
    "delete": _verb(True, "force now wait ignore-not-found", "selector grace-period timeout dry-run", 2),
    "annotate": _verb(True, "overwrite", "selector resource-version dry-run", 3),
    "label": _verb(True, "overwrite", "selector resource-version dry-run", 3),
    "taint": _verb(True, "overwrite", "selector dry-run", 3),
    "set image": _verb(True, "", "selector dry-run", 3),
    "set env": _verb(True, "overwrite", "selector containers dry-run", 3),
    "set resources": _verb(True, "", "selector containers limits requests dry-run", 2),
    "cordon": _verb(True, "", "selector dry-run", 1, kinds=False),
    "uncordon": _verb(True, "", "selector dry-run", 1, kinds=False),
    "drain": _verb(
        True,
        "ignore-daemonsets delete-emptydir-data force",
        "grace-period timeout pod-selector selector dry-run",
        1,
        kinds=False,
    ),
    "apply": _verb(True, "server-side", "filename kustomize dry-run", kinds=False),
    "argo rollouts abort": _verb(True, "", "", 1, kinds=False),
    "argo rollouts promote": _verb(True, "full", "", 1, kinds=False),
    "argo rollouts retry": _verb(True, "", "", 2, kinds=False),
    "argo rollouts undo": _verb(True, "", "to-revision", 1, kinds=False),
}
"""`argo rollouts` is a plugin: kubectl itself says so where it is missing."""

_PLURALS = {"top pod": "top pods", "top node": "top nodes", "top po": "top pods", "top no": "top nodes"}
_EVERYWHERE = frozenset({"namespace", "request-timeout"})
_NODE_VERBS = frozenset({"cordon", "uncordon", "drain", "top nodes"})

_SHORT = {
    "n": "namespace", "o": "output", "l": "selector", "A": "all-namespaces", "L": "label-columns", "c": "container",
    "p": "previous", "f": "filename", "k": "kustomize", "q": "quiet", "w": "watch", "s": "server", "v": "v",
    "R": "recursive",
}  # fmt: skip
_SHORT_OF = {"patch": {"p": "patch"}, "logs": {"f": "follow"}, "set env": {"c": "containers"}}

_ELSEWHERE = "the drill names the cluster and the identity; leave it out"
_ENDLESS = "it never ends; ask again instead"
REFUSED_FLAGS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("context", "kubeconfig", "server", "cluster", "tls-server-name", "certificate-authority"),
        ("chooses another cluster", _ELSEWHERE),
    ),
    **dict.fromkeys(
        ("as", "as-group", "as-uid", "as-user-extra", "token", "user", "username", "password"),
        ("chooses another identity", _ELSEWHERE),
    ),
    **dict.fromkeys(
        ("client-key", "client-certificate", "insecure-skip-tls-verify", "auth-provider"),
        ("changes how the cluster is trusted", _ELSEWHERE),
    ),
    **dict.fromkeys(("watch-only", "follow", "watch"), ("follows", _ENDLESS)),
    "raw": ("asks any address of the API server", "use get or describe"),
    "v": ("logs headers of requests", "leave it out"),
    "kuberc": ("brings settings of somebody's own", "leave it out"),
}
REFUSED_VERBS: Mapping[str, str] = {
    **dict.fromkeys(("exec", "attach", "cp", "debug"), "reaches into a pod"),
    **dict.fromkeys(("port-forward", "proxy"), "opens a tunnel"),
    **dict.fromkeys(("edit", "run", "wait"), "needs somebody at the terminal, or never ends"),
    **dict.fromkeys(("config", "certificate", "create", "replace", "plugin"), "is none for a runbook"),
}

_KINDS: Mapping[str, str] = {
    "pods": "pod po", "deployments": "deployment deploy", "replicasets": "replicaset rs", "jobs": "job",
    "statefulsets": "statefulset sts", "daemonsets": "daemonset ds", "cronjobs": "cronjob cj",
    "services": "service svc", "endpoints": "endpoint ep", "endpointslices": "endpointslice",
    "ingresses": "ingress ing", "networkpolicies": "networkpolicy netpol", "configmaps": "configmap cm",
    "horizontalpodautoscalers": "horizontalpodautoscaler hpa", "poddisruptionbudgets": "poddisruptionbudget pdb",
    "scaledobjects": "scaledobject so", "scaledjobs": "scaledjob sj", "rollouts": "rollout ro",
    "resourcequotas": "resourcequota quota", "limitranges": "limitrange limits", "events": "event ev",
    "leases": "lease", "serviceaccounts": "serviceaccount sa", "roles": "role", "rolebindings": "rolebinding",
    "persistentvolumeclaims": "persistentvolumeclaim pvc",
    "nodes": "node no", "namespaces": "namespace ns", "apiservices": "apiservice",
    "priorityclasses": "priorityclass pc",
    "persistentvolumes": "persistentvolume pv", "storageclasses": "storageclass sc", "clusterroles": "clusterrole",
    "clusterrolebindings": "clusterrolebinding", "customresourcedefinitions": "customresourcedefinition crd",
}  # fmt: skip
_KIND_OF = {alias: kind for kind, aliases in _KINDS.items() for alias in (kind, *aliases.split())}
CLUSTER_WIDE = frozenset({
    "nodes", "namespaces", "apiservices", "priorityclasses", "persistentvolumes", "storageclasses", "clusterroles",
    "clusterrolebindings", "customresourcedefinitions",
})  # fmt: skip

_OUTPUT = re.compile(r"(json|yaml|wide|name|(jsonpath|custom-columns|go-template)=.+)", re.DOTALL)
_ASSIGNMENT = re.compile(r".*(=|-$)")


def kind_of(word: str) -> str:
    """Return the plural of a kind, from its plural, singular or short name, with or without its group.

    Raises:
        CommandError: There is none of that name, or it is a secret.
    """
    name = word.split(".", 1)[0].lower()
    if name in {"secret", "secrets"}:
        raise CommandError("secrets have no business in a journal", FOR_PEOPLE)
    if name not in _KIND_OF:
        raise CommandError(f"unknown kind {word}", "see `kubectl api-resources`; a new one is added to _KINDS")
    return _KIND_OF[name]


@dataclass(frozen=True, slots=True)
class KubectlCall:
    """What a command line asks of kubectl.

    Attributes:
        verb: Such as ``get`` or ``rollout undo``.
        operands: Words after the verb that are no flags.
        flags: Long names and values, in order; a switch has ``true`` or ``false``.
    """

    verb: str
    operands: tuple[str, ...]
    flags: tuple[tuple[str, str], ...]

    @property
    def changes(self) -> bool:
        """Whether it changes the cluster; a dry run counts as if it did."""
        return VERBS[self.verb].changes

    def value(self, flag: str) -> str | None:
        """Return the value of a flag; the last one counts."""
        return next((value for name, value in reversed(self.flags) if name == flag), None)

    def objects(self) -> tuple[tuple[str, str], ...]:
        """Return kind and name of what it is about; no name stands for all of the kind.

        Raises:
            CommandError: An unknown kind.
        """
        if self.verb in _NODE_VERBS:
            return tuple(("nodes", name) for name in self.operands)
        if self.verb in {"top pods", "logs"}:
            return tuple(_object(word) for word in self.operands) or (("pods", ""),)
        if not VERBS[self.verb].kinds:
            return ()
        first, *rest = self.operands
        if "/" in first:
            return tuple(_object(word) for word in self.operands if "/" in word and not _ASSIGNMENT.match(word))
        names = [word for word in rest if not _ASSIGNMENT.match(word)] or [""]
        return tuple((kind_of(kind), name) for kind in first.split(",") for name in names)


def _object(word: str) -> tuple[str, str]:
    kind, slash, name = word.partition("/")
    return (kind_of(kind), name) if slash else ("pods", word)


def read_call(arguments: Sequence[str]) -> KubectlCall:
    """Read what follows the word ``kubectl``.

    Raises:
        CommandError: An unknown verb, flag or kind, or one that must not be run.
    """
    early, words = _flags_before_the_verb(list(arguments))
    verb, words = _verb_of(words)
    operands, flags = _after_the_verb(words, verb)
    call = KubectlCall(verb, tuple(operands), (*early, *flags))
    for check in _CHECKS:
        check(call)
    return call


def _flags_before_the_verb(words: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    found = []
    while words and words[0].startswith("-"):
        name, value, words = _flag(words, "")
        found.append((name, value))
    return found, words


def _verb_of(words: list[str]) -> tuple[str, list[str]]:
    for length in (3, 2, 1):
        name = " ".join(words[:length])
        name = _PLURALS.get(name, name)
        if len(words) >= length and name in VERBS:
            return name, words[length:]
    first = words[0] if words else "nothing"
    if first in REFUSED_VERBS:
        raise CommandError(f"kubectl {first}: {REFUSED_VERBS[first]}", FOR_PEOPLE)
    told = " ".join(words[:2]) if first in {"rollout", "top", "auth", "set", "argo"} else first
    raise CommandError(
        f"unknown verb of kubectl: {told}", "docs/writing-a-runbook.md lists those that a runbook may use"
    )


def _after_the_verb(words: list[str], verb: str) -> tuple[list[str], list[tuple[str, str]]]:
    operands, flags = [], []
    while words:
        if words[0].startswith("-") and words[0] != "-":
            name, value, words = _flag(words, verb)
            flags.append((name, value))
        else:
            operands.append(words.pop(0))
    return operands, flags


def _flag(words: list[str], verb: str) -> tuple[str, str, list[str]]:
    """Take one flag off the words, as kubectl itself would; ``verb`` is empty before the verb."""
    word, *rest = words
    name, value = _name_and_value(word, verb)
    known = VERBS.get(verb)
    if known and name in known.switches:
        if value not in {None, "true", "false"}:
            raise CommandError(f"{word}: neither true nor false", "write the flag alone, or =true or =false")
        return name, value or "true", rest
    if name in REFUSED_FLAGS:
        raise CommandError(f"{word}: {REFUSED_FLAGS[name][0]}", REFUSED_FLAGS[name][1])
    if name not in _EVERYWHERE and (known is None or name not in known.values):
        raise CommandError(f"unknown flag {word} of kubectl {verb}".rstrip(), f"leave it out, or {FOR_PEOPLE}")
    if value is None and (name == "dry-run" or not rest):
        raise CommandError(f"{word} has no value", f"write --{name}=VALUE")
    return (name, rest[0], rest[1:]) if value is None else (name, value, rest)


def _name_and_value(word: str, verb: str) -> tuple[str, str | None]:
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return name, value if equals else None
    shorts = {**_SHORT, **_SHORT_OF.get(verb, {})}
    name, attached = shorts.get(word[1], word[1]), word[2:].removeprefix("=")
    if attached and verb and name in VERBS[verb].switches:
        raise CommandError(f"{word}: several flags in one word", "write each by itself")
    return name, attached or None


def _enough_words(call: KubectlCall) -> None:
    given = len(call.operands) + (call.value("selector") is not None)
    given += bool(call.operands) and "/" in call.operands[0] and VERBS[call.verb].least > 1
    if given < VERBS[call.verb].least:
        raise CommandError(f"kubectl {call.verb}: does not say of what", "name the object, as KIND NAME")


def _known_kinds(call: KubectlCall) -> None:
    call.objects()


def _harmless_output(call: KubectlCall) -> None:
    output = call.value("output")
    if output is not None and not _OUTPUT.fullmatch(output):
        raise CommandError(f"output {output}: not known", "json, yaml, wide, name, jsonpath=…, custom-columns=…")


def _no_waiting(call: KubectlCall) -> None:
    if "watch" in VERBS[call.verb].switches and call.value("watch") != "false":
        raise CommandError(f"kubectl {call.verb}: waits", "add --watch=false")


def _complete(call: KubectlCall) -> None:
    needed = {"scale": ("replicas",), "patch": ("patch",), "apply": _FILES, "diff": _FILES}.get(call.verb)
    if needed and all(call.value(flag) is None for flag in needed):
        raise CommandError(f"kubectl {call.verb}: lacks --{needed[0]}", "say it in full")
    for flag in ("replicas", "tail", "revision", "to-revision", "grace-period"):
        value = call.value(flag)
        if value is not None and not re.fullmatch(r"-?\d{1,6}", value):
            raise CommandError(f"--{flag} {value}: no whole number", "write a number")


_FILES = ("filename", "kustomize")


def _own_files(call: KubectlCall) -> None:
    for name, value in call.flags:
        if name in _FILES and not re.fullmatch(r"(?![-/])(?!.*\.\.)[\w./-]+", value):
            raise CommandError(f"--{name} {value}: not a file of the project", "a path from the project's folder")


def _patch_parses(call: KubectlCall) -> None:
    patch = call.value("patch") if call.verb == "patch" else None
    try:
        json.loads(patch or "{}")
    except ValueError as error:
        raise CommandError(f"the patch is no JSON: {error}", "write it in single quotes, as JSON") from None


_CHECKS: tuple[Callable[[KubectlCall], None], ...] = (
    _enough_words, _known_kinds, _harmless_output, _no_waiting, _complete, _own_files, _patch_parses,
)  # fmt: skip
