"""The rules of a policy, and the one query that reads what they need."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db.models import Count, Exists, OuterRef, Subquery
from django.utils import timezone

from django_eprospera import scopes
from django_eprospera.access.answers import OK, Access, refused
from django_eprospera.conf import conf
from django_eprospera.consent import SCOPES, has_ended, is_current
from django_eprospera.errors import SealedValueError
from django_eprospera.kyc.facts import person_subject_expression
from django_eprospera.models import Connection, EntityConsent, LegalEntity, NaturalPerson, ResourceState, Review
from django_eprospera.sign_in.recent import has_recent_sign_in

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
    from django.db.models import QuerySet
    from django.http import HttpRequest

    from django_eprospera.models import Residency

    User = AbstractBaseUser | AnonymousUser
    Company = LegalEntity | uuid.UUID | str

__all__ = ["Policy", "connection", "entity", "entity_kyc", "evaluate", "evaluate_request", "kyc", "residency"]

_RESOURCE = ResourceState.Resource
# The columns that decide.
_GRANT: Final = ("issuer", "client_id", "scope", "state", "state_cause", "user_id")
_RESIDENCY: Final = ("residency__residency_type", "residency__termination_date", "residency__was_ever_resident")
# What a company of a policy has to be.
_COMPANY: Final = ("", "shared", "approved")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a user needs for access: a connection that may be used, and all that is named here.

    `residency`: to be a resident, of any type (True) or of one of these types. `kyc`: to be approved by a reviewer.
    `scopes`: to have granted these. `company`: that the company in question is "shared" with the site now, or also
    "approved". `max_age`: that the data that these rules read is not older. `recent_sign_in`: to have signed in at
    e-Próspera within EPROSPERA_RECENT_SIGN_IN (True) or this time.

    Raises TypeError and ValueError for values that mean nothing.
    """

    residency: bool | Collection[str] = False
    kyc: bool = False
    scopes: Collection[str] = ()
    company: str = ""
    max_age: timedelta | None = None
    recent_sign_in: bool | timedelta = False

    def __post_init__(self) -> None:
        for name in ("residency", "scopes"):
            if isinstance(value := getattr(self, name), str):
                raise TypeError(f"{name} must be a list of names, not the string {value!r}.")
        if unknown := set(self.scopes) - set(scopes.LABELS):
            raise ValueError(f"There is no scope {', '.join(sorted(unknown))}. Known: {', '.join(scopes.LABELS)}.")
        if self.company not in _COMPANY:
            raise ValueError(f'company must be "shared" or "approved", not {self.company!r}.')
        if self.max_age is not None and not self.resources:
            raise ValueError("max_age is about data: the policy needs residency, kyc or company too.")

    @property
    def resources(self) -> set[str]:
        """The resources that the rules read, of `ResourceState.Resource`."""
        found: set[str] = set()
        if self.residency:
            found.add(_RESOURCE.RESIDENCY.value)
        if self.kyc:
            found |= {_RESOURCE.NATURAL_PERSON.value, _RESOURCE.ID_VERIFICATION.value}
        if self.company:
            found.add(_RESOURCE.LEGAL_ENTITIES.value)
        return found

    @property
    def needed_scopes(self) -> set[str]:
        """The scopes without which nobody has access."""
        return {SCOPES[resource] for resource in self.resources} | set(self.scopes)


def evaluate(
    user: User, policy: Policy, *, company: Company | None = None, request: HttpRequest | None = None
) -> Access:
    """Return whether the user has what the policy names, and if not, all that is missing. One query at most.

    `company` is the company in question or its primary key, for a policy with `company`; `request` is needed for
    `recent_sign_in`. Raises TypeError if one of them is needed and not given.
    """
    if policy.company and company is None:
        raise TypeError("The policy is about a company: pass evaluate(…, company=…).")
    if policy.recent_sign_in and request is None:
        raise TypeError(
            "The policy asks for a recent sign-in, which the session knows: pass evaluate(…, request=request)."
        )
    if not user.is_authenticated:
        return refused("anonymous")
    if not user.is_active:
        return refused("inactive")
    link = _link(user, policy, _key(company))
    if link is None:
        return refused("not_connected")
    if not is_current(link):
        return refused("other_provider")
    if has_ended(link):
        return refused("reauthorize")
    codes = [code for rule in _RULES if (code := rule(link, policy)) is not None]
    if request is not None and not _is_recent(request, policy):
        codes.append("sign_in_again")
    return refused(*dict.fromkeys(codes)) if codes else OK


def evaluate_request(request: Any, policy: Policy, arguments: Mapping[str, Any], company: str) -> Access:
    """Evaluate the policy for the user of a request. `company` names the URL argument with the company, empty for none."""
    chosen = str(arguments.get(company, "")) if company else None
    return evaluate(request.user, policy, company=chosen, request=request)


def connection(user: User) -> Access:
    """Return whether the user is connected with the provider of the settings, by a grant that has not ended."""
    return evaluate(user, Policy())


def residency(user: User, types: Collection[str] = ()) -> Access:
    """Return whether the user is a resident now, of one of `types` if any are given (docs/provider.md#me-answers)."""
    return evaluate(user, Policy(residency=types or True))


def kyc(user: User) -> Access:
    """Return whether a reviewer approved the person that the user is connected as."""
    return evaluate(user, Policy(kyc=True))


def entity(user: User, company: Company) -> Access:
    """Return whether the user shares this company with the site now, and so may act for it."""
    return evaluate(user, Policy(company="shared"), company=company)


def entity_kyc(user: User, company: Company) -> Access:
    """Return whether the user may act for this company, and a reviewer approved it."""
    return evaluate(user, Policy(company="approved"), company=company)


def _key(company: Company | None) -> uuid.UUID | None:
    if isinstance(company, LegalEntity):
        return company.pk
    try:
        return company if isinstance(company, uuid.UUID) or company is None else uuid.UUID(company)
    except ValueError:
        return None  # no company has such a key


def _link(user: Any, policy: Policy, company: uuid.UUID | None) -> Connection | None:
    """Return the user's connection, with what the rules read."""
    columns, read = [*_GRANT], dict[str, Any]()
    if policy.residency:
        columns += _RESIDENCY
    if policy.kyc:
        reviews = Review.objects.filter(subject=person_subject_expression())
        read["review_status"] = Subquery(reviews.values("status")[:1])
        read["has_person"] = Exists(NaturalPerson.objects.filter(connection=OuterRef("pk")))
    if policy.company:
        shared = EntityConsent.objects.filter(connection=OuterRef("pk"), entity=company, withdrawn_at=None)
        read["is_shared"] = Exists(shared)
        reviews = Review.objects.filter(subject_kind=Review.Subject.ENTITY, entity=company)
        read["company_status"] = Subquery(reviews.values("status")[:1])
    if policy.max_age is not None:
        young = ResourceState.objects.filter(
            connection=OuterRef("pk"), resource__in=policy.resources, synced_at__gte=timezone.now() - policy.max_age
        )
        read["young"] = Subquery(young.values("connection").annotate(n=Count("pk")).values("n"))
    rows: QuerySet[Connection] = Connection.objects.filter(user_id=user.pk).only(*columns).annotate(**read)
    return (rows.select_related("residency") if policy.residency else rows).first()


def _scopes(link: Connection, policy: Policy) -> str | None:
    missing = set(policy.scopes) - set(link.scopes)
    return _not_granted(missing) if missing else None


def _residency(link: Connection, policy: Policy) -> str | None:
    if not policy.residency:
        return None
    if scopes.PERSON_RESIDENCY_READ not in link.scopes:
        return _not_granted({scopes.PERSON_RESIDENCY_READ})
    facts: Residency | None = getattr(link, "residency", None)
    if facts is None:
        return "on_its_way"
    try:
        if not facts.is_active:
            ever = facts.residency_type is not None or facts.was_ever_resident
            return "residency_ended" if ever else "never_resident"
        if policy.residency is not True and facts.residency_type not in policy.residency:
            return "other_residency"
    except SealedValueError:
        return "unreadable"
    return None


def _kyc(link: Any, policy: Policy) -> str | None:
    if not policy.kyc:
        return None
    status: str | None = link.review_status
    if status == Review.Status.APPROVED and not link.has_person:
        status = None  # the facts were erased, and have not been fetched and compared with the decision yet
    if status in (None, Review.Status.WAITING):
        # Without these scopes there is nothing that the person could complete at e-Próspera.
        missing = set(scopes.FEATURES["kyc"]) - set(link.scopes)
        if missing:
            return _not_granted(missing)
    return _of_review(status, "kyc")


def _company(link: Any, policy: Policy) -> str | None:
    if not policy.company:
        return None
    if scopes.ENTITY_READ not in link.scopes:
        return _not_granted({scopes.ENTITY_READ})
    if not link.is_shared:
        return "entity_not_shared"
    return _of_review(link.company_status, "entity") if policy.company == "approved" else None


def _age(link: Any, policy: Policy) -> str | None:
    return "too_old" if policy.max_age is not None and (link.young or 0) < len(policy.resources) else None


_RULES: Final = (_scopes, _residency, _company, _kyc, _age)


def _is_recent(request: HttpRequest, policy: Policy) -> bool:
    within = policy.recent_sign_in
    return not within or has_recent_sign_in(request, within if isinstance(within, timedelta) else None)


def _not_granted(missing: set[str]) -> str:
    return "not_shared" if missing <= set(conf.requested_scopes) else "not_requested"


def _of_review(status: str | None, prefix: str) -> str | None:
    if status is None:
        return "on_its_way"
    return None if status == Review.Status.APPROVED else f"{prefix}_{status}"
