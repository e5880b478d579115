"""Media type and thumbnail of a picture, decoded with Pillow within bounds."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Final

from django_eprospera.errors import DocumentError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

__all__ = ["PICTURES", "THUMBNAIL_TYPE", "media_type", "thumbnail"]

_FORMATS: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
PICTURES: Final = frozenset(_FORMATS.values())
THUMBNAIL_TYPE: Final = "image/webp"

# A picture of a few kilobytes can decode to gigabytes. No camera that photographs passports has more pixels than this.
_MAX_PIXELS: Final = 40_000_000
# Of a thumbnail: the longer side in pixels, the most bytes, and the qualities that are tried.
_SIDE: Final = 480
_MAX_BYTES: Final = 20_000
_QUALITIES: Final = (70, 45)


def media_type(data: bytes) -> str:
    """Return the media type, one of PICTURES, of what decodes completely as a picture, and "" for anything else.

    Raises DocumentError `too_many_pixels`.
    """
    try:
        # Two passes: `verify` reads checksums and leaves the picture unusable, `load` decodes every pixel.
        with _opened(data) as picture:
            picture.verify()
        with _opened(data) as picture:
            picture.load()
            return _FORMATS.get(picture.format or "", "")
    except DocumentError:
        raise
    except Exception:  # noqa: BLE001 - decoders raise errors of any type; each means that it is not a picture
        return ""


def thumbnail(data: bytes) -> bytes:
    """Return a WebP of at most 480 by 480 pixels and 20 kB, upright and without metadata.

    Raises DocumentError `wrong_type` or `too_many_pixels`.
    """
    from PIL import Image, ImageOps

    try:
        with _opened(data) as picture:
            picture.draft("RGB", (_SIDE, _SIDE))  # a JPEG is decoded at a fraction of its size
            deep = picture.mode == "I;16"  # 16 bits of grey, which Pillow neither resizes nor converts
            small = picture.convert("I").point(lambda value: value / 256).convert("L") if deep else picture
            small.thumbnail((_SIDE, _SIDE), Image.Resampling.BILINEAR)
            small = ImageOps.exif_transpose(small).convert("RGB")
        small.info.clear()
        return next(content for content in _encoded(small) if len(content) <= _MAX_BYTES)
    except DocumentError:
        raise
    except Exception:  # noqa: BLE001 - as above
        raise DocumentError("wrong_type", "The file is not a picture that can be decoded.") from None


def _encoded(picture: Image.Image) -> Iterator[bytes]:
    """Yield the picture in less and less bytes: in a lower quality, then smaller."""
    while True:
        for quality in _QUALITIES:
            content = BytesIO()
            picture.save(content, "WEBP", quality=quality, method=2)  # half the time of the default
            yield content.getvalue()
        picture.thumbnail((picture.width * 3 // 4, picture.height * 3 // 4))


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    from PIL import Image  # here and above: a process that decodes no picture starts without it

    try:
        with Image.open(BytesIO(data), formats=list(_FORMATS)) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise DocumentError("too_many_pixels", _too_many())
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DocumentError("too_many_pixels", _too_many()) from None


def _too_many() -> str:
    return f"The picture has more than {_MAX_PIXELS:,} pixels."
