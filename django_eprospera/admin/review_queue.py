"""The review queue: its filter, its search, and the order of reviews."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.translation import gettext_lazy as _

from django_eprospera.conf import conf
from django_eprospera.kyc.affiliations import own_subjects
from django_eprospera.models import Connection, LegalEntity, NaturalPerson, Review

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.admin.views.main import ChangeList
    from django.http import HttpRequest

__all__ = ["FindForm", "StatusFilter", "find", "next_in_queue"]

_ALL = "all"


class StatusFilter(admin.SimpleListFilter):
    """Filter by status; by default, reviews that await a decision."""

    title = _("status")
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """Return every status but the default one, and "all"."""
        others = [choice for choice in Review.Status.choices if choice[0] != Review.Status.PENDING.value]
        return [*others, (_ALL, _("All"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Review]) -> QuerySet[Review]:
        """Filter by the chosen status. The result of a search is shown whatever the status of its rows."""
        if self.value() == _ALL or "pk__in" in request.GET:
            return queryset
        return queryset.filter(status=self.value() or Review.Status.PENDING)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield the choices, the default one first and under its own name."""
        yield {
            "selected": self.value() is None,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": Review.Status.PENDING.label,
        }
        for value, title in self.lookup_choices:
            yield {
                "selected": self.value() == str(value),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }


class FindForm(forms.Form):
    """Search form. Sent by POST, because URLs are stored in logs and browser histories."""

    sought = forms.CharField(
        label=_("Permit number or e-mail address"),
        max_length=254,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )


def find(sought: str) -> QuerySet[Review]:
    """Return reviews of the person or company with this permit number, or of the user with this e-mail address or name."""
    people = NaturalPerson.objects.filter(rpn_index=sought).values("connection__user")
    companies = LegalEntity.objects.filter(rpn_index=sought).values("pk")
    wanted = Q(user__in=people) | Q(entity__in=companies)
    if not re.fullmatch(r"[\d\W]+", sought):  # never a permit number in plain text: databases log slow queries
        wanted |= Q(user__in=_users(sought))
    return Review.objects.filter(wanted).order_by("opened_at")


def _users(sought: str) -> QuerySet[Any]:
    model: Any = get_user_model()
    named = Q(**{f"{model.USERNAME_FIELD}__iexact": sought})
    if email := model.get_email_field_name():
        named |= Q(**{f"{email}__iexact": sought})
    users: QuerySet[Any] = model.objects.filter(named).values("pk")
    return users


def next_in_queue(reviewer: Any, after: Review | None = None) -> Review | None:
    """Return the review that has waited longest and that the reviewer may decide; with `after`, the one behind that review."""
    waiting = Review.objects.filter(status=Review.Status.PENDING).order_by("queued_at", "pk")
    waiting = waiting.exclude(_of_another_provider())
    waiting = waiting.exclude(user=reviewer).exclude(subject__in=own_subjects(reviewer).values("subject"))
    if after is not None and after.queued_at is not None:
        behind = waiting.filter(
            Q(queued_at__gt=after.queued_at) | Q(queued_at=after.queued_at, pk__gt=after.pk)
        ).first()
        if behind is not None:
            return behind
    return waiting.exclude(pk=after.pk).first() if after else waiting.first()


def _of_another_provider() -> Q:
    """Match reviews whose facts come only from connections of another provider or client than the settings name now."""
    current = Q(issuer=conf.EPROSPERA_BASE_URL, client_id=conf.client_id)
    of_user = Connection.objects.filter(user=OuterRef("user"))
    of_entity = Connection.objects.filter(
        entity_consents__entity=OuterRef("entity"), entity_consents__withdrawn_at=None
    )
    return (Exists(of_user) & ~Exists(of_user.filter(current))) | (
        Exists(of_entity) & ~Exists(of_entity.filter(current))
    )
