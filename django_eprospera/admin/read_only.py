"""Base classes of the admin pages. Rows are read-only, and sealed values are masked.

To unmask them is a POST that needs the permission `view_personal_data` and adds an audit entry with the names of the fields.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from django_eprospera import audit
from django_eprospera.admin.pages import KeyedChangeList
from django_eprospera.admin.rows import Section, rows, sealed_names
from django_eprospera.fields import BlindIndexField
from django_eprospera.models import AuditEntry
from django_eprospera.provider.tracebacks import forget_locals
from django_eprospera.wording import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.db.models import Model
    from django.urls import URLPattern
    from django.utils.functional import _StrPromise

    from django_eprospera.models.person import StoredFile

    Admin = admin.ModelAdmin[Any]
else:
    Admin = admin.ModelAdmin

__all__ = ["Admin", "FactsAdmin", "ReadOnlyAdmin", "may_see_personal_data"]

Groups = tuple[tuple["str | _StrPromise", tuple[str, ...]], ...]


def may_see_personal_data(request: HttpRequest) -> bool:
    """Whether the user may see personal data unmasked."""
    return bool(request.user.has_perm("django_eprospera.view_personal_data"))


class ReadOnlyAdmin(Admin):
    """Admin without adding, editing and deleting."""

    actions: Any = None
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    # The columns of the list that have an index; KeyedChangeList says which.
    sortable_by: ClassVar[Any] = ()

    class Media:
        extend = False  # Django's jQuery and the like, 200 kB, are for forms
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("django_eprospera/review.css",)}

    @property
    def urls(self) -> list[URLPattern]:
        """The URL patterns, with views whose errors are reported without POST data and without variables."""
        patterns: list[URLPattern] = super().urls
        for pattern in patterns:
            pattern.callback = _private(pattern.callback)
        return patterns

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[KeyedChangeList]:  # noqa: ARG002 - Django's signature
        """Return the list that pages by key."""
        return KeyedChangeList

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:  # noqa: ARG002
        """Redirect to the row. Django's log has no index for it; audit entries and decisions are the history."""
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(name, args=[object_id]))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Whether a URL may filter by `lookup`: never by a blind index, which only the audited search uses."""
        indexes = {field.name for field in self.opts.concrete_fields if isinstance(field, BlindIndexField)}
        return lookup.partition("__")[0] not in indexes and super().lookup_allowed(lookup, value, request)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:  # noqa: ARG002 - Django's signature
        """Return False: rows come from the provider."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Return False: rows come from the provider."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether rows may be deleted: not on their own pages, but together with their user if permissions allow it."""
        match = request.resolver_match
        own_page = match is not None and (match.url_name or "").startswith(
            f"{self.opts.app_label}_{self.opts.model_name}_"
        )
        return not own_page and super().has_delete_permission(request, obj)


class FactsAdmin(ReadOnlyAdmin):
    """Page of a row, in `groups` of a heading and names of fields."""

    groups: ClassVar[Groups] = ()

    def get_urls(self) -> list[URLPattern]:
        """Add the unmasked page."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_show"
        show = path("<path:object_id>/show/", self.admin_site.admin_view(require_POST(self.show_view)), name=name)
        return [show, *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """Return the masked page."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(("GET", "HEAD"))
        return self._page(request, self._wanted(request, object_id), unmasked=False)

    def show_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Return the unmasked page, and add an audit entry. Raises PermissionDenied without `view_personal_data`."""
        obj = self._wanted(request, object_id)
        if not may_see_personal_data(request):
            raise PermissionDenied
        names = sealed_names(self.model, (name for _, group in self.groups for name in group))
        audit.record(AuditEntry.Action.VIEWED, obj, actor=request.user, detail={"fields": names})
        return self._page(request, obj, unmasked=True)

    def sections(self, obj: Any, *, unmasked: bool) -> Iterator[Section]:
        """Yield the sections of the page."""
        for title, names in self.groups:
            yield Section(str(title), rows(obj, names, unmasked=unmasked))

    def page_title(self, obj: Any) -> str:
        """Return the title, which contains no personal data."""
        return str(obj)

    def is_current(self, obj: Any) -> bool:  # noqa: ARG002 - for subclasses
        """Whether the row is of the provider and the client that the settings name now."""
        return True

    def file_row(self, request: HttpRequest, view: str, file: StoredFile, name: str | _StrPromise) -> dict[str, Any]:
        """Return the page's description of a file, with the URL of the audited view if the user may open it."""
        may_open = may_see_personal_data(request) and file.storage_name
        return {
            "name": visible(name),
            "url": reverse(f"{self.admin_site.name}:django_eprospera_{view}", args=[file.pk]) if may_open else "",
            "size": file.size,
            "fetched_at": file.fetched_at,
            "error": file.error,
        }

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return template variables besides the sections."""
        return {}

    def _wanted(self, request: HttpRequest, object_id: str) -> Model:
        obj: Model | None = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, obj):
            raise PermissionDenied
        if obj is None:
            raise Http404
        return obj

    def _page(self, request: HttpRequest, obj: Model, *, unmasked: bool) -> HttpResponse:
        sections = list(self.sections(obj, unmasked=unmasked))
        masked = any(row.state == "masked" for section in sections for row in section.rows)
        context = {
            **self.admin_site.each_context(request),
            "title": self.page_title(obj),
            "subtitle": None,
            "files_title": "",
            "opts": self.opts,
            "original": obj,
            "sections": sections,
            "other_provider": not self.is_current(obj),
            "offer_to_show": masked and may_see_personal_data(request),
            "unmasked": unmasked,
            **self.page_context(request, obj),
        }
        names = (f"admin/django_eprospera/{self.opts.model_name}/facts.html", "admin/django_eprospera/facts.html")
        response = TemplateResponse(request, list(names), context)
        add_never_cache_headers(response)
        return response


def _private(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    @wraps(view)
    @forget_locals
    @sensitive_post_parameters()
    def private(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        # Here and not by Django afterwards, where an error would be reported with the context of the page.
        return response.render() if isinstance(response, TemplateResponse) else response

    return private
