"""Views for users' own connections: refresh, disconnect, pictures, documents, and the page that asks for a recent sign-in.

Users can see what is theirs or shared by them now. Everything else is 404, so that a URL does not reveal what exists.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import REDIRECT_FIELD_NAME, logout
from django.contrib.auth.decorators import login_not_required, login_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render, resolve_url
from django.urls import get_script_prefix, reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from social_django.models import UserSocialAuth
from social_django.views import auth

from django_eprospera import documents, tokens
from django_eprospera.conf import conf
from django_eprospera.consent import connection_of, is_granted, readable_documents
from django_eprospera.decorators import recent_authentication_required
from django_eprospera.errors import DocumentError, SealedValueError
from django_eprospera.keys import signing_keys
from django_eprospera.models import Connection, ResourceState, VerificationImage
from django_eprospera.sign_in.association import is_proven
from django_eprospera.sign_in.next_url import safe_next
from django_eprospera.sign_in.sessions import end_other_sessions
from django_eprospera.tasks import ask_for_sync
from django_eprospera.wording import visible

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from django.contrib.auth.models import User
    from django.http import QueryDict

__all__ = [
    "audit_key",
    "begin",
    "confirm_identity",
    "confirm_sign_in",
    "disconnect",
    "document",
    "image",
    "other_sessions",
    "refresh",
    "switch_account",
    "thumbnail",
]

logger = logging.getLogger(__name__)


@never_cache
@require_POST
@login_required
def refresh(request: HttpRequest) -> HttpResponse:
    """Enqueue a sync, at most one per minute, and redirect to `next` without waiting for it."""
    connection = connection_of(request.user)
    if connection is None:
        messages.warning(request, _("This account is not connected with e-Próspera."), fail_silently=True)
    elif connection.state != Connection.State.ACTIVE:
        messages.warning(request, _("Sign in with e-Próspera again to renew your data."), fail_silently=True)
    else:
        try:
            asked = ask_for_sync(connection.pk)
        except Exception as error:  # noqa: BLE001 - each queue raises its own errors when it is down
            logger.error("connection %s: the sync could not be enqueued: %s", connection.pk, type(error).__name__)  # noqa: TRY400
            messages.error(request, _("Your data cannot be renewed right now. Try again later."), fail_silently=True)
        else:
            text = _("Your data is on its way.") if asked else _("Your data was asked for a moment ago.")
            messages.success(request, text, fail_silently=True)
    return _back(request)


@never_cache
@login_required
@recent_authentication_required
@require_http_methods(["GET", "HEAD", "POST"])
def disconnect(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation (GET), or erase the cached data, queue the tokens for revocation and redirect to `next` (POST)."""
    connection = connection_of(request.user)
    if request.method != "POST":
        context = {"connection": connection, "next": _next(request, request.GET)}
        return render(request, "django_eprospera/disconnect.html", context)
    if connection is not None:
        tokens.disconnect(connection, actor=connection.user)
    text = _("Disconnected. The data fetched from e-Próspera was erased; decisions of reviews stay on record.")
    messages.success(request, text, fail_silently=True)
    return _back(request)


@never_cache
@login_not_required
def begin(request: HttpRequest) -> HttpResponse:
    """Render the page with the sign-in button (GET), or start a sign-in as python-social-auth does (POST)."""
    if request.method not in {"GET", "HEAD"}:
        return auth(request, "eprospera")  # type: ignore[no-any-return]
    context = {
        "next": safe_next(request, request.GET.get(REDIRECT_FIELD_NAME, "")),
        "prompt": "login" if request.GET.get("prompt") == "login" else "",
        "provider": conf.EPROSPERA_BASE_URL,
        "home": get_script_prefix(),
    }
    return render(request, "django_eprospera/sign_in.html", context)


@never_cache
@login_not_required
@require_POST
def switch_account(request: HttpRequest) -> HttpResponse:
    """Sign out, and redirect to the page with a button that asks for the credentials of another account."""
    logout(request)
    query = {"prompt": "login", REDIRECT_FIELD_NAME: _next(request, request.POST)}
    return HttpResponseRedirect(f"{reverse('eprospera:begin')}?{urlencode(query)}")


@never_cache
@login_required
@require_safe
def image(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Return a picture of the user's own identity check. Raises Http404 for any other."""
    picture = _own_picture(request, pk)
    return _file(request, lambda: documents.response(picture, filename=picture.kind))


@never_cache
@login_required
@require_safe
def thumbnail(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Return the thumbnail of a picture of the user's own identity check. Raises Http404 for any other."""
    picture = _own_picture(request, pk)
    return _file(request, lambda: documents.thumbnail_response(picture, filename=picture.kind))


@never_cache
@login_required
@require_safe
def document(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    """Return a document of a company that the user shares now. Raises Http404 for any other."""
    row = get_object_or_404(readable_documents(request.user).exclude(storage_name=""), pk=pk)
    return _file(request, lambda: documents.response(row, filename=visible(row.name or "")))


@login_not_required
@require_safe
def audit_key(request: HttpRequest) -> HttpResponse:  # noqa: ARG001 - a view
    """Return the public keys that verify case files, as a JWK Set (RFC 7517)."""
    answer = JsonResponse({"keys": [key.public for key in signing_keys()]}, content_type="application/jwk-set+json")
    answer["Cache-Control"] = "public, max-age=300"
    return answer


@never_cache
@login_not_required
@require_safe
def confirm_sign_in(request: HttpRequest) -> HttpResponse:
    """Render the page that asks for a recent sign-in, with the button that starts it."""
    return render(request, "django_eprospera/confirm_sign_in.html", _target(request))


@never_cache
@login_required
@require_safe
def confirm_identity(request: HttpRequest) -> HttpResponse:
    """Render the page on which users prove who they are, with the ways in which they sign in."""
    user = cast("User", request.user)
    associations = UserSocialAuth.objects.filter(user=user)
    identity = associations.filter(provider="eprospera").first()
    by_eprospera = identity is not None and is_proven(identity)
    other_ways = user.has_usable_password() or associations.exclude(provider="eprospera").exists()
    context = {
        **_target(request),
        "by_eprospera": by_eprospera,
        "login_url": "" if by_eprospera and not other_ways else redirect_to_login(_target(request)["next"]).url,
    }
    return render(request, "django_eprospera/confirm_identity.html", context)


@never_cache
@login_required
@recent_authentication_required
@require_http_methods(["GET", "HEAD", "POST"])
def other_sessions(request: HttpRequest) -> HttpResponse:
    """Render the page that ends all other sessions of the user; end them on POST and redirect to `next`."""
    if request.method == "POST":
        if end_other_sessions(request, cast("User", request.user)):
            messages.success(request, _("All other sessions were ended."), fail_silently=True)
            return _back(request)
        return render(
            request, "django_eprospera/other_sessions.html", {**_target(request), "refused": True}, status=409
        )
    return render(request, "django_eprospera/other_sessions.html", _target(request))


def _target(request: HttpRequest) -> dict[str, Any]:
    max_age = int(conf.EPROSPERA_RECENT_SIGN_IN.total_seconds())
    return {"next": _next(request, request.GET), "max_age": max_age, "home": get_script_prefix()}


def _own_picture(request: HttpRequest, pk: uuid.UUID) -> VerificationImage:
    connection = connection_of(request.user)
    if connection is None or not is_granted(connection, ResourceState.Resource.ID_VERIFICATION):
        raise Http404
    mine = VerificationImage.objects.filter(verification__connection=connection)
    picture: VerificationImage = get_object_or_404(mine.exclude(storage_name=""), pk=pk)
    return picture


def _file(request: HttpRequest, opened: Callable[[], HttpResponse]) -> HttpResponse:
    try:
        return opened()
    except (DocumentError, SealedValueError) as error:
        logger.error("%s", error)  # noqa: TRY400 - the text names the row; a traceback adds nothing
    return render(request, "django_eprospera/file_unavailable.html", {"home": get_script_prefix()}, status=503)


def _back(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect(_next(request, request.POST))


def _next(request: HttpRequest, data: QueryDict) -> str:
    return safe_next(request, data.get(REDIRECT_FIELD_NAME, "")) or resolve_url(settings.LOGIN_REDIRECT_URL)
