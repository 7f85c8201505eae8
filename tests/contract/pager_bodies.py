"""Bodies as the vendors document them: the shapes of their own examples, typed anew.

Alertmanager's version 4 (prometheus.io, "webhook_config"), PagerDuty's V3 (developer.pagerduty.com, "Webhooks
overview"), Opsgenie's "alert action data" (docs.opsgenie.com), Slack's slash commands (docs.slack.dev).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

LABELS = {
    "alertname": "BacklogTooOld",
    "namespace": "agents",
    "severity": "page",
    "job": "planner",
}
FIRING: dict[str, Any] = {
    "status": "firing",
    "labels": LABELS,
    "annotations": {"summary": "Requests wait for minutes.", "description": "The oldest message is 214 s old."},
    "startsAt": "2026-11-28T09:52:26.739266876+01:00",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "http://127.0.0.1:9090/graph?g0.expr=backlog_age_seconds+%3E+120&g0.tab=1",
    "fingerprint": "1a30ba71cca2921f",
}
ALERTMANAGER: dict[str, Any] = {
    "version": "4",
    "groupKey": '{}:{alertname="BacklogTooOld"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "gameday-drill",
    "groupLabels": {"alertname": "BacklogTooOld"},
    "commonLabels": LABELS,
    "commonAnnotations": FIRING["annotations"],
    "externalURL": "http://127.0.0.1:9093",
    "alerts": [FIRING],
}

SERVICE = {
    "html_url": "https://acme.pagerduty.com/services/PF9KMXH",
    "id": "PF9KMXH",
    "self": "https://api.pagerduty.com/services/PF9KMXH",
    "summary": "API Service",
    "type": "service_reference",
}
PAGERDUTY: dict[str, Any] = {
    "event": {
        "id": "5ac64822-4adc-4fda-ade0-410becf0de4f",
        "event_type": "incident.acknowledged",
        "resource_type": "incident",
        "occurred_at": "2020-10-02T18:45:22.169Z",
        "agent": {
            "html_url": "https://acme.pagerduty.com/users/PLH1HKV",
            "id": "PLH1HKV",
            "self": "https://api.pagerduty.com/users/PLH1HKV",
            "summary": "Tenex Engineer",
            "type": "user_reference",
        },
        "client": {"name": "PagerDuty"},
        "data": {
            "id": "PGR0VU2",
            "type": "incident",
            "self": "https://api.pagerduty.com/incidents/PGR0VU2",
            "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
            "number": 2,
            "status": "acknowledged",
            "incident_key": "d3640fbd41094207a1c11e58e46b1662",
            "created_at": "2020-04-09T15:16:27Z",
            "title": "A little bump in the road",
            "service": SERVICE,
            "assignees": [],
            "escalation_policy": {"id": "PUS0KTE", "summary": "Default", "type": "escalation_policy_reference"},
            "teams": [],
            "priority": {"id": "PSO75BM", "summary": "P1", "type": "priority_reference"},
            "urgency": "high",
            "conference_bridge": {
                "conference_number": "+1 1234123412,,987654321#",
                "conference_url": "https://example.com",
            },
            "resolve_reason": None,
        },
    }
}

OPSGENIE: dict[str, Any] = {
    "source": {"name": "", "type": "web"},
    "alert": {
        "updatedAt": 1420452224764002246,
        "tags": ["tag1", "tag2"],
        "message": "test alert",
        "username": "fili@ifountain.com",
        "alertId": "052652ac-5d1c-464a-812a-7dd18bbfba8c",
        "source": "fili@ifountain.com",
        "alias": "aliastest",
        "tinyId": "23",
        "createdAt": 1420452191104,
        "userId": "daed1180-0ce8-438b-8f8e-57e1a5920a2d",
        "entity": "",
    },
    "action": "Acknowledge",
    "integrationId": "37c8f316-17c6-49d7-899b-9c7e540c048d",
    "integrationName": "Integration1",
}


def signature(body: bytes, *secrets: str) -> str:
    """Return the header by which PagerDuty signs a body: one signature for each secret, by commas."""
    return ",".join("v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets)


SLACK: dict[str, str] = {
    "token": "gIkuvaNzQIHg97ATvDxqgjtO",
    "team_id": "T0001",
    "team_domain": "example",
    "enterprise_id": "E0001",
    "enterprise_name": "Globular Construct Inc",
    "channel_id": "C2147483705",
    "channel_name": "test",
    "user_id": "U2147483697",
    "user_name": "Steve",
    "command": "/weather",
    "text": "94070",
    "response_url": "https://hooks.slack.com/commands/1234/5678",
    "trigger_id": "13345224609.738474920.8088930838d88f008e0",
    "api_app_id": "A123456",
}


def slack_headers(body: bytes, secret: str, sent_at: str) -> dict[str, str]:
    """Return the headers by which Slack signs a body."""
    made = hmac.new(secret.encode(), b":".join((b"v0", sent_at.encode(), body)), hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": sent_at, "X-Slack-Signature": f"v0={made}"}
