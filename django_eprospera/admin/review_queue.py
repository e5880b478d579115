"""The review queue: its filter, its search, and the order of reviews."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.utils.translation import gettext_lazy as _

from django_eprospera.conf import conf
from django_eprospera.kyc.affiliations import own_subjects
from django_eprospera.models import Connection, LegalEntity, NaturalPerson, Review

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.admin.views.main import ChangeList
    from django.http import HttpRequest

__all__ = ["FindForm", "StatusFilter", "find", "is_queue", "next_in_queue", "queue_length"]

_ALL = "all"
_MOST_COUNTED = 99


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


def is_queue(request: HttpRequest) -> bool:
    """Whether the list shows what awaits a decision."""
    return "pk__in" not in request.GET and request.GET.get(StatusFilter.parameter_name) in (None, "")


def queue_length() -> str:
    """Return how many reviews await a decision, as text that ends with "+" if there are more."""
    waiting = Review.objects.filter(status=Review.Status.PENDING).order_by("queued_at", "pk")
    number = len(waiting.values_list("pk", flat=True)[: _MOST_COUNTED + 1])
    return str(number) if number <= _MOST_COUNTED else f"{_MOST_COUNTED}+"


def find(sought: str, most: int) -> list[Review]:
    """Return reviews of the person or company with this permit number, or of the user with this e-mail address or name.

    At most `most`, the oldest of them first. The user name is compared as it is written and in lower case, the e-mail address
    in any case, for which a large site needs an index (docs/operations.md#large-sites).
    """
    people = NaturalPerson.objects.filter(rpn_index=sought).values_list("connection__user", flat=True)
    companies = LegalEntity.objects.filter(rpn_index=sought).values_list("pk", flat=True)
    users = set(people[:most])
    if not re.fullmatch(r"[\d\W]+", sought):  # never a permit number in plain text: databases log slow queries
        users |= _users(sought, most)
    of_users = Review.objects.filter(user__in=users)
    found = {*of_users[:most], *Review.objects.filter(entity__in=list(companies[:most]))[:most]}
    return sorted(found, key=lambda review: review.opened_at)[:most]


def _users(sought: str, most: int) -> set[Any]:
    model: Any = get_user_model()
    users = model.objects.values_list("pk", flat=True)
    found = set(users.filter(**{f"{model.USERNAME_FIELD}__in": {sought, sought.lower()}})[:most])
    if email := model.get_email_field_name():
        found.update(users.filter(**{f"{email}__iexact": sought})[:most])
    return found


def next_in_queue(reviewer: Any, after: Review | None = None) -> Review | None:
    """Return the review that has waited longest and that the reviewer may decide; with `after`, the one behind that review."""
    waiting = Review.objects.filter(status=Review.Status.PENDING).order_by("queued_at", "pk")
    waiting = _without_other_providers(waiting)
    own = list(own_subjects(reviewer).values_list("subject", flat=True))
    waiting = waiting.exclude(user=reviewer).exclude(subject__in=own)
    if after is not None and after.queued_at is not None:
        behind = waiting.filter(
            Q(queued_at__gt=after.queued_at) | Q(pk__gt=after.pk), queued_at__gte=after.queued_at
        ).first()
        if behind is not None:
            return behind
    return waiting.exclude(pk=after.pk).first() if after else waiting.first()


def _without_other_providers(reviews: QuerySet[Review]) -> QuerySet[Review]:
    """Leave out reviews whose facts come only from connections of another provider or client than the settings name now."""
    current = Q(issuer=conf.EPROSPERA_BASE_URL, client_id=conf.client_id)
    of_user = Connection.objects.filter(user=OuterRef("user"))
    of_entity = Connection.objects.filter(
        entity_consents__entity=OuterRef("entity"), entity_consents__withdrawn_at=None
    )
    return (
        reviews.alias(user_any=_first(of_user), user_now=_first(of_user.filter(current)))
        .alias(entity_any=_first(of_entity), entity_now=_first(of_entity.filter(current)))
        .filter(Q(user_any=None) | Q(user_now__isnull=False), Q(entity_any=None) | Q(entity_now__isnull=False))
    )


def _first(rows: QuerySet[Connection]) -> Subquery:
    # Not Exists, which PostgreSQL may answer from a hash of the whole table instead of the index.
    return Subquery(rows.values("pk")[:1])
