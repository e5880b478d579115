"""Access rules for gates, evaluated on locally cached data. Everything that is not allowed is refused.

Withdrawn consent closes a gate at once: a grant that the provider ended, a scope that is no longer granted, a company that is
no longer shared. So does a change of EPROSPERA_BASE_URL or of the client ID. Facts do not close a gate by being old, nor a
grant by ending for a technical reason; the facts themselves do, such as the end of a residency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Subquery
from django.utils.translation import gettext_lazy as _

from django_eprospera.conf import conf
from django_eprospera.consent import SCOPES, has_ended, is_current, is_granted
from django_eprospera.errors import SealedValueError
from django_eprospera.kyc.facts import entity_subject, person_subject_expression
from django_eprospera.models import Connection, EntityConsent, NaturalPerson, ResourceState, Review
from django_eprospera.scopes import FEATURES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.utils.functional import _StrPromise

    from django_eprospera.models import LegalEntity, Residency

    User = AbstractBaseUser | AnonymousUser

__all__ = ["Access", "AccessRefused", "connection", "entity", "entity_kyc", "kyc", "residency"]

# The columns that decide.
_GRANT: Final = ("issuer", "client_id", "scope", "state", "state_cause", "user_id")
_RESIDENCY: Final = ("residency__residency_type", "residency__termination_date", "residency__was_ever_resident")

# What a refused user can do, by code. `connect`, `renew` and `share` are sign-ins with e-Próspera; `portal` is something to do
# there; `switch` is another account.
_NEXT_STEPS: Final = {
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
}

_MESSAGES: Final[dict[str, _StrPromise]] = {
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
    """Result of a gate: whether access is allowed, a stable code, and a message for the user."""

    allowed: bool
    code: str

    @property
    def message(self) -> str:
        """The reason and the next step, without personal data."""
        return str(_MESSAGES[self.code])

    @property
    def next_step(self) -> str:
        """What the user can do: `connect`, `renew`, `share`, `wait`, `portal` or `switch`; empty for nothing."""
        return _NEXT_STEPS.get(self.code, "")

    def require(self) -> None:
        """Raise AccessRefused unless access is allowed."""
        if not self.allowed:
            raise AccessRefused(self)


_OK: Final = Access(allowed=True, code="ok")


def connection(user: User) -> Access:
    """Return whether the user is connected with the provider of the settings, by a grant that has not ended."""
    return _link(user)[1]


def residency(user: User, types: Collection[str] = ()) -> Access:
    """Return whether the user is a resident now, of one of `types` if any are given (docs/provider.md#me-answers)."""
    link, access = _link(user, _RESIDENCY, resource=ResourceState.Resource.RESIDENCY)
    if link is None:
        return access
    facts: Residency | None = getattr(link, "residency", None)
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
    """Return whether a reviewer approved the person that the user is connected as."""
    link, access = _link(
        user,
        review_status=Subquery(Review.objects.filter(subject=person_subject_expression()).values("status")[:1]),
        has_person=Exists(NaturalPerson.objects.filter(connection=OuterRef("pk"))),
    )
    if link is None:
        return access
    status: str | None = link.review_status  # type: ignore[attr-defined]
    if status == Review.Status.APPROVED and not link.has_person:  # type: ignore[attr-defined]
        status = None  # the facts were erased, and have not been fetched and compared with the decision yet
    if status in (None, Review.Status.WAITING):
        # Without these scopes there is nothing that the person could complete at e-Próspera.
        missing = set(FEATURES["kyc"]) - set(link.scopes)
        if missing:
            return _not_granted(missing)
    return _of_review(status, "kyc")


def entity(user: User, company: LegalEntity) -> Access:
    """Return whether the user shares this company with the site now, and so may act for it."""
    return _entity(user, company)[1]


def entity_kyc(user: User, company: LegalEntity) -> Access:
    """Return whether the user may act for this company, and a reviewer approved it."""
    link, access = _entity(
        user,
        company,
        review_status=Subquery(Review.objects.filter(subject=entity_subject(company)).values("status")[:1]),
    )
    return access if link is None else _of_review(link.review_status, "entity")  # type: ignore[attr-defined]


def _entity(user: User, company: LegalEntity, **annotations: Any) -> tuple[Connection | None, Access]:
    shared = EntityConsent.objects.filter(connection=OuterRef("pk"), entity=company, withdrawn_at=None)
    link, access = _link(user, resource=ResourceState.Resource.LEGAL_ENTITIES, is_shared=Exists(shared), **annotations)
    if link is not None and not link.is_shared:  # type: ignore[attr-defined]
        return None, _refused("entity_not_shared")
    return link, access


def _link(
    user: User, columns: Iterable[str] = (), *, resource: str | None = None, **annotations: Any
) -> tuple[Connection | None, Access]:
    """Return the user's connection, if it may be used, with the access that it gives by itself. One query."""
    if not user.is_authenticated:
        return None, _refused("anonymous")
    if not user.is_active:
        return None, _refused("inactive")
    rows = Connection.objects.filter(user_id=user.pk).only(*_GRANT, *columns).annotate(**annotations)
    if related := {column.partition("__")[0] for column in columns}:
        rows = rows.select_related(*related)
    link = rows.first()
    if link is None:
        return None, _refused("not_connected")
    if not is_current(link):
        return None, _refused("other_provider")
    if has_ended(link):
        return None, _refused("reauthorize")
    if resource is not None and not is_granted(link, resource):
        return None, _not_granted({SCOPES[resource]})
    return link, _OK


def _refused(code: str) -> Access:
    return Access(allowed=False, code=code)


def _not_granted(scopes: set[str]) -> Access:
    return _refused("not_shared" if scopes <= set(conf.requested_scopes) else "not_requested")


def _of_review(status: str | None, prefix: str) -> Access:
    if status is None:
        return _refused("on_its_way")
    if status == Review.Status.APPROVED:
        return _OK
    return _refused(f"{prefix}_{status}")
