"""Who may do what: a token for each role, its cookie, and the proof that a request comes from a page of ours.

Pure. Must never tell in which way a token was wrong, and never show one: not by `repr`, not in an error.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets as random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.drill.desk import Role
from harness.model.drill import DrillError

TOKEN_BYTES = 32
TOKEN_CHARS_MIN = 16
COOKIES = {Role.FACILITATOR: "gameday_drill_facilitator", Role.PARTICIPANT: "gameday_drill_participant"}
"""One for each role, so that one browser can have both pages open."""

PROOF_HEADER, PROOF = "X-Gameday", "drill"
"""A header of our own: another site's page cannot send it without our permission, which nobody gets."""


@dataclass(frozen=True, slots=True)
class WebSecrets:
    """The secrets of one drill's server.

    Attributes:
        facilitator: Token of the facilitator's page.
        participants: Token of the participants' page.
        webhook: Token that Alertmanager and Opsgenie send.
        pagerduty: Secrets of PagerDuty's webhook subscriptions; without one its webhooks are refused.
        slack: Signing secrets of chat apps; without one their commands are refused.
    """

    facilitator: str = field(repr=False)
    participants: str = field(repr=False)
    webhook: str = field(repr=False)
    pagerduty: tuple[str, ...] = field(default=(), repr=False)
    slack: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        tokens = (self.facilitator, self.participants, self.webhook)
        if any(len(secret) < TOKEN_CHARS_MIN for secret in (*tokens, *self.pagerduty, *self.slack)):
            raise DrillError(
                "a secret of the drill's server is too short", f"give {TOKEN_CHARS_MIN} characters or more"
            )
        if len(set(tokens)) != len(tokens):
            raise DrillError("two tokens of the drill's server are the same", "give each its own")

    @classmethod
    def random(cls, *, webhook: str = "", pagerduty: Sequence[str] = (), slack: Sequence[str] = ()) -> WebSecrets:
        """Return fresh tokens for the pages, and for the webhooks too where none was agreed on."""
        fresh = [random.token_urlsafe(TOKEN_BYTES) for _ in range(3)]
        return cls(fresh[0], fresh[1], webhook or fresh[2], tuple(pagerduty), tuple(slack))

    def token(self, role: Role) -> str:
        """Return a role's token."""
        return self.facilitator if role is Role.FACILITATOR else self.participants

    def cookie(self, role: Role) -> str:
        """Return what a role's cookie says: proof of the token, not the token."""
        return hmac.new(self.token(role).encode(), b"gameday drill cookie", hashlib.sha256).hexdigest()

    def role_of_token(self, token: str) -> Role | None:
        """Return whose token it is."""
        return next((role for role in Role if same(token, self.token(role))), None)

    def role_of_cookies(self, cookies: Mapping[str, str]) -> Role | None:
        """Return the role that cookies prove; the facilitator's first."""
        return next((role for role in Role if same(cookies.get(COOKIES[role], ""), self.cookie(role))), None)

    def signs(self, body: bytes, header: str) -> bool:
        """Say whether a body is signed by one of PagerDuty's secrets.

        Args:
            body: As it was sent, unparsed.
            header: ``X-PagerDuty-Signature``: signatures by commas, several while a secret is being changed.
        """
        given = [one.strip() for one in header.split(",")]
        made = [f"v1={_signature(secret, body)}" for secret in self.pagerduty]
        return any([same(one, signature) for one in given for signature in made])

    def signs_slack(self, body: bytes, sent_at: str, header: str) -> bool:
        """Say whether a body is signed by one of the chat apps' secrets, together with when it was sent.

        Args:
            body: As it was sent, unparsed.
            sent_at: ``X-Slack-Request-Timestamp``; whether it is of now is another question.
            header: ``X-Slack-Signature``.
        """
        signed = b"v0:" + sent_at.encode("utf-8", "replace") + b":" + body
        return any([same(header, f"v0={_signature(secret, signed)}") for secret in self.slack])


def _signature(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def same(given: str, expected: str) -> bool:
    """Compare in constant time; text that is not ASCII too."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request.

    Attributes:
        role: What they are taken as: what they asked for, which is at most what they may.
        by_cookie: A browser, which also sends cookies where another site's page makes it ask.
    """

    role: Role
    by_cookie: bool

    @property
    def name(self) -> str:
        """What the journal calls somebody who gives no name."""
        return "facilitator" if self.role is Role.FACILITATOR else "participants"
