"""Writes text on images with the one font that Pillow brings along, so that images look the same on every machine.

That font knows ASCII only; accents are drawn here, above the letters they belong to.
"""

from __future__ import annotations

import unicodedata

from PIL import Image, ImageDraw, ImageFont

__all__ = ["width", "write"]

_ACUTE, _GRAVE, _TILDE, _DIAERESIS, _CIRCUMFLEX = "\u0301", "\u0300", "\u0303", "\u0308", "\u0302"
_REPLACED = str.maketrans(
    {"ß": "ss", "º": "o", "ª": "a", "Ø": "O", "ø": "o", "ł": "l", "Ł": "L", "–": "-", "—": "-", "·": "\u00b7"}
)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _letters(text: str) -> str:
    return unicodedata.normalize("NFD", text.translate(_REPLACED))


def width(text: str, size: int) -> float:
    """How many pixels wide `text` is."""
    return _font(size).getlength("".join(c for c in _letters(text) if not unicodedata.combining(c)))


def write(
    image: Image.Image,
    at: tuple[int, int],
    text: str,
    size: int,
    colour: str,
    *,
    bold: bool = False,
    opacity: float = 1.0,
    fit: int = 0,
) -> None:
    """Writes one line, its upper left corner at `at`. With `fit`, in letters small enough for so many pixels."""
    while fit and width(text, size) > fit and size > 8:
        size -= 1
    font = _font(size)
    mask = Image.new("L", (int(width(text, size)) + size, size * 2), 0)
    draw = ImageDraw.Draw(mask)
    x, top = 0.0, size // 2
    stroke = max(1, size // 26) if bold else 0
    letters = _letters(text)
    for place, letter in enumerate(letters):
        if unicodedata.combining(letter):
            continue
        mark = letters[place + 1] if place + 1 < len(letters) and unicodedata.combining(letters[place + 1]) else ""
        box = draw.textbbox((x, top), letter, font=font)
        draw.text((x, top), letter, font=font, fill=255, stroke_width=stroke)
        if mark:
            height = box[1]
            if letter in "ij":
                # The dot makes way for the accent.
                height = draw.textbbox((x, top), "x", font=font)[1]
                draw.rectangle((box[0] - 1, box[1] - 2, box[2] + 1, height - 1), fill=0)
            _accent(draw, mark, (box[0] + box[2]) / 2, height, size, max(2, round(size / 13)) + stroke)
        x += font.getlength(letter)
    ink = Image.new("RGB", mask.size, colour)
    image.paste(ink, (at[0], at[1] - top), mask.point(lambda value: int(value * opacity)))


def _accent(draw: ImageDraw.ImageDraw, mark: str, middle: float, top: float, size: int, thick: int) -> None:
    reach, low, high = size * 0.13, top - size * 0.09, top - size * 0.21
    lines = {
        _ACUTE: [(middle - reach * 0.5, low), (middle + reach * 0.8, high)],
        _GRAVE: [(middle - reach * 0.8, high), (middle + reach * 0.5, low)],
        _CIRCUMFLEX: [(middle - reach, low), (middle, high), (middle + reach, low)],
        _TILDE: [
            (middle - reach * 1.3, low), (middle - reach * 0.6, high + size * 0.03), (middle + reach * 0.5, low),
            (middle + reach * 1.3, high + size * 0.02),
        ],
    }  # fmt: skip
    if mark == _DIAERESIS:
        radius = thick * 0.7
        for side in (-reach * 0.9, reach * 0.9):
            centre = (middle + side, (low + high) / 2)
            draw.ellipse((centre[0] - radius, centre[1] - radius, centre[0] + radius, centre[1] + radius), fill=255)
    elif mark in lines:
        draw.line(lines[mark], fill=255, width=thick, joint="curve")
