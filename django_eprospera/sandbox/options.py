"""How may a sandbox be started, and which of its habits can be changed? Knows no Django.

`Options` is fixed at the start. `Switches` are habits of the provider that its documentation leaves open or has changed over
time; they can be set on the command line and again while the sandbox runs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from typing import Any, Final

from django_eprospera.scopes import LABELS

__all__ = [
    "DEFAULT_CLIENT_ID",
    "DEFAULT_CLIENT_SECRET",
    "DEFAULT_REDIRECT_URIS",
    "Options",
    "Switches",
    "changed",
    "parse",
]

DEFAULT_CLIENT_ID: Final = "sandbox-client"
# A published constant on purpose: it opens nothing but a sandbox that was started without a secret of its own.
DEFAULT_CLIENT_SECRET: Final = "sandbox-secret"  # noqa: S105
# `runserver` prints 127.0.0.1; people and README type localhost.
DEFAULT_REDIRECT_URIS: Final = tuple(f"http://{host}:8000/complete/eprospera/" for host in ("localhost", "127.0.0.1"))


def _(text: str) -> str:
    """Marks a text for translators. Django's own marker would already ask for settings."""
    return text


def _switch(default: Any, text: str, *choices: Any) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True)
class Switches:
    """Habits of the provider that a client could come to depend on. Defaults follow the newest specification."""

    access_token_seconds: int = _switch(3600, _("how long an access token is good"))
    refresh_token_days: int = _switch(180, _("how long a refresh token is good"))
    refresh_lifetime: str = _switch(
        "sliding", _("whether the days start again with each rotation (sliding) or not (fixed)"), "sliding", "fixed"
    )
    refresh_reuse: str = _switch(
        "revoke",
        _("a refresh token used twice ends the whole grant (revoke) or is only refused (reject)"),
        "revoke",
        "reject",
    )
    code_seconds: int = _switch(60, _("how long an authorization code is good"))
    id_token_seconds: int = _switch(3600, _("how long an ID token is good"))
    id_token_profile: str = _switch(
        "none", _("whether ID tokens carry the profile and e-mail claims too"), "none", "claims"
    )
    id_token_on_refresh: str = _switch("yes", _("whether a refresh with openid answers with an ID token"), "yes", "no")
    consent: str = _switch("ask", _("ask for consent each time, or remember it for the same scopes"), "ask", "remember")
    require_pkce: str = _switch("no", _("refuse authorization requests without a code challenge"), "no", "yes")
    iss_parameter: str = _switch("no", _("add iss to authorization responses (RFC 9207)"), "no", "yes")
    redirect_status: int = _switch(303, _("status of the redirect back to the client"), 303, 302)
    missing_scope_status: int = _switch(403, _("status when an access token lacks a scope"), 403, 401)
    dates: str = _switch("date-time", _("calendar dates as date-time or as YYYY-MM-DD"), "date-time", "date")
    sex: str = _switch("short", _("sex as M and F, or as Male and Female"), "short", "long")
    empty_claims: str = _switch("absent", _("empty userinfo claims are left out or sent as null"), "absent", "null")
    file_url_seconds: int = _switch(3600, _("how long a signed image or document URL is good"))


@dataclass(frozen=True)
class Options:
    """Everything that is fixed when a sandbox starts."""

    host: str
    port: int
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    redirect_uris: tuple[str, ...]
    allowed_scopes: tuple[str, ...]
    data_dir: str | None
    quiet: bool
    secret_given: bool
    switches: Switches


def changed(switches: Switches, changes: dict[str, Any]) -> Switches:
    """`switches` with `changes` applied. Raises ValueError naming the first unknown name or value."""
    values = {each.name: getattr(switches, each.name) for each in fields(Switches)}
    known = {each.name: each for each in fields(Switches)}
    for name, value in changes.items():
        if name not in known:
            raise ValueError(f"There is no switch {name!r}. Known: {', '.join(known)}.")
        choices = known[name].metadata["choices"]
        if choices and value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}.")
        if not isinstance(value, type(known[name].default)) or isinstance(value, bool):
            raise ValueError(f"{name} must be a {type(known[name].default).__name__}.")  # noqa: TRY004 - the caller's one error
        values[name] = value
    return Switches(**values)


def parse(arguments: list[str]) -> Options:
    """Reads the command line. Exits with code 2 and a message when it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="eprospera-sandbox",
        description="A local stand-in for the e-Próspera provider. Nothing in it is real: never show it to the internet.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8001, help="port to listen on, 0 for any that is free (default: %(default)s)"
    )
    parser.add_argument("--issuer", help="origin that browsers and clients use (default: http://localhost:PORT)")
    parser.add_argument("--client-id", default=DEFAULT_CLIENT_ID, help="(default: %(default)s)")
    parser.add_argument("--client-secret", default=DEFAULT_CLIENT_SECRET, help="(default: %(default)s)")
    parser.add_argument(
        "--redirect-uri", action="append",
        help=f"registered redirect URI, repeatable (default: {' and '.join(DEFAULT_REDIRECT_URIS)})",
    )  # fmt: skip
    parser.add_argument(
        "--allowed-scope", action="append", choices=list(LABELS), metavar="SCOPE",
        help="scope that the client may ask for, repeatable (default: all nine)",
    )  # fmt: skip
    parser.add_argument("--data-dir", help="directory that keeps keys, grants and changes (default: forget at exit)")
    parser.add_argument("--quiet", action="store_true", help="print no line per request")
    group = parser.add_argument_group("habits of the provider, changeable while it runs")
    for each in fields(Switches):
        group.add_argument(
            f"--{each.name.replace('_', '-')}", type=type(each.default), default=each.default,
            choices=each.metadata["choices"] or None, help=f"{each.metadata['help']} (default: %(default)s)",
        )  # fmt: skip
    given = parser.parse_args(arguments)
    if not 0 <= given.port <= 65535:
        parser.error(f"argument --port: {given.port} is not a port number (1 to 65535, or 0 for any that is free)")
    for uri in given.redirect_uri or []:
        if "://" not in uri or "#" in uri or any(c.isspace() for c in uri):
            parser.error(f"argument --redirect-uri: {uri!r} is not an absolute URI without fragment")
    issuer = (given.issuer or "").rstrip("/")
    if issuer and not issuer.startswith(("http://", "https://")):
        parser.error(f"argument --issuer: {issuer!r} does not begin with http:// or https://")
    return Options(
        host=given.host, port=given.port, issuer=issuer, client_id=given.client_id, client_secret=given.client_secret,
        redirect_uris=tuple(given.redirect_uri or DEFAULT_REDIRECT_URIS),
        allowed_scopes=tuple(scope for scope in LABELS if scope in (given.allowed_scope or LABELS)),
        data_dir=given.data_dir, quiet=given.quiet, secret_given=given.client_secret != DEFAULT_CLIENT_SECRET,
        switches=Switches(**{each.name: getattr(given, each.name) for each in fields(Switches)}),
    )  # fmt: skip
