"""Companies of the sandbox, as plain data in the format of the provider's responses. All of them are invented."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["COMPANIES", "DOCUMENTS", "KEYS", "KITES", "LANTERNS", "ORCHARD", "PAPER", "REEF"]

KITES: Final = "3e1b5c77-91d0-4a3b-8f8e-2a6c0d9e4f10"
REEF: Final = "5a90d1e2-7c34-4b58-9e61-0b7f3a2c8d21"
LANTERNS: Final = "8c4f2b16-0d9a-4e73-a5b8-61d3e7f09c32"
ORCHARD: Final = "b27e6d03-f518-4c9d-8a42-9f0c5b1d7e43"
PAPER: Final = "d6038fa9-42e7-4b1c-9d5f-c81a7e240b54"

# Names that the control API accepts in place of the IDs.
KEYS: Final = {"kites": KITES, "reef": REEF, "lanterns": LANTERNS, "orchard": ORCHARD, "paper": PAPER}

COMPANIES: Final[dict[str, dict[str, Any]]] = {
    KITES: {
        "id": KITES, "optionId": "llc", "type": "Limited Liability Company", "name": "Invented Kites", "extension": "LLC",
        "nameStartsWithExtension": False, "residentPermitNumber": "80000000007731",
        "formationDate": "2024-05-06T00:00:00.000Z", "registrationDate": "2024-05-07T00:00:00.000Z", "dissolutionDate": None,
        "principalOfficeAddress": {
            "line1": "Calle Inventada 12", "line2": "Suite 3", "city": "Roatán", "state": "Bay Islands", "postalCode": "34101",
            "country": "Honduras",
        },
        "createdAt": "2024-05-06T10:00:00.000Z",
    },
    REEF: {
        "id": REEF, "optionId": "for_profit_corp", "type": "For-Profit Corporation", "name": "Make-Believe Reef Surveys",
        "extension": "Inc.", "nameStartsWithExtension": False, "residentPermitNumber": "80000000007748",
        "formationDate": "2022-11-14T00:00:00.000Z", "registrationDate": "2022-11-21T00:00:00.000Z", "dissolutionDate": None,
        "principalOfficeAddress": {
            "line1": "Playa Ficticia 1", "line2": None, "city": "Roatán", "state": None, "postalCode": "34101",
            "country": "Honduras",
        },
        "createdAt": "2022-11-14T15:30:00.000Z",
    },
    # The extension comes first, and there is no address.
    LANTERNS: {
        "id": LANTERNS, "optionId": "llc", "type": "Limited Liability Company", "name": "Faroles de Papel",
        "extension": "S. de R.L.",
        "nameStartsWithExtension": True, "residentPermitNumber": "80000000007755",
        "formationDate": "2025-01-30T00:00:00.000Z", "registrationDate": None, "dissolutionDate": None,
        "principalOfficeAddress": None, "createdAt": "2025-01-30T08:00:00.000Z",
    },
    # An unfinished application: each field that can be null is null.
    ORCHARD: {
        "id": ORCHARD, "optionId": "llc", "type": "Limited Liability Company",
        "name": "Orchard <script>alert(1)</script> & Sons",
        "extension": "LLC", "nameStartsWithExtension": False, "residentPermitNumber": None, "formationDate": None,
        "registrationDate": None, "dissolutionDate": None, "principalOfficeAddress": None,
        "createdAt": "2026-02-02T12:00:00.000Z",
    },
    PAPER: {
        "id": PAPER, "optionId": "for_profit_corp", "type": "For-Profit Corporation", "name": "Paper Boats Shipping",
        "extension": "Corp.", "nameStartsWithExtension": False, "residentPermitNumber": "80000000007762",
        "formationDate": "2019-03-01T00:00:00.000Z", "registrationDate": "2019-03-05T00:00:00.000Z",
        "dissolutionDate": "2025-08-31T00:00:00.000Z",
        "principalOfficeAddress": {
            "line1": "1 Pretend Quay", "line2": None, "city": "Harbourless", "state": None, "postalCode": "00000",
            "country": "Panama",
        },
        "createdAt": "2019-03-01T09:15:00.000Z",
    },
}  # fmt: skip


def _document(
    id_: str, name: str, slug: str | None, version: str | None, created: str, *, file: bool = True
) -> dict[str, Any]:
    return {"id": id_, "name": name, "slug": slug, "version": version, "createdAt": created, "file": file}


# `file` is whether the document has a file; the response has a signed URL or null instead.
DOCUMENTS: Final[dict[str, list[dict[str, Any]]]] = {
    KITES: [
        _document("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e01", "Certificate of Organization", "certificate-of-organization", "1.0",
                  "2024-05-07T09:00:00.000Z"),
        _document("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e02", "Rider to Agreement of Coexistence", None, None,
                  "2024-05-07T09:05:00.000Z"),
        _document("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e03", "Certificate of Good Standing", "certificate-of-good-standing", "2.1",
                  "2026-01-15T11:30:00.000Z"),
    ],
    REEF: [
        _document("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e11", "Certificate of Incorporation", "certificate-of-incorporation", "1.0",
                  "2022-11-21T10:00:00.000Z"),
        _document("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e12", "Bylaws", "bylaws", "3.0", "2023-04-02T10:00:00.000Z", file=False),
    ],
    LANTERNS: [
        _document("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e21", "Acta de Organización", "certificate-of-organization", "1.0",
                  "2025-01-30T08:05:00.000Z"),
    ],
    ORCHARD: [],
    PAPER: [
        _document("7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e41", "Certificate of Dissolution", "certificate-of-dissolution", "1.0",
                  "2025-08-31T16:00:00.000Z"),
    ],
}  # fmt: skip
