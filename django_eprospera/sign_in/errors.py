"""The page and the log line of a sign-in that did not succeed.

The page says what happened and offers to try again. It shows a reason code, which the log shows too; neither contains what
the provider or the browser sent. The status is 4xx for what the browser brought, 500 for faults of this site, and 502 to 504
for faults of the provider.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from django.db import DatabaseError, IntegrityError
from django.shortcuts import render
from django.urls import get_script_prefix
from django.utils.translation import gettext_lazy as _
from social_core.exceptions import SocialAuthBaseException

from django_eprospera.conf import conf
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
    500,
    _("This site's connection with e-Próspera is not set up correctly"),
    _("You can do nothing about it. Please tell the people who run this site, with the reference below."),
)
_WRONG_CLOCK: Final = _Case(
    500,
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
_NO_EMAIL: Final = _Case(
    403,
    _("This site needs your e-mail address"),
    _(
        "Your e-Próspera account has none, or you did not share it, so no account was created. Try again, and allow this site "
        "to see your e-mail address."
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
    500, _("The sign-in could not be stored"), _("Nothing was changed. Please try again in a moment.")
)


# By reason of SignInRefused and code of python-social-auth's errors; other errors are mapped by type below.
_CASES: Final[dict[str, _Case]] = {
    "access_denied": _CANCELLED,
    "authorization_code_rejected": _EXPIRED,
    "authorization_declined": _CANCELLED,
    "client_refused": _OUR_FAULT,
    "connection_failed": _UNAVAILABLE,
    "disconnect_disallowed": _ONLY_WAY,
    "duplicate_parameter": _INCOMPLETE,
    "email_in_use": _EMAIL_IN_USE,
    "email_missing": _NO_EMAIL,
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
    """Why a sign-in did not succeed: stable codes `reason` and `stage` for the log, and the case for the page.

    `asked` is the path that was requested from the provider, `reference` the provider's ID of that request, for its support.
    """

    reason: str
    stage: str
    case: _Case
    asked: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """What the button "Try again" posts, beside the CSRF token."""

    action: str
    next: str = ""
    prompt: str = ""
    max_age: int | None = None


def refusal_of(error: Exception, stage: str) -> Refusal:
    """Return the Refusal for one of CAUGHT. `stage` is used when the error names none."""
    if (
        isinstance(error, SignInRefused)
        and error.reason in _TIMES
        and abs(clock.seconds_behind() or 0.0) > clock.TOLERATED
    ):
        return Refusal("clock", error.stage, _WRONG_CLOCK)
    if isinstance(error, SignInRefused):
        case = _CASES.get(error.reason, _UNVERIFIED)
        # The query is the browser's own: the provider may not have sent it. So is a code, and its nonce, of another sign-in.
        if case.status >= 500 and (error.stage == "callback" or error.reason == "nonce"):
            case = replace(case, status=400)
        return Refusal(error.reason, error.stage, case)
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
    """Log one of CAUGHT and return its page."""
    refusal = refusal_of(error, stage)
    case = refusal.case
    status = case.status
    if status > 500:
        status = conf.EPROSPERA_PROVIDER_ERROR_STATUS or status
    logger.log(
        logging.ERROR if case.status == 500 else logging.WARNING,
        "sign-in refused: reason=%s stage=%s status=%d%s%s",
        refusal.reason,
        refusal.stage,
        status,
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
    response = render(request, "django_eprospera/sign_in_error.html", context, status=status)
    # The URL of this page contains code and state. (Not `no-referrer`: that would remove Origin from the button's POST.)
    response["Referrer-Policy"] = "strict-origin"
    # Logged above. Django would log it again, and mail ADMINS the whole request, including the code.
    response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001
    return response
