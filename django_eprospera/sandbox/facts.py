"""Data of one account: the persona's data with the changes made through the control API.

Returned as plain JSON values, not as the package's own classes, so that tests find differences between the two.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from django_eprospera.sandbox.companies import COMPANIES, DOCUMENTS
from django_eprospera.sandbox.files import picture_url, signed_url
from django_eprospera.sandbox.personas import PERSONAS, Persona
from django_eprospera.sandbox.state import current

if TYPE_CHECKING:
    from django_eprospera.sandbox.models import Account

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

# Parts of a persona that POST /_sandbox/personas/<sub> can change.
CHANGEABLE = ("claims", "person", "residency", "check")

_LONG_SEX = {"M": "Male", "F": "Female", None: None}


def persona_of(account: Account) -> Persona:
    """Return the persona of an account."""
    return PERSONAS[str(account.pk)]


def _merged(known: dict[str, Any] | None, changes: Any) -> dict[str, Any] | None:
    """Return `known` with `changes` merged in recursively; None replaces an object by None."""
    if changes is None:
        return None
    merged: dict[str, Any] = copy.deepcopy(known or {})
    for name, value in changes.items():
        old = merged.get(name)
        merged[name] = _merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _known(account: Account, part: str) -> dict[str, Any] | None:
    changes = account.changes
    known: dict[str, Any] | None = getattr(persona_of(account), part)
    return _merged(known, changes[part]) if part in changes else copy.deepcopy(known)


def _day(value: Any) -> Any:
    """Return a calendar date in the format of the switch `dates`."""
    return value[:10] if isinstance(value, str) and current().switches.dates == "date" else value


def claims(account: Account, scopes: set[str]) -> dict[str, Any]:
    """Return the OIDC claims for the granted scopes (docs/provider.md#id-token-and-userinfo)."""
    known = {**(_known(account, "claims") or {}), "picture": picture_url(str(account.pk))}
    wanted: list[str] = []
    if "profile" in scopes:
        wanted += ["name", "given_name", "family_name", "picture"]
    if "email" in scopes:
        wanted += ["email", "email_verified"]
    found = {"sub": str(account.pk)} | {name: known.get(name) for name in wanted}
    if current().switches.empty_claims == "absent":
        return {name: value for name, value in found.items() if value is not None}
    return found


def person(account: Account) -> dict[str, Any] | None:
    """Return the body of `me/natural-person`, None for a user without a resident record."""
    body = _known(account, "person")
    if body is not None:
        body["dateOfBirth"] = _day(body.get("dateOfBirth"))
        if current().switches.sex == "long":
            body["sex"] = _LONG_SEX.get(body.get("sex"), body.get("sex"))
    return body


def residency(account: Account) -> dict[str, Any] | None:
    """Return the body of `me/natural-person/residency`."""
    return _known(account, "residency")


def id_verification(account: Account) -> dict[str, Any]:
    """Return the body of `me/natural-person/id-verification`; without an approved check each leaf is None."""
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
    """Return the entities that the person represents now."""
    ended = set(account.ended_entities)
    return [entity for entity in persona_of(account).entities if entity not in ended]


def shared(account: Account, selected: list[str]) -> list[str]:
    """Return the entities that were selected for a grant and are still represented (docs/provider.md#consent)."""
    return [entity for entity in represented(account) if entity in selected]


def company(entity: str, *, brief: bool) -> dict[str, Any]:
    """Return one entity: the seven fields of the list, or all fields."""
    body = dict(COMPANIES[entity])
    if brief:
        names = ("id", "optionId", "type", "name", "extension", "nameStartsWithExtension", "residentPermitNumber")
        return {name: body[name] for name in names}
    for name in ("formationDate", "registrationDate", "dissolutionDate"):
        body[name] = _day(body[name])
    return body


def company_documents(entity: str) -> list[dict[str, Any]]:
    """Return the documents of one entity, each with a signed URL or None."""
    return [
        {name: value for name, value in document.items() if name != "file"}
        | {"fileUrl": signed_url("documents", f"{document['id']}.pdf") if document["file"] else None}
        for document in DOCUMENTS[entity]
    ]
