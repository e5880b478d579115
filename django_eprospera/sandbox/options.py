"""Command line of the sandbox. Imports no Django.

`Options` are fixed at the start. `Switches` are behaviour of the provider that its documentation leaves open or has changed
(docs/provider.md#variants, docs/provider.md#not-confirmed); they can be set on the command line and while the sandbox runs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from typing import Any, Final

from django_eprospera.scopes import LABELS

__all__ = [
    "CLI_CLIENT_ID",
    "DEFAULT_CLIENT_ID",
    "DEFAULT_CLIENT_SECRET",
    "DEFAULT_REDIRECT_URIS",
    "Options",
    "Switches",
    "changed",
    "parse",
]

DEFAULT_CLIENT_ID: Final = "sandbox-client"
# Public on purpose: it is valid only for a sandbox that was started without --client-secret.
DEFAULT_CLIENT_SECRET: Final = "sandbox-secret"  # noqa: S105
# The public client of the provider's command line tool.
CLI_CLIENT_ID: Final = "eprospera-cli"
# `runserver` prints 127.0.0.1, README uses localhost.
DEFAULT_REDIRECT_URIS: Final = tuple(f"http://{host}:8000/complete/eprospera/" for host in ("localhost", "127.0.0.1"))


def _(text: str) -> str:
    """Mark a text for translation. Django's gettext would read settings, which are not configured yet."""
    return text


def _switch(default: Any, text: str, *choices: Any) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Switches:
    """Variable behaviour of the provider. Defaults follow the newest specification."""

    access_token_seconds: int = _switch(3600, _("lifetime of an access token"))
    refresh_token_days: int = _switch(180, _("lifetime of a refresh token"))
    refresh_lifetime: str = _switch(
        "sliding", _("whether each rotation restarts the lifetime (sliding) or not (fixed)"), "sliding", "fixed"
    )
    refresh_reuse: str = _switch(
        "revoke",
        _(
            "whether reuse of a refresh token ends the grant (revoke), is only refused (reject), or works for a while (grace)"
        ),
        "revoke",
        "reject",
        "grace",
    )
    refresh_grace_seconds: int = _switch(
        30, _("how long a rotated refresh token still works with refresh_reuse=grace; later reuse ends the grant")
    )
    revoke_refresh_token: str = _switch(
        "grant",
        _(
            "whether revoking a refresh token ends its access tokens too (grant), not (token), or all grants that the person "
            "gave the client (person)"
        ),
        "grant",
        "token",
        "person",
    )
    code_seconds: int = _switch(60, _("lifetime of an authorization code"))
    code_reuse: str = _switch(
        "revoke",
        _("whether reuse of an authorization code ends the grant (revoke) or is only refused (reject)"),
        "revoke",
        "reject",
    )
    device_code_seconds: int = _switch(900, _("lifetime of a device code"))
    device_interval: int = _switch(5, _("seconds between two polls for a device code"))
    id_token_seconds: int = _switch(3600, _("lifetime of an ID token"))
    id_token_profile: str = _switch(
        "claims", _("whether ID tokens contain the profile and e-mail claims of their scopes"), "claims", "none"
    )
    id_token_on_refresh: str = _switch(
        "yes", _("whether a refresh with the scope openid returns an ID token"), "yes", "no"
    )
    consent: str = _switch(
        "ask", _("whether consent is asked each time or remembered for the same scopes"), "ask", "remember"
    )
    prompts: str = _switch(
        "honour", _("whether authorize acts on prompt, max_age and login_hint or ignores them"), "honour", "ignore"
    )
    scope_error: str = _switch(
        "redirect",
        _(
            "whether the error for a scope that is not allowed is sent to the client or shown before any redirect (json)"
        ),
        "redirect",
        "json",
    )
    require_pkce: str = _switch(
        "no", _("whether authorization requests without a code challenge are refused"), "no", "yes"
    )
    iss_parameter: str = _switch("no", _("whether authorization responses contain iss (RFC 9207)"), "no", "yes")
    redirect_status: int = _switch(303, _("status of the redirect to the client"), 303, 302)
    authorize_errors: str = _switch(
        "page",
        _("whether a browser gets the JSON errors of authorize inside a page or bare; other clients get them bare"),
        "page",
        "json",
    )
    missing_scope_status: int = _switch(403, _("status when an access token lacks a scope"), 403, 401)
    missing_scope_error: str = _switch(
        "missing_scopes",
        _("error text when an access token lacks a scope: with the name of the scope, or not"),
        "missing_scopes",
        "insufficient_scope",
        "Forbidden",
    )
    entity_documents: str = _switch(
        "documents",
        _(
            "scopes that documents of an entity need: eprospera:entity.documents.read, or eprospera:entity.read too (both)"
        ),
        "documents",
        "both",
    )
    agent_keys: str = _switch(
        "yes", _("whether the three endpoints of me/natural-person accept Agent Keys (ak-)"), "yes", "no"
    )
    aliases: str = _switch("yes", _("whether the deprecated aliases of paths answer"), "yes", "no")
    cors: str = _switch("no", _("whether scripts of other origins may read the provider's responses"), "no", "yes")
    requests_per_minute: int = _switch(
        0, _("requests to OAuth and me/ per minute and credential before 429; 0 for no limit")
    )
    retry_after: str = _switch("no", _("whether 429 has Retry-After"), "no", "yes")
    dates: str = _switch("date-time", _("format of calendar dates: date-time or YYYY-MM-DD"), "date-time", "date")
    sex: str = _switch("short", _("format of sex: M and F, or Male and Female"), "short", "long")
    empty_claims: str = _switch("absent", _("whether empty userinfo claims are absent or null"), "absent", "null")
    file_url_seconds: int = _switch(3600, _("lifetime of a signed image or document URL"))
    image_bytes: int = _switch(0, _("least size of an image of the identity check, as a camera's would be"))


@dataclass(frozen=True)
class Options:
    """Options that are fixed when a sandbox starts."""

    host: str
    port: int
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...]
    allowed_scopes: tuple[str, ...]
    data_dir: str | None
    quiet: bool
    with_stdin: bool
    secret_given: bool
    switches: Switches


def changed(switches: Switches, changes: dict[str, Any]) -> Switches:
    """Return `switches` with `changes` applied. Raises ValueError for the first unknown name or value."""
    values = {each.name: getattr(switches, each.name) for each in fields(Switches)}
    known = {each.name: each for each in fields(Switches)}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"Unknown switch {name!r}. Switches: {', '.join(known)}.")
        choices = known[name].metadata["choices"]
        if choices and value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, not {value!r}.")
        if not isinstance(value, type(known[name].default)) or isinstance(value, bool):
            kind = type(known[name].default).__name__
            raise ValueError(f"{name} must be of type {kind}, not {type(value).__name__}.")  # noqa: TRY004 - callers catch ValueError
        values[name] = value
    return Switches(**values)


def parse(arguments: list[str]) -> Options:
    """Return the options of a command line. Exits with code 2 and a message if it is not valid."""
    parser = argparse.ArgumentParser(
        prog="eprospera-sandbox",
        description="Local simulation of the e-Próspera provider, with invented data. Do not expose it to the internet.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8001, help="port to listen on, 0 for any free port (default: %(default)s)"
    )
    parser.add_argument("--issuer", help="origin in URLs and tokens (default: http://localhost:PORT)")
    parser.add_argument("--client-id", default=DEFAULT_CLIENT_ID, help="(default: %(default)s)")
    parser.add_argument(
        "--client-secret",
        default=DEFAULT_CLIENT_SECRET,
        help="--client-secret=VALUE if it begins with - (default: %(default)s)",
    )
    parser.add_argument(
        "--redirect-uri", action="append",
        help=f"registered redirect URI, repeatable (default: {' and '.join(DEFAULT_REDIRECT_URIS)})",
    )  # fmt: skip
    parser.add_argument(
        "--allowed-scope", action="append", choices=list(LABELS), metavar="SCOPE",
        help="scope that the client may request, repeatable (default: all nine)",
    )  # fmt: skip
    parser.add_argument(
        "--data-dir", help="directory for keys, grants and changes (default: temporary, deleted at exit)"
    )
    parser.add_argument("--quiet", action="store_true", help="do not log requests")
    parser.add_argument(
        "--with-stdin", action="store_true",
        help="exit when standard input is closed: a sandbox that a test suite starts ends with it, however it ends",
    )  # fmt: skip
    group = parser.add_argument_group("behaviour of the provider, can be changed while the sandbox runs")
    for each in fields(Switches):
        group.add_argument(
            f"--{each.name.replace('_', '-')}", type=type(each.default), default=each.default,
            choices=each.metadata["choices"] or None, help=f"{each.metadata['help']} (default: %(default)s)",
        )  # fmt: skip
    given = parser.parse_args(arguments)
    if not 0 <= given.port <= 65535:
        parser.error(f"argument --port: must be 1 to 65535, or 0 for any free port, not {given.port}")
    if given.client_id == CLI_CLIENT_ID:
        parser.error(f"argument --client-id: {CLI_CLIENT_ID} is registered already, without a secret")
    for uri in given.redirect_uri or []:
        if "://" not in uri or "#" in uri or any(c.isspace() for c in uri):
            parser.error(f"argument --redirect-uri: must be an absolute URI without fragment, not {uri!r}")
    issuer = (given.issuer or "").rstrip("/")
    if issuer and not issuer.startswith(("http://", "https://")):
        parser.error(f"argument --issuer: must begin with http:// or https://, not {issuer!r}")
    return Options(
        host=given.host, port=given.port, issuer=issuer, client_id=given.client_id, client_secret=given.client_secret,
        redirect_uris=tuple(given.redirect_uri or DEFAULT_REDIRECT_URIS),
        allowed_scopes=tuple(scope for scope in LABELS if scope in (given.allowed_scope or LABELS)),
        data_dir=given.data_dir, quiet=given.quiet, with_stdin=given.with_stdin,
        secret_given=given.client_secret != DEFAULT_CLIENT_SECRET,
        switches=Switches(**{each.name: getattr(given, each.name) for each in fields(Switches)}),
    )  # fmt: skip
