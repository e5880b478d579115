"""Images of the sandbox: profile pictures, identity documents, selfies. Each is marked as a specimen."""

from __future__ import annotations

import functools
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageOps

from django_eprospera.sandbox.lettering import write

if TYPE_CHECKING:
    from django_eprospera.sandbox.personas import Persona

__all__ = ["id_image", "portrait"]

# An ID-1 card (85.60 by 53.98 mm) at 300 dots per inch; the data page of a passport is taller.
_CARD, _PASSPORT = (1012, 638), (1476, 1039)
_TEAL, _INK, _FAINT, _PAPER, _WHITE = "#0b4f52", "#1c2b33", "#5d7078", "#e6efed", "#ffffff"
_NOTE = "SANDBOX SPECIMEN - NOT VALID"


@functools.lru_cache(maxsize=64)
def portrait(persona: Persona) -> bytes:
    """Return the profile picture, a JPEG of 480 by 480."""
    return _marked(_face(persona, (480, 480)), 34)


@functools.lru_cache(maxsize=64)
def id_image(persona: Persona, side: str) -> bytes:
    """Return one image of the identity check, a JPEG: `front`, `back` or `face`."""
    if side == "face":
        return _marked(_face(persona, (900, 1200)), 64)
    document = _front(persona) if side == "front" else _back(persona)
    _watermark(document)
    return _jpeg(ImageOps.expand(document, border=70, fill="#6f665c"))


def _jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()


def _face(persona: Persona, size: tuple[int, int]) -> Image.Image:
    """Return the drawn face of a persona, its sides cropped where `size` is higher than wide."""
    with Image.open(Path(__file__).parent / "portraits" / f"{persona.sub}.png") as stored:
        return ImageOps.fit(stored.convert("RGB"), size, Image.Resampling.LANCZOS)


def _marked(image: Image.Image, height: int) -> bytes:
    """Return the image as a JPEG, with a band at its bottom that says that the person is not real."""
    top = image.height - height
    ImageDraw.Draw(image).rectangle((0, top, image.width, image.height), fill=_TEAL)
    write(image, (image.width // 4, top + height // 4), "SANDBOX - NOT A REAL PERSON", height // 2, _WHITE, bold=True)
    return _jpeg(image)


def _paper(size: tuple[int, int]) -> Image.Image:
    """Return a blank document with fine waves."""
    image = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(image)
    for y in range(-20, size[1] + 20, 11):
        draw.line([(x, y + 9 * math.sin(x / 47 + y / 60)) for x in range(0, size[0] + 8, 8)], fill="#cbdcdb")
    return image


def _front(persona: Persona) -> Image.Image:
    person, kind = persona.person or {}, (persona.check or {}).get("documentType")
    surname, given, number = person.get("surname") or "-", person.get("givenName") or "-", f"SPEC{persona.sub[-2:]:0>5}"
    image = _paper(_PASSPORT if kind == "passport" else _CARD)
    unit = image.width / 1012

    def px(number: float) -> int:
        return int(number * unit)

    ImageDraw.Draw(image).rectangle((0, 0, image.width, px(92)), fill=_TEAL)
    title = "identity document" if kind in (None, "other") else kind.replace("_", " ")
    write(image, (px(40), px(24)), title.upper(), px(38), _WHITE, bold=True)
    write(image, (-px(40), px(34)), "REPUBLIC OF NOWHERE", px(24), "#bfe0dc")
    image.paste(_face(persona, (px(290), px(370))), (px(40), px(128)))
    facts = {
        "Surname": surname, "Given names": given, "Date of birth": (person.get("dateOfBirth") or "-")[:10],
        "Nationality": ", ".join(person.get("citizenships") or ["-"]), "Sex": person.get("sex") or "-",
        "Document number": number, "Expires": "2099-12-31",
    }  # fmt: skip
    for row, (label, value) in enumerate(facts.items()):
        write(image, (px(370), px(124 + 57 * row)), label.upper(), px(15), _FAINT)
        write(image, (px(370), px(141 + 57 * row)), value, px(27), _INK, bold=row < 2, width=px(600))
    write(image, (px(40), px(536)), _NOTE, px(22), _FAINT)
    if kind == "passport":
        # UTO is the country code of ICAO 9303 for specimens.
        for row, line in enumerate((f"P<UTO{surname}<<{given}".upper(), f"{number}<UTO")):
            for column, letter in enumerate(line.ljust(44, "<")):
                write(image, (px(40 + column * 21), px(610 + 42 * row)), letter, px(26), _INK)
    return image


def _back(persona: Persona) -> Image.Image:
    image = _paper(_CARD)
    ImageDraw.Draw(image).rectangle((0, 70, image.width, 150), fill="#2a2f33")
    address = (persona.person or {}).get("address") or {}
    write(image, (40, 186), "ADDRESS", 15, _FAINT)
    for row, name in enumerate(("line1", "city", "country")):
        write(image, (40, 208 + 40 * row), address.get(name) or "-", 28, _INK, width=900)
    write(image, (40, 370), "ISSUED BY", 15, _FAINT)
    write(image, (40, 392), "The sandbox, for tests", 28, _INK)
    write(image, (40, 560), _NOTE, 26, _FAINT)
    return image


def _watermark(image: Image.Image) -> None:
    """Write SPECIMEN across a document, so thin that what it covers stays legible."""
    side = image.width
    mask = Image.new("L", (side, side))
    write(mask, (side // 9, side * 5 // 12), "SPECIMEN", side // 6, 41, bold=True)
    mask = mask.rotate(24, Image.Resampling.BICUBIC)
    image.paste("#b3261e", (0, (image.height - side) // 2), mask)
