"""What the tests of a drill's pages share: tokens, a client for each role, the routes and who may ask them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from harness.drill.desk import Role
from harness.drill.web.access import COOKIES, PROOF, PROOF_HEADER, WebSecrets
from harness.drill.web.server import make_app
from tests.unit.drill_desk import DeskTwin

SECRETS = WebSecrets(
    facilitator="pl4nted-facilitator-token",
    participants="pl4nted-participants-token",
    webhook="pl4nted-webhook-token",
    pagerduty=("pl4nted-old-pagerduty", "pl4nted-new-pagerduty"),
    slack=("pl4nted-old-signing-secret", "pl4nted-new-signing-secret"),
)
WORDS = ("gpu-exhaustion", "hold-all-gpus", "GPUs run out", "another team held")
"""What a participant must not read before the end."""


def client_of(desk: DeskTwin, *, folder: Path | None = None) -> FlaskClient:
    """Return a client without any credential."""
    return make_app(desk, SECRETS, folder=folder).test_client()


def browser_of(desk: DeskTwin, role: Role, *, folder: Path | None = None) -> FlaskClient:
    """Return a client with a role's cookie, as a browser has it."""
    client = client_of(desk, folder=folder)
    client.set_cookie(COOKIES[role], SECRETS.cookie(role))
    return client


def bearer(role: Role | str) -> dict[str, str]:
    """Return a role's header, or one with any token."""
    token = SECRETS.token(role) if isinstance(role, Role) else role
    return {"Authorization": f"Bearer {token}"}


def proof() -> dict[str, str]:
    """Return the header that only a page of ours sends."""
    return {PROOF_HEADER: PROOF}


def problem_of(answer: Any) -> str:
    """Return what a refusal says; it always says what to do, too."""
    assert set(answer.json) == {"error", "remedy"} and answer.json["remedy"], answer.text
    return f"{answer.json['error']}"
