"""The provider's discovery document, validated and cached for an hour. No Django."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from django_eprospera.errors import MalformedAnswer
from django_eprospera.provider.http import Limits, Retries, get_with_retries, is_loopback
from django_eprospera.provider.reader import Reader
from django_eprospera.provider.shared import Shared

if TYPE_CHECKING:
    import requests

__all__ = ["Discovery", "discover", "forget_discovered", "is_secure_url"]

_PATH: Final = "/.well-known/openid-configuration"
_LIFETIME: Final = 3600.0
_MOST: Final = 16
_MAX_URL: Final = 1000

# By process and base URL: a forked child must not wait for a fetch of its parent's. `setdefault` of a dict needs no lock.
_known: dict[tuple[int, str], Shared[Discovery]] = {}


@dataclass(frozen=True, slots=True)
class Discovery:
    """The endpoints that a client needs (OpenID Connect Discovery 1.0 section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    jwks_uri: str
    revocation_endpoint: str
    introspection_endpoint: str
    scopes_supported: tuple[str, ...]
    token_endpoint_auth_methods_supported: tuple[str, ...]
    authorization_response_iss_parameter_supported: bool  # RFC 9207 section 3: then every response names its issuer

    @classmethod
    def from_json(cls, value: Any, base_url: str) -> Discovery:
        """Return the document. Raises MalformedAnswer when it names another issuer or an endpoint that is not https.

        Plain http is accepted on loopback when `base_url` itself is http. Older documents name no endpoints of revocation and
        introspection: then the published ones are used (docs/provider.md#endpoints).
        """
        reader = Reader(value, "Discovery")
        if reader.required_text("issuer") != base_url:
            raise MalformedAnswer("read", "Discovery", "wrong_issuer", advice="It must equal EPROSPERA_BASE_URL.")
        plain = base_url.startswith("http:")
        endpoints = {
            name: reader.required_text(name, _MAX_URL)
            for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
        }
        for name, path in (("revocation_endpoint", "revoke"), ("introspection_endpoint", "introspect")):
            endpoints[name] = reader.text(name, _MAX_URL) or f"{base_url}/api/oauth/{path}"
        for name, url in endpoints.items():
            if not is_secure_url(url, allow_http_loopback=plain):
                raise MalformedAnswer("read", "Discovery", "bad_url", advice=f"{name} must be an https URL.")
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
    base_url: str,
    *,
    limits: Limits,
    retries: Retries | None = None,
    session: requests.Session | None = None,
    patience: float | None = None,
) -> Discovery:
    """Return the discovery document of `base_url`, at most an hour old.

    One thread fetches it for all. Others wait for `patience` seconds (by default as long as the deadline) for the first one.
    A failure is remembered for some seconds. Raises ProviderUnavailable (AnswerLost and MalformedAnswer among its subclasses).
    """
    key = os.getpid(), base_url
    if key not in _known and len(_known) >= _MOST:
        _known.clear()
    shared = _known.setdefault(key, Shared(_LIFETIME))
    return shared.get(
        lambda: _fetch(base_url, limits, retries, session), patience=limits.deadline if patience is None else patience
    )


def _fetch(base_url: str, limits: Limits, retries: Retries | None, session: requests.Session | None) -> Discovery:
    answer = get_with_retries(base_url + _PATH, limits=limits, path_template=_PATH, retries=retries, session=session)
    if answer.status != 200:
        raise answer.malformed(f"http_{answer.status}", "Check EPROSPERA_BASE_URL.")
    try:
        return Discovery.from_json(answer.json(), base_url)
    except MalformedAnswer as error:
        wrong = answer.malformed(error.code, error.advice)
    raise wrong


def forget_discovered() -> None:
    """Fetch it again at the next call: for tests, and after the provider moved."""
    _known.clear()


def is_secure_url(url: str, *, allow_http_loopback: bool) -> bool:
    """Return whether `url` is an https URL without user name, password and fragment, or http on loopback if allowed."""
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
