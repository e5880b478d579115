"""The images of the sandbox: profile pictures, identity documents, selfies. Each is marked as a specimen."""

from __future__ import annotations

import functools
import io
import math
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from django_eprospera.sandbox.faces import face
from django_eprospera.sandbox.lettering import width, write

if TYPE_CHECKING:
    from django_eprospera.sandbox.personas import Persona

__all__ = ["id_image", "portrait"]

# An ID-1 card (85.60 by 53.98 mm) at 300 dots per inch; a passport's data page is taller.
_CARD = (1012, 638)
_PASSPORT = (1476, 1039)
_INK, _FAINT = "#1c2b33", "#5d7078"

_TITLES = {
    "passport": "PASSPORT", "national_id": "IDENTITY CARD", "drivers_license": "DRIVING LICENCE",
    "residence_permit": "RESIDENCE PERMIT", "visa": "VISA", "other": "IDENTITY DOCUMENT", None: "IDENTITY DOCUMENT",
}  # fmt: skip


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


@functools.lru_cache(maxsize=64)
def portrait(persona: Persona) -> bytes:
    """The profile picture, a JPEG of 480 by 480."""
    image = face(persona.look, (480, 480))
    _band(image, 34)
    return _jpeg(image)


@functools.lru_cache(maxsize=64)
def id_image(persona: Persona, side: str) -> bytes:
    """One image of the identity check, a JPEG: `front`, `back` or `face`."""
    if side == "face":
        image = face(persona.look, (900, 1200), wall="#c9d3d8", lean=0.8)
        _band(image, 64)
        return _jpeg(image)
    document = _front(persona) if side == "front" else _back(persona)
    _watermark(document)
    return _jpeg(_on_a_table(document))


def _band(image: Image.Image, height: int) -> None:
    ImageDraw.Draw(image).rectangle((0, image.height - height, image.width, image.height), fill="#0b4f52")
    size = int(height * 0.52)
    text = "SANDBOX - NOT A REAL PERSON"
    at = (int((image.width - width(text, size)) / 2), image.height - height + (height - size) // 2 - 1)
    write(image, at, text, size, "#ffffff", bold=True)


def _paper(size: tuple[int, int], tint: str) -> Image.Image:
    """A card with rounded corners' worth of fine waves, as documents have."""
    image = Image.new("RGB", size, tint)
    draw = ImageDraw.Draw(image)
    for line in range(-40, size[1] + 40, 11):
        wave = [(x, line + 9 * math.sin(x / 47 + line / 60) + 5 * math.sin(x / 19)) for x in range(0, size[0] + 8, 8)]
        draw.line(wave, fill="#c4d8d6" if line % 2 else "#d3dfe0", width=1)
    return image


def _number(persona: Persona) -> str:
    """A document number that no authority would issue."""
    return f"SPEC{int(persona.sub[-2:]):05d}"


def _facts(persona: Persona) -> list[tuple[str, str]]:
    known = persona.person or {}
    return [
        ("Surname", str(known.get("surname") or "-")),
        ("Given names", str(known.get("givenName") or "-")),
        ("Date of birth", str(known.get("dateOfBirth") or "-")[:10]),
        ("Nationality", ", ".join(known.get("citizenships") or []) or "-"),
        ("Sex", str(known.get("sex") or "-")),
        ("Document number", _number(persona)),
        ("Expires", "2099-12-31"),
    ]


def _front(persona: Persona) -> Image.Image:
    kind = (persona.check or {}).get("documentType")
    image = _paper(_PASSPORT if kind == "passport" else _CARD, "#e6efed")
    draw = ImageDraw.Draw(image)
    unit = image.width / 1012
    draw.rectangle((0, 0, image.width, int(92 * unit)), fill="#0b4f52")
    write(
        image, (int(40 * unit), int(24 * unit)), _TITLES.get(kind, _TITLES[None]), int(38 * unit), "#ffffff", bold=True
    )
    state_ = "REPUBLIC OF NOWHERE"
    write(
        image,
        (int(image.width - width(state_, int(24 * unit)) - 40 * unit), int(34 * unit)),
        state_,
        int(24 * unit),
        "#bfe0dc",
    )
    photo = face(persona.look, (int(290 * unit), int(370 * unit)))
    image.paste(photo, (int(40 * unit), int(128 * unit)))
    draw.rectangle((int(40 * unit), int(128 * unit), int(330 * unit), int(498 * unit)), outline="#8aa3a4", width=2)
    # A small grey second portrait, as many documents have one.
    ghost = face(persona.look, (int(130 * unit), int(166 * unit))).convert("L").convert("RGB")
    image.paste(Image.blend(ghost, Image.new("RGB", ghost.size, "#e6efed"), 0.55), (int(842 * unit), int(332 * unit)))
    top = 124 * unit
    for label, value in _facts(persona):
        write(image, (int(370 * unit), int(top)), label.upper(), int(15 * unit), _FAINT)
        write(
            image,
            (int(370 * unit), int(top + 17 * unit)),
            value,
            int(27 * unit),
            _INK,
            bold=label == "Surname",
            fit=int(600 * unit),
        )
        top += 57 * unit
    if kind == "passport":
        _machine_lines(image, persona, unit)
    else:
        draw.rectangle((0, int(560 * unit), image.width, int(566 * unit)), fill="#d9a441")
        write(image, (int(40 * unit), int(586 * unit)), "SANDBOX SPECIMEN - OF NO VALUE", int(22 * unit), _FAINT)
    return image


def _machine_lines(image: Image.Image, persona: Persona, unit: float) -> None:
    """Lines that look like those of a travel document, under a country code that is reserved for specimens."""
    known = persona.person or {}
    plain = "".join(c for c in str(known.get("surname", "")).upper() if "A" <= c <= "Z") or "X"
    given = "".join(c for c in str(known.get("givenName", "")).upper() if "A" <= c <= "Z") or "X"
    lines = (f"P<UTO{plain}<<{given}".ljust(44, "<")[:44], f"{_number(persona)}<UTO".ljust(44, "<"))
    size = int(26 * unit)
    for place, line in enumerate(lines):
        y = image.height - int((96 - 42 * place) * unit)
        for column, letter in enumerate(line):
            write(image, (int((40 + column * 21) * unit), y), letter, size, _INK)


def _back(persona: Persona) -> Image.Image:
    image = _paper(_CARD, "#eaeee6")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 70, image.width, 150), fill="#2a2f33")
    known = persona.person or {}
    address = known.get("address") or {}
    lines = [str(address.get(name)) for name in ("line1", "city", "country") if address.get(name)]
    write(image, (40, 186), "ADDRESS", 15, _FAINT)
    for place, line in enumerate(lines):
        write(image, (40, 208 + 38 * place), line, 28, _INK, fit=560)
    write(image, (40, 356), "ISSUED BY", 15, _FAINT)
    write(image, (40, 378), "The Sandbox, for tests only", 26, _INK)
    # A block that looks like a code and encodes nothing.
    seed = int(persona.sub.replace("-", "")[-12:], 16)
    for row in range(16):
        for column in range(16):
            seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
            if seed >> 63:
                x, y = 680 + column * 17, 186 + row * 17
                draw.rectangle((x, y, x + 16, y + 16), fill=_INK)
    write(image, (40, 560), f"{_number(persona)} - SANDBOX SPECIMEN - OF NO VALUE", 26, _FAINT)
    return image


def _watermark(image: Image.Image) -> None:
    layer = Image.new("RGB", (image.width, image.width), "#b3261e")
    mask = Image.new("L", layer.size, 0)
    text, size = "SPECIMEN", image.width // 6
    ink = Image.new("RGB", layer.size, "#000000")
    write(ink, (int((ink.width - width(text, size)) / 2), (ink.height - size) // 2), text, size, "#ffffff", bold=True)
    mask.paste(ink.convert("L").rotate(24, resample=Image.Resampling.BICUBIC))
    shift = (image.width - image.height) // 2
    image.paste(layer.crop((0, shift, image.width, shift + image.height)), (0, 0),
                mask.crop((0, shift, image.width, shift + image.height)).point(lambda value: int(value * 0.16)))  # fmt: skip


def _on_a_table(card: Image.Image) -> Image.Image:
    """The document as a camera would see it: lying on a table, with a shadow."""
    margin = 70
    table = Image.new("RGB", (card.width + 2 * margin, card.height + 2 * margin), "#6f665c")
    draw = ImageDraw.Draw(table)
    for y in range(0, table.height, 6):
        draw.line([(0, y), (table.width, y + 14)], fill="#6a6157" if y % 4 else "#746b61", width=3)
    corner = 34
    shape = Image.new("L", card.size, 0)
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, card.width - 1, card.height - 1), radius=corner, fill=255)
    draw.rounded_rectangle(
        (margin + 8, margin + 12, margin + card.width + 10, margin + card.height + 14), radius=corner, fill="#4b443d"
    )
    table.paste(card, (margin, margin), shape)
    return table
