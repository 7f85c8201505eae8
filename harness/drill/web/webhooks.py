"""The webhooks' routes: who sent it, whether it is new, and then the desk.

Everything is proven before anything is parsed, and parsed before anything is taken. What was taken before is known from
the drill's journal, hence also after a restart. Must not answer anything but a refusal to a sender who is not proven.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from flask import Flask, Response, jsonify, request

from harness.drill.desk import Desk
from harness.drill.web.access import WebSecrets, same
from harness.drill.web.answers import HOOK_BODY_MAX_BYTES, Refused, raw_body
from harness.drill.web.payloads import Page, alertmanager_notice, opsgenie_page, pagerduty_page

BEFORE_MAX_S = 60.0
"""How long before the drill's opening an event may have happened: clocks differ. Older ones are of another day."""

TOKEN_HEADER = "X-Gameday-Token"  # noqa: S105 - its name


class Webhooks:
    """The routes, over one desk."""

    def __init__(self, desk: Desk, secrets: WebSecrets) -> None:
        self._desk, self._secrets = desk, secrets
        self._one_at_a_time = threading.Lock()

    def register(self, app: Flask) -> None:
        """Add the routes."""
        for name in ("alertmanager", "pagerduty", "opsgenie"):
            app.add_url_rule(f"/hooks/{name}", name, getattr(self, name), methods=["POST"])

    def alertmanager(self) -> Response:
        """Take a notification: the alerts that are new; it repeats itself by its own `repeat_interval`."""
        self._check_token("alertmanager", "set http_config.authorization.credentials_file of its receiver")
        notice = alertmanager_notice(raw_body(HOOK_BODY_MAX_BYTES))
        with self._one_at_a_time:
            fresh = self._fresh(notice.pages)
            for page in fresh:
                self._desk.page(page.detail(), page.by)
            if notice.left_out and fresh:
                said = f"{notice.left_out} more alerts were left out by max_alerts of its receiver"
                self._desk.note(said, "alertmanager")
        return jsonify(taken=len(fresh), repeated=len(notice.pages) - len(fresh))

    def pagerduty(self) -> Response:
        """Take an event of an incident."""
        if not self._secrets.pagerduty:
            raise Refused(403, "pagerduty: no secret is known here", "give the drill its subscription's secret")
        body = raw_body(HOOK_BODY_MAX_BYTES)
        if not self._secrets.signs(body, request.headers.get("X-PagerDuty-Signature", "")):
            remedy = "give the drill the secret that PagerDuty showed when the webhook was made"
            raise Refused(401, "pagerduty: no signature of the body is ours", remedy)
        return self._take_once(pagerduty_page(body))

    def opsgenie(self) -> Response:
        """Take an action on an alert."""
        self._check_token("opsgenie", f"set the custom header {TOKEN_HEADER} of its webhook")
        return self._take_once(opsgenie_page(raw_body(HOOK_BODY_MAX_BYTES)))

    def _check_token(self, source: str, remedy: str) -> None:
        given = request.authorization
        token = (given.token if given.type == "bearer" else given.password) if given else None
        if not same(token or request.headers.get(TOKEN_HEADER, ""), self._secrets.webhook):
            raise Refused(401, f"{source}: the webhook's token is missing or wrong", remedy)

    def _take_once(self, page: Page | None) -> Response:
        if page is None:
            return jsonify(taken=0, ignored=True)
        with self._one_at_a_time:
            self._check_time(page)
            if not self._fresh([page]):
                raise Refused(409, f"{page.source}: event {page.event} was taken before", "nothing: it is in the drill")
            self._desk.page(page.detail(), page.by)
        return jsonify(taken=1, repeated=0)

    def _check_time(self, page: Page) -> None:
        opened = next(iter(self._desk.drill().of("opened")), None)
        if opened is None or page.at_unix_s is None or page.at_unix_s >= opened.at_unix_s - BEFORE_MAX_S:
            return
        raise Refused(409, f"{page.source}: event {page.event} is older than the drill", "nothing: it is no part of it")

    def _fresh(self, pages: Iterable[Page]) -> list[Page]:
        """Return the pages that the journal does not have, each once."""
        taken = {(entry.detail.get("source"), entry.detail.get("event")) for entry in self._desk.drill().of("page")}
        return list({page.event: page for page in pages if (page.source, page.event) not in taken}.values())
