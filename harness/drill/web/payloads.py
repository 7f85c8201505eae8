"""What Alertmanager, PagerDuty and Opsgenie send, by their documented shapes, as pages of a drill.

Pure: bytes in, values out. A body of another shape is a `ValidationError`; what a vendor documents and a drill has no
use for (a note on an incident) is None. Keys that a vendor may add are no mistake.

Alertmanager: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (version 4).
PagerDuty: https://developer.pagerduty.com/docs/webhooks (V3, one event a request).
Opsgenie: https://docs.opsgenie.com/docs/webhook-integration ("alert action data").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from harness.drill.web.answers import without_controls

ALERTS_MAX = 500
SUMMARY_MAX_CHARS = 1000
NS_PER_S, MS_PER_S = 1e9, 1e3

PAGERDUTY_STATES = {
    "incident.triggered": "firing",
    "incident.acknowledged": "acknowledged",
    "incident.resolved": "resolved",
}
OPSGENIE_STATES = {"Create": "firing", "Acknowledge": "acknowledged", "Close": "resolved"}

Text = Annotated[str, AfterValidator(without_controls)]
Name = Annotated[str, Field(min_length=1), AfterValidator(without_controls)]


@dataclass(frozen=True, slots=True)
class Page:
    """One page, as a drill takes it in.

    Attributes:
        source: Who sent it: ``alertmanager``, ``pagerduty`` or ``opsgenie``.
        event: What the source calls this event; the same again is a repetition.
        alert: What fires: an alertname, or an incident's title.
        state: ``firing``, ``acknowledged`` or ``resolved``.
        by: Who acknowledged it, or the source.
        severity: The source's own word, or empty.
        labels: The source's own.
        summary: For people.
        at_unix_s: When it happened, or None where the source does not say.
    """

    source: str
    event: str
    alert: str
    state: str
    by: str
    severity: str = ""
    labels: Mapping[str, str] | None = None
    summary: str = ""
    at_unix_s: float | None = None

    def detail(self) -> dict[str, Any]:
        """Return the detail of its ``page`` entry."""
        return {
            "source": self.source,
            "event": self.event,
            "alert": self.alert,
            "state": self.state,
            "severity": self.severity,
            "labels": dict(self.labels or {}),
            "summary": self.summary[:SUMMARY_MAX_CHARS],
        }


@dataclass(frozen=True, slots=True)
class Notice:
    """What one request of Alertmanager says.

    Attributes:
        pages: One for each alert.
        left_out: How many more there are, which it was told not to send.
    """

    pages: tuple[Page, ...]
    left_out: int


class _Part(BaseModel):
    """A part of a body: keys that we do not need may come and go."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Labels(_Part):
    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Text]

    alertname: Name
    severity: Text = ""


class _Alert(_Part):
    status: Literal["firing", "resolved"]
    labels: _Labels
    annotations: dict[Text, Text] = Field(default_factory=dict)
    starts_at: AwareDatetime = Field(alias="startsAt")
    fingerprint: Text = ""


class _AlertmanagerBody(_Part):
    version: Literal["4"]
    group_key: str = Field(alias="groupKey")
    status: Literal["firing", "resolved"]
    alerts: list[_Alert] = Field(min_length=1, max_length=ALERTS_MAX)
    truncated: int = Field(0, ge=0, alias="truncatedAlerts")


class _Reference(_Part):
    summary: Text = ""
    type: Text = ""


class _Incident(_Part):
    id: Name
    title: Name
    urgency: Text = ""
    html_url: Text = ""
    priority: _Reference | None = None
    service: _Reference | None = None


class _AnyEvent(_Part):
    id: Name
    event_type: Name
    occurred_at: AwareDatetime
    agent: _Reference | None = None
    data: dict[str, Any]


class _PagerDutyBody(_Part):
    event: _AnyEvent


class _OpsgenieAlert(_Part):
    alert_id: Name = Field(alias="alertId")
    message: Name
    tiny_id: Text = Field("", alias="tinyId")
    alias: Text = ""
    username: Text = ""
    priority: Text = ""
    created_at: int | None = Field(None, alias="createdAt", ge=0)
    updated_at: int | None = Field(None, alias="updatedAt", ge=0)


class _OpsgenieBody(_Part):
    action: Name
    alert: dict[str, Any]
    integration_id: Name = Field(alias="integrationId")


def alertmanager_notice(body: bytes) -> Notice:
    """Return the pages of one notification of Alertmanager."""
    read = _AlertmanagerBody.model_validate_json(body)
    return Notice(tuple(_alert_page(alert) for alert in read.alerts), read.truncated)


def _alert_page(alert: _Alert) -> Page:
    labels: dict[str, str] = {without_controls(key): value for key, value in alert.labels.model_dump().items() if value}
    return Page(
        source="alertmanager",
        event=f"{alert.fingerprint or _digest(labels)}/{alert.starts_at.isoformat()}/{alert.status}",
        alert=alert.labels.alertname,
        state=alert.status,
        by="alertmanager",
        severity=alert.labels.severity,
        labels=labels,
        summary=alert.annotations.get("summary") or alert.annotations.get("description", ""),
    )


def pagerduty_page(body: bytes) -> Page | None:
    """Return the page of one event of PagerDuty, or None for one that is no page."""
    event = _PagerDutyBody.model_validate_json(body).event
    state = PAGERDUTY_STATES.get(event.event_type)
    if state is None:
        return None
    incident = _Incident.model_validate(event.data)
    person = event.agent is not None and event.agent.type.startswith("user") and event.agent.summary
    return Page(
        source="pagerduty",
        event=event.id,
        alert=incident.title,
        state=state,
        by=str(person or "pagerduty"),
        severity=(incident.priority.summary if incident.priority else "") or incident.urgency,
        labels={"incident": incident.id, "service": incident.service.summary if incident.service else ""},
        summary=incident.title,
        at_unix_s=_unix_s(event.occurred_at),
    )


def opsgenie_page(body: bytes) -> Page | None:
    """Return the page of one alert action of Opsgenie, or None for one that is no page."""
    read = _OpsgenieBody.model_validate_json(body)
    state = OPSGENIE_STATES.get(read.action)
    if state is None:
        return None
    alert = _OpsgenieAlert.model_validate(read.alert)
    return Page(
        source="opsgenie",
        event=f"{alert.alert_id}/{read.action}/{alert.updated_at or _digest(read.alert)}",
        alert=alert.message,
        state=state,
        by=(alert.username if read.action != "Create" else "") or "opsgenie",
        severity=alert.priority,
        labels={"alias": alert.alias, "tinyId": alert.tiny_id},
        summary=alert.message,
        at_unix_s=_opsgenie_unix_s(alert),
    )


def _opsgenie_unix_s(alert: _OpsgenieAlert) -> float | None:
    """Return when it was changed (nanoseconds), else when it was made (milliseconds)."""
    if alert.updated_at is not None:
        return alert.updated_at / NS_PER_S
    return None if alert.created_at is None else alert.created_at / MS_PER_S


def _unix_s(at: datetime) -> float:
    return at.timestamp()


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(value), sort_keys=True).encode()).hexdigest()[:16]
