"""Admin of companies: facts, consents and documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Count, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from django_eprospera.admin.read_only import FactsAdmin
from django_eprospera.admin.rows import row
from django_eprospera.conf import conf
from django_eprospera.models import EntityConsent, LegalEntity
from django_eprospera.wording import in_words

if TYPE_CHECKING:
    from django.http import HttpRequest

__all__: list[str] = []


# Types that the filter offers.
_MOST_TYPES = 30


class TypeFilter(admin.SimpleListFilter):
    """Filter by type of company, in words."""

    title = _("type")
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """Return the types that occur, each by one look-up in the index."""
        types: list[str] = []
        names = LegalEntity.objects.order_by("type").values_list("type", flat=True)
        while len(types) < _MOST_TYPES and (name := names.filter(type__gt=types[-1] if types else "").first()):
            types.append(name)
        return [(name, in_words("type", name)) for name in types]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002
        """Filter by the chosen type."""
        return queryset.filter(type=self.value()) if self.value() else queryset


@admin.register(LegalEntity)
class LegalEntityAdmin(FactsAdmin):
    """Companies, masked, with consents and documents."""

    list_display = ("entity_id", "kind", "permit_number", "shared_by", "updated_at")
    list_filter = (TypeFilter,)
    sortable_by = ("updated_at",)
    ordering: ClassVar[Any] = ("-updated_at",)
    groups = (*LegalEntity.sections(), (_("Freshness"), ("updated_at",)))

    def get_queryset(self, request: HttpRequest) -> Any:
        """Add the number of people who share each company now."""
        now = EntityConsent.objects.filter(entity=OuterRef("pk"), withdrawn_at=None).order_by().values("entity")
        return super().get_queryset(request).annotate(sharing=Coalesce(Subquery(now.values(number=Count("pk"))), 0))

    @admin.display(description=_("type"))
    def kind(self, obj: LegalEntity) -> str:
        """Return the type in words."""
        return str(in_words("type", obj.type))

    @admin.display(description=_("resident permit number"))
    def permit_number(self, obj: LegalEntity) -> str:
        """Return the masked number, or that it cannot be decrypted."""
        return str(row(obj, "resident_permit_number", unmasked=False).value)

    @admin.display(description=_("shared by"))
    def shared_by(self, obj: Any) -> int:
        """Return the number of people who share it now."""
        return int(obj.sharing)

    def is_current(self, obj: LegalEntity) -> bool:
        """Whether the company is of the provider that the settings name now."""
        return obj.issuer == conf.EPROSPERA_BASE_URL

    def page_context(self, request: HttpRequest, obj: LegalEntity) -> dict[str, Any]:
        """Add consents and documents, whose files open in the audited view."""
        files = [
            self.file_row(request, "document", document, document.slug or _("document"))
            for document in obj.documents.order_by("created_at", "pk")
        ]
        consents = obj.consents.select_related("connection__user").order_by("shared_at")
        return {"files": files, "files_title": _("Documents"), "consents": consents}
