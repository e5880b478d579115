"""Check that the site requests the scopes that its gates need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.urls import URLPattern, get_resolver

from django_eprospera.checks.table import error, warning
from django_eprospera.conf import conf
from django_eprospera.errors import ConfigurationError
from django_eprospera.middleware import url_policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["SCOPE_HINT", "check_gates", "check_url_policies", "missing_scopes"]

_MIDDLEWARE: Final = "django_eprospera.middleware.AccessMiddleware"

SCOPE_HINT: Final = (
    "Add them to SOCIAL_AUTH_EPROSPERA_SCOPE. People who are connected already share them with their next sign-in."
)


@register(Tags.security)
def check_gates(**_: Any) -> list[CheckMessage]:
    """Return a warning for each scope that gates in the URLconf need and that is not requested."""
    views: dict[str, list[str]] = {}
    for pattern in _patterns(get_resolver().url_patterns):
        for scope in getattr(pattern.callback, "eprospera_scopes", ()):
            views.setdefault(scope, []).append(pattern.lookup_str)
    return [
        warning("W009", f"{_some(names)} cannot be opened: {missing}.", SCOPE_HINT)
        for scope, names in sorted(views.items())
        if (missing := missing_scopes([scope]))
    ]


@register(Tags.security)
def check_url_policies(**_: Any) -> list[CheckMessage]:
    """Return an error if EPROSPERA_GATES restricts nothing, and a warning if it needs scopes that are not requested."""
    try:
        policies = url_policies()
    except ConfigurationError as found:
        return [error("E014", str(found), "See the setting EPROSPERA_GATES in the README.")]
    if policies and _MIDDLEWARE not in settings.MIDDLEWARE:
        hint = f'Add "{_MIDDLEWARE}" to MIDDLEWARE, below AuthenticationMiddleware.'
        return [error("E014", "EPROSPERA_GATES is set, and nothing reads it: the URLs are open.", hint)]
    return [
        warning("W009", f"URLs below {beginning} cannot be opened: {missing}.", SCOPE_HINT)
        for beginning, policy in policies
        if (missing := missing_scopes(policy.needed_scopes))
    ]


def missing_scopes(needed: Iterable[str]) -> str:
    """Return which of the scopes the site does not request, as part of a sentence; empty if there are none."""
    try:
        missing = [scope for scope in needed if scope not in conf.requested_scopes]
    except ConfigurationError:
        return ""  # reported as E013
    return f"this site does not request {' and '.join(missing)}" if missing else ""


def _patterns(patterns: Any) -> Iterator[URLPattern]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern
        else:
            yield from _patterns(pattern.url_patterns)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more views" if len(names) > 3 else "")
