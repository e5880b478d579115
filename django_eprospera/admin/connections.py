"""Admin of connections: state, age of the cached facts, sync and disconnect. Shows no token."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from django_eprospera import scopes, tasks, tokens
from django_eprospera.admin.read_only import FactsAdmin, ReadOnlyAdmin
from django_eprospera.admin.rows import MASK, Row, Section, short
from django_eprospera.consent import is_current
from django_eprospera.freshness import freshness
from django_eprospera.models import Connection, PendingRevocation
from django_eprospera.status import gather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User
    from django.db.models import QuerySet
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

__all__: list[str] = []

logger = logging.getLogger(__name__)

_ACTIONS = {"sync_now": _("Sync now"), "disconnect": _("Disconnect…")}
_SYNC_ERROR = "sync_error"
_RELATED = ("natural_person", "residency", "id_verification")


class StateFilter(admin.SimpleListFilter):
    """Filter by state, by cause, or by an error after the last sync: one of them, each of which has an index."""

    title = _("state")
    parameter_name = "show"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:  # noqa: ARG002
        """Return states, causes, and the error."""
        causes = [(f"state_cause:{value}", label) for value, label in Connection.Cause.choices if value]
        states = [(f"state:{value}", label) for value, label in Connection.State.choices]
        return [*states, *causes, (_SYNC_ERROR, _("error after the last sync"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Connection]) -> QuerySet[Connection]:  # noqa: ARG002
        """Filter by the choice."""
        column, _colon, value = (self.value() or "").partition(":")
        if column == _SYNC_ERROR:
            return queryset.exclude(sync_error="")
        return queryset.filter(**{column: value}) if column in ("state", "state_cause") else queryset


@admin.register(Connection)
class ConnectionAdmin(FactsAdmin):
    """Connections. Sync needs the permission to change a connection, and disconnect the permission to delete it."""

    list_display = (
        "user",
        "subject",
        "standing",
        "signed_in_at",
        "refresh_until",
        "last_sync",
        "sync_error",
    )
    list_filter = (StateFilter,)
    sortable_by = ("signed_in_at",)
    list_select_related = ("user",)
    ordering: ClassVar[Any] = ("-signed_in_at",)
    actions = tuple(_ACTIONS)
    change_list_template = "admin/django_eprospera/connection/list.html"

    class Media:
        js: ClassVar[Any] = ("admin/js/actions.js",)

    groups: ClassVar[Any] = (
        (_("Grant"), ("user", "issuer", "sub", "client_id", "state", "state_cause", "state_changed_at")),
        (_("Sign-in"), ("created_at", "signed_in_at", "auth_time", "used_at")),
        (_("Sync"), ("sync_requested_at", "sync_error")),
        (_("Tokens"), ("access_token_expires_at", "refresh_token_expires_at", "generation")),
    )

    def get_urls(self) -> list[URLPattern]:
        """Add the page of the status."""
        status = path(
            "status/", self.admin_site.admin_view(require_safe(self.status_view)), name="django_eprospera_status"
        )
        return [status, *super().get_urls()]

    def status_view(self, request: HttpRequest) -> HttpResponse:
        """Return the page with the state of the site in numbers. Raises PermissionDenied without `view_status`."""
        if not request.user.has_perm("django_eprospera.view_status"):
            raise PermissionDenied
        context = {**self.admin_site.each_context(request), "title": _("Status"), "opts": self.opts, "status": gather()}
        return TemplateResponse(request, "admin/django_eprospera/connection/status.html", context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        """Prefetch the freshness of the facts."""
        rows: QuerySet[Connection] = super().get_queryset(request)
        return rows.prefetch_related("resources")

    @admin.display(description=_("subject"))
    def subject(self, obj: Connection) -> str:
        """Return the end of the opaque ID: enough to compare, but not to copy."""
        return f"{MASK}{obj.sub[-4:]}" if len(obj.sub) > 8 else MASK

    @admin.display(description=_("state"))
    def standing(self, obj: Connection) -> SafeString:
        """Return the state, with its cause if the person has to sign in again."""
        if not is_current(obj):
            return format_html(
                '<span class="eprospera-badge reauthorize">{}</span>', _("of another provider or client")
            )
        cause = obj.get_state_cause_display() if obj.state != Connection.State.ACTIVE else ""
        badge = '<span class="eprospera-badge {}">{}</span> <span class="quiet">{}</span>'
        return format_html(badge, obj.state, obj.get_state_display(), cause)

    @admin.display(description=_("refresh until"))
    def refresh_until(self, obj: Connection) -> str:
        """Return when the refresh token expires."""
        return short(obj.refresh_token_expires_at)

    @admin.display(description=_("last good answer"))
    def last_sync(self, obj: Connection) -> str:
        """Return the time of the newest good answer of the provider."""
        return short(max((state.synced_at for state in obj.resources.all() if state.synced_at), default=None))

    def has_sync_permission(self, request: HttpRequest) -> bool:
        """Whether the user may request a sync."""
        return bool(request.user.has_perm("django_eprospera.change_connection"))

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Whether the user may disconnect people."""
        return bool(request.user.has_perm("django_eprospera.delete_connection"))

    @admin.action(description=_ACTIONS["sync_now"], permissions=["sync"])
    def sync_now(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        """Request a sync of each connection, at most once a minute."""
        asked = 0
        try:
            for pk in queryset.order_by().values_list("pk", flat=True):
                asked += tasks.ask_for_sync(pk)
        except Exception as error:  # noqa: BLE001 - each queue raises its own errors when it is down
            logger.error("connection %s: the sync could not be enqueued: %s", pk, type(error).__name__)  # noqa: TRY400
            self.message_user(request, _("The task queue cannot be reached. Try again later."), messages.ERROR)
            return
        text = ngettext("%d connection is being synced.", "%d connections are being synced.", asked)
        self.message_user(request, text % asked, messages.SUCCESS if asked else messages.WARNING)

    @admin.action(description=_ACTIONS["disconnect"], permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Connection]) -> HttpResponse:
        """Ask for confirmation; then erase each connection with its facts, and revoke its tokens."""
        chosen = list(queryset.select_related("user"))
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": _("Disconnect?"),
                "opts": self.opts,
                "chosen": chosen,
                "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "admin/django_eprospera/connection/disconnect.html", context)
        for connection in chosen:
            tokens.disconnect(connection, actor=cast("User", request.user))
        text = ngettext("%d connection was ended and erased.", "%d connections were ended and erased.", len(chosen))
        self.message_user(request, text % len(chosen), messages.SUCCESS)
        return HttpResponseRedirect(reverse(f"{self.admin_site.name}:django_eprospera_connection_changelist"))

    def is_current(self, obj: Connection) -> bool:
        """Whether the connection is of the provider and the client that the settings name now."""
        return is_current(obj)

    def page_title(self, obj: Connection) -> str:
        """Return the title with the user's name."""
        return f"{capfirst(str(self.opts.verbose_name))}: {obj.user}"

    def sections(self, obj: Connection, *, unmasked: bool) -> Iterator[Section]:
        """Add the granted scopes."""
        yield from super().sections(obj, unmasked=unmasked)
        granted = [Row(name, str(label)) for name, label in scopes.LABELS.items() if name in obj.scopes]
        unknown = [Row(name, "") for name in sorted(obj.scopes - set(scopes.LABELS))]
        yield Section(str(_("Granted scopes")), tuple(granted + unknown))

    def page_context(self, request: HttpRequest, obj: Connection) -> dict[str, Any]:
        """Add the age of the facts, links to them, and the actions."""
        related = [(name, getattr(obj, name, None)) for name in _RELATED]
        return {
            "freshness": freshness(obj),
            "links": [(row._meta.verbose_name, self._url(row)) for _name, row in related if row is not None]
            + [(consent.entity, self._url(consent.entity)) for consent in obj.entity_consents.select_related("entity")],
            "page_actions": [(name, label) for name, label in _ACTIONS.items() if name in self.get_actions(request)],
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
        }

    def _url(self, row: Any) -> str:
        return reverse(f"{self.admin_site.name}:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


@admin.register(PendingRevocation)
class PendingRevocationAdmin(ReadOnlyAdmin):
    """Tokens that still have to be revoked at the provider. The tokens themselves are not shown."""

    list_display = ("created_at", "hint", "issuer", "client_id", "held", "attempts", "not_before")
    list_filter = ("held",)
    fields = list_display
    readonly_fields = list_display
    ordering: ClassVar[Any] = ("created_at",)
    sortable_by = ("created_at",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Add how many tokens are due, tried again later and held."""
        return super().changelist_view(request, {"subtitle": tokens.remaining(), **(extra_context or {})})
