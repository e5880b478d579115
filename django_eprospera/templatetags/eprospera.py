"""Template tags: `{% load eprospera %}` provides the sign-in button and a filter for texts of the provider."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.urls import reverse
from social_django.views import NAMESPACE

from django_eprospera import wording
from django_eprospera.sign_in.next_url import safe_next

__all__ = ["eprospera_sign_in"]

register = template.Library()


register.filter("visible", wording.visible)


@register.inclusion_tag("django_eprospera/sign_in_button.html", takes_context=True)
def eprospera_sign_in(
    context: dict[str, Any],
    next: str = "",  # noqa: A002 - what Django calls it
    label: str = "",
    prompt: str = "",
    max_age: int | None = None,
) -> dict[str, Any]:
    """Render the sign-in button as a form: `{% eprospera_sign_in next="/x/" label=_("Join") prompt="consent" %}`.

    `next` is the local URL to return to; the default is `next` in the page's query string. `prompt` is `consent` (choose
    again what to share) or `login` (enter credentials again). `max_age` is the age in seconds up to which an earlier
    sign-in at the provider is accepted.
    """
    request = context.get("request")
    if not next and request is not None:
        next = safe_next(request, request.GET.get(REDIRECT_FIELD_NAME, ""))  # noqa: A001
    return {
        "action": reverse(f"{NAMESPACE}:begin", args=["eprospera"]),
        "csrf_token": context.get("csrf_token"),
        "next": next,
        "label": label,
        "prompt": prompt,
        "max_age": max_age,
    }
