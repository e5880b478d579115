"""Check of a Content-Security-Policy that blocks the sign-in button."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from django_eprospera.checks.table import warning
from django_eprospera.conf import conf

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_form_action"]


@register(Tags.security)
def check_form_action(**_: Any) -> list[CheckMessage]:
    """Return a warning for each policy in the settings whose `form-action` does not allow the provider."""
    provider = conf.EPROSPERA_BASE_URL
    hint = f"Add {provider!r} to it: browsers apply form-action to the redirect that follows the button's form, too."
    return [
        warning("W007", f"form-action in {name} blocks the sign-in button: it does not allow {provider}.", hint)
        for name, sources in _policies()
        if not any(_allows(source, provider) for source in sources)
    ]


def _policies() -> Iterator[tuple[str, list[str]]]:
    """Yield the settings of Django 6 and django-csp (4, and 3) that restrict form-action, with its sources."""
    csp = getattr(settings, "CONTENT_SECURITY_POLICY", None) or {}
    for name, sources in (
        ("SECURE_CSP", (getattr(settings, "SECURE_CSP", None) or {}).get("form-action")),
        ("CONTENT_SECURITY_POLICY", (csp.get("DIRECTIVES") or {}).get("form-action")),
        ("CSP_FORM_ACTION", getattr(settings, "CSP_FORM_ACTION", None)),
    ):
        if sources:
            yield name, sources.split() if isinstance(sources, str) else [str(source) for source in sources]


def _allows(source: str, provider: str) -> bool:
    """Whether a source expression of CSP Level 3 matches an origin: `*`, a scheme, or a host with or without wildcard."""
    if source in {"*", f"{urlsplit(provider).scheme}:"}:
        return True
    scheme, _, host = source.rpartition("://")
    host = host.partition("/")[0]
    return scheme in {"", urlsplit(provider).scheme} and fnmatch(urlsplit(provider).netloc, host.replace("[", "[[]"))
