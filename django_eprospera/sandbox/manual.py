"""Descriptions of the endpoints and the control API for the index page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["CONTROL", "ENDPOINTS"]

_NONE, _BROWSER, _CLIENT, _TOKEN = _("none"), _("the browser's session"), _("client"), _("access token")

ENDPOINTS: Final[list[tuple[str, _StrPromise]]] = [
    ("GET /.well-known/openid-configuration", _NONE),
    ("GET /api/oauth/.well-known/jwks.json", _NONE),
    ("GET /api/oauth/authorize", _BROWSER),
    ("POST /api/oauth/token", _CLIENT),
    ("POST /api/oauth/device_authorization", _("client eprospera-cli")),
    ("POST /api/oauth/revoke", _CLIENT),
    ("POST /api/oauth/introspect", _CLIENT),
    ("GET, POST /api/oauth/userinfo", _TOKEN),
    ("GET /api/v1/me/natural-person", _TOKEN),
    ("GET /api/v1/me/natural-person/residency", _TOKEN),
    ("GET /api/v1/me/natural-person/id-verification", _TOKEN),
    ("GET /api/v1/me/legal-entities", _TOKEN),
    ("GET /api/v1/me/legal-entities/{id}", _TOKEN),
    ("GET /api/v1/me/legal-entities/{id}/documents", _TOKEN),
    ("POST /api/v1/verify_rpn", _("key: sk-sandbox, or ak- and the sub of a persona")),
]

CONTROL: Final[list[tuple[str, _StrPromise]]] = [
    ("GET /_sandbox/health", _("status and issuer; answers when the sandbox is ready")),
    (
        "GET, DELETE /_sandbox/stats",
        _("requests by path and status, grants by type, refreshes, reuse; DELETE resets the counters"),
    ),
    (
        (
            'POST /_sandbox/faults {"path", "status", "body", "content_type", "headers", "delay", "drip", "repeat", "drop", '
            '"after", "method", "form", "times"}'
        ),
        _(
            "requests for the path fail: another response, a delay, one byte at a time, a closed connection; with after, once "
            "the request has been processed; GET lists pending faults, DELETE removes them"
        ),
    ),
    (
        'GET, POST, DELETE /_sandbox/switches {"missing_scope_status": 401}',
        _("behaviour of the provider; DELETE restores the switches of the command line"),
    ),
    (
        'POST /_sandbox/rotate-key {"forget": false}',
        _("creates a signing key; with forget older keys are no longer published"),
    ),
    (
        'GET, POST, DELETE /_sandbox/tamper {"id_token": {"claims", "header", "key"}, "token", "userinfo", "discovery"}',
        _(
            "invalid responses: members changed or, with null, removed; key that signs the ID token: own, foreign, none, "
            "public"
        ),
    ),
    ('POST /_sandbox/revoke {"sub"}', _("ends the grants of a persona, as if revoked at the portal")),
    (
        'POST /_sandbox/represent {"sub", "entity", "active": false}',
        _("ends or restores the representation of a company by a persona"),
    ),
    (
        'POST /_sandbox/personas/<sub> {"claims", "person", "residency", "check"}',
        _("changes the data of a persona; null removes a part, {} undoes all changes"),
    ),
    (
        'POST /_sandbox/grants {"sub", "scopes", "entities", "count", "access_token_expires_in"}',
        _("creates grants with tokens, without a browser"),
    ),
    (
        'POST /_sandbox/sign-in {"url", "sub", "entities"}',
        _("answers an authorization request as a persona would, without a browser; returns the location to open next"),
    ),
    ('GET, POST /_sandbox/redirect-uris {"uri"}', _("registers one more redirect URI until the sandbox ends")),
    (
        'GET, POST /_sandbox/clock {"ahead": 86400}',
        _(
            "sets the clock so many seconds ahead of the machine's; tokens, URLs and residencies obey it (needs time-machine)"
        ),
    ),
    (
        "POST /_sandbox/reset {}",
        _(
            "deletes grants, changes, faults and tampering, resets counters, switches and clock; keeps keys and redirect URIs"
        ),
    ),
]
