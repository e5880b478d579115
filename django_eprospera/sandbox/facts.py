"""What does the provider know about one account? The persona's data, with what the control API changed laid over it.

Answers are literal JSON shapes, never the package's own classes: drift between the two must show.
"""

from __future__ import annotations

import copy
from typing import Any

from django_eprospera.sandbox import state
from django_eprospera.sandbox.companies import COMPANIES, DOCUMENTS
from django_eprospera.sandbox.files import picture_url, signed_url
from django_eprospera.sandbox.models import Account, Share
from django_eprospera.sandbox.personas import PERSONAS, Persona

__all__ = [
    "CHANGEABLE",
    "claims",
    "company",
    "company_documents",
    "id_verification",
    "person",
    "persona_of",
    "represented",
    "residency",
    "shared",
]  # fmt: skip

# What POST /_sandbox/personas/<sub> may lay over a persona.
CHANGEABLE = ("claims", "person", "residency", "check")

_LONG_SEX = {"M": "Male", "F": "Female", None: None}


def persona_of(account: Account) -> Persona:
    """The persona behind an account."""
    return PERSONAS[str(account.pk)]


def _laid_over(known: dict[str, Any] | None, changes: Any) -> dict[str, Any] | None:
    """`known` with `changes` merged in, deeply; null in place of an object means: there is none."""
    if changes is None:
        return None
    merged: dict[str, Any] = copy.deepcopy(known or {})
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = _laid_over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _known(account: Account, part: str) -> dict[str, Any] | None:
    changes = account.changes
    known: dict[str, Any] | None = getattr(persona_of(account), part)
    return _laid_over(known, changes[part]) if part in changes else copy.deepcopy(known)


def _day(value: Any) -> Any:
    """A calendar date in the form that the switch asks for."""
    return value[:10] if isinstance(value, str) and state.switches().dates == "date" else value


def claims(account: Account, scopes: set[str]) -> dict[str, Any]:
    """OIDC claims for the granted scopes (contract, section 6)."""
    known = {**(_known(account, "claims") or {}), "picture": picture_url(str(account.pk))}
    wanted: list[str] = []
    if "profile" in scopes:
        wanted += ["name", "given_name", "family_name", "picture"]
    if "email" in scopes:
        wanted += ["email", "email_verified"]
    found = {"sub": str(account.pk)} | {name: known.get(name) for name in wanted}
    if state.switches().empty_claims == "absent":
        return {name: value for name, value in found.items() if value is not None}
    return found


def person(account: Account) -> dict[str, Any] | None:
    """Body of `me/natural-person`, or None for a user without a resident record."""
    body = _known(account, "person")
    if body is not None:
        body["dateOfBirth"] = _day(body.get("dateOfBirth"))
        if state.switches().sex == "long":
            body["sex"] = _LONG_SEX.get(body.get("sex"), body.get("sex"))
    return body


def residency(account: Account) -> dict[str, Any] | None:
    """Body of `me/natural-person/residency`."""
    return _known(account, "residency")


def id_verification(account: Account) -> dict[str, Any]:
    """Body of `me/natural-person/id-verification`; every leaf is null where no approved check is on file."""
    check = _known(account, "check")
    if check is None:
        check = {"id": None, "type": None, "documentType": None, "date": None, "status": None}
        sides: tuple[str, ...] = ()
    else:
        sides = persona_of(account).sides
    files = {"documentFront": "front", "documentBack": "back", "face": "face"}
    urls = {
        name: signed_url("id", f"{account.pk}-{side}.jpg") if side in sides else None for name, side in files.items()
    }
    return {**check, "documents": {**urls, **check.get("documents", {})}}


def represented(account: Account) -> list[str]:
    """The entities that this person represents now."""
    ended = set(account.ended_entities)
    return [entity for entity in persona_of(account).entities if entity not in ended]


def shared(account: Account, application_id: int) -> list[str]:
    """The entities that a client may see: picked for it, and still represented (contract, section 9)."""
    share = Share.objects.filter(account=account, application_id=application_id).first()
    picked = set(share.entities) if share else set()
    return [entity for entity in represented(account) if entity in picked]


def company(entity: str, *, brief: bool) -> dict[str, Any]:
    """One entity: the seven fields of the list, or all of them."""
    body = dict(COMPANIES[entity])
    if brief:
        names = ("id", "optionId", "type", "name", "extension", "nameStartsWithExtension", "residentPermitNumber")
        return {name: body[name] for name in names}
    for name in ("formationDate", "registrationDate", "dissolutionDate"):
        body[name] = _day(body[name])
    return body


def company_documents(entity: str) -> list[dict[str, Any]]:
    """The documents of one entity, each with a signed URL or null."""
    return [
        {name: value for name, value in document.items() if name != "file"}
        | {"fileUrl": signed_url("documents", f"{document['id']}.pdf") if document["file"] else None}
        for document in DOCUMENTS[entity]
    ]
