"""Local URLs to return to: the check of `next`, and the page that sent a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

if TYPE_CHECKING:
    from django.http import HttpRequest

__all__ = ["page_before", "safe_next"]

_MOST_CHARACTERS: Final = 2000


def safe_next(request: HttpRequest, target: str, *hosts: str) -> str:
    """Return `target` if it is a URL of this site or of one of `hosts`, else an empty string."""
    if not target or len(target) > _MOST_CHARACTERS or not target.isprintable() or "\\" in target:
        return ""
    allowed = url_has_allowed_host_and_scheme(target, {request.get_host(), *hosts}, require_https=request.is_secure())
    return target if allowed and target.startswith(("/", "http://", "https://")) else ""


def page_before(request: HttpRequest) -> str:
    """Return the local URL of the page that sent this request, or LOGIN_REDIRECT_URL when there is none."""
    referer = safe_next(request, request.headers.get("Referer", ""))
    parts = urlsplit(referer)
    if not parts.netloc or parts.path == request.path:
        return resolve_url(settings.LOGIN_REDIRECT_URL)
    return parts.path + (f"?{parts.query}" if parts.query else "")
