"""Template tags: `{% load eprospera %}` provides the sign-in button, gates, and filters for texts and times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django import template
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.urls import reverse
from django.utils.formats import date_format
from social_django.views import NAMESPACE

from django_eprospera import wording
from django_eprospera.access import Policy, evaluate
from django_eprospera.sign_in.next_url import safe_next

if TYPE_CHECKING:
    from datetime import datetime

    from django_eprospera.access import Access

__all__ = ["eprospera_access", "eprospera_sign_in", "moment"]

register = template.Library()


register.filter("visible", wording.visible)

_THEMES: Final = ("auto", "light", "dark")
_VARIANTS: Final = ("filled", "outline")


@register.filter(expects_localtime=True)
def moment(value: datetime | None) -> str:
    """Return a time in the user's language, with its time zone: `{{ row.synced_at|moment }}`; empty for None."""
    return f"{date_format(value, 'DATETIME_FORMAT')} {value.tzname()}" if value else ""


@register.simple_tag(takes_context=True)
def eprospera_access(context: dict[str, Any], **needs: Any) -> Access:
    """Return whether the page's user has access by a policy with these arguments: `{% eprospera_access kyc=True as vault %}`.

    The result has `allowed`, `code`, `message` and `next_step`; a company in question is given by `of`:
    `{% eprospera_access company="shared" of=company as may %}`. Raises as `access.Policy` and `access.evaluate` do.
    """
    company = needs.pop("of", None)
    request = context["request"]
    return evaluate(request.user, Policy(**needs), company=company, request=request)


@register.inclusion_tag("django_eprospera/sign_in_button.html", takes_context=True)
def eprospera_sign_in(
    context: dict[str, Any],
    next: str = "",  # noqa: A002 - what Django calls it
    label: str = "",
    prompt: str = "",
    max_age: int | None = None,
    theme: str = "auto",
    variant: str = "filled",
) -> dict[str, Any]:
    """Render the sign-in button as a form: `{% eprospera_sign_in next="/x/" label=_("Join") prompt="consent" %}`.

    `next` is the local URL to return to; the default is `next` in the page's query string. `prompt` is `consent` (choose
    again what to share) or `login` (enter credentials again). `max_age` is the age in seconds up to which an earlier
    sign-in at the provider is accepted. `theme` is `light`, `dark` or `auto`, the colour scheme of the page around it.
    `variant` is `filled` or `outline`. Raises ValueError for another theme or variant.
    """
    for name, value, allowed in (("theme", theme, _THEMES), ("variant", variant, _VARIANTS)):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
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
        "theme": theme,
        "variant": variant,
    }
