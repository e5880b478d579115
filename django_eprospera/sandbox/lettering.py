"""Text on images, in the font that comes with Pillow, so that images look the same on every machine.

That font has no accented letters: the accents are drawn above plain ones.
"""

from __future__ import annotations

import unicodedata

from PIL import Image, ImageDraw, ImageFont

__all__ = ["write"]

# Lines from (x, y) to (x, y) in parts of the font size, from the middle of the letter's top.
_ACCENTS = {
    "\u0301": [[(-0.05, 0.09), (0.09, 0.21)]],
    "\u0300": [[(0.05, 0.09), (-0.09, 0.21)]],
    "\u0302": [[(-0.12, 0.09), (0, 0.2), (0.12, 0.09)]],
    "\u0303": [[(-0.16, 0.1), (-0.07, 0.17), (0.06, 0.11), (0.16, 0.17)]],
    "\u0308": [[(-0.11, 0.1), (-0.11, 0.19)], [(0.11, 0.1), (0.11, 0.19)]],
}


def write(
    image: Image.Image,
    at: tuple[int, int],
    text: str,
    size: int,
    colour: str | int,
    *,
    bold: bool = False,
    width: int = 0,
) -> None:
    """Write one line with its upper left corner at `at`, in letters small enough for `width`; a negative x aligns right."""
    letters: list[str] = []
    accents: list[tuple[int, str]] = []
    for character in unicodedata.normalize("NFKD", text.replace("ß", "ss")):
        if unicodedata.combining(character):
            accents.append((len(letters) - 1, character))
        else:
            letters.append(character)
    plain = "".join(letters)
    while ImageFont.load_default(size).getlength(plain) > (width or image.width):
        size -= 1
    # Drawn four times as large: lines, unlike letters, come without smooth edges.
    large = 4 * size
    font = ImageFont.load_default(large)
    stroke, top = large // 24 if bold else 0, large // 2
    mask = Image.new("L", (int(font.getlength(plain)) + large, 2 * large))
    draw = ImageDraw.Draw(mask)
    draw.text((stroke, top), plain, font=font, fill=255, stroke_width=stroke)
    for place, accent in accents:
        left, right = (stroke + font.getlength(plain[:end]) for end in (place, place + 1))
        upper = draw.textbbox((0, top), plain[place], font=font)[1]
        if plain[place] in "ij":
            # The accent replaces the dot.
            dot, upper = upper, draw.textbbox((0, top), "x", font=font)[1]
            draw.rectangle((left, dot - stroke - 1, right, upper - stroke - 1), fill=0)
        for line in _ACCENTS.get(accent, []):
            points = [((left + right) / 2 + x * large, upper - stroke - y * large) for x, y in line]
            draw.line(points, fill=255, width=large // 12 + stroke, joint="curve")
    mask = mask.reduce(4)
    x = at[0] if at[0] >= 0 else image.width + at[0] - mask.width + size
    image.paste(colour, (x, at[1] - size // 2), mask)
