"""The documents of the sandbox's companies: PDFs of one page, each marked as a specimen.

The same document is always the same file.
"""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from django_eprospera.sandbox.companies import COMPANIES, DOCUMENTS

__all__ = ["pdf"]

_TEAL, _INK, _FAINT = (11, 79, 82), (28, 43, 51), (93, 112, 120)


def _latin(text: str) -> str:
    """What the PDF's built-in fonts can show."""
    return text.encode("latin-1", "replace").decode("latin-1")


@functools.lru_cache(maxsize=64)
def pdf(entity: str, document_id: str) -> bytes:
    """One document of one company."""
    document = next(each for each in DOCUMENTS[entity] if each["id"] == document_id)
    company = COMPANIES[entity]
    page = FPDF(format="A4")
    # Else the file would carry the moment of its making.
    page.set_creation_date(datetime.fromisoformat(document["createdAt"]).astimezone(UTC))
    page.set_title(_latin(document["name"]))
    page.set_producer("e-Prospera sandbox")
    page.set_margins(25, 20, 25)
    page.add_page()
    _frame(page)
    page.set_y(38)
    _line(page, "SANDBOX REGISTRY OF COMPANIES", 10, _FAINT, after=10)
    _line(page, document["name"], 26, _TEAL, style="B", after=6)
    _line(page, _display_name(company), 16, _INK, after=14)
    for label, value in _rows(document, company):
        page.set_font("Helvetica", "", 10)
        page.set_text_color(*_FAINT)
        page.cell(55, 9, _latin(label))
        page.set_font("Helvetica", "", 11)
        page.set_text_color(*_INK)
        page.multi_cell(0, 9, _latin(value), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(10)
    _line(
        page,
        "This document was made by a sandbox for tests. The company does not exist, and the document proves nothing.",
        11,
        _INK,
    )
    page.ln(24)
    page.set_draw_color(*_FAINT)
    page.line(25, page.get_y(), 95, page.get_y())
    page.ln(2)
    _line(page, "N. O. Body, Registrar of the sandbox", 10, _FAINT)
    return bytes(page.output())


def _display_name(company: dict[str, Any]) -> str:
    parts = [company["name"], company["extension"]]
    return " ".join(reversed(parts) if company["nameStartsWithExtension"] else parts)


def _rows(document: dict[str, Any], company: dict[str, Any]) -> list[tuple[str, str]]:
    address = company["principalOfficeAddress"] or {}
    return [
        ("Kind of company", company["type"]),
        ("Permit number", company["residentPermitNumber"] or "not issued"),
        ("Formed", (company["formationDate"] or "not yet")[:10]),
        ("Registered", (company["registrationDate"] or "not yet")[:10]),
        ("Principal office", ", ".join(str(value) for value in address.values() if value) or "not on file"),
        ("Document version", document["version"] or "none"),
        ("Issued", document["createdAt"][:10]),
    ]


def _line(page: FPDF, text: str, size: int, colour: tuple[int, int, int], *, style: str = "", after: int = 0) -> None:
    page.set_font("Helvetica", style, size)
    page.set_text_color(*colour)
    page.multi_cell(0, size * 0.5, _latin(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    page.ln(after)


def _frame(page: FPDF) -> None:
    page.set_draw_color(*_TEAL)
    page.set_line_width(1.2)
    page.rect(12, 12, 186, 273)
    page.set_line_width(0.3)
    page.rect(14.5, 14.5, 181, 268)
    page.set_font("Helvetica", "B", 84)
    page.set_text_color(236, 224, 222)
    with page.rotation(45, 105, 148):
        page.text(28, 165, "SPECIMEN")
