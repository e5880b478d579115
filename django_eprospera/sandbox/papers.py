from __future__ import annotations
from fpdf import FPDF
def pdf(document, company):
    f = FPDF(); f.add_page(); f.set_font("Helvetica", size=16); f.cell(text=document["name"]); return bytes(f.output())
