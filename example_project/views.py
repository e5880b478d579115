"""Views of the example site. They read the local cache: no page waits for the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_eprospera.decorators import kyc_required, recent_sign_in_required, residency_required
from example_project.account import account_of

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

__all__ = ["account", "delete_account", "home", "members", "vault", "withdraw"]


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Render the home page with the sign-in button."""
    return render(request, "example_project/home.html", {"provider": settings.EPROSPERA_BASE_URL})


@never_cache
@login_required(redirect_field_name="")
@require_safe
def account(request: HttpRequest) -> HttpResponse:
    """Render what is cached about the user, and how old it is."""
    return render(request, "example_project/account.html", {"account": account_of(request.user)})


@never_cache
@residency_required
@require_safe
def members(request: HttpRequest) -> HttpResponse:
    """Render the page for residents."""
    return render(request, "example_project/members.html")


@never_cache
@kyc_required
@require_safe
def vault(request: HttpRequest) -> HttpResponse:
    """Render the page for users whose identity a reviewer has approved."""
    return render(request, "example_project/vault.html")


@never_cache
@kyc_required
@recent_sign_in_required
def withdraw(request: HttpRequest) -> HttpResponse:
    """Sensitive step: needs an approved identity and a recent sign-in at the provider."""
    if request.method == "POST":
        messages.success(request, _("Withdrawn. (The vault of this example is empty, so nothing moved.)"))
        return redirect("vault")
    return render(request, "example_project/withdraw.html")


@never_cache
@login_required(redirect_field_name="")
@recent_sign_in_required
def delete_account(request: HttpRequest) -> HttpResponse:
    """Ask for confirmation (GET), or delete the user with everything that is cached about them (POST)."""
    if request.method == "POST":
        user = request.user
        logout(request)
        user.delete()  # the connection goes with it, and its tokens are revoked
        messages.success(request, _("Your account was deleted."))
        return redirect("home")
    return render(request, "example_project/delete_account.html")
