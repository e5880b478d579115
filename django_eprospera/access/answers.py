"""Answers of gates: a stable code for each reason, with a message and the next step for the user."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["MESSAGES", "NEXT_STEPS", "OK", "Access", "AccessRefused", "refused"]

# What a refused user can do, by code. `connect`, `renew` and `share` are sign-ins with e-Próspera; `portal` is something to do
# there; `switch` is another account.
NEXT_STEPS: Final = {
    "inactive": "switch",
    "not_connected": "connect",
    "other_provider": "connect",
    "reauthorize": "renew",
    "not_shared": "share",
    "on_its_way": "wait",
    "never_resident": "portal",
    "residency_ended": "portal",
    "other_residency": "portal",
    "kyc_waiting": "portal",
    "kyc_rejected": "switch",
    "entity_not_shared": "share",
    "entity_waiting": "portal",
    "too_old": "portal",
    "sign_in_again": "confirm",
}

MESSAGES: Final[dict[str, _StrPromise]] = {
    "ok": _("You have access."),
    "anonymous": _("Sign in first."),
    "inactive": _("This account is deactivated. Contact the administrators of this site."),
    "not_connected": _("This account is not connected with e-Próspera. Sign in with e-Próspera to connect it."),
    "other_provider": _(
        "Your connection belongs to another e-Próspera environment than the one this site uses now. Sign in with e-Próspera "
        "again."
    ),
    "reauthorize": _("The access to your e-Próspera data has ended. Sign in with e-Próspera again."),
    "not_shared": _(
        "You did not share what this page asks for. Sign in with e-Próspera again and allow it on the consent page."
    ),
    "not_requested": _(
        "This page needs data that this site does not request from e-Próspera. Contact the administrators of this site."
    ),
    "on_its_way": _("Your data is being fetched from e-Próspera. Try again in a moment."),
    "unreadable": _("Your data cannot be read at the moment. Contact the administrators of this site."),
    "never_resident": _(
        "This page is for residents of Próspera, and e-Próspera has no record of a residency of yours."
    ),
    "residency_ended": _("This page is for residents of Próspera, and your residency has ended."),
    "other_residency": _("This page is for another type of residency than yours."),
    "kyc_waiting": _(
        "Your identity cannot be reviewed yet: something is missing at e-Próspera. Complete your profile and your identity "
        "check there. The review then starts automatically."
    ),
    "kyc_pending": _("Your identity is being reviewed. You do not have to do anything. Come back later."),
    "kyc_rejected": _(
        "Your identity was reviewed and not approved. Contact the administrators of this site for the reason."
    ),
    "entity_not_shared": _(
        "You do not share this company with this site. Sign in with e-Próspera again and choose it on the consent page."
    ),
    "entity_waiting": _("This company cannot be reviewed yet: its data is not complete."),
    "entity_pending": _("This company is being reviewed. You do not have to do anything. Come back later."),
    "too_old": _("Your data was last fetched from e-Próspera too long ago for this page. Fetch it again."),
    "sign_in_again": _("This page needs a recent sign-in with e-Próspera."),
    "entity_rejected": _(
        "This company was reviewed and not approved. Contact the administrators of this site for the reason."
    ),
}


class AccessRefused(PermissionDenied):
    """Access was refused; `access` has the reason. Django responds with its 403 page."""

    def __init__(self, access: Access) -> None:
        self.access = access
        super().__init__(str(access.message))


@dataclass(frozen=True)
class Access:
    """Result of a gate: whether access is allowed, a stable code, and a message for the user.

    `missing` has the codes of all that is missing, as far as it can be known; `code` is the first of them.
    """

    allowed: bool
    code: str
    missing: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """The reason and the next step, without personal data."""
        return str(MESSAGES[self.code])

    @property
    def next_step(self) -> str:
        """What the user can do: `connect`, `renew`, `share`, `wait`, `portal`, `confirm` or `switch`; empty for nothing."""
        return NEXT_STEPS.get(self.code, "")

    def require(self) -> None:
        """Raise AccessRefused unless access is allowed."""
        if not self.allowed:
            raise AccessRefused(self)

    @property
    def problem(self) -> dict[str, Any]:
        """The refusal as the members of a problem document (RFC 9457 section 3)."""
        status = HTTPStatus.FORBIDDEN
        return {
            "type": "about:blank",
            "title": status.phrase,
            "status": status.value,
            "detail": self.message,
            "code": self.code,
            "missing": list(self.missing),
            "next_step": self.next_step,
        }


OK: Final = Access(allowed=True, code="ok")


def refused(*codes: str) -> Access:
    """Return a refusal for these reasons, the most important first."""
    return Access(allowed=False, code=codes[0], missing=codes)
