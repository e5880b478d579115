"""How does a file of the provider come into the storage, sealed, and out again? The only place that does either.

The plain bytes are held in memory only, never in a temporary file. What lies in the storage opens with the right key, and
only as the file of its own row. Nothing here knows HTTP requests of the site; who may see a file is the views' business.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import uuid
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import router, transaction
from django.http import HttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header
from PIL import Image

from django_eprospera.conf import conf
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import ApiError, DocumentError, SealedValueError
from django_eprospera.keys import keyring
from django_eprospera.models import EntityDocument, VerificationImage
from django_eprospera.provider import configured
from django_eprospera.provider.http import stream_to
from django_eprospera.provider.tracebacks import forget_locals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.files.storage import Storage

    StoredFile = VerificationImage | EntityDocument

__all__ = [
    "FOLDER",
    "PDF",
    "PICTURES",
    "content_type_of",
    "fetch",
    "forget",
    "is_stored",
    "open_chunks",
    "owner_of",
    "read",
    "response",
    "storage",
    "store",
]

logger = logging.getLogger(__name__)

FOLDER: Final = "eprospera"
PDF: Final = "application/pdf"
_FORMATS: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
PICTURES: Final = frozenset(_FORMATS.values())
_EXTENSIONS: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", PDF: "pdf"}

# A picture of a few kilobytes can unfold into gigabytes. No camera that photographs passports has more than this.
_MAX_PIXELS: Final = 40_000_000
_ACCEPTED: Final[dict[type[StoredFile], frozenset[str]]] = {
    VerificationImage: PICTURES,
    EntityDocument: PICTURES | {PDF},
}
# A file is larger than an answer, and may take longer by this much.
_PATIENCE: Final = 4


def storage() -> Storage:
    """Return the storage of `EPROSPERA_STORAGE`."""
    return storages[conf.EPROSPERA_STORAGE]


def owner_of(stored_file: StoredFile) -> bytes:
    """Whose file it is, as sealed into every chunk: the model and the row's primary key."""
    return f"file.{stored_file._meta.label_lower}\0{stored_file.pk}".encode()


@forget_locals
def fetch(stored_file: StoredFile, url: str, **described: Any) -> None:
    """Download `url` into the row's file. `described` are fields that go with the new file, saved together with it.

    Without credentials, https only (http for a sandbox on loopback), within EPROSPERA_MAX_FILE_BYTES and a deadline. Raises
    DocumentError: then the row keeps the file it had, and the error's code.
    """
    content = BytesIO()
    bounds = configured.limits()
    bounds = replace(bounds, max_bytes=conf.EPROSPERA_MAX_FILE_BYTES, deadline=_PATIENCE * bounds.deadline)
    try:
        try:
            # The media type that the server claims is not used: see `content_type_of`.
            stream_to(url, content, limits=bounds, allow_http_loopback=conf.EPROSPERA_BASE_URL.startswith("http://"))
        except ApiError as error:
            raise DocumentError(error.code, f"{stored_file._meta.label} {stored_file.pk}: {error}") from None
        store(stored_file, content.getvalue(), **described)
    except DocumentError as error:
        logger.warning("%s %s was not fetched: %s", stored_file._meta.label, stored_file.pk, error.code)
        stored_file.error = error.code
        type(stored_file).objects.filter(pk=stored_file.pk).update(error=error.code)
        raise


def store(stored_file: StoredFile, content: bytes, **described: Any) -> None:
    """Seal `content` as the file of a saved row, in place of the one it had. Raises DocumentError for a wrong kind of file."""
    content_type = content_type_of(content, accept=_ACCEPTED[type(stored_file)])
    sealed = BytesIO()
    keys = keyring()
    keys.seal_file(owner_of(stored_file), BytesIO(content), sealed)
    name = storage().save(f"{FOLDER}/{uuid.uuid4()}.sealed", ContentFile(sealed.getvalue()))
    values = {
        "storage_name": name,
        "key_id": keys.current,
        "content_type": content_type,
        "size": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
        "fetched_at": timezone.now(),
        "error": "",
        **described,
    }
    try:
        _point_to(stored_file, values)
    except BaseException:
        storage().delete(name)
        raise


def _point_to(stored_file: StoredFile, values: dict[str, Any]) -> None:
    model = type(stored_file)
    alias = router.db_for_write(model, instance=stored_file)
    with transaction.atomic(using=alias):
        # The name that lies there now, which may be another than this instance remembers.
        names = model.objects.using(alias).select_for_update().filter(pk=stored_file.pk)
        former = names.values_list("storage_name", flat=True).first()
        if former is None:
            raise DocumentError("gone", f"{model._meta.label} {stored_file.pk} was deleted while its file was fetched.")
        for name, value in values.items():
            setattr(stored_file, name, value)
        stored_file.save(using=alias, update_fields=list(values))
        _delete_after_commit(former, alias)


def is_stored(stored_file: StoredFile) -> bool:
    """Whether the row has a file, and the storage still has it too."""
    return bool(stored_file.storage_name) and storage().exists(stored_file.storage_name)


def forget(stored_file: StoredFile) -> None:
    """Remove the file of a row that is being deleted, once that is committed."""
    _delete_after_commit(stored_file.storage_name, router.db_for_write(type(stored_file), instance=stored_file))


def _delete_after_commit(name: str, alias: str) -> None:
    if name:
        # A storage that fails leaves an orphan, which `eprospera_prune` removes; the caller's work is done.
        transaction.on_commit(lambda: storage().delete(name), using=alias, robust=True)


def open_chunks(stored_file: StoredFile) -> Iterator[bytes]:
    """Yield the plain bytes of the file, chunk by chunk, each one verified.

    Raises SealedValueError, naming model and primary key, when it does not open, and DocumentError `no_file` or `lost`.
    """
    where = f"{stored_file._meta.label}, the file of row {stored_file.pk},"
    if not stored_file.storage_name:
        raise DocumentError("no_file", f"{where} was never fetched.")
    try:
        source = storage().open(stored_file.storage_name)
    except FileNotFoundError:
        raise DocumentError("lost", f"{where} is not in the storage. The next sync fetches it again.") from None
    with source:
        try:
            yield from keyring().open_file(owner_of(stored_file), source)
        except DoesNotOpen as error:
            raise SealedValueError(
                f"{where} does not open: {error}. Nothing was changed. Put the key back into FIELD_ENCRYPTION_KEY, "
                "or restore the file."
            ) from None


@forget_locals
def read(stored_file: StoredFile) -> bytes:
    """The whole file, verified to its last byte and to be the very one that was fetched. Raises as `open_chunks` does."""
    content = b"".join(open_chunks(stored_file))
    # An older file of the same row opens too: the row's digest says which one is meant.
    if not hmac.compare_digest(hashlib.sha256(content).hexdigest(), stored_file.digest or ""):
        raise SealedValueError(
            f"{stored_file._meta.label}, the file of row {stored_file.pk}, is not the one that was fetched: it was exchanged "
            "in the storage. Restore the file."
        )
    return content


def response(stored_file: StoredFile, *, filename: str) -> HttpResponse:
    """Answer with the file: a picture in the page, anything else as a download called `filename` (without extension).

    The whole file is verified before the first byte is sent. Raises as `read` does.
    """
    content = read(stored_file)
    # Again from the bytes: what a browser is told must not hang on a column that anybody could have written.
    content_type = PDF if content.startswith(b"%PDF-") else stored_file.content_type
    shown = content_type in PICTURES
    answer = HttpResponse(
        content, content_type=content_type if shown or content_type == PDF else "application/octet-stream"
    )
    answer["Content-Length"] = str(len(content))
    name = f"{_safe(filename)}.{_EXTENSIONS.get(content_type, 'bin')}"
    answer["Content-Disposition"] = content_disposition_header(as_attachment=not shown, filename=name) or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "private, no-store"
    # Should a browser take the file for a page after all, it may load nothing and run nothing.
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer


def _safe(filename: str) -> str:
    kept = "".join(character if character.isalnum() or character in " -_" else " " for character in filename)
    return " ".join(kept.split())[:100] or "document"


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
    if picture.width * picture.height > _MAX_PIXELS:
        raise DocumentError("too_many_pixels", _too_many())


def _too_many() -> str:
    return f"The picture has more than {_MAX_PIXELS:,} pixels."
