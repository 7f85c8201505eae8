"""Holds one drill, from the sealed choice to the debrief (composition root of a drill).

Whatever happens after the journal is opened, the run beneath is taken back and a debrief is written. The terminal says
what the journal says and never more: who stands behind the facilitator may read it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness import exits
from harness.client import RunEnd
from harness.drill import wiring
from harness.drill.alert_route import RouteTests, check_route
from harness.drill.debrief import drill_exit_status, read_debrief, write_debrief
from harness.drill.folders import STOP_FILE, make_folder, sole_drill
from harness.drill.journal import Journal
from harness.drill.preparing import Prepared, Wish, prepare
from harness.drill.runner import Ended, Runner, Watch
from harness.drill.script import Participant
from harness.drill.seal import seal_problem, unseal_run, write_hidden
from harness.drill.session import Session
from harness.drill.wiring import Tell, Terminal
from harness.drivers.system_clock import RealClock
from harness.model.drill import DrillEnd, DrillError
from harness.model.errors import GameDayError
from harness.store import StoreError
from harness.store_files import HEADER_FILE, json_object

BROKE = Ended(DrillEnd.RUN_ENDED, "the drill itself broke", RunEnd(exits.CRASHED, None))


def hold(
    wish: Wish, tell: Tell, environ: Mapping[str, str] = os.environ, linger: Callable[[], None] = lambda: None
) -> int:
    """Hold a drill.

    Args:
        wish: What was asked for.
        tell: Shows a line.
        environ: The environment.
        linger: Called once all is written, while the pages are still there.

    Returns:
        Its exit status, see `harness.drill.debrief_verdict`.

    Raises:
        GameDayError: Nothing was begun: a file, the target or its settings are wrong.
        DrillError: Nothing was begun: no alert route, or another drill is on the target.
    """
    prepared = prepare(wish, environ)
    with sole_drill(wish.runs_dir, wish.target) as lock:
        folder = make_folder(wish.runs_dir, time.time())
        lock.write_text(folder.name, "utf-8")
        return _Holding(wish, prepared, folder, tell, environ).run(linger)


class _Holding:
    """One drill being held."""

    def __init__(self, wish: Wish, prepared: Prepared, folder: Path, tell: Tell, environ: Mapping[str, str]) -> None:
        self._wish, self._prepared, self._folder, self._tell = wish, prepared, folder, tell
        self._environ, self._terminal, self._tests = environ, Terminal(tell), RouteTests()
        self._sealed = write_hidden(folder, prepared.hidden)
        self._journal = Journal(folder, environ=environ, secrets=wiring.secrets_of(prepared))
        begin = wiring.given(wish, prepared, folder.name, self._tests, environ)
        self._session = Session(self._journal, begin)

    def run(self, linger: Callable[[], None]) -> int:
        """Hold it and return its exit status."""
        self._tell(f"drill {self._folder.name} in {self._folder}; Ctrl-C is the safety stop")
        with ExitStack() as stack:
            try:
                watches = self._begin(stack)
            except (DrillError, GameDayError) as error:
                return self._refuse(error)
            ended = BROKE
            try:
                ended = self._runner(watches, stack).run()
            finally:
                status = self._finish(ended)
            linger()
            return status

    def _begin(self, stack: ExitStack) -> list[Watch]:
        """Start what must be there before the run: pages, the tested alert route, the watch on people's changes.

        Raises:
            DrillError: The pages cannot be served, or no alert comes.
        """
        prepared, route = self._prepared, self._prepared.route
        serving = wiring.pages(self._wish, prepared, self._session, self._folder)
        watches: list[Watch] = [self._terminal.look]
        if serving is not None:
            stack.callback(serving.close)
            if self._wish.pages:
                self._tell(f"facilitator   {serving.url_facilitator}")
                self._tell(f"participants  {serving.url_participants}")
        if route is not None and prepared.target is not None:
            took_s = check_route(route, self._tests.arrived, RealClock.starting_now())
            self._tell(f"the alert route works: a test came after {took_s:.1f} s")
            watches.append(wiring.acknowledgements(route, time.time()))
            namespaces = prepared.experiment.scope.namespaces
            watches += stack.enter_context(wiring.people(prepared.target, namespaces, self._session))
        return watches

    def _runner(self, watches: list[Watch], stack: ExitStack) -> Runner:
        script = self._prepared.script
        return Runner(
            session=self._session,
            start=wiring.run_beneath(self._wish, self._prepared, self._sealed, self._folder.name, stack),
            limit_s=self._prepared.plan.limit_s,
            stop_file=self._folder / STOP_FILE,
            participant=Participant(script) if script is not None else None,
            watches=watches,
        )

    def _refuse(self, error: DrillError | GameDayError) -> int:
        """End a drill that never began; what it hides stays sealed, since nobody has learned anything of it."""
        problem, remedy = str(getattr(error, "problem", error)), str(getattr(error, "remedy", ""))
        self._session.trouble(problem, remedy)
        self._session.end(DrillEnd.RUN_ENDED, problem, "", exits.INCONCLUSIVE)
        self._write(None)
        return exits.INCONCLUSIVE

    def _finish(self, ended: Ended) -> int:
        """Reveal, say how it ended, and write the debrief."""
        session, run_dir = self._session, self._unsealed()
        session.wind_down()
        wrong = seal_problem(session.drill(), self._prepared.hidden)
        if wrong:
            session.trouble(wrong, "keep the folder as it is: this drill proves nothing")
        session.reveal()
        told = ended.run.error or _reason(run_dir) if ended.end is DrillEnd.RUN_ENDED else ""
        reason = f"{ended.reason}: {told}" if told else ended.reason
        status = drill_exit_status(read_debrief(self._folder, run_dir, ended.end, reason))
        session.end(ended.end, reason, str(run_dir) if run_dir else "", status)
        self._write(run_dir)
        return status

    def _unsealed(self) -> Path | None:
        try:
            return unseal_run(self._folder, self._wish.runs_dir)
        except StoreError as error:
            self._session.trouble(f"the run's record stays sealed: {error.problem}", error.remedy)
            return None

    def _write(self, run_dir: Path | None) -> None:
        page = ""
        try:
            page = write_debrief(self._folder, run_dir).name
        except StoreError as error:
            self._session.trouble(f"the debrief cannot be written: {error.problem}", error.remedy)
        self._session.close(page)
        self._terminal.look(self._session)
        self._tell(f"debrief   {self._folder / page}" if page else "there is no debrief, see above")


def _reason(run_dir: Path | None) -> str:
    """Return why the run beneath ended as it did, in its own words; nothing for one that is whole."""
    return "" if run_dir is None else str(json_object(run_dir / HEADER_FILE).get("reason", ""))
