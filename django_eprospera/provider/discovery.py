"""The provider's discovery document, validated and cached for an hour. No Django."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from django_eprospera.errors import MalformedAnswer
from django_eprospera.provider.http import Limits, Retries, get_with_retries, is_loopback
from django_eprospera.provider.reader import Reader

if TYPE_CHECKING:
    import requests

__all__ = ["Discovery", "discover", "forget_discovered", "is_secure_url"]

_PATH: Final = "/.well-known/openid-configuration"
_LIFETIME: Final = 3600.0
_MOST: Final = 16
_MAX_URL: Final = 1000

# By base URL: when it was fetched, and what it said. Single reads and writes of a dict need no lock.
_known: dict[str, tuple[float, Discovery]] = {}


@dataclass(frozen=True, slots=True)
class Discovery:
    """The endpoints that a client needs (OpenID Connect Discovery 1.0 section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    revocation_endpoint: str
    scopes_supported: tuple[str, ...]
    token_endpoint_auth_methods_supported: tuple[str, ...]
    authorization_response_iss_parameter_supported: bool  # RFC 9207 section 3: then every response names its issuer

    @classmethod
    def from_json(cls, value: Any, base_url: str) -> Discovery:
        """Raises MalformedAnswer when the document names another issuer or an endpoint that is not https.

        Plain http is taken on loopback when `base_url` is so itself. Older documents name no revocation endpoint; it has
        its published place then (docs/provider.md#endpoints).
        """
        reader = Reader(value, "Discovery")
        if reader.required_text("issuer") != base_url:
            raise MalformedAnswer("read", "Discovery", "wrong_issuer", advice="It has to equal EPROSPERA_BASE_URL.")
        plain = base_url.startswith("http:")
        endpoints = {
            name: reader.required_text(name, _MAX_URL)
            for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
        }
        endpoints["revocation_endpoint"] = (
            reader.text("revocation_endpoint", _MAX_URL) or f"{base_url}/api/oauth/revoke"
        )
        for name, url in endpoints.items():
            if not is_secure_url(url, allow_http_loopback=plain):
                raise MalformedAnswer("read", "Discovery", "bad_url", advice=f"{name} has to be an https URL.")
        return cls(
            issuer=base_url,
            **endpoints,
            scopes_supported=reader.texts("scopes_supported"),
            token_endpoint_auth_methods_supported=reader.texts("token_endpoint_auth_methods_supported"),
            authorization_response_iss_parameter_supported=(
                reader.flag("authorization_response_iss_parameter_supported") or False
            ),
        )


def discover(
    base_url: str, *, limits: Limits, retries: Retries | None = None, session: requests.Session | None = None
) -> Discovery:
    """The discovery document of `base_url`, at most an hour old. A failure is not remembered. Raises as `call` does."""
    known = _known.get(base_url)
    if known is not None and time.monotonic() - known[0] < _LIFETIME:
        return known[1]
    answer = get_with_retries(base_url + _PATH, limits=limits, path_template=_PATH, retries=retries, session=session)
    if answer.status != 200:
        raise answer.malformed(f"http_{answer.status}", "Check EPROSPERA_BASE_URL.")
    wrong: MalformedAnswer
    try:
        document = Discovery.from_json(answer.json(), base_url)
    except MalformedAnswer as error:
        wrong = answer.malformed(error.code, error.advice)
    else:
        if len(_known) >= _MOST:
            _known.clear()
        _known[base_url] = (time.monotonic(), document)
        return document
    raise wrong


def forget_discovered() -> None:
    """Ask again at the next call: for tests, and after the provider moved."""
    _known.clear()


def is_secure_url(url: str, *, allow_http_loopback: bool) -> bool:
    """An absolute https URL without name, password or fragment; http on loopback where that is allowed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if (
        not host
        or port == 0
        or "@" in parts.netloc
        or "#" in url
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and allow_http_loopback and is_loopback(host))
