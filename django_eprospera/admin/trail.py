"""Admin of audit entries and decisions, both read-only."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from django_eprospera.admin.read_only import FactsAdmin, ReadOnlyAdmin
from django_eprospera.admin.rows import Row, Section, short
from django_eprospera.errors import SealedValueError
from django_eprospera.kyc import verify_decision
from django_eprospera.models import AuditEntry, Decision
from django_eprospera.wording import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.db.models import QuerySet
    from django.http import HttpRequest

__all__: list[str] = []


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """The audit chain, newest entry first."""

    list_display = ("position", "time", "action", "who", "about", "summary")
    list_filter = ("action", ("at", admin.DateFieldListFilter))
    ordering: ClassVar[Any] = ("-at",)
    sortable_by = ("time",)
    search_help_text = _("Model and primary key of the subject, or the user who acted.")
    fields = ("position", "at", "action", "who", "subject", "said", "rows", "previous", "digest")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditEntry]:
        """Read the actor with the entry, so that one who was deleted is None."""
        rows: QuerySet[AuditEntry] = super().get_queryset(request).select_related("actor")
        return rows

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:  # noqa: ARG002 - Django's signature
        """Return what is searched, for the page to show the form."""
        return "subject", "actor"

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002 - Django's signature
        queryset: QuerySet[AuditEntry],
        search_term: str,
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Look up the whole subject, which contains a colon, or the whole user name of the actor."""
        if not search_term:
            return queryset, False
        if ":" in search_term:
            return queryset.filter(subject=search_term), False
        user: Any = get_user_model()
        named = user.objects.filter(**{user.USERNAME_FIELD: search_term})
        return queryset.filter(actor__in=list(named.values_list("pk", flat=True))), False

    @admin.display(description=_("time"), ordering="at")
    def time(self, obj: AuditEntry) -> str:
        """Return the time of the event."""
        return short(obj.at)

    @admin.display(description=_("actor"))
    def who(self, obj: AuditEntry) -> str:
        """Return the actor, or the primary key of one who has been deleted."""
        return str(obj.actor or obj.actor_id or "–")

    @admin.display(description=_("subject"))
    def about(self, obj: AuditEntry) -> str:
        """Return the model and the beginning of the primary key."""
        label, _colon, key = obj.subject.partition(":")
        return f"{label.rpartition('.')[2]} {key[:8]}"

    @admin.display(description=_("detail"))
    def summary(self, obj: AuditEntry) -> str:
        """Return the beginning of the detail."""
        return Truncator(self.said(obj)).chars(60)

    @admin.display(description=_("detail"))
    def said(self, obj: AuditEntry) -> str:
        """Return the detail: names of fields, and codes."""
        return "; ".join(
            f"{name}: {', '.join(value) if isinstance(value, list) else value}" for name, value in obj.detail.items()
        )


@admin.register(Decision)
class DecisionAdmin(FactsAdmin):
    """Decisions with their evidence, masked."""

    list_display = ("decided_at", "outcome", "review", "reviewer")
    list_filter = ("outcome", ("decided_at", admin.DateFieldListFilter))
    ordering: ClassVar[Any] = ("-decided_at",)
    sortable_by = ("decided_at",)
    groups: ClassVar[Any] = (
        (_("Decision"), ("outcome", "decided_at", "reviewer", "reviewer_name", "reason", "digest")),
        (_("Evidence"), ("evidence",)),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Decision]:
        """Read the reviewer with the decision, so that one who was deleted is None."""
        rows: QuerySet[Decision] = super().get_queryset(request).select_related("review", "reviewer")
        return rows

    def sections(self, obj: Decision, *, unmasked: bool) -> Iterator[Section]:
        """Add whether the decision is unchanged."""
        for section in super().sections(obj, unmasked=unmasked):
            yield Section(section.title, tuple(_laid_out(row) for row in section.rows))
        yield Section(str(_("Proof")), (_proof(obj),))


def _laid_out(row: Row) -> Row:
    if row.name == "reviewer_name":
        return replace(row, label=str(_("Name then")))
    if row.name != "evidence" or row.state != "plain":
        return row
    text = visible(json.dumps(row.value, indent=2, ensure_ascii=False, sort_keys=True))
    return Row(row.label, text, "text", row.name)


def _proof(decision: Decision) -> Row:
    label = str(_("Unchanged since it was taken"))
    try:
        holds = verify_decision(decision)
    except SealedValueError:
        return Row(label, str(_("unknown: a value cannot be decrypted")), "unreadable")
    if holds:
        return Row(label, str(_("yes: its digest is correct, and is in the audit chain")))
    return Row(label, str(_("NO: it was changed after it was taken, or is not in the audit chain")), "unreadable")
