"""`gameday.toml` and the environment, validated. Must not reach any cluster: it reads two files and `os.environ`.

The local target's identity (API server, kube-system uid, addresses) comes from the target file that the testbed writes
at every boot; every other target states it in `gameday.toml`. An empty identity field is an error, never a wildcard.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import Field, ValidationError, field_validator, model_validator

from harness.hours import parse_hours
from harness.model.errors import SpecError
from harness.model.experiment import Experiment
from harness.model.load import LoadWorkers
from harness.model.signal import Signal
from harness.model.target import Announce, Target
from harness.model.time import parse_duration_s
from harness.query_lint import lint
from harness.settings_parts import (
    AnnounceSetting,
    DrillSetting,
    LoadWorkersSetting,
    SignalSetting,
    Strict,
    testbed_route,
    without_user_info,
)

SETTINGS_FILE = "gameday.toml"
TARGET_SCHEMA = "gameday.target/1"
UNNAMED_SCRAPE_S = 15.0
"""Packs that no target names yet are looked through as if theirs scraped so often, as most do."""


ProtectedPart = Annotated[str, Field(pattern=r"^[^/]+/[^=/]+=[^=]+$")]
"""``namespace/label=value``."""

PROTECTED = (
    "platform-infra/app=envoy",
    "platform-infra/app=prometheus",
    "gameday-system/app=gameday-load",
    "gameday-system/app=gameday-reaper",
)
"""Gateway and metrics store: without them nothing can be judged. Load and reaper: without them nothing is safe."""


class Objectives(Strict):
    """What the platform promises; experiments may be stricter, never laxer (`check_objectives`)."""

    success_ratio: float = Field(0.995, gt=0, lt=1, description="share of requests that must succeed")
    backlog_age_max: str = Field("5m", description="age of the oldest task in the queue")

    @field_validator("backlog_age_max")
    @classmethod
    def _is_duration(cls, text: str) -> str:
        parse_duration_s(text)
        return text


class TargetSetting(Strict):
    """One target as written."""

    kind: Literal["local", "kind", "cluster"]
    opt_in_label: str = Field(pattern=r"^[^=]+=[^=]+$")
    namespaces: list[str] = Field(min_length=1)
    rate_max_rps: float = Field(gt=0, description="no default: nobody's cluster may be flooded by omission")
    query_pack: str | Annotated[list[str], Field(min_length=1)] = Field(
        description="one pack, or several: a later one's query takes the place of an earlier one's"
    )
    gpu_resource: str = Field(
        "", pattern="^([^/]+/[^/]+)?$", description="as nodes offer it; default of faults on GPUs (else nvidia.com/gpu)"
    )
    instance: str = Field("default", description="local only: name of the testbed instance")
    context: str = ""
    kubeconfig: str = Field("", description="one file; default: KUBECONFIG if it names one file, else ~/.kube/config")
    api_server: str = ""
    kube_system_uid: str = ""
    gateway_url: str = ""
    prometheus_url: str = ""
    prometheus_token_env: str = ""
    prometheus_ca_file: str = ""
    prometheus_user_env: str = Field("", description="variable with the user of basic authentication")
    prometheus_password_env: str = Field("", description="variable with the user's password")
    prometheus_password_file: str = Field("", description="or the file that holds it")
    prometheus_cert_file: str = Field("", description="client certificate for mutual TLS")
    prometheus_key_file: str = Field("", description="its key, where the certificate's file does not hold it")
    scrape_interval_s: float = Field(15.0, gt=0)
    loopback_only: bool = False
    header_names: list[str] = Field(default_factory=list, description="values: GAMEDAY_HEADER_<NAME>")
    components: list[str] = Field(default_factory=lambda: ["core", "platform", "keda"])
    protected: list[ProtectedPart] = Field(
        default_factory=lambda: list(PROTECTED), description="what no fault may hit unless the experiment names it"
    )
    workload_share_max: float = Field(0.5, gt=0, le=1, description="of a workload's Ready pods, by one fault")
    pool_share_max: float = Field(0.5, gt=0, le=1, description="of a pool's Ready nodes, at a time")
    pool_label: str = Field("gameday.local/pool", min_length=1, description="node label that names the pool")
    allowed_hours: str = Field("", description="such as Mon-Fri 09:00-16:00 Europe/Berlin; empty means always")
    helper_image: str = Field("registry.k8s.io/pause:3.10", min_length=1, description="of pods that only wait")
    helper_command: list[str] = Field(default_factory=list, description="what they run; the image's own by default")
    commands: dict[Literal["node_stop", "node_start"], list[str]] = Field(
        default_factory=dict, description="of this machine, for what no API can do; {node} takes the node's name"
    )

    load_workers: LoadWorkersSetting = LoadWorkersSetting()  # type: ignore[call-arg]  # every field has a default
    announce: AnnounceSetting = AnnounceSetting()
    drill: DrillSetting = DrillSetting()  # type: ignore[call-arg]  # every field has a default

    @field_validator("gateway_url", "prometheus_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        return without_user_info(url)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.prometheus_token_env and self.prometheus_user_env:
            raise ValueError("Prometheus takes a token or a user, not both: leave one of the two empty")
        passwords = [name for name in (self.prometheus_password_env, self.prometheus_password_file) if name]
        if len(passwords) != bool(self.prometheus_user_env):
            raise ValueError(
                "basic authentication takes prometheus_user_env and one of prometheus_password_env and _password_file"
            )
        if self.prometheus_key_file and not self.prometheus_cert_file:
            raise ValueError("prometheus_key_file is the key of a certificate: name prometheus_cert_file too")
        return self

    @field_validator("allowed_hours")
    @classmethod
    def _are_hours(cls, text: str) -> str:
        parse_hours(text)
        return text

    @field_validator("commands")
    @classmethod
    def _come_in_pairs(cls, commands: dict[str, list[str]]) -> dict[str, list[str]]:
        if any(not argv for argv in commands.values()):
            raise ValueError("a command must name a program")
        if commands and set(commands) != {"node_stop", "node_start"}:
            raise ValueError("node_stop and node_start come in pairs: what is stopped must be started again")
        return commands


class Settings(Strict):
    """The whole file."""

    default_target: str = ""
    objectives: Objectives = Objectives()  # type: ignore[call-arg]  # every field has a default
    targets: dict[str, TargetSetting]
    query_packs: dict[str, dict[str, SignalSetting]]
    path: str = SETTINGS_FILE


def load_settings(path: Path) -> Settings:
    """Read `gameday.toml`.

    Args:
        path: The file.

    Returns:
        The validated settings.

    Raises:
        SpecError: The file is missing, no TOML, or a key is unknown, missing or of the wrong kind.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SpecError(
            path.name, "", "there is no such file", "run from the project's folder, or pass --settings"
        ) from None
    except OSError as error:
        raise SpecError(str(path), "", f"cannot be read: {error.strerror}", "pass a file by --settings") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(path.name, "", f"not TOML: {error}", "mend the line named") from None
    try:
        return Settings(**document, path=path.name)
    except ValidationError as error:
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")  # explains most
        key = ".".join(str(part) for part in first["loc"])
        raise SpecError(path.name, key, first["msg"], "see the comments in the shipped gameday.toml") from None


def choose_target(settings: Settings, named: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the name of the target: the option, else GAMEDAY_TARGET, else `default_target`, else None."""
    return named or environ.get("GAMEDAY_TARGET") or settings.default_target or None


def check_objectives(settings: Settings, experiment: Experiment) -> None:
    """Refuse an experiment that would hold on less than the platform promises.

    Args:
        settings: The settings, with the objectives.
        experiment: The experiment; a limit that it does not state has the default of its kind (0.995, 5 min).

    Raises:
        SpecError: Names the file, the assertion's key and both figures.
    """
    promised = settings.objectives
    for spec in experiment.assertions:
        asked, limit = spec.params.get("objective", 0.995), spec.params.get("age_max", "5m")
        if spec.kind == "error_budget" and asked < promised.success_ratio:
            key, laxer, promise = "objective", f"{asked:g}", f"objectives.success_ratio {promised.success_ratio:g}"
        elif spec.kind == "backlog" and parse_duration_s(limit) > parse_duration_s(promised.backlog_age_max):
            key, laxer, promise = "age_max", str(limit), f"objectives.backlog_age_max {promised.backlog_age_max}"
        else:
            continue
        problem = f"{laxer} is laxer than {promise} of {settings.path}"
        remedy = "an experiment may be stricter than the platform's promise, never laxer"
        raise SpecError(f"{experiment.name}.yaml", f"assertions.{spec.name}.{key}", problem, remedy)


def resolve_target(settings: Settings, name: str, environ: Mapping[str, str] | None = None) -> Target:
    """Make a target of what is written about it.

    Args:
        settings: The settings.
        name: Name of the target.
        environ: The environment; `os.environ` where None.

    Returns:
        The target, with every identity field set.

    Raises:
        SpecError: Unknown name, an empty identity field, or a local target whose testbed is not up.
    """
    environ = os.environ if environ is None else environ
    written = settings.targets.get(name)
    if written is None:
        known = ", ".join(sorted(settings.targets)) or "none"
        raise SpecError(settings.path, "targets", f"no target {name!r}", f"known targets: {known}")
    facts = (
        _testbed_facts(written, environ) if written.kind == "local" else _stated_facts(settings, name, written, environ)
    )
    return Target(
        name=name,
        kind=written.kind,
        opt_in_label=written.opt_in_label,
        namespaces=tuple(written.namespaces),
        rate_max_rps=written.rate_max_rps,
        loopback_only=written.loopback_only or written.kind == "local",
        prometheus_token_env=written.prometheus_token_env,
        prometheus_ca_file=written.prometheus_ca_file,
        prometheus_user_env=written.prometheus_user_env,
        prometheus_password_env=written.prometheus_password_env,
        prometheus_password_file=written.prometheus_password_file,
        prometheus_cert_file=written.prometheus_cert_file,
        prometheus_key_file=written.prometheus_key_file,
        header_names=tuple(written.header_names),
        signals=_signals(settings, name, float(facts["scrape_interval_s"])),
        gpu_resource=written.gpu_resource,
        protected=tuple(written.protected),
        workload_share_max=written.workload_share_max,
        pool_share_max=written.pool_share_max,
        pool_label=written.pool_label,
        allowed_hours=written.allowed_hours,
        helper_image=written.helper_image,
        helper_command=tuple(written.helper_command),
        commands={key: tuple(argv) for key, argv in written.commands.items()},
        load_workers=LoadWorkers(**written.load_workers.model_dump()),
        announce=Announce(**{**written.announce.model_dump(), "silence": tuple(written.announce.silence)}),
        **{"drill": written.drill.route(), **facts},
    )


def check_query_packs(settings: Settings) -> None:
    """Look through the packs of every target that the file states, and those that no target names.

    Raises:
        SpecError: A target names no pack, or a query would give a wrong answer there.
    """
    for pack, signals in settings.query_packs.items():
        for signal, s in signals.items():
            found = lint(Signal(signal, s.query, s.unit, s.counter), UNNAMED_SCRAPE_S)
            if found:
                raise SpecError(settings.path, f"query_packs.{pack}.{signal}", *found)
    for name, target in settings.targets.items():
        _signals(settings, name, target.scrape_interval_s)


def _signals(settings: Settings, target: str, scrape_interval_s: float) -> dict[str, Signal]:
    """Return the signals of a target's packs, each of them looked through (`harness.query_lint`)."""
    signals: dict[str, Signal] = {}
    for pack in packs_of(settings, target):
        for name, s in settings.query_packs[pack].items():
            signals[name] = Signal(name, s.query, s.unit, s.counter, s.gap_max_s, s.code_label)
            found = lint(signals[name], scrape_interval_s)
            if found:
                raise SpecError(settings.path, f"query_packs.{pack}.{name}", *found)
    return signals


def packs_of(settings: Settings, target: str) -> tuple[str, ...]:
    """Return the names of a target's query packs, in their order.

    Raises:
        SpecError: One of them is not in the file.
    """
    written = settings.targets[target].query_pack
    names = (written,) if isinstance(written, str) else tuple(written)
    for name in names:
        if name not in settings.query_packs:
            known = f"known packs: {', '.join(sorted(settings.query_packs)) or 'none'}"
            raise SpecError(settings.path, f"targets.{target}.query_pack", f"no query pack {name!r}", known)
    return names


def sparse_signals(settings: Settings, target: str) -> frozenset[str]:
    """Return the signals of a target's pack that have no series while all is well."""
    chosen = {n: signal for pack in packs_of(settings, target) for n, signal in settings.query_packs[pack].items()}
    return frozenset(name for name, signal in chosen.items() if signal.sparse)


def state_dir(environ: Mapping[str, str]) -> Path:
    """Return the folder under which testbeds keep their state."""
    return Path(environ.get("GAMEDAY_STATE_DIR") or platformdirs.user_state_path("gameday", appauthor=False))


def _testbed_facts(written: TargetSetting, environ: Mapping[str, str]) -> dict[str, Any]:
    path = state_dir(environ) / "testbeds" / written.instance / "target.json"
    remedy = "start it with `gameday testbed up`, or use `make gameday`, which starts and stops it"
    try:
        told = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SpecError("target local", "", f"the testbed {written.instance!r} is not up", remedy) from None
    except OSError as error:
        raise SpecError(str(path), "", f"cannot be read: {error.strerror}", remedy) from None
    except ValueError as error:
        raise SpecError(str(path), "", f"not JSON: {error}", remedy) from None
    if not isinstance(told, dict):
        raise SpecError(str(path), "", "not a JSON object", remedy)
    if told.get("schema") != TARGET_SCHEMA:
        raise SpecError(str(path), "schema", f"{told.get('schema')!r} is not {TARGET_SCHEMA!r}", remedy)
    try:
        return {
            "context": told["context"],
            "kubeconfig": told["kubeconfig"],
            "api_server": told["api_server"],
            "kube_system_uid": told["kube_system_uid"],
            "gateway_url": told["gateway_url"],
            "prometheus_url": told["prometheus_url"],
            "scrape_interval_s": float(told["scrape_interval_s"]),
            "components": tuple(told["components"]),
            "generation": told["generation"],
            "addresses": {"redis_url": told["redis_url"]},
            **testbed_route(told.get("alerting")),
        }
    except KeyError as error:
        raise SpecError(str(path), str(error.args[0]), "missing", remedy) from None
    except (TypeError, ValueError) as error:
        raise SpecError(str(path), "", f"not what the testbed writes: {error}", remedy) from None


def _stated_facts(settings: Settings, name: str, written: TargetSetting, environ: Mapping[str, str]) -> dict[str, Any]:
    for key in ("context", "api_server", "kube_system_uid", "gateway_url", "prometheus_url"):
        if not getattr(written, key):
            remedy = "state it; an empty identity is never a wildcard"
            raise SpecError(settings.path, f"targets.{name}.{key}", "is empty", remedy)
    return {
        "context": written.context,
        "kubeconfig": written.kubeconfig or one_kubeconfig(environ),
        "api_server": written.api_server,
        "kube_system_uid": written.kube_system_uid,
        "gateway_url": written.gateway_url,
        "prometheus_url": written.prometheus_url,
        "scrape_interval_s": written.scrape_interval_s,
        "components": tuple(written.components),
    }


def one_kubeconfig(environ: Mapping[str, str]) -> str:
    """Return the kubeconfig file; several paths are refused, since the client would fall to localhost (CASES A16)."""
    value = environ.get("KUBECONFIG", "")
    if os.pathsep in value.strip(os.pathsep):
        remedy = "set targets.NAME.kubeconfig to the one file that has the context"
        raise SpecError("KUBECONFIG", "", "names several files", remedy)
    return value.strip(os.pathsep) or str(Path.home() / ".kube" / "config")
