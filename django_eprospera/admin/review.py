"""Admin of KYC reviews: the queue, and one page per subject on which a reviewer decides."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, cast

from asgiref.sync import sync_to_async
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.http import content_disposition_header
from django.utils.text import capfirst
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from django_eprospera import audit, kyc
from django_eprospera.admin import files
from django_eprospera.admin.read_only import ReadOnlyAdmin, may_see_personal_data
from django_eprospera.admin.review_page import context_of, viewed_fields
from django_eprospera.admin.review_queue import FindForm, StatusFilter, find, is_queue, next_in_queue, queue_length
from django_eprospera.admin.rows import short
from django_eprospera.casefile import Purpose, export, may_export
from django_eprospera.conf import conf
from django_eprospera.decorators import ask_to_authenticate
from django_eprospera.errors import DecisionRefused, EprosperaError
from django_eprospera.kyc.affiliations import is_own_review
from django_eprospera.kyc.checks import results_of
from django_eprospera.kyc.decisions import MAX_REASON, facts_version, may_decide, outcomes_for
from django_eprospera.kyc.facts import facts_of
from django_eprospera.models import AuditEntry, Decision, Review
from django_eprospera.sign_in.recent import has_recent_authentication

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Iterator

    from django.http.response import HttpResponseBase
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

__all__: list[str] = []

logger = logging.getLogger(__name__)

# A search with more matches than this shows none of them.
_MOST_FOUND = 20

_CONSEQUENCES = {
    Decision.Outcome.APPROVED: (
        gettext_lazy("Approve"),
        gettext_lazy("Access is granted at once. If identity facts change later, the review returns to the queue."),
    ),
    Decision.Outcome.REJECTED: (
        gettext_lazy("Reject"),
        gettext_lazy("Access stays closed. The person is told that it was not approved, and may see your reason."),
    ),
    Decision.Outcome.REOPENED: (
        gettext_lazy("Put back into the queue"),
        gettext_lazy("Access is closed until the next decision."),
    ),
}


class DecisionForm(forms.Form):
    """A reviewer's decision. `kyc.decide` checks whether it is possible."""

    outcome = forms.ChoiceField(widget=forms.RadioSelect, error_messages={"required": gettext_lazy("Choose one.")})
    reason = forms.CharField(required=False, max_length=MAX_REASON, widget=forms.Textarea(attrs={"rows": 4}))
    seen = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, review: Review, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        choices = [(outcome.value, _CONSEQUENCES[outcome][0]) for outcome in outcomes_for(review)]
        cast("forms.ChoiceField", self.fields["outcome"]).choices = choices


class ExportForm(forms.Form):
    """What a case file is exported for."""

    purpose = forms.ChoiceField(label=gettext_lazy("What is it for?"), choices=[("", "–"), *Purpose.choices])


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    """The queue, and the page of one review."""

    list_display = ("subject_line", "standing", "waiting_for", "failed_checks", "decided")
    list_display_links = ("subject_line",)
    list_filter = (StatusFilter, "subject_kind")
    list_select_related = ("user", "entity")
    ordering: ClassVar[Any] = ("queued_at",)
    change_list_template = "admin/django_eprospera/review/queue.html"

    def get_urls(self) -> list[URLPattern]:
        """Add the search, the redirect to the next review, and the audited files."""
        wrap = self.admin_site.admin_view
        return [
            path("find/", wrap(require_POST(self.find_view)), name="django_eprospera_review_find"),
            path("<uuid:pk>/export/", wrap(require_POST(self.export_view)), name="django_eprospera_review_export"),
            path("next/", wrap(self.next_view), name="django_eprospera_review_next"),
            path("picture/<uuid:pk>/", wrap(files.picture), name="django_eprospera_picture"),
            path("picture/<uuid:pk>/small/", wrap(files.thumbnail), name="django_eprospera_thumbnail"),
            path("document/<uuid:pk>/", wrap(files.document), name="django_eprospera_document"),
            *super().get_urls(),
        ]

    # The queue

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the time in the queue, or of the opening if reviews are listed that are not in the queue."""
        return ("queued_at",) if is_queue(request) else ("opened_at",)

    def get_sortable_by(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the column that the queue may be sorted by."""
        return ("waiting_for",) if is_queue(request) else ()

    @admin.display(description=gettext_lazy("subject"))
    def subject_line(self, obj: Review) -> str:
        """Return kind and user, or kind and ID. The list shows no personal data."""
        if obj.subject_kind == Review.Subject.PERSON:
            name = str(obj.user or _("no account any more"))
        else:
            name = obj.subject.rpartition(":")[2][:8]
        return f"{capfirst(obj.get_subject_kind_display())}: {name}"

    @admin.display(description=gettext_lazy("status"))
    def standing(self, obj: Review) -> SafeString:
        """Return the status."""
        return format_html('<span class="eprospera-badge {}">{}</span>', obj.status, obj.get_status_display())

    @admin.display(description=gettext_lazy("in the queue for"), ordering="queued_at")
    def waiting_for(self, obj: Review) -> str:
        """Return how long the review has been in the queue."""
        return timesince(obj.queued_at) if obj.queued_at else "–"

    @admin.display(description=gettext_lazy("decided"))
    def decided(self, obj: Review) -> str:
        """Return the time of the last decision."""
        return short(obj.decided_at)

    @admin.display(description=gettext_lazy("automatic checks"))
    def failed_checks(self, obj: Review) -> str:
        """Return the number of checks that did not pass, as of the last sync."""
        failed = sum(check["outcome"] == kyc.Outcome.FAIL for check in obj.checks)
        warned = sum(check["outcome"] == kyc.Outcome.WARN for check in obj.checks)
        parts = []
        if failed:
            parts.append(ngettext("✕ %d failed", "✕ %d failed", failed) % failed)
        if warned:
            parts.append(ngettext("! %d to look at", "! %d to look at", warned) % warned)
        return ", ".join(parts) or (_("✓ all passed") if obj.checks else "–")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Return the queue, with its search form."""
        context = {"title": capfirst(str(self.opts.verbose_name_plural)), "find_form": FindForm()}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def find_view(self, request: HttpRequest) -> HttpResponse:
        """Search for a whole permit number or e-mail address, and add an audit entry without the search term."""
        if not self.has_view_permission(request) or not may_see_personal_data(request):
            raise PermissionDenied
        form = FindForm(request.POST)
        found = find(form.cleaned_data["sought"], _MOST_FOUND + 1) if form.is_valid() else []
        audit.record(
            AuditEntry.Action.SEARCHED, "django_eprospera.review:", actor=request.user, detail={"found": len(found)}
        )
        if len(found) == 1:
            return HttpResponseRedirect(self._url("change", found[0].pk))
        if not found or len(found) > _MOST_FOUND:
            text = (
                _("There are too many matches.")
                if found
                else _("Nothing was found. Enter the whole number or address.")
            )
            self.message_user(request, text, messages.WARNING)
            return HttpResponseRedirect(self._url("changelist"))
        keys = ",".join(str(review.pk) for review in found)
        return HttpResponseRedirect(f"{self._url('changelist')}?pk__in={keys}")

    def next_view(self, request: HttpRequest) -> HttpResponse:
        """Redirect to the review that has waited longest, or to the queue if it is empty."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return self._to_next(request, None)

    def export_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
        """Return the case file as a download. It is recorded before the first byte, and needs a recent authentication."""
        review = self.get_object(request, str(pk))
        if not may_export(request.user):
            raise PermissionDenied
        if review is None:
            raise Http404
        if not has_recent_authentication(request):
            return ask_to_authenticate(request)
        form = ExportForm(request.POST)
        if not form.is_valid():
            self.message_user(request, _("Choose what the case file is for."), messages.ERROR)
            return HttpResponseRedirect(self._url("change", pk))
        try:
            case = export(review, purpose=Purpose(form.cleaned_data["purpose"]), actor=request.user)
        except EprosperaError as error:
            logger.error("the case file of review %s was not exported: %s", pk, error)  # noqa: TRY400 - nothing to add
            self.message_user(request, _("The case file cannot be exported. The log has the reason."), messages.ERROR)
            return HttpResponseRedirect(self._url("change", pk))
        chunks = case.chunks()
        response = StreamingHttpResponse(
            _one_by_one(chunks) if isinstance(request, ASGIRequest) else chunks, content_type="application/zip"
        )
        response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=case.name)
        response["Cache-Control"] = "private, no-store"
        response["X-Content-Type-Options"] = "nosniff"
        return response

    # The page

    def change_view(self, request: HttpRequest, object_id: str, *_args: Any, **_kwargs: Any) -> HttpResponse:
        """Return the page of one review; a POST takes a decision on it."""
        review = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, review):
            raise PermissionDenied
        if review is None:
            raise Http404
        if request.method != "POST":
            return self._page(request, review, DecisionForm(review))
        if not may_decide(request.user):
            raise PermissionDenied
        form = DecisionForm(review, request.POST)
        if form.is_valid():
            try:
                decision = self._decide(request, review, form.cleaned_data)
            except DecisionRefused as refused:
                form.add_error("reason" if refused.code.startswith("reason_") else None, str(refused))
            else:
                self.log_change(request, review, str(decision.outcome))
                text = _("Decided: %(outcome)s.") % {"outcome": decision.get_outcome_display()}
                self.message_user(request, text, messages.SUCCESS)
                return self._to_next(request, review)
        review.refresh_from_db()
        return self._page(request, review, form)

    def _decide(self, request: HttpRequest, review: Review, chosen: dict[str, Any]) -> Decision:
        return kyc.decide(
            review,
            reviewer=request.user,
            outcome=Decision.Outcome(chosen["outcome"]),
            reason=chosen["reason"],
            seen=chosen["seen"],
        )

    def _page(self, request: HttpRequest, review: Review, form: DecisionForm) -> HttpResponse:
        facts = facts_of(review)
        findings = results_of(review, facts) if facts else []
        unmasked = may_see_personal_data(request)
        fields = viewed_fields(review, facts) if unmasked else []
        if fields:
            audit.record(AuditEntry.Action.VIEWED, review, actor=request.user, detail={"fields": fields})
        own = is_own_review(review, request.user)
        other_provider = facts is not None and not facts.is_current
        context = {
            **self.admin_site.each_context(request),
            **context_of(review, facts, findings, unmasked=unmasked, admin_name=self.admin_site.name),
            "title": str(review),
            "subtitle": None,
            "is_nav_sidebar_enabled": False,  # the width is needed
            "opts": self.opts,
            "review": review,
            "facts": facts,
            "sync_errors": sorted(
                {grant.sync_error for grant in facts.connections if grant.sync_error} if facts else ()
            ),
            "unmasked": unmasked,
            "form": form,
            "seen": facts_version(review, facts, findings),
            "other_provider": other_provider,
            "options": self._options(review, form, other_provider=other_provider),
            "own": own,
            "export_form": ExportForm()
            if may_export(request.user) and not own and conf.EPROSPERA_SIGNING_KEY
            else None,
            "may_decide": may_decide(request.user) and not own and bool(outcomes_for(review)),
            "next_review": next_in_queue(request.user, review),
            "queue_length": queue_length(),
        }
        response = TemplateResponse(request, "admin/django_eprospera/review/page.html", context)
        add_never_cache_headers(response)
        return response

    def _options(self, review: Review, form: DecisionForm, *, other_provider: bool) -> list[dict[str, Any]]:
        chosen = form.data.get("outcome") if form.is_bound else None
        return [
            {
                "value": outcome.value,
                "label": _CONSEQUENCES[outcome][0],
                "consequence": _CONSEQUENCES[outcome][1],
                "checked": outcome.value == chosen,
            }
            for outcome in outcomes_for(review)
            if outcome != Decision.Outcome.APPROVED or not other_provider
        ]

    def _to_next(self, request: HttpRequest, after: Review | None) -> HttpResponse:
        following = next_in_queue(request.user, after)
        if following is None:
            self.message_user(request, _("The queue is empty."), messages.INFO)
            return HttpResponseRedirect(self._url("changelist"))
        return HttpResponseRedirect(self._url("change", following.pk))

    def _url(self, page: str, *args: Any) -> str:
        return reverse(f"{self.admin_site.name}:django_eprospera_review_{page}", args=args)


async def _one_by_one(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    # Django would collect an ordinary iterator in memory.
    while (chunk := await sync_to_async(lambda: next(chunks, None))()) is not None:
        yield chunk
