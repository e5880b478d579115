"""Draws the faces of people who do not exist. The same look always gives the same face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

__all__ = ["Look", "face"]

_SKINS = ("#f6d7bd", "#eec39a", "#d9a06f", "#b97a4b", "#8d5a36", "#f2cdb4")
_HAIRS = ("#2b2320", "#4a3123", "#7a4f2b", "#b98a4a", "#9a9a98", "#1d1d24")
_SHIRTS = ("#2f5d7c", "#7c3f58", "#3f6f53", "#5b4a8a", "#8a5a2b", "#37474f")
_WALLS = ("#dfe8ee", "#eee4da", "#e1ece0", "#e8e2f0", "#ece9dd", "#dcebea")


@dataclass(frozen=True)
class Look:
    """What a face is drawn from. Numbers pick from the colours above; styles: 0 short, 1 long, 2 curly, 3 long and parted."""

    skin: int
    hair: int
    style: int
    shirt: int = 0
    beard: bool = False
    glasses: bool = False


def _darker(colour: str, by: float) -> str:
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{int(part * (1 - by)):02x}" for part in parts)


# A box around a point, in pixels: middle x, middle y, width, height in parts of the portrait's side.
_Box = Callable[[float, float, float, float], tuple[float, float, float, float]]


def face(look: Look, size: tuple[int, int], *, wall: str | None = None, lean: float = 0.0) -> Image.Image:
    """A portrait: head and shoulders before a plain wall. `lean` turns the head's features aside, from -1 to 1."""
    skin, hair, shirt = _SKINS[look.skin], _HAIRS[look.hair], _SHIRTS[look.shirt]
    # Drawn three times as large and made small again: smooth edges.
    side = min(size) * 3
    picture = Image.new("RGB", (size[0] * 3, size[1] * 3), wall or _WALLS[look.shirt])
    draw = ImageDraw.Draw(picture)
    middle, top = picture.width / 2, picture.height - side

    def box(x: float, y: float, w: float, h: float) -> tuple[float, float, float, float]:
        """A box around a point; units are parts of the side, the middle of the head is at (0, 0.45)."""
        return (
            middle + (x - w / 2) * side,
            top + (y - h / 2) * side,
            middle + (x + w / 2) * side,
            top + (y + h / 2) * side,
        )

    shade = _darker(skin, 0.13)
    if look.style in (1, 3):
        # Long hair falls behind the shoulders.
        draw.rounded_rectangle(box(0, 0.56, 0.62, 0.66), radius=side * 0.24, fill=_darker(hair, 0.12))
    draw.rounded_rectangle(box(0, 1.06, 0.94, 0.56), radius=side * 0.24, fill=shirt)
    draw.polygon(
        [
            (middle - side * 0.14, top + side * 0.78),
            (middle + side * 0.14, top + side * 0.78),
            (middle, top + side * 0.97),
        ],
        fill=shade,
    )
    draw.rounded_rectangle(box(0, 0.70, 0.20, 0.28), radius=side * 0.08, fill=shade)
    for ear in (-0.235, 0.235):
        draw.ellipse(box(ear, 0.47, 0.08, 0.13), fill=shade)
    draw.ellipse(box(0, 0.45, 0.46, 0.58), fill=skin)
    _hair(draw, box, look)
    _features(draw, box, look, side, lean)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _hair(draw: ImageDraw.ImageDraw, box: _Box, look: Look) -> None:
    hair, skin = _HAIRS[look.hair], _SKINS[look.skin]
    if look.style == 0:
        draw.pieslice(box(0, 0.40, 0.50, 0.54), 180, 360, fill=hair)
        draw.ellipse(box(0.02, 0.36, 0.42, 0.16), fill=skin)
    elif look.style == 1:
        draw.pieslice(box(0, 0.42, 0.54, 0.60), 180, 360, fill=hair)
        draw.ellipse(box(0.03, 0.43, 0.36, 0.30), fill=skin)
        _curtains(draw, box, hair)
    elif look.style == 2:
        for x in (-0.17, -0.09, 0, 0.09, 0.17):
            draw.ellipse(box(x, 0.22 + abs(x) * 0.45, 0.19, 0.19), fill=hair)
    else:
        draw.pieslice(box(0, 0.41, 0.52, 0.60), 180, 360, fill=hair)
        for half in (-0.085, 0.085):
            draw.ellipse(box(half, 0.43, 0.27, 0.30), fill=skin)
        _curtains(draw, box, hair)


def _curtains(draw: ImageDraw.ImageDraw, box: _Box, hair: str) -> None:
    """Hair that falls over the ears, so that the crown does not end in a straight line."""
    for side in (-0.24, 0.24):
        draw.ellipse(box(side, 0.50, 0.11, 0.46), fill=hair)


def _features(draw: ImageDraw.ImageDraw, box: _Box, look: Look, side: float, lean: float) -> None:
    hair, skin = _HAIRS[look.hair], _SKINS[look.skin]
    line, turn = max(2, int(side * 0.012)), lean * 0.035
    if look.beard:
        draw.chord(box(0, 0.55, 0.42, 0.38), 20, 160, fill=_darker(hair, 0.05))
    for eye in (-0.10, 0.10):
        draw.ellipse(box(eye + turn, 0.44, 0.075, 0.045), fill="#fbfbf8")
        draw.ellipse(box(eye + turn * 1.3, 0.44, 0.038, 0.042), fill="#33271f")
        draw.arc(box(eye + turn, 0.41, 0.12, 0.08), 200, 340, fill=_darker(hair, 0.15), width=line + 2)
    draw.arc(box(0.012 + turn, 0.51, 0.07, 0.10), 20, 150, fill=_darker(skin, 0.28), width=line)
    draw.chord(box(turn, 0.605, 0.16, 0.075), 12, 168, fill="#a8514b")
    if look.glasses:
        for eye in (-0.10, 0.10):
            draw.ellipse(box(eye + turn, 0.44, 0.165, 0.135), outline="#3a3a40", width=line)
        draw.line([box(-0.02 + turn, 0.44, 0, 0)[:2], box(0.02 + turn, 0.44, 0, 0)[:2]], fill="#3a3a40", width=line)
