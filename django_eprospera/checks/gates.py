"""Check that the site requests the scopes that its gates need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.core.checks import CheckMessage, Tags, register
from django.urls import URLPattern, get_resolver

from django_eprospera.checks.table import warning
from django_eprospera.conf import conf
from django_eprospera.errors import ConfigurationError
from django_eprospera.scopes import FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SCOPE_HINT", "check_gates", "missing_scopes"]

SCOPE_HINT: Final = (
    "Add them to SOCIAL_AUTH_EPROSPERA_SCOPE. People who are connected already share them with their next sign-in."
)


@register(Tags.security)
def check_gates(**_: Any) -> list[CheckMessage]:
    """Return a warning for each kind of gate in the URLconf whose scopes are not requested."""
    views: dict[str, list[str]] = {}
    for pattern in _patterns(get_resolver().url_patterns):
        for feature in sorted(getattr(pattern.callback, "eprospera_features", ())):
            views.setdefault(feature, []).append(pattern.lookup_str)
    return [
        warning("W009", f"{_some(names)} cannot be opened: {missing}.", SCOPE_HINT)
        for feature, names in sorted(views.items())
        if (missing := missing_scopes(feature))
    ]


def missing_scopes(feature: str) -> str:
    """Return which scopes of a feature the site does not request, as part of a sentence; empty if there are none."""
    try:
        missing = [scope for scope in FEATURES[feature] if scope not in conf.requested_scopes]
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
