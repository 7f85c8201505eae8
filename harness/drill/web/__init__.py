"""The two pages of a drill, their HTTP API, and the webhooks of those that page people.

Pages: ``/facilitator`` and ``/participants``, each behind its own token, which travels in the link's fragment (never in
a request line) and becomes a cookie. Participants are never sent what the drill hides: they get `Desk.view` of their
role and nothing else.

API, for the pages and for chat tools (``Authorization: Bearer TOKEN`` of either role; JSON in and out)::

    GET  /api/view                                      what a page shows, and "commands": who ran which, and when
    GET  /api/events                                    the same as server-sent events: "view" at each change, "over"
    GET  /api/command?seq=N                             a command's entry in the journal, with its output
    POST /api/mark     {"mark", "by"?}                  detected | acknowledged | diagnosed | mitigated
    POST /api/hint     {"by"?}                          the next hint
    POST /api/note     {"text", "by"?}                  a line of the scribe's
    POST /api/step     {"step", "done", "by"?}          ticked, or skipped
    POST /api/command  {"step", "number", "by"?}        run the command `number` (from 1) of a step
    POST /api/stop     {"reason"?, "by"?}               the safety stop; anybody may pull it
    POST /api/enter    {"token"}                        a page's sign-in: the token becomes a cookie

``?as=participant`` asks for less than one may: the facilitator's browser shows the participants' page by it. With a
cookie, each POST needs the header ``X-Gameday: drill`` as well, which no other site's page can send. A refusal is
``{"error", "remedy"}``: 400 bad body · 401 no valid token · 403 not for this role · 409 not now · 413 too large.

Webhooks, in their vendors' documented shapes::

    POST /hooks/alertmanager   version 4; bearer token, or the token as password of basic authentication
    POST /hooks/pagerduty      V3; X-PagerDuty-Signature over the body, by one of the subscriptions' secrets
    POST /hooks/opsgenie       the token in Authorization: Bearer, or in X-Gameday-Token

An acknowledged page marks `acknowledged`. The same event again is refused; Alertmanager's own repetitions are not, and
change nothing.

Chat, in the shape of Slack's slash commands (a form; ``text`` is one of the marks, ``hint``, ``note TEXT``, ``stop
REASON``; ``user_name`` says who)::

    POST /hooks/slack          X-Slack-Signature v0 over X-Slack-Request-Timestamp and the body, by the app's secret

One that is older than 5 minutes, or comes again, is refused; what the drill refuses is answered to whoever typed it.

Must not know a drill beyond its `Desk`, and must not keep state of its own: whatever is shown comes
from the desk, so that neither a reload nor another server on the same port loses anything.
"""

from harness.drill.web.access import WebSecrets
from harness.drill.web.server import Serving, serve

__all__ = ["Serving", "WebSecrets", "serve"]
