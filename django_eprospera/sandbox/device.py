"""Device authorization (RFC 8628): its endpoint, what a poll of the token endpoint gets, and the pages for the user.

Uses what django-oauth-toolkit's device views call, and its table. The views themselves cannot be imported without
`django.contrib.auth` and its tables, and they do not ask for companies.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods
from oauth2_provider.models import DeviceCodeResponse, DeviceRequest, create_device_grant
from oauth2_provider.oauth2_backends import OAuthLibCore
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2 import DeviceApplicationServer

from django_eprospera.sandbox import pages
from django_eprospera.sandbox.authorize import signed_in
from django_eprospera.sandbox.clients import DEVICE_CODE, ENTITY_SCOPES, allowed_scopes
from django_eprospera.sandbox.endpoint import endpoint
from django_eprospera.sandbox.grants import create
from django_eprospera.sandbox.models import Application, DeviceCode
from django_eprospera.sandbox.state import current
from django_eprospera.sandbox.token_errors import FORM, NO_STORE, malformed, token_error
from django_eprospera.sandbox.validators import Validator

if TYPE_CHECKING:
    from django_eprospera.sandbox.models import Account

__all__ = ["authorization", "consent", "enter_code", "poll", "sign_in"]


class _Server(DeviceApplicationServer):  # type: ignore[misc]
    """oauthlib's server for this endpoint, with the values of the switches."""

    @property
    def expires_in(self) -> int:
        return current().switches.device_code_seconds

    @property
    def interval(self) -> int:
        return current().switches.device_interval


@functools.cache
def _core() -> OAuthLibCore:
    return OAuthLibCore(_Server(Validator(), **oauth2_settings.server_kwargs))


@endpoint("POST")
def authorization(request: HttpRequest) -> HttpResponse:
    """POST /api/oauth/device_authorization: start a sign-in on a device without a browser."""
    if refusal := malformed(request):
        return refusal
    client = Application.objects.filter(client_id=request.POST.get("client_id", "")).first()
    if client is None:
        return token_error("invalid_client", "client_id is missing or not registered", 401)
    if not client.allows_grant_type(DEVICE_CODE):
        return token_error("unauthorized_client", "This client may not use the device flow")
    asked = request.POST.get("scope", "").split()
    if not asked:
        return token_error("invalid_scope", "scope is missing")
    if unknown := set(asked) - set(allowed_scopes(client.client_id)):
        return token_error("invalid_scope", f"Scopes that are not allowed: {' '.join(sorted(unknown))}")
    # oauthlib compares the whole header, but clients may add a charset.
    request.META["CONTENT_TYPE"] = FORM
    with current().write_lock, transaction.atomic():
        _, body, status = _core().create_device_authorization_response(request)
        if status != 200:
            return HttpResponse(body, status=status, content_type="application/json", headers=dict(NO_STORE))
        create_device_grant(DeviceRequest(client.client_id, " ".join(asked)), DeviceCodeResponse(**body))
    return JsonResponse(body, headers=dict(NO_STORE))


def poll(device_code: str, client_id: str) -> str | None:
    """Return the error for a token request with a device code (RFC 8628 section 3.5), or None if it is approved.

    Callers hold `current().write_lock` and an open transaction.
    """
    found = DeviceCode.objects.select_related("consent").filter(device_code=device_code, client_id=client_id).first()
    # An approved code is deleted with its use.
    if found is None or (found.consent is not None and found.consent.ended):
        return "invalid_grant"
    if found.is_expired():
        return "expired_token"
    if found.status == DeviceCode.DENIED:
        return "access_denied"
    if found.status == DeviceCode.AUTHORIZED:
        return None
    now, polled = timezone.now(), found.polled
    too_fast = polled is not None and now - polled < timedelta(seconds=found.interval)
    # Each slow_down adds five seconds to the interval.
    found.interval += 5 if too_fast else 0
    found.polled = now
    found.save(update_fields=["interval", "polled"])
    return "slow_down" if too_fast else "authorization_pending"


# Pages


def _redirect(page: str, code: DeviceCode) -> HttpResponse:
    return HttpResponseRedirect(f"/device{page}?{urlencode({'user_code': code.user_code})}", status=303)


def _pending(user_code: str) -> tuple[DeviceCode | None, str]:
    """Return the pending authorization with a code as it was typed, or None and what is wrong with the code."""
    plain = "".join(filter(str.isalnum, user_code)).upper()
    code = DeviceCode.objects.filter(user_code=plain).first()
    if code is None:
        # A code that was approved is deleted once the device has its tokens.
        return None, _("There is no such code, or it has been used. Compare it with the one on the device.")
    if code.is_expired():
        return None, _("This code has expired. Start again on the device.")
    if code.status != DeviceCode.AUTHORIZATION_PENDING:
        return None, _("This code has been used already. Start again on the device.")
    return code, ""


def _code_page(request: HttpRequest, user_code: str, problem: str) -> HttpResponse:
    context = {"user_code": user_code, "problem": problem}
    return render(request, "eprospera_sandbox/device.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def enter_code(request: HttpRequest) -> HttpResponse:
    """Ask for the code that the device shows. `verification_uri_complete` fills it in; the user still has to compare it."""
    if request.method != "POST":
        return _code_page(request, request.GET.get("user_code", ""), "")
    typed = request.POST.get("user_code", "")
    code, problem = _pending(typed)
    return _redirect("/consent", code) if code else _code_page(request, typed, problem)


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as a persona, without a password."""
    typed = request.GET.get("user_code", "")
    code, problem = _pending(typed)
    if code is None:
        return _code_page(request, typed, problem)
    if request.method == "POST" and pages.start_session(request):
        return _redirect("/consent", code)
    return pages.render_sign_in(request, code.client_id)


@require_http_methods(["GET", "HEAD", "POST"])
def consent(request: HttpRequest) -> HttpResponse:
    """Ask for consent to what the device requests, and show that the answer has reached it."""
    typed = request.GET.get("user_code", "")
    code, problem = _pending(typed)
    if code is None:
        return _code_page(request, typed, problem)
    account = signed_in(request)
    if account is None:
        return _redirect("/sign-in", code)
    if not pages.answered(request, account):
        sign_in_url = f"/device/sign-in?{urlencode({'user_code': code.user_code})}"
        return pages.render_consent(request, account, code.client_id, code.scope.split(), sign_in_url)
    allowed = request.POST.get("answer") == "allow"
    with current().write_lock, transaction.atomic():
        # Again, under the lock: another tab may have answered.
        code, problem = _pending(typed)
        if code is None:
            return _code_page(request, typed, problem)
        _answer(request, code, account, allowed=allowed)
    return render(request, "eprospera_sandbox/device_done.html", {"allowed": allowed, "client": code.client_id})


def _answer(request: HttpRequest, code: DeviceCode, account: Account, *, allowed: bool) -> None:
    code.user, code.status = account, DeviceCode.AUTHORIZED if allowed else DeviceCode.DENIED
    if allowed:
        entities = pages.selected(request, account) if ENTITY_SCOPES & set(code.scope.split()) else []
        application = Application.objects.get(client_id=code.client_id)
        authenticated = datetime.fromtimestamp(request.session["auth_time"], UTC)
        code.consent = create(account, application, code.scope, entities, authenticated)
    code.save()
