"""What a drill is wired to: the run beneath it, commands, people's changes, acknowledgements, pages, the terminal.

Makes parts and starts what must be running; decides nothing, and hands nothing hidden to anybody but the session.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from harness.client import Job, RunClient
from harness.drill.alert_route import Acknowledgements, Route, RouteTests
from harness.drill.people import PeopleWatch
from harness.drill.preparing import Prepared, Wish
from harness.drill.runner import Beneath, Start, Watch
from harness.drill.seal import LOG_FILE
from harness.drill.session import Execute, Given, Session
from harness.drill.web import Serving, WebSecrets, serve
from harness.drill.words import entry_text
from harness.model.drill import REHEARSAL, DrillError
from harness.model.errors import PortError
from harness.model.target import Target
from harness.registries import PROJECT_DIR
from harness.runbook_run import CommandResult, run_command

Tell: TypeAlias = Callable[[str], None]
"""Shows a line on the terminal."""

TWIN_ENV = "GAMEDAY_TWIN"


def given(wish: Wish, prepared: Prepared, drill_id: str, tests: RouteTests, environ: Mapping[str, str]) -> Given:
    """Return what the session begins with."""
    hidden, plan = prepared.hidden, prepared.plan
    opened = {
        "drill_id": drill_id,
        "target": wish.target or REHEARSAL,
        "limit_s": plan.limit_s,
        "targets_s": {mark.value: target_s for mark, target_s in plan.targets_s.items()},
        "seal": hidden.seal,
    }
    return Given(
        opened=opened,
        hidden=hidden.revealed,
        hints=prepared.fault.hints,
        books=prepared.books,
        execute=_execute(prepared.target, wish.allow_changes, environ),
        allow_changes=wish.allow_changes,
        own_namespaces=frozenset({prepared.target.system_namespace} if prepared.target else ()),
        is_test=tests.took,
    )


def secrets_of(prepared: Prepared) -> tuple[str, ...]:
    """Return what must not be written down, also where it came from a file."""
    token = (prepared.route.webhook_token, prepared.route.peer.token) if prepared.route else ()
    return (*filter(None, token), *prepared.hooks.pagerduty, *prepared.hooks.slack)


def _execute(target: Target | None, allow_changes: bool, environ: Mapping[str, str]) -> Execute:
    if target is None:
        return lambda text: CommandResult(None, "", 0.0, "a rehearsal has no cluster to ask")
    path = os.pathsep.join(filter(None, (target.drill.programs, environ.get("PATH", ""))))
    kubeconfig, told = Path(target.kubeconfig), {**environ, "PATH": path}
    return lambda text: run_command(
        text,
        environ=told,
        kubeconfig=kubeconfig,
        context=target.context,
        allow_changes=allow_changes,
        folder=PROJECT_DIR,
    )


def run_beneath(wish: Wish, prepared: Prepared, sealed: Path, drill_id: str, stack: ExitStack) -> Start:
    """Return what starts the run: in the sealed folder, its words in a log there, paced as real time in a rehearsal."""
    hidden = prepared.hidden
    job = Job(
        experiment=str(prepared.path),
        settings=str(wish.settings),
        target=wish.target,
        seed=hidden.seed,
        runs_dir=str(sealed.resolve()),
        rehearse=not wish.target,
        fault=hidden.fault,
        limit_s=prepared.plan.limit_s,
        drill_id=drill_id,
    )
    log = stack.enter_context((sealed / LOG_FILE).open("wb"))
    environ = dict(os.environ)
    if job.rehearse:
        environ.setdefault(TWIN_ENV, json.dumps({"pace_ratio": 1.0}))

    def start(take: Callable[[Mapping[str, Any]], None]) -> Beneath:
        return RunClient(job, take, environ, log)

    return start


def pages(wish: Wish, prepared: Prepared, session: Session, folder: Path) -> Serving | None:
    """Serve the pages and the webhooks; None where neither is asked for.

    Raises:
        DrillError: The port is taken, or the alert route knows another one.
    """
    route = prepared.route
    if route is None and not wish.pages:
        return None
    if route is not None and route.port and wish.port not in {0, route.port}:
        raise DrillError(f"the alert route sends to port {route.port}, not {wish.port}", "leave --port out")
    secrets = WebSecrets.random(
        webhook=route.webhook_token if route else "", pagerduty=prepared.hooks.pagerduty, slack=prepared.hooks.slack
    )
    host, port = (route.host, route.port or wish.port) if route else ("127.0.0.1", wish.port)
    return serve(session, secrets=secrets, bind=host, port=port, folder=folder)


@contextmanager
def people(target: Target, namespaces: Sequence[str], session: Session) -> Iterator[list[Watch]]:
    """Watch what people change; a watch that cannot be started is a trouble of the drill, not its end."""
    watch = PeopleWatch(target, namespaces)
    try:
        watch.start()
    except PortError as error:
        session.trouble(f"what people change is not seen: {error.problem}", error.remedy)

    def look(session: Session) -> None:
        for action in watch.poll():
            session.act(action)
        for trouble in watch.troubles():
            session.trouble(trouble["message"], trouble["remedy"])

    try:
        yield [look]
    finally:
        watch.stop()


def acknowledgements(route: Route, since_unix_s: float) -> Watch:
    """Return what looks for people's silences."""
    source = Acknowledgements(route, since_unix_s)

    def look(session: Session) -> None:
        for by, page in source.poll():
            session.page(page, by)

    return look


class Terminal:
    """Shows the journal as it grows: what participants may know, since they may stand behind whoever reads it."""

    def __init__(self, tell: Tell) -> None:
        self._tell, self._shown = tell, 0

    def look(self, session: Session) -> None:
        """Show what is new."""
        entries = session.drill().entries[self._shown :]
        self._shown += len(entries)
        for entry in entries:
            text = entry_text(entry)
            if text:
                self._tell(f"{entry.kind:<9} {text}  ({entry.by})")
