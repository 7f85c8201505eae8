"""Parts of `gameday.toml` as they are written, each validated by itself. Reads no file and no environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.model.silence import parse_matcher
from harness.model.target import AlertRoute


class Strict(BaseModel):
    """A part that knows all its keys: another one is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def without_user_info(url: str) -> str:
    """Return a URL, unless it holds a password: files are shared and recorded.

    Raises:
        ValueError: It has a user or a password in it.
    """
    if "@" in urlsplit(url).netloc:
        raise ValueError("holds a user or a password: name environment variables instead (docs/targets.md)")
    return url


class SignalSetting(Strict):
    """One query of a pack."""

    query: str = Field(min_length=1)
    unit: str = ""
    counter: bool = False
    gap_max_s: float = Field(15.0, gt=0, description="a larger hole makes what leans on it inconclusive")
    code_label: str = Field("envoy_response_code_class", min_length=1, description="label with the answer's code")
    sparse: bool = Field(False, description="has no series while all is well; `gameday doctor` does not miss it")


class LoadWorkersSetting(Strict):
    """Who makes a target's load, as written."""

    count: int = Field(1, ge=1, le=512, description="worker processes")
    placement: Literal["local", "cluster"] = Field("local", description="processes here, or pods that come to us")
    listen_host: str = Field("127.0.0.1", min_length=1, description="where the load child listens for them")
    listen_port: int = Field(0, ge=0, le=65535, description="0: any free port")

    pool: str = Field("", description="pool of nodes that the pods are pinned to, away from the faults")

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if self.placement == "cluster" and not self.listen_port:
            raise ValueError("pods must know where to go: set listen_port, and listen_host to an address they reach")
        return self


class DrillSetting(Strict):
    """How pages come to a drill, as written (`harness.model.target.AlertRoute`)."""

    alertmanager: str = Field("", description="base URL")
    alertmanager_token_env: str = ""
    receiver: str = Field("", description="name of the receiver that sends to the drill")
    webhook_token_env: str = Field("", description="variable with the token that this receiver sends")
    listen: str = Field("", pattern=r"^$|^[^\s/@]+:\d{1,5}$", description="host:port that this receiver knows")
    ca_file: str = ""

    @field_validator("alertmanager")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        return without_user_info(url)

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        told = {bool(self.alertmanager), bool(self.receiver), bool(self.webhook_token_env)}
        if len(told) > 1:
            raise ValueError("alertmanager, receiver and webhook_token_env go together: a drill needs the whole route")
        return self

    def route(self) -> AlertRoute:
        """Return it as a target has it."""
        return AlertRoute(
            alertmanager_url=self.alertmanager,
            alertmanager_token_env=self.alertmanager_token_env,
            receiver=self.receiver,
            webhook_token_env=self.webhook_token_env,
            listen=self.listen,
            ca_file=self.ca_file,
        )


def testbed_route(told: Mapping[str, str] | None) -> dict[str, AlertRoute]:
    """Return the alert route of a testbed with the component `alerting`, from its target file; of another, nothing.

    Raises:
        KeyError: The file lacks a part of it.
    """
    if told is None:
        return {}
    route = AlertRoute(
        alertmanager_url=told["alertmanager_url"],
        receiver=told["receiver"],
        webhook_token_file=told["webhook_token_file"],
        listen=told["webhook_listen"],
        programs=told["programs"],
    )
    return {"drill": route}


class AnnounceSetting(Strict):
    """Who is told of a run, as written (`harness.model.target.Announce`)."""

    webhook_url_env: str = ""
    grafana_url: str = ""
    grafana_token_env: str = ""
    alertmanager_url: str = ""
    alertmanager_token_env: str = ""
    silence: list[str] = Field(default_factory=list, description='matchers, such as alertname=~"Tool.*"')
    ca_file: str = ""

    @field_validator("grafana_url", "alertmanager_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        return without_user_info(url)

    @field_validator("silence")
    @classmethod
    def _are_matchers(cls, written: list[str]) -> list[str]:
        for text in written:
            parse_matcher(text)
        if written and not any(parse_matcher(text)["isEqual"] for text in written):
            raise ValueError("matchers that only exclude would silence all other alerts: name those that are expected")
        return written

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if bool(self.grafana_url) != bool(self.grafana_token_env):
            raise ValueError("grafana_url and grafana_token_env go together")
        if bool(self.alertmanager_url) != bool(self.silence):
            raise ValueError("alertmanager_url and silence go together: what is silenced must be said")
        return self
