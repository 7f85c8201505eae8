"""The one HTTP session to Prometheus: limits, TLS, and the check that an answer is an answer.

prometheus-api-client returns ``data.result`` alone, so warnings get lost (CASES C11), a login page becomes a
JSONDecodeError and 503 becomes a RetryError (CASES C16). A response hook looks at every answer before the library does.
No query and no reading of results here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.auth import HTTPBasicAuth
from urllib3.util.retry import Retry

from harness.model.errors import PortError
from harness.model.loopback import host_of, is_loopback
from harness.model.target import Target

SYSTEM = "prometheus"
TIMEOUTS_S = (3.05, 15.0)
"""Connect and read. The server's own limit is asked for as well, so that it gives up before we do."""

LIVE_TIMEOUTS_S = (1.0, 2.0)
"""For looks while the run is on: the conductor waits for them."""

RETRIES = Retry(
    total=2, connect=1, read=0, redirect=0, backoff_factor=0.2, status_forcelist=(502, 503, 504), raise_on_status=False
)
"""Two short retries carry over a restart of a proxy; what still fails is reported. Silence is not retried."""

QUERY_IN_URL_MAX = 1500
"""Longer queries go into the body: proxies cut or refuse long URLs."""

NO_ANSWER = "no answer"

RULES_REMEDY = "prometheus_url must answer /api/v1/rules too; a store beside Prometheus has it from its ruler"


@dataclass(frozen=True, slots=True)
class Said:
    """What came beside the result of an answer."""

    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


class PrometheusSession:
    """Asks one Prometheus. Every failure is a `PortError`."""

    def __init__(self, target: Target, environ: Mapping[str, str]) -> None:
        self._url = target.prometheus_url.rstrip("/")
        if target.loopback_only:
            check_loopback(self._url)
        self._said = Said()
        self._session = requests.Session()
        self._session.trust_env = False  # REQUESTS_CA_BUNDLE and proxies of the environment would win over ours
        self._session.verify = _file(target.prometheus_ca_file, "prometheus_ca_file") or True
        self._session.cert = _certificate(target)
        self._session.hooks["response"].append(self._inspect)
        token = _token(target, environ)
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._session.auth = _user(target, environ)
        self._remedy = _remedy(target)
        self._client = PrometheusConnect(
            url=self._url,
            retry=RETRIES,
            session=self._session,
            timeout=TIMEOUTS_S,
        )

    def query(self, query: str, at_unix_s: float | None = None) -> tuple[Any, Said]:
        """Ask an instant query; the result is a list of series, or ``[t, value]`` of a scalar."""
        params = _server_limit(TIMEOUTS_S) | ({} if at_unix_s is None else {"time": f"{at_unix_s:.3f}"})
        if len(query) > QUERY_IN_URL_MAX:
            return self._call(f"query {query[:80]}…", lambda: self._post("query", {"query": query, **params}))
        return self._call(f"query {query}", lambda: self._client.custom_query(query, params=params))

    def query_now(self, query: str) -> tuple[Any, Said]:
        """Ask an instant query for the present, with the short limits of a live look."""
        params = _server_limit(LIVE_TIMEOUTS_S)
        ask = partial(self._client.custom_query, query, params=params, timeout=LIVE_TIMEOUTS_S)
        return self._call(f"query {query}", ask)

    def query_range(self, query: str, start_unix_s: float, end_unix_s: float, step_s: float) -> tuple[Any, Said]:
        """Ask a range query; both times are aware instants given as Unix seconds (CASES C15)."""
        from_, to = (_aware(t) for t in (start_unix_s, end_unix_s))
        params = _server_limit(TIMEOUTS_S)
        if len(query) > QUERY_IN_URL_MAX:
            span = {"start": f"{start_unix_s:.3f}", "end": f"{end_unix_s:.3f}", "step": f"{round(step_s * 1000)}ms"}
            form = {"query": query, **span, **params}
            return self._call(f"query_range {query[:80]}…", lambda: self._post("query_range", form))
        return self._call(
            f"query_range {query}",
            lambda: self._client.custom_query_range(query, from_, to, f"{round(step_s * 1000)}ms", params=params),
        )

    def _post(self, endpoint: str, form: Mapping[str, str]) -> Any:
        """Ask with the query in the body: the library's own POST still writes it into the URL (CASES C16)."""
        answer = self._session.post(f"{self._url}/api/v1/{endpoint}", data=dict(form), timeout=TIMEOUTS_S)
        return answer.json()["data"]["result"]

    def build_info(self) -> Mapping[str, Any]:
        """Return ``/api/v1/status/buildinfo``; empty where the store has no such page (look-alikes of Prometheus)."""
        url = f"{self._url}/api/v1/status/buildinfo"
        try:
            answer, _ = self._call("buildinfo", lambda: self._session.get(url, timeout=TIMEOUTS_S))
        except PortError as error:
            if "404" in error.problem:
                return {}
            raise
        data = answer.json().get("data")
        return data if isinstance(data, dict) else {}

    def alerting_rules(self) -> list[Any]:
        """Return every alerting rule of ``/api/v1/rules``, of all groups."""
        url = f"{self._url}/api/v1/rules"
        ask = partial(self._session.get, url, params={"type": "alert"}, timeout=TIMEOUTS_S)
        try:
            answer, _ = self._call("rules", ask)
            rules = [rule for group in answer.json()["data"]["groups"] for rule in group["rules"]]
            return [rule for rule in rules if rule["type"] == "alerting"]
        except PortError as error:
            remedy = RULES_REMEDY if "404" in error.problem else error.remedy
            raise PortError(SYSTEM, "rules", error.problem, remedy) from error
        except (KeyError, TypeError) as error:
            raise PortError(SYSTEM, "rules", f"not a list of rules: {error!r}", RULES_REMEDY) from error

    def _call(self, operation: str, ask: Any) -> tuple[Any, Said]:
        self._said = Said()
        try:
            result = ask()
        except requests.RequestException as error:
            remedy = f"check that Prometheus is up: curl {self._url}/-/ready"
            raise PortError(SYSTEM, operation, f"{NO_ANSWER}: {_short(error)}", remedy) from error
        except (PrometheusApiClientException, KeyError, ValueError) as error:
            raise PortError(SYSTEM, operation, f"not an answer of Prometheus: {_short(error)}") from error
        return result, self._said

    def _inspect(self, response: requests.Response, *_: Any, **__: Any) -> None:
        """Refuse whatever is not a good answer of Prometheus; keep its warnings and infos."""
        place = urlsplit(response.url).path
        response.content  # noqa: B018 - read to the end, so that the connection is given back whatever comes next
        if response.is_redirect:
            problem = f"redirects to {urlsplit(response.headers.get('Location', '')).netloc or 'another page'}"
            raise PortError(SYSTEM, place, problem, "set prometheus_url to the address that answers itself")
        if response.status_code in {401, 403}:
            problem = f"HTTP {response.status_code}: not allowed"
            raise PortError(SYSTEM, place, problem, self._remedy)
        body = _json(response, place)
        if body.get("status") != "success":
            problem = f"HTTP {response.status_code}: {body.get('errorType', 'error')}: {body.get('error', 'no reason')}"
            raise PortError(SYSTEM, place, problem)
        self._said = Said(tuple(body.get("warnings") or ()), tuple(body.get("infos") or ()))

    def close(self) -> None:
        """Close idle connections."""
        self._session.close()


def check_loopback(url: str) -> None:
    """Refuse an address that is not of this machine, before anything is sent.

    Raises:
        PortError: The host of the URL is not a loopback address.
    """
    if not is_loopback(url):
        problem = f"{host_of(url) or 'what is given'} is not a loopback address, and this target is loopback only"
        raise PortError(SYSTEM, "connect", problem, "set prometheus_url to an address in 127.0.0.0/8")


def _secret(name: str, environ: Mapping[str, str], what: str) -> str:
    """Return the value of a variable, or an empty string where none is named."""
    value = environ.get(name, "") if name else ""
    if name and not value:
        raise PortError(SYSTEM, "connect", f"{name} is not set", f"export {name} with {what}")
    return value


def _token(target: Target, environ: Mapping[str, str]) -> str:
    """Return the token; one that no header can hold is refused here, for the library would tell it in its error."""
    token = _secret(target.prometheus_token_env, environ, "a token that may query").strip()
    if not token.isascii() or any(character.isspace() for character in token):
        problem = f"{target.prometheus_token_env} holds characters that no token has"
        raise PortError(SYSTEM, "connect", problem, "export the token alone, in one line")
    return token


def _user(target: Target, environ: Mapping[str, str]) -> HTTPBasicAuth | None:
    """Return user and password for basic authentication, or None."""
    user = _secret(target.prometheus_user_env, environ, "the user who may query")
    if not user:
        return None
    password = _secret(target.prometheus_password_env, environ, "the user's password")
    path = _file(target.prometheus_password_file, "prometheus_password_file")
    if path:
        password = _content(path)
    return HTTPBasicAuth(user.encode(), password.encode())  # bytes: the library would write text as Latin-1


def _content(path: str) -> str:
    try:
        password = Path(path).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PortError(SYSTEM, "connect", f"prometheus_password_file {path} cannot be read: {error}") from None
    if not password:
        raise PortError(SYSTEM, "connect", f"prometheus_password_file {path} is empty", "write the password into it")
    return password


def _certificate(target: Target) -> str | tuple[str, str] | None:
    """Return our client certificate as the HTTP library takes it, or None."""
    certificate = _file(target.prometheus_cert_file, "prometheus_cert_file")
    key = _file(target.prometheus_key_file, "prometheus_key_file")
    return (certificate, key) if key else certificate or None


def _file(path: str, setting: str) -> str:
    """Return the path of a file that is there: the HTTP library tells of a missing one only when it sends."""
    if path and not Path(path).is_file():
        raise PortError(SYSTEM, "connect", f"{setting}: {path} is not a file", f"set {setting} to an existing file")
    return path


def _remedy(target: Target) -> str:
    """Return what to do where our credentials are not taken."""
    if target.prometheus_token_env:
        return f"renew the token in {target.prometheus_token_env}"
    if target.prometheus_user_env:
        return f"check the user in {target.prometheus_user_env} and its password"
    if target.prometheus_cert_file:
        return f"check that {target.prometheus_cert_file} is a certificate that it trusts"
    return "set prometheus_token_env to the variable that holds a valid token, or name a user (docs/targets.md)"


def _json(response: requests.Response, place: str) -> dict[str, Any]:
    kind = response.headers.get("Content-Type", "no content type")
    remedy = "prometheus_url must be the base URL of the API, not of a login page or a proxy"
    try:
        body = response.json()
    except ValueError:
        problem = f"HTTP {response.status_code} with {kind}, which is not JSON"
        raise PortError(SYSTEM, place, problem, remedy) from None
    if not isinstance(body, dict):
        raise PortError(SYSTEM, place, f"HTTP {response.status_code} with JSON of another kind", remedy)
    return body


def _server_limit(timeouts_s: tuple[float, float]) -> dict[str, str]:
    return {"timeout": f"{round(timeouts_s[1] * 900)}ms"}


def _aware(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _short(error: BaseException) -> str:
    """Return the innermost reason of a library's nested error, without the classes round it."""
    inner: BaseException = error
    while True:
        nested = getattr(inner, "reason", None) or (inner.args[-1] if inner.args else "")
        if not isinstance(nested, BaseException):
            break
        inner = nested
    text = str(inner).rsplit("): ", 1)[-1]
    return (text or type(error).__name__)[:200]
