"""HTTP requests to the provider within limits of time and size, without secrets in errors and logs. No Django.

Redirects are not followed, cookies not kept, compressed answers not read, POST never repeated. `HTTPS_PROXY` and `NO_PROXY`
of the environment are honoured for https, never for loopback.
"""

from __future__ import annotations

import importlib.metadata
import io
import ipaddress
import json
import logging
import random
import re
import time
import urllib.request
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

import requests
import requests.utils
import urllib3.exceptions
from requests.structures import CaseInsensitiveDict

from django_eprospera.errors import AnswerLost, ApiError, MalformedAnswer, ProviderUnavailable
from django_eprospera.provider import clock
from django_eprospera.provider.tracebacks import forget_locals
from django_eprospera.provider.transport import Exchange, Limits, TooLarge, current, shared_session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Answer", "Limits", "Retries", "call", "get_with_retries", "is_loopback", "parse", "stream_to"]

T = TypeVar("T")
logger = logging.getLogger(__name__)
_PIECE: Final = 64 * 1024
_MAX_RETRY_AFTER: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer of the provider; names in `headers` are case-insensitive."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the body as JSON. Raises MalformedAnswer, which does not contain the body."""
        try:
            return json.loads(self.body.decode("utf-8-sig"), parse_constant=_refuse)
        except (ValueError, RecursionError):
            pass
        raise self.malformed("not_json")

    def malformed(self, code: str, advice: str = "") -> MalformedAnswer:
        """Return the error for an answer that is not what the provider promises (docs/provider.md)."""
        return MalformedAnswer(
            self.method, self.path, code, status=self.status, request_id=self.request_id, advice=advice
        )

    @property
    def request_id(self) -> str:
        """The provider's ID of this request, for its support; empty if there is none that is safe to print."""
        value = self.headers.get("X-Request-Id", "")
        return value if re.fullmatch(r"[A-Za-z0-9-]{1,64}", value) else ""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the provider asks to wait, at most an hour, or None (RFC 9110 section 10.2.3)."""
        value = self.headers.get("Retry-After", "").strip()[:64]
        if re.fullmatch(r"[0-9]{1,9}", value):
            return min(float(value), _MAX_RETRY_AFTER)
        date = clock.parse_date(value)
        if date is None:
            return None
        # The provider's own clock comes first: this host's may be wrong.
        now = clock.parse_date(self.headers.get("Date", "")) or datetime.now(UTC)
        return min(max((date - now).total_seconds(), 0.0), _MAX_RETRY_AFTER)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often (`attempts`, including the first) and how long in total (`budget`, seconds) a GET is tried.

    Pauses double from `first_pause` up to `longest_pause`, each a random part of that; the provider's `Retry-After` comes
    before both, as far as the budget goes. With `patient=False` neither a 429 nor a failed connection is repeated. `sleep` and
    `clock` are there for a caller with a clock of its own.
    """

    attempts: int = 3
    budget: float = 30.0
    first_pause: float = 0.5
    longest_pause: float = 8.0
    patient: bool = True
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


@forget_locals
def call(
    method: str,
    url: str,
    *,
    limits: Limits,
    path_template: str,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    auth: str | None = None,
    session: requests.Session | None = None,
    keep: Callable[[bytes], None] | None = None,
) -> Answer:
    """Send one request and return its complete answer, of any status but 3xx.

    `auth` is the value of the Authorization header. `path_template` is what errors and logs call the resource. `keep` gets
    the raw bytes of an answer with status 200 as soon as they arrive, repeatedly and always from the first one; `parse` reads
    them. It must not raise.

    Raises ProviderUnavailable when nothing was sent (`connect_failed`, `tls_failed`), AnswerLost when the request may have
    reached the provider (`timeout`, `connection_lost`), MalformedAnswer for `too_large`, `encoded`, `redirect`.
    """
    sending = {"Accept": "application/json", **(headers or {})}
    if auth is not None:
        sending["Authorization"] = auth
    request = _prepare(method, url, sending, form)
    if request is None:
        msg = f"{method} {path_template}: the URL or a header is not well formed."
        raise ValueError(msg)
    # Only repeatable requests may reuse a connection: the peer may just have closed it, and then it is not known whether
    # it read the request.
    repeatable = method == "GET"
    exchange = Exchange(
        url, request.path_url, path_template, limits, fresh=not repeatable, public_only=False, keep=keep
    )
    body = bytearray()
    try:
        response = _send(request, exchange, session)
    except AnswerLost as error:
        if not (repeatable and exchange.reused and not exchange.received and error.code == "connection_lost"):
            raise
        response = None
    if response is None:
        exchange.fresh = True
        response = _send(request, exchange, session)
    clock.compare_date(response.headers.get("Date"))
    _read(response, exchange, method, body.extend)
    return Answer(method, path_template, response.status_code, response.headers, bytes(body))


@forget_locals
def parse(method: str, path: str, raw: bytes) -> Answer:
    """Return the answer that arrived as these bytes (`keep` of `call`). Raises MalformedAnswer if it is not complete."""
    source: Any = SimpleNamespace(makefile=lambda _mode: io.BytesIO(raw))
    response = HTTPResponse(source, method=method)
    try:
        response.begin()
        body = response.read()
    except (HTTPException, ValueError):
        pass
    else:
        return Answer(method, path, response.status, CaseInsensitiveDict(response.getheaders()), body)
    raise MalformedAnswer(method, path, "incomplete")


def get_with_retries(
    url: str,
    *,
    limits: Limits,
    path_template: str,
    auth: str | None = None,
    retries: Retries | None = None,
    session: requests.Session | None = None,
) -> Answer:
    """Send a GET, and repeat it after a failure to connect, a lost answer, 429 or 5xx.

    Returns the last answer, whatever its status. Raises the last error of `call`; after a malformed answer it is not repeated.
    """
    plan = retries or Retries()
    ends = plan.clock() + plan.budget
    for attempt in range(1, plan.attempts + 1):
        left = max(ends - plan.clock(), 0.1)
        within = replace(limits, deadline=min(limits.deadline, left))
        outcome: Answer | ApiError
        try:
            outcome = call("GET", url, limits=within, path_template=path_template, auth=auth, session=session)
        except MalformedAnswer:
            raise
        except ProviderUnavailable as error:
            outcome = error
        if isinstance(outcome, Answer) and outcome.status != 429 and outcome.status < 500:
            return outcome
        if not plan.patient and (
            outcome.status == 429 or (outcome.status is None and not isinstance(outcome, AnswerLost))
        ):
            break
        pause = _pause(plan, attempt, outcome.retry_after)
        if attempt == plan.attempts or plan.clock() + pause >= ends:
            break
        plan.sleep(pause)
    if isinstance(outcome, ApiError):
        raise outcome
    return outcome


@forget_locals
def stream_to(
    url: str,
    target: BinaryIO,
    *,
    limits: Limits,
    path_template: str = "/(signed file)",
    allow_http_loopback: bool = False,
    session: requests.Session | None = None,
) -> str:
    """Download a signed URL into `target`, without credentials, and return its media type (lower case, no parameters).

    https on public addresses only; http and loopback only with `allow_http_loopback`, which is for the sandbox. Raises as
    `call` does, and MalformedAnswer `bad_url`, ProviderUnavailable `http_<status>` for any status but 200. No error holds
    the URL. What was written before an error is the caller's to throw away.
    """
    host = _host_of(url)
    local = allow_http_loopback and is_loopback(host)
    secure = url.startswith("https://") or (local and url.startswith("http://"))
    # A name and password in the URL would become an Authorization header.
    request = (
        _prepare("GET", url, {"Accept": "*/*"}, None) if host and secure and "@" not in urlsplit(url).netloc else None
    )
    if request is None:
        raise MalformedAnswer(
            "GET", path_template, "bad_url", advice="The URL of a file must be https, without a password."
        )
    exchange = Exchange(url, request.path_url, path_template, limits, fresh=True, public_only=not local)
    response = _send(request, exchange, session)
    if response.status_code != 200:
        response.close()
        raise ProviderUnavailable("GET", path_template, f"http_{response.status_code}", status=response.status_code)
    _read(response, exchange, "GET", target.write)
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()[:100]


def is_loopback(host: str) -> bool:
    """Return whether `host` (a name or an address) is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pause(plan: Retries, attempt: int, wish: float | None) -> float:
    if wish is not None:
        return wish
    ceiling = min(plan.first_pause * 2 ** (attempt - 1), plan.longest_pause)
    return random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreads callers, protects no secret


def _user_agent() -> str:
    try:
        return f"django-eprospera/{importlib.metadata.version('django-eprospera')}"
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "django-eprospera"


_USER_AGENT: Final = _user_agent()


def _prepare(
    method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None
) -> requests.PreparedRequest | None:
    """Return the prepared request; None when it is malformed, because the errors of requests quote what is."""
    # A compressed answer can be small on the wire and huge in memory: none is requested, and one that arrives is refused.
    all_headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity", **headers}
    try:
        return requests.Request(method, url, headers=all_headers, data=form).prepare()
    except (requests.RequestException, ValueError):
        return None


def _send(request: requests.PreparedRequest, exchange: Exchange, session: requests.Session | None) -> requests.Response:
    method, url = request.method or "", request.url or ""
    limits, proxies = exchange.limits, _proxies(url)
    timeout = (limits.connect_timeout, limits.read_timeout)
    chosen = session or shared_session()
    started = time.monotonic()
    response = _attempt(
        method,
        exchange,
        lambda: chosen.send(request, stream=True, timeout=timeout, allow_redirects=False, verify=True, proxies=proxies),
    )
    elapsed = (time.monotonic() - started) * 1000
    logger.debug("%s %s: HTTP %d after %d ms", method, exchange.path, response.status_code, elapsed)
    return response


def _read(response: requests.Response, exchange: Exchange, method: str, write: Callable[[bytes], object]) -> None:
    """Pass the body to `write` in pieces, and return the connection to the pool."""
    status, limit = response.status_code, exchange.limits.max_bytes
    wrong = ""
    length = response.headers.get("Content-Length", "")
    if 300 <= status < 400:
        wrong = "redirect"
    elif response.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        wrong = "encoded"
    elif length.isascii() and length.isdigit() and (len(length) > 18 or int(length) > limit):
        wrong = "too_large"
    size = 0
    try:
        while not wrong:
            piece = _attempt(method, exchange, lambda: response.raw.read(_PIECE, decode_content=False), status)
            if not piece:
                return
            size += len(piece)
            if size > limit:
                wrong = "too_large"
            else:
                write(piece)
    finally:
        response.close()
    raise MalformedAnswer(method, exchange.path, wrong, status=status)


def _attempt(method: str, exchange: Exchange, step: Callable[[], T], status: int | None = None) -> T:
    """Run `step`. No other place maps the errors of the libraries below to ours.

    Ours is raised after the other is forgotten, not from it: texts of requests and urllib3 quote URLs.
    """
    token = current.set(exchange)
    try:
        return step()
    except (requests.RequestException, urllib3.exceptions.HTTPError, HTTPException, OSError) as error:
        failure = _failure(method, exchange, _cause(error), status)
    finally:
        current.reset(token)
    logger.debug("%s %s: %s", method, exchange.path, failure.code)
    raise failure


def _failure(method: str, exchange: Exchange, cause: type[BaseException], status: int | None) -> ApiError:
    path = exchange.path
    if issubclass(cause, TooLarge):
        return MalformedAnswer(method, path, "too_large", status=status)
    if exchange.sent:
        code = "timeout" if issubclass(cause, TimeoutError) else "connection_lost"
        return AnswerLost(method, path, code, status=status)
    if issubclass(cause, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)):
        return ProviderUnavailable(
            method, path, "tls_failed", advice="Its certificate or TLS version was not accepted."
        )
    return ProviderUnavailable(method, path, "connect_failed", advice="Nothing was sent.")


def _cause(error: BaseException) -> type[BaseException]:
    """Return the type of the innermost error that tells what happened to the socket."""
    telling = (TooLarge, TimeoutError, requests.exceptions.SSLError, urllib3.exceptions.SSLError)
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            break
        if isinstance(seen, telling):
            return type(seen)
        seen = seen.__cause__ or seen.__context__
    return type(error)


def _proxies(url: str) -> dict[str, str]:
    host = _host_of(url)
    if is_loopback(host) or not url.startswith("https:"):
        return {}
    found = urllib.request.getproxies_environment()
    proxy = found.get("https") or found.get("all")
    if not proxy or requests.utils.should_bypass_proxies(url, no_proxy=None):
        return {}
    return {"https": proxy}


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
