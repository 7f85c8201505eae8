"""Prometheus as a `MetricsSource`: raw samples with their own scrape times, warnings kept, failures as data.

A plain selector is asked with a range selector (``name{…}[60s]``), which returns the samples as they were scraped;
``query_range`` would resample with a lookback of five minutes and so hide holes and dead targets. Only expressions fall
back to it, and a counter that is no plain selector is refused (CASES C08). Judges nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence

from harness.drivers.prometheus_answers import Pieces, collect, is_selector, label_set, merge, pages, readable
from harness.drivers.prometheus_session import NO_ANSWER, SYSTEM, PrometheusSession, Said
from harness.model.errors import PortError
from harness.model.signal import Harvest, Series, Signal, SignalHarvest
from harness.model.target import Target
from harness.model.time import Window
from harness.ports import Clock

RULE_RAW = "counters are harvested raw: a rate or a sum of counters hides resets (rate inside, sum outside)"


class PrometheusSource:
    """The metrics store of a target (port `MetricsSource`)."""

    def __init__(self, target: Target, clock: Clock, environ: Mapping[str, str] | None = None) -> None:
        """Prepare a session; nothing is sent yet.

        Args:
            target: Gives URL, CA, the token's variable, scrape interval and the loopback rule.
            clock: Gives the run's origin.
            environ: The environment; `os.environ` where None.

        Raises:
            PortError: The address is outside loopback on a loopback target, or the token's variable is not set.
        """
        self._target = target
        self._clock = clock
        self._session = PrometheusSession(target, os.environ if environ is None else environ)

    def identify(self) -> str:
        """Return the server's version; proves that ``1`` is 1 (CASES C16)."""
        value = self._scalar("1")
        if value != 1.0:
            raise PortError(SYSTEM, "query 1", f"answers {value}", "this is not Prometheus' query API")
        return str(self._session.build_info().get("version", "unknown version"))

    def skew_s(self) -> float:
        """Return the store's clock minus ours, good to about half a round trip."""
        before_s = time.time()
        theirs_s = self._scalar("time()")
        return theirs_s - (before_s + time.time()) / 2

    def _scalar(self, query: str) -> float:
        result, _ = self._session.query(query)
        try:
            return float(result[1])
        except (TypeError, ValueError, IndexError, KeyError):
            problem = f"answers {str(result)[:80]!r}, which is no number"
            raise PortError(SYSTEM, f"query {query}", problem, "this is not Prometheus' query API") from None

    def instant(self, signal: Signal) -> Mapping[str, float]:
        """Return values by label string, now. For gates and the live view: it sees up to 5 min back."""
        result, _ = self._session.query_now(signal.query)
        keep_name = "__name__" in signal.query
        try:
            return {readable(label_set(item["metric"], keep_name)): float(item["value"][1]) for item in result}
        except (TypeError, ValueError, KeyError, IndexError) as error:
            raise PortError(SYSTEM, f"query {signal.query}", f"not an instant vector: {error!r}") from error

    def harvest(self, signals: Sequence[Signal], window: Window) -> Harvest:
        """Ask every signal over the window, plus one scrape either side. A failed query is part of the answer."""
        interval_s = self._target.scrape_interval_s
        try:
            server, skew_s = self.identify(), self.skew_s()
        except PortError as error:
            lost = {signal.name: SignalHarvest(signal, step_s=interval_s, error=str(error)) for signal in signals}
            return Harvest(lost, "", interval_s, float("nan"))
        wider = Window(window.start_s - interval_s, window.end_s + interval_s)
        return Harvest(self._harvest_all(signals, wider), server, interval_s, skew_s)

    def _harvest_all(self, signals: Sequence[Signal], window: Window) -> dict[str, SignalHarvest]:
        """Ask signal by signal; a store that falls silent is not asked again, so the wait stays bounded."""
        step_s, silent = self._target.scrape_interval_s, ""
        found: dict[str, SignalHarvest] = {}
        for signal in signals:
            try:
                if silent:
                    raise PortError(SYSTEM, f"signal {signal.name}", f"not asked: {silent}")
                series, said = self._ask(signal, window)
                found[signal.name] = SignalHarvest(signal, series, step_s, said.warnings, infos=said.infos)
            except PortError as error:
                found[signal.name] = SignalHarvest(signal, step_s=step_s, error=str(error))
                silent = silent or (str(error) if error.problem.startswith(NO_ANSWER) else "")
        return found

    def _ask(self, signal: Signal, window: Window) -> tuple[tuple[Series, ...], Said]:
        if signal.counter and not is_selector(signal.query):
            raise PortError(SYSTEM, f"signal {signal.name}", f"{signal.query!r} is no plain selector", RULE_RAW)
        pieces: Pieces = {}
        warnings: dict[str, None] = {}
        infos: dict[str, None] = {}
        for result, said in self._pages(signal, window):
            try:
                collect(pieces, result, "__name__" in signal.query)
            except (ValueError, TypeError) as error:
                raise PortError(SYSTEM, f"signal {signal.name}", str(error)) from error
            warnings |= dict.fromkeys(said.warnings)
            infos |= dict.fromkeys(said.infos)
        series = merge(signal, pieces, self._clock.origin_unix_s)
        return series, Said(tuple(warnings), tuple(infos))

    def _pages(self, signal: Signal, window: Window) -> Iterator[tuple[object, Said]]:
        origin_s, step_s = self._clock.origin_unix_s, self._target.scrape_interval_s
        raw = is_selector(signal.query)
        for page in pages(origin_s + window.start_s, origin_s + window.end_s, step_s):
            if raw:
                span_ms = max(1, round(page.duration_s * 1000))
                yield self._session.query(f"{signal.query.strip()}[{span_ms}ms]", page.end_s)
            else:
                yield self._session.query_range(signal.query, page.start_s, page.end_s, step_s)

    def alert_rules(self) -> Mapping[str, str]:
        """Return why each alert that has a rule cannot fire, by alertname; one good rule of several is enough."""
        found: dict[str, str] = {}
        for rule in self._session.alerting_rules():
            name = str(rule.get("name", ""))
            failed = str(rule.get("lastError") or "no reason given") if rule.get("health") == "err" else ""
            found[name] = failed and found.get(name, failed)
        return found

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()
