"""What is a file really? Decided by its bytes, never by what a header or a name says. No models, no network, no Django."""

from __future__ import annotations

from io import BytesIO
from typing import Final

from PIL import Image

from django_eprospera.errors import DocumentError

__all__ = ["EXTENSIONS", "MAX_PIXELS", "PDF", "PICTURES", "content_type_of"]

PDF: Final = "application/pdf"
_FORMATS: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
PICTURES: Final = frozenset(_FORMATS.values())
EXTENSIONS: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", PDF: "pdf"}

# A picture of a few kilobytes can unfold into gigabytes. No camera that photographs passports has more than this.
MAX_PIXELS: Final = 40_000_000


def content_type_of(data: bytes, *, accept: frozenset[str]) -> str:
    """Return the media type of `data`: one of `accept`, which holds some of `PICTURES` and `PDF`.

    A picture counts only when it decodes to its end. Raises DocumentError `empty`, `wrong_type`, `too_many_pixels`.
    """
    if not data:
        raise DocumentError("empty", "The file is empty.")
    found = PDF if data.startswith(b"%PDF-") else _picture_type(data)
    if found not in accept:
        raise DocumentError("wrong_type", f"The file is none of {', '.join(sorted(accept))}, or it is damaged.")
    return found


def _picture_type(data: bytes) -> str:
    try:
        # Two passes: `verify` reads checksums and leaves the picture unusable, `load` decodes every pixel.
        with Image.open(BytesIO(data), formats=list(_FORMATS)) as picture:
            _bound(picture)
            picture.verify()
        with Image.open(BytesIO(data), formats=list(_FORMATS)) as picture:
            picture.load()
            return _FORMATS.get(picture.format or "", "")
    except DocumentError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DocumentError("too_many_pixels", _too_many()) from None
    except Exception:  # noqa: BLE001 - decoders raise whatever they stumble over; all of it means: no picture
        return ""


def _bound(picture: Image.Image) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise DocumentError("too_many_pixels", _too_many())


def _too_many() -> str:
    return f"The picture has more than {MAX_PIXELS:,} pixels."
