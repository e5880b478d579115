"""Views that open encrypted files for staff. They need `view_personal_data`, and add an audit entry for every request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404, render
from django.urls import get_script_prefix
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_safe

from django_eprospera import audit, documents
from django_eprospera.admin.read_only import may_see_personal_data
from django_eprospera.errors import DocumentError, SealedValueError
from django_eprospera.models import AuditEntry, EntityDocument, VerificationImage

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

__all__ = ["document", "picture", "thumbnail"]

logger = logging.getLogger(__name__)


@require_safe
def picture(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Return a picture of an identity check."""
    return _open(request, VerificationImage, pk)


@require_safe
def thumbnail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Return the thumbnail of a picture of an identity check."""
    return _open(request, VerificationImage, pk, documents.thumbnail_response, part="thumbnail")


@require_safe
def document(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Return a document of a company."""
    return _open(request, EntityDocument, pk)


def _open(
    request: HttpRequest,
    model: Any,
    pk: uuid.UUID,
    respond: Callable[..., HttpResponse] = documents.response,
    **detail: str,
) -> HttpResponse:
    # First, so that a user without the permission cannot find out which files exist.
    if not may_see_personal_data(request):
        raise PermissionDenied
    row = get_object_or_404(model, pk=pk)
    audit.record(AuditEntry.Action.OPENED_FILE, row, actor=request.user, detail=detail)
    try:
        # Not the provider's file name, which may contain the name of the person or company.
        return respond(row, filename=f"{model._meta.model_name} {row.pk}")
    except (DocumentError, SealedValueError) as error:
        logger.error("%s %s was not shown: %s", model._meta.label, pk, error)  # noqa: TRY400 - a traceback adds nothing
        answer = render(request, "django_eprospera/file_unavailable.html", {"home": get_script_prefix()}, status=409)
        add_never_cache_headers(answer)
        return answer
