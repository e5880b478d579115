"""People who can sign in to the sandbox, as plain data in the format of the provider's responses. All of them are invented.

Each persona is a case that a client has to handle; `Persona.summary` describes it.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext_lazy as _

from django_eprospera.sandbox.companies import KITES, LANTERNS, ORCHARD, PAPER, REEF

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

__all__ = ["PERSONAS", "Persona", "find"]


@dataclass(frozen=True, eq=False)
class Persona:
    """An invented person: OIDC claims, the bodies of the `me/` responses, and the companies represented.

    `check` is the identity check without its file URLs; `sides` names the images on file.
    """

    sub: str
    summary: _StrPromise
    claims: dict[str, Any]
    person: dict[str, Any] | None
    residency: dict[str, Any]
    check: dict[str, Any] | None
    sides: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The display name."""
        return str(self.claims["name"])

    @property
    def key(self) -> str:
        """The first name in small letters without accents, which the control API accepts in place of `sub`."""
        first = unicodedata.normalize("NFKD", str(self.claims["given_name"]).split()[0].lower())
        return "".join(letter for letter in first if letter.isascii())


def _claims(given: str, family: str, email: str | None, *, verified: bool = True) -> dict[str, Any]:
    mail = {"email": email, "email_verified": verified} if email else {"email": None, "email_verified": False}
    return {"name": f"{given} {family}".strip(), "given_name": given, "family_name": family or None, **mail}


def _person(given: str, family: str, rpn: str | None, **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "countryOfBirth": None,
        "citizenships": [],
        "dateOfBirth": None,
        "sex": None,
        "address": None,
        "phoneNumber": None,
    }
    return {
        "givenName": given,
        "surname": family,
        "name": f"{given} {family}".strip(),
        "residentPermitNumber": rpn,
        **known,
        **more,
    }


def _address(
    line1: str, city: str, country: str, postal: str, line2: str | None = None, state: str | None = None
) -> dict[str, Any]:
    return {"country": country, "line1": line1, "line2": line2, "city": city, "state": state, "postalCode": postal}


def _residency(kind: str, since: str, until: str | None = None, version: str = "v08.29.2024") -> dict[str, Any]:
    active = {"effectiveDate": since, "terminationDate": until, "residencyType": kind, "version": version}
    return {"wasEverResident": True, "activeResidency": active}


def _check(id_: str, document_type: str | None, date: str) -> dict[str, Any]:
    return {"id": id_, "type": "veriff", "documentType": document_type, "date": date, "status": "approved"}


_BOTH: Final = ("front", "back", "face")

_ALL: Final = (
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b01",
        _("Resident, three companies, everything on file"),
        _claims("Lucía", "Ejemplo", "lucia.ejemplo@example.test"),
        _person("Lucía", "Ejemplo", "90000000004217", countryOfBirth="Honduras", citizenships=["Honduras", "Spain"],
                dateOfBirth="1988-02-29T00:00:00.000Z", sex="F",
                address=_address("Calle Inventada 12", "Roatán", "Honduras", "34101", "Apto. 4", "Islas de la Bahía"),
                phoneNumber="+50400000001"),
        _residency("Resident", "2021-06-15T00:00:00.000Z"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c01", "national_id", "2026-03-04T15:20:00.000Z"),
        _BOTH, (KITES, REEF, LANTERNS),
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b02",
        _("e-Resident, shares one company with Lucía, e-mail not verified"),
        _claims("Samuel", "Sample", "samuel.sample@example.test", verified=False),
        _person("Samuel", "Sample", "90000000004224", countryOfBirth="United Kingdom", citizenships=["United Kingdom"],
                dateOfBirth="1979-11-05T00:00:00.000Z", sex="M",
                address=_address("7 Nowhere Lane", "Exampleton", "United Kingdom", "EX1 1EX"), phoneNumber="+440000000002"),
        _residency("e-Resident", "2024-09-02T00:00:00.000Z"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c02", "drivers_license", "2025-10-11T08:45:00.000Z"), _BOTH, (KITES,),
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b03",
        _("Limited e-Resident (visitor pass) that ends in 2035"),
        _claims("Mirjam", "Vorlage", "mirjam.vorlage@example.test"),
        _person("Mirjam", "Vorlage", "90000000004231", countryOfBirth="Germany", citizenships=["Germany"],
                dateOfBirth="1994-07-17T00:00:00.000Z", sex="F",
                address=_address("Musterstraße 3", "Musterstadt", "Germany", "00001"), phoneNumber="+490000000003"),
        _residency("Limited e-Resident", "2026-01-10T00:00:00.000Z", "2035-06-30T00:00:00.000Z", "v10.20.2022"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c03", "residence_permit", "2026-01-08T17:00:00.000Z"), _BOTH,
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b04",
        _("Residency ended, one dissolved company"),
        _claims("Otto", "Former", "otto.former@example.test"),
        _person("Otto", "Former", "90000000004248", countryOfBirth="Austria", citizenships=["Austria"],
                dateOfBirth="1961-01-01T00:00:00.000Z", sex="M",
                address=_address("Ehemaligengasse 9", "Altort", "Austria", "0001"), phoneNumber="+430000000004"),
        {"wasEverResident": True, "activeResidency": None},
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c04", "other", "2020-05-20T10:10:00.000Z"), _BOTH, (PAPER,),
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b05",
        _("Never a resident: the person is null, no identity check"),
        _claims("Nadia", "Newcomer", "nadia.newcomer@example.test"),
        None, {"wasEverResident": False, "activeResidency": None}, None,
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b06",
        _("Resident without an identity check or e-mail, null wherever null is possible"),
        _claims("Teo", "Placeholder", None),
        _person("Teo", "Placeholder", None), _residency("Resident", "2026-05-01T00:00:00.000Z"), None, (), (ORCHARD,),
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b07",
        _("e-Resident, passport without a back"),
        _claims("Ana", "Muestra", "ana.muestra@example.test"),
        _person("Ana", "Muestra", "90000000004279", countryOfBirth="Guatemala", citizenships=["Guatemala"],
                dateOfBirth="2001-12-31T00:00:00.000Z", sex="F",
                address=_address("Avenida de Prueba 100", "Ciudad Modelo", "Guatemala", "01001"), phoneNumber="+50200000007"),
        _residency("e-Resident", "2025-03-20T00:00:00.000Z"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c07", "passport", "2025-03-18T13:37:00.000Z"), ("front", "face"),
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b08",
        _("e-Resident, accents in every name"),
        _claims("José Ángel", "Ñandú-Müller", "jose.nandu@example.test"),
        _person("José Ángel", "Ñandú-Müller", "90000000004286", countryOfBirth="Perú", citizenships=["Perú", "Österreich"],
                dateOfBirth="1985-08-08T00:00:00.000Z", sex="M",
                address=_address("Jirón Ñusta 8", "Córdoba Ficticia", "Perú", "00008", "Piso 2º"), phoneNumber="+510000000008"),
        _residency("e-Resident", "2023-02-14T00:00:00.000Z"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c08", "national_id", "2023-02-10T09:00:00.000Z"), _BOTH, (LANTERNS,),
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b09",
        _("Resident with a name of one word"),
        _claims("Wulandari", "", "wulandari@example.test"),
        _person("Wulandari", "", "90000000004293", countryOfBirth="Indonesia", citizenships=["Indonesia"],
                dateOfBirth="1990-04-21T00:00:00.000Z", sex=None,
                address=_address("Jalan Contoh 9", "Kota Contoh", "Indonesia", "00009"), phoneNumber=None),
        _residency("Resident", "2022-08-01T00:00:00.000Z"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c09", None, "2022-07-28T22:00:00.000Z"), _BOTH,
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b10",
        _("Markup in all fields, to test escaping"),
        _claims("Robin", "O'Script <b>", "robin.script@example.test"),
        _person("Robin", "O'Script <b>", "90000000004309", countryOfBirth="<script>alert(1)</script>",
                citizenships=["<i>Nowhere</i>"],
                dateOfBirth="1999-09-09T00:00:00.000Z", sex="M",
                address=_address("<script>alert(1)</script>", "\" onmouseover=\"alert(1)", "{{ 7|add:7 }}", "00010"),
                phoneNumber="+10000000010"),
        _residency("e-Resident", "2025-07-07T00:00:00.000Z"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c10", "visa", "2025-07-01T12:00:00.000Z"), _BOTH, (ORCHARD,),
    ),
    Persona(
        "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b11",
        _("Residency still listed although its last day has passed"),
        _claims("Lars", "Overstay", "lars.overstay@example.test"),
        _person("Lars", "Overstay", "90000000004316", countryOfBirth="Norway", citizenships=["Norway"],
                dateOfBirth="1972-10-30T00:00:00.000Z", sex="M",
                address=_address("Ingenveien 11", "Ingensteds", "Norway", "0011"), phoneNumber="+4700000011"),
        _residency("Limited e-Resident", "2024-11-01T00:00:00.000Z", "2025-11-01T00:00:00.000Z"),
        _check("2d9f0c3a-7a31-4c8e-8a0e-5b1f6d7e8c11", "passport", "2024-10-30T07:30:00.000Z"), ("front", "face"),
    ),
)  # fmt: skip

PERSONAS: Final[dict[str, Persona]] = {persona.sub: persona for persona in _ALL}


def find(name: Any) -> Persona | None:
    """Return the persona with this `sub` or `key`, or None."""
    return PERSONAS.get(str(name)) or next((each for each in _ALL if each.key == name), None)
