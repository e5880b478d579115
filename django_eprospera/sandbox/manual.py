"""What stands on the index page about endpoints and the control API. Words only."""

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
    ("POST /api/oauth/revoke", _CLIENT),
    ("POST /api/oauth/introspect", _CLIENT),
    ("GET, POST /api/oauth/userinfo", _TOKEN),
    ("GET /api/v1/me/natural-person", _TOKEN),
    ("GET /api/v1/me/natural-person/residency", _TOKEN),
    ("GET /api/v1/me/natural-person/id-verification", _TOKEN),
    ("GET /api/v1/me/legal-entities", _TOKEN),
    ("GET /api/v1/me/legal-entities/{id}", _TOKEN),
    ("GET /api/v1/me/legal-entities/{id}/documents", _TOKEN),
]

CONTROL: Final[list[tuple[str, _StrPromise]]] = [
    ("GET /_sandbox/health", _("says that the sandbox is ready")),
    (
        "GET, DELETE /_sandbox/stats",
        _("requests by path and status, grants by type, refreshes, reuse; DELETE starts again at nothing"),
    ),
    (
        (
            'POST /_sandbox/faults {"path", "status", "body", "content_type", "headers", "delay", "drip", "repeat", "drop", '
            '"after", "method", "form", "times"}'
        ),
        _(
            "requests for the path fail: another answer, a late one, one byte at a time, a cut connection; with after, once "
            "the request was carried out; GET lists what waits, DELETE clears it"
        ),
    ),
    (
        'GET, POST, DELETE /_sandbox/switches {"missing_scope_status": 401}',
        _("habits of the provider; DELETE goes back to the start"),
    ),
    (
        'POST /_sandbox/rotate-key {"forget": false}',
        _("a new signing key; with forget the old ones are no longer published"),
    ),
    (
        'GET, POST, DELETE /_sandbox/tamper {"id_token": {"claims", "header", "key"}, "token", "userinfo", "discovery"}',
        _(
            "answers that a good provider would never give: members changed or, with null, left out; key: own, foreign, "
            "none, public"
        ),
    ),
    ('POST /_sandbox/revoke {"sub"}', _("ends a person's grants, as if revoked at the portal")),
    (
        'POST /_sandbox/represent {"sub", "entity", "active": false}',
        _("the person no longer represents a company, or again does"),
    ),
    (
        'POST /_sandbox/personas/<sub> {"claims", "person", "residency", "check"}',
        _("lays changes over a person's data; null means there is none, {} takes all changes back"),
    ),
    (
        'POST /_sandbox/grants {"sub", "scopes", "entities", "count", "access_token_expires_in"}',
        _("makes grants with tokens at once, without a browser"),
    ),
    ("POST /_sandbox/reset {}", _("forgets grants, changes, faults, tampering, counters and switches; keys stay")),
]
