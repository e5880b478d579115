"""Documents of the sandbox's companies: PDFs of one page, marked as specimens. A document is the same file each time."""

from __future__ import annotations

import functools
from datetime import datetime

from fpdf import FPDF

from django_eprospera.sandbox.companies import COMPANIES, DOCUMENTS

__all__ = ["pdf"]

_TEAL, _INK, _FAINT = "#0b4f52", "#1c2b33", "#5d7078"


@functools.lru_cache(maxsize=64)
def pdf(entity: str, document_id: str) -> bytes:
    """Return one document of one company."""
    document = next(each for each in DOCUMENTS[entity] if each["id"] == document_id)
    company = COMPANIES[entity]
    names = [company["name"], company["extension"]]
    page = FPDF(format="A4")
    # The default is the current time, which would change the file.
    page.set_creation_date(datetime.fromisoformat(document["createdAt"]))
    page.set_title(document["name"])
    page.set_margins(25, 38, 25)
    page.add_page()
    page.set_draw_color(_TEAL)
    page.set_line_width(1.2)
    page.rect(12, 12, 186, 273)
    page.set_font("Helvetica", "B", 84)
    page.set_text_color("#ece0de")
    with page.rotation(45, 105, 148):
        page.text(28, 165, "SPECIMEN")
    _line(page, "SANDBOX REGISTRY OF COMPANIES", 10, _FAINT)
    _line(page, document["name"], 26, _TEAL, style="B")
    _line(page, " ".join(reversed(names) if company["nameStartsWithExtension"] else names), 16, _INK)
    page.set_font("Helvetica", size=11)
    address = ", ".join(filter(None, (company["principalOfficeAddress"] or {}).values()))
    rows = (
        ("Type of company", company["type"]),
        ("Permit number", company["residentPermitNumber"] or "not issued"),
        ("Formed", (company["formationDate"] or "not yet")[:10]),
        ("Registered", (company["registrationDate"] or "not yet")[:10]),
        ("Principal office", address or "not on file"),
        ("Document version", document["version"] or "none"),
        ("Issued", document["createdAt"][:10]),
    )
    layout = {"borders_layout": "NONE", "col_widths": (1, 2), "line_height": 9, "text_align": "LEFT"}
    with page.table(rows, first_row_as_headings=False, **layout):
        pass  # drawn at the end of the block
    page.ln(10)
    _line(page, "Made by a sandbox for tests. The company does not exist, and this document proves nothing.", 11, _INK)
    return bytes(page.output())


def _line(page: FPDF, text: str, size: int, colour: str, *, style: str = "") -> None:
    page.set_font("Helvetica", style, size)
    page.set_text_color(colour)
    page.multi_cell(0, size * 0.5, text, align="L", new_x="LMARGIN", new_y="NEXT")
    page.ln(8)
