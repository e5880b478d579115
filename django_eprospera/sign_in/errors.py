"""What does a person read when a sign-in does not succeed, and what does the log say? One page for all causes.

The page says what happened in plain words and offers to try again. It shows a reason code, which the log shows too; neither
ever holds what the provider or the browser sent.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.db import DatabaseError, IntegrityError
from django.shortcuts import render
from django.urls import get_script_prefix
from django.utils.translation import gettext_lazy as _
from social_core.exceptions import SocialAuthBaseException

from django_eprospera.errors import (
    ApiError,
    ClientRejected,
    ConfigurationError,
    EprosperaError,
    InvalidGrant,
    MalformedAnswer,
    OtherSubject,
    ProviderUnavailable,
    SignInRefused,
)
from django_eprospera.provider import clock

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrPromise

__all__ = ["CAUGHT", "Again", "Refusal", "error_page", "refusal_of"]

logger = logging.getLogger("django_eprospera.sign_in")

CAUGHT: Final = (SocialAuthBaseException, EprosperaError, DatabaseError)


@dataclass(frozen=True, slots=True)
class _Case:
    status: int
    title: _StrPromise
    text: _StrPromise
    again: bool = True


_EXPIRED: Final = _Case(
    403,
    _("This sign-in has expired"),
    _(
        "It was finished already, took too long, or was begun in another browser. Nothing was changed. Please begin again."
    ),
)
_INCOMPLETE: Final = _Case(
    400,
    _("This is not a complete sign-in"),
    _("The address that brought you here lacks something, or says it twice. Nothing was changed. Please begin again."),
)
_CANCELLED: Final = _Case(
    403,
    _("You did not allow the sign-in"),
    _("e-Próspera told us that you declined. Nothing about you was shared or stored. You can begin again at any time."),
)
_UNVERIFIED: Final = _Case(
    502,
    _("The answer could not be verified"),
    _("What arrived in the name of e-Próspera does not prove who you are, so nobody was signed in. Please try again."),
)
_UNAVAILABLE: Final = _Case(
    503,
    _("e-Próspera cannot be reached"),
    _("It does not answer, or is too busy right now. Nothing was changed. Please try again in a few minutes."),
)
_NONSENSE: Final = _Case(
    502,
    _("e-Próspera answered something unexpected"),
    _("We could not make sense of its answer. Nothing was changed. Please try again in a few minutes."),
)
_SLOW: Final = _Case(504, _UNAVAILABLE.title, _("It took too long to answer. Nothing was changed. Please try again."))
_OUR_FAULT: Final = _Case(
    503,
    _("This site's connection with e-Próspera is not set up correctly"),
    _("You can do nothing about it. Please tell the people who run this site, with the reference below."),
)
_WRONG_CLOCK: Final = _Case(
    503,
    _("The clock of this site is wrong"),
    _(
        "It differs from e-Próspera's, so this site cannot tell whether your sign-in is recent, and nobody was signed in. "
        "Please tell the people who run this site, with the reference below."
    ),
)
_OTHER_ACCOUNT: Final = _Case(
    409,
    _("This is another account"),
    _(
        "Either this e-Próspera account belongs to another user of this site, or you are connected here with another "
        "e-Próspera account. Sign out here first, or choose the e-Próspera account that you are connected with."
    ),
)
_OTHER_USER: Final = _Case(
    403,
    _("You are signed in here as somebody else by now"),
    _("The sign-in was begun before that, so it was stopped. Nothing was changed. Please begin again."),
)
_EMAIL_IN_USE: Final = _Case(
    409,
    _("There is an account with your e-mail address already"),
    _(
        "An e-mail address alone does not prove that it is yours. Sign in to that account the way you usually do; "
        "then connect it with e-Próspera."
    ),
)
_CONFLICT: Final = _Case(
    409,
    _("An account of yours may be here already"),
    _(
        "Something about you belongs to another account of this site. Sign in to that account the way you usually do; "
        "then connect it with e-Próspera."
    ),
)
_INACTIVE: Final = _Case(
    403,
    _("Your account is not active"),
    _("You are known here, but your account was switched off. Please ask the people who run this site."),
    again=False,
)
_NOT_ALLOWED: Final = _Case(
    403,
    _("This account may not sign in here"),
    _("The rules of this site do not admit it. Please ask the people who run this site."),
)
_NOT_FRESH: Final = _Case(
    403,
    _("e-Próspera did not confirm a fresh sign-in"),
    _(
        "For this step you have to prove once more who you are. Please try again, and sign in at e-Próspera when it asks."
    ),
)
_NOT_PROVEN: Final = _Case(
    403,
    _("Please confirm that it is you"),
    _(
        "You signed in here some time ago, so nothing was linked to your account. Try again: you will be asked to sign in "
        "first."
    ),
)
_ONLY_WAY: Final = _Case(
    403,
    _("This is your only way to sign in here"),
    _("Disconnected, you could never get back in. Set a password first, or connect another account."),
    again=False,
)
_STORAGE: Final = _Case(
    503, _("The sign-in could not be stored"), _("Nothing was changed. Please try again in a moment.")
)

# Ours (SignInRefused) and python-social-auth's codes; everything else is decided by its kind below.
_CASES: Final[dict[str, _Case]] = {
    "access_denied": _CANCELLED,
    "authorization_code_rejected": _EXPIRED,
    "authorization_declined": _CANCELLED,
    "client_refused": _OUR_FAULT,
    "connection_failed": _UNAVAILABLE,
    "disconnect_disallowed": _ONLY_WAY,
    "duplicate_parameter": _INCOMPLETE,
    "email_in_use": _EMAIL_IN_USE,
    "http_error": _NONSENSE,
    "identity_in_use": _OTHER_ACCOUNT,
    "inactive_user": _INACTIVE,
    "invalid_parameter": _INCOMPLETE,
    "malformed_response": _NONSENSE,
    "missing_parameter": _INCOMPLETE,
    "not_fresh": _NOT_FRESH,
    "not_proven": _NOT_PROVEN,
    "provider_error": _NONSENSE,
    "provider_unavailable": _UNAVAILABLE,
    "rate_limited": _UNAVAILABLE,
    "session_context_missing": _EXPIRED,
    "state_mismatch": _EXPIRED,
    "timeout": _SLOW,
    "unavailable": _UNAVAILABLE,
    "user_mismatch": _OTHER_USER,
    "username_in_use": _CONFLICT,
}
# Reasons that depend on this host's clock.
_TIMES: Final = frozenset({"auth_time", "exp", "iat_future", "iat_past", "nbf"})
# By the `source` of python-social-auth's errors.
_SOURCES: Final[dict[str, _Case]] = {
    "configuration": _OUR_FAULT,
    "local_policy": _NOT_ALLOWED,
    "provider_response": _UNVERIFIED,
    "request": _INCOMPLETE,
    "session": _EXPIRED,
    "storage": _OTHER_ACCOUNT,
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a sign-in did not succeed: a stable `reason` and `stage` for the log, and a page for the person.

    `asked` is what the provider was asked for, `reference` its own name of that exchange, for its support.
    """

    reason: str
    stage: str
    case: _Case
    asked: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """What the button *try again* posts, beside the CSRF token."""

    action: str
    next: str = ""
    prompt: str = ""
    max_age: int | None = None


def refusal_of(error: Exception, stage: str) -> Refusal:
    """Sort one of CAUGHT. `stage` is where it happened when the error does not say."""
    if (
        isinstance(error, SignInRefused)
        and error.reason in _TIMES
        and abs(clock.seconds_behind() or 0.0) > clock.TOLERATED
    ):
        return Refusal("clock", error.stage, _WRONG_CLOCK)
    if isinstance(error, SignInRefused):
        return Refusal(error.reason, error.stage, _CASES.get(error.reason, _UNVERIFIED))
    if isinstance(error, SocialAuthBaseException):
        named = error.stage if error.stage != "unknown" else stage
        return Refusal(error.code, named, _CASES.get(error.code) or _SOURCES.get(error.source, _UNVERIFIED))
    if isinstance(error, ApiError):
        return Refusal(error.code, stage, _case_of_api_error(error), error.path, error.request_id)
    if isinstance(error, ConfigurationError):
        return Refusal("configuration", stage, _OUR_FAULT)
    if isinstance(error, OtherSubject):
        return Refusal("other_subject", stage, _OTHER_ACCOUNT)
    if isinstance(error, IntegrityError):
        return Refusal("integrity", stage, _CONFLICT if stage == "pipeline" else _STORAGE)
    return Refusal("storage", stage, _STORAGE)


def _case_of_api_error(error: ApiError) -> _Case:
    if isinstance(error, InvalidGrant):
        return _EXPIRED
    if isinstance(error, ClientRejected):
        return _OUR_FAULT
    if error.code == "timeout":
        return _SLOW
    if isinstance(error, ProviderUnavailable) and not isinstance(error, MalformedAnswer):
        return _UNAVAILABLE
    return _NONSENSE


def error_page(request: HttpRequest, error: Exception, *, stage: str, again: Again | None) -> HttpResponse:
    """Log one of CAUGHT and answer with the page that says so."""
    refusal = refusal_of(error, stage)
    case = refusal.case
    logger.log(
        logging.ERROR if case in (_OUR_FAULT, _STORAGE, _WRONG_CLOCK) else logging.WARNING,
        "sign-in refused: reason=%s stage=%s status=%d%s%s",
        refusal.reason,
        refusal.stage,
        case.status,
        f" asked={refusal.asked}" if refusal.asked else "",
        f" request={refusal.reference}" if refusal.reference else "",
    )
    context: dict[str, Any] = {
        "title": case.title,
        "text": case.text,
        "again": again if case.again else None,
        "reason": refusal.reason,
        "stage": refusal.stage,
        "reference": refusal.reference,
        "home": get_script_prefix(),
        "signed_in": getattr(request, "user", None) is not None and request.user.is_authenticated,
    }
    response = render(request, "django_eprospera/sign_in_error.html", context, status=case.status)
    # The address of this page holds the code and the state. (Not `no-referrer`: it takes Origin from the button's POST.)
    response["Referrer-Policy"] = "same-origin"
    # It is logged. Django would do so again, and send the whole request to ADMINS, the code in it.
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
    return response
