"""May this user pass, and if not, why? Local state only: no request ever waits for the provider. Decides nothing.

Denies by default. Withdrawn consent stops at once: a grant that the provider ended, a scope that is no longer granted, a
company that is no longer shared. That facts are old never closes a gate by itself, and neither does an access that ended for a
technical reason; what closes it then are the facts themselves, such as the end of a residency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.core.exceptions import PermissionDenied
from django.utils.translation import gettext_lazy as _

from django_eprospera.consent import has_ended, is_granted
from django_eprospera.errors import SealedValueError
from django_eprospera.kyc.reviews import status_for, status_for_entity
from django_eprospera.models import EntityConsent, Residency, ResourceState, Review

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.utils.functional import _StrPromise

    from django_eprospera.models import Connection, LegalEntity

    User = AbstractBaseUser | AnonymousUser

__all__ = ["Access", "AccessRefused", "connection", "entity", "entity_kyc", "kyc", "residency"]

# What a new sign-in, with the right choices on the consent page, can mend.
_MENDED_BY_SIGN_IN: Final = {"not_connected", "reauthorize", "not_shared", "entity_not_shared"}

_MESSAGES: Final[dict[str, _StrPromise]] = {
    "ok": _("You may pass."),
    "anonymous": _("Sign in first."),
    "inactive": _("This account is switched off. Ask whoever runs this site."),
    "not_connected": _("This account is not connected with e-Próspera. Sign in with e-Próspera to connect it."),
    "reauthorize": _("The access to your e-Próspera data has ended. Sign in with e-Próspera again."),
    "not_shared": _(
        "You did not share what this page asks for. Sign in with e-Próspera again and allow it on the consent page."
    ),
    "on_its_way": _("Your data is on its way from e-Próspera. Try again in a moment."),
    "unreadable": _("Your data cannot be read at the moment. Whoever runs this site has to look into it."),
    "never_resident": _("This page is for residents of Próspera, and e-Próspera knows of no residency of yours."),
    "residency_ended": _("This page is for residents of Próspera, and your residency has ended."),
    "other_residency": _("Your kind of residency does not open this page."),
    "kyc_waiting": _(
        "Your identity cannot be reviewed yet: something is missing at e-Próspera. Complete your profile and your identity "
        "check there; the review begins by itself."
    ),
    "kyc_pending": _("Your identity is being reviewed. There is nothing that you have to do; come back later."),
    "kyc_rejected": _("Your identity was reviewed, and not approved. Ask whoever runs this site for the reason."),
    "entity_not_shared": _(
        "You do not share this company with this site. Sign in with e-Próspera again and choose it on the consent page."
    ),
    "entity_waiting": _("This company cannot be reviewed yet: its data is not complete."),
    "entity_pending": _("This company is being reviewed. There is nothing that you have to do; come back later."),
    "entity_rejected": _("This company was reviewed, and not approved. Ask whoever runs this site for the reason."),
}


class AccessRefused(PermissionDenied):
    """A gate refused. Django answers it with its 403 page; `access` says why."""

    def __init__(self, access: Access) -> None:
        self.access = access
        super().__init__(str(access.message))


@dataclass(frozen=True)
class Access:
    """A gate's answer: whether it opens, a stable word for why, and a sentence for the person."""

    allowed: bool
    code: str

    @property
    def message(self) -> str:
        """Why, and what the person can do; holds no personal data."""
        return str(_MESSAGES[self.code])

    @property
    def mended_by_sign_in(self) -> bool:
        """Whether signing in with e-Próspera again can open the gate."""
        return self.code in _MENDED_BY_SIGN_IN

    def require(self) -> None:
        """Raise AccessRefused unless the gate opens."""
        if not self.allowed:
            raise AccessRefused(self)


_OK: Final = Access(allowed=True, code="ok")


def connection(user: User) -> Access:
    """Whether the user is connected with e-Próspera, by a grant that has not ended."""
    if not user.is_authenticated:
        return _refused("anonymous")
    if not user.is_active:
        return _refused("inactive")
    link = _connection_of(user)
    if link is None:
        return _refused("not_connected")
    if has_ended(link):
        return _refused("reauthorize")
    return _OK


def residency(user: User, types: Collection[str] = ()) -> Access:
    """Whether the user is a resident now; with `types`, with one of these residency types (docs/provider.md#me-answers)."""
    link, access = _link(user, ResourceState.Resource.RESIDENCY)
    if link is None:
        return access
    facts = Residency.objects.filter(connection=link).first()
    if facts is None:
        return _refused("on_its_way")
    try:
        if not facts.is_active:
            ever = facts.residency_type is not None or facts.was_ever_resident
            return _refused("residency_ended" if ever else "never_resident")
        if types and facts.residency_type not in types:
            return _refused("other_residency")
    except SealedValueError:
        return _refused("unreadable")
    return _OK


def kyc(user: User) -> Access:
    """Whether a reviewer approved the person that the user is connected as."""
    access = connection(user)
    return _of_review(status_for(user), "kyc") if access.allowed else access


def entity(user: User, company: LegalEntity) -> Access:
    """Whether the user shares this company with the site now, and so may speak for it."""
    link, access = _link(user, ResourceState.Resource.LEGAL_ENTITIES)
    if link is None:
        return access
    shared = EntityConsent.objects.filter(connection=link, entity=company, withdrawn_at=None).exists()
    return _OK if shared else _refused("entity_not_shared")


def entity_kyc(user: User, company: LegalEntity) -> Access:
    """Whether the user may speak for this company, and a reviewer approved it."""
    access = entity(user, company)
    return _of_review(status_for_entity(user, company), "entity") if access.allowed else access


def _refused(code: str) -> Access:
    return Access(allowed=False, code=code)


def _connection_of(user: User) -> Connection | None:
    return getattr(user, "eprospera", None)


def _link(user: User, resource: str) -> tuple[Connection | None, Access]:
    access = connection(user)
    link = _connection_of(user) if access.allowed else None
    if link is not None and not is_granted(link, resource):
        return None, _refused("not_shared")
    return link, access


def _of_review(review: Review | None, what: str) -> Access:
    if review is None:
        return _refused("on_its_way")
    if review.status == Review.Status.APPROVED:
        return _OK
    return _refused(f"{what}_{review.status}")
