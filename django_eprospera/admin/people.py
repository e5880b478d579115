"""Admin of facts about people: personal details, residency, identity check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from django_eprospera.admin.read_only import FactsAdmin
from django_eprospera.admin.rows import row
from django_eprospera.consent import is_current
from django_eprospera.models import IdVerification, NaturalPerson, Residency

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.utils.safestring import SafeString

__all__ = ["ConnectionFactsAdmin"]


class ConnectionFactsAdmin(FactsAdmin):
    """Facts that belong to one connection."""

    list_select_related = ("connection__user",)
    ordering: ClassVar[Any] = ("connection_id",)

    def page_title(self, obj: Any) -> str:
        """Return the kind of facts and the user."""
        return f"{capfirst(str(self.opts.verbose_name))}: {obj.connection.user}"

    def is_current(self, obj: Any) -> bool:
        """Whether the connection is of the provider and the client that the settings name now."""
        return is_current(obj.connection)

    @admin.display(description=_("user"))
    def user(self, obj: Any) -> str:
        """Return the user's name."""
        return str(obj.connection.user)

    @admin.display(description=_("connection"))
    def link(self, obj: Any) -> SafeString:
        """Return a link to the connection."""
        url = reverse(f"{self.admin_site.name}:django_eprospera_connection_change", args=[obj.connection_id])
        return format_html('<a href="{}">{}</a>', url, obj.connection.get_state_display())


@admin.register(NaturalPerson)
class NaturalPersonAdmin(ConnectionFactsAdmin):
    """Personal details, masked."""

    list_display = ("user", "permit_number", "link")
    groups = NaturalPerson.sections()

    @admin.display(description=_("resident permit number"))
    def permit_number(self, obj: NaturalPerson) -> str:
        """Return the masked number, or that it cannot be decrypted."""
        return str(row(obj, "resident_permit_number", unmasked=False).value)


@admin.register(Residency)
class ResidencyAdmin(ConnectionFactsAdmin):
    """Residency, masked."""

    list_display = ("user", "link")
    groups = Residency.sections()


@admin.register(IdVerification)
class IdVerificationAdmin(ConnectionFactsAdmin):
    """Identity check, masked, with its pictures."""

    list_display = ("user", "pictures", "link")
    groups = IdVerification.sections()

    def get_queryset(self, request: HttpRequest) -> Any:
        """Prefetch the rows of the pictures."""
        return super().get_queryset(request).prefetch_related("images")

    @admin.display(description=_("pictures"))
    def pictures(self, obj: IdVerification) -> str:
        """Return the kinds of the stored pictures."""
        return ", ".join(image.get_kind_display() for image in obj.images.all() if image.storage_name) or "–"

    def page_context(self, request: HttpRequest, obj: IdVerification) -> dict[str, Any]:
        """Add the pictures, whose files open in the audited view."""
        files = [self.file_row(request, "picture", image, image.get_kind_display()) for image in obj.images.all()]
        return {"files": files, "files_title": _("Pictures")}
