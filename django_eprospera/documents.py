"""Encrypted files of the provider: the only module that downloads, stores and decrypts them.

Plaintext is held in memory only, never in a temporary file. A stored file can be decrypted only as the file of its own row.
Callers check who may see it.
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
from django.db.models import Q
from django.http import HttpResponse
from django.utils import timezone
from django.utils.http import content_disposition_header

from django_eprospera import pictures
from django_eprospera.conf import conf
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import ApiError, DocumentError, SealedValueError
from django_eprospera.keys import keyring
from django_eprospera.models import Connection, EntityDocument, ResourceState, VerificationImage
from django_eprospera.provider import configured
from django_eprospera.provider.http import stream_to
from django_eprospera.provider.tracebacks import forget_locals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.files.storage import Storage

    StoredFile = VerificationImage | EntityDocument

__all__ = ["is_stored", "open_chunks", "read", "response", "thumbnail"]

logger = logging.getLogger(__name__)

FOLDER: Final = "eprospera"
_THUMBNAIL: Final = ".thumbnail"
PDF: Final = "application/pdf"
EXTENSIONS: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", PDF: "pdf"}

_ACCEPTED: Final[dict[type[StoredFile], frozenset[str]]] = {
    VerificationImage: pictures.PICTURES,
    EntityDocument: pictures.PICTURES | {PDF},
}
# A file is larger than an answer and may take so many times longer.
_DEADLINE_FACTOR: Final = 4


def storage() -> Storage:
    """Return the storage of `EPROSPERA_STORAGE`."""
    return storages[conf.EPROSPERA_STORAGE]


def owner_of(stored_file: StoredFile) -> bytes:
    """Return the owner to which every chunk of the file is bound: the model and the row's primary key."""
    return f"file.{stored_file._meta.label_lower}\0{stored_file.pk}".encode()


@forget_locals
def fetch(stored_file: StoredFile, url: str, **described: Any) -> None:
    """Download `url` and store it as the row's file. The fields in `described` are saved together with it.

    The request has no credentials, uses https (http for a sandbox on loopback), and is limited by EPROSPERA_MAX_FILE_BYTES and
    four times EPROSPERA_DEADLINE (docs/provider.md#me-answers). Raises DocumentError; the row then keeps its former file and
    gets the error's code.
    """
    content = BytesIO()
    bounds = configured.limits()
    bounds = replace(bounds, max_bytes=conf.EPROSPERA_MAX_FILE_BYTES, deadline=_DEADLINE_FACTOR * bounds.deadline)
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
    """Encrypt `content` and store it as the file of a saved row, replacing its former one.

    Raises DocumentError `empty`, `wrong_type`, `too_many_pixels`, or `gone` if the row has been deleted.
    """
    values = {**seal(stored_file, content), **described}
    try:
        _point_to(stored_file, values)
    except BaseException:
        delete(values["storage_name"])
        raise


def seal(stored_file: StoredFile, content: bytes) -> dict[str, Any]:
    """Encrypt `content` into a new file of the storage, and return the columns that make it the file of this row.

    Raises DocumentError `empty`, `wrong_type`, `too_many_pixels`.
    """
    content_type = content_type_of(content, accept=_ACCEPTED[type(stored_file)])
    return {
        "storage_name": save(stored_file, content),
        "key_id": keyring().current,
        "content_type": content_type,
        "size": len(content),
        "digest": hashlib.sha256(content).hexdigest(),
        "fetched_at": timezone.now(),
        "error": "",
    }


def save(stored_file: StoredFile, content: bytes) -> str:
    """Seal `content` for the row, under the newest key, in a new file of the storage. Returns its name."""
    return _save(f"{FOLDER}/{uuid.uuid4()}.sealed", owner_of(stored_file), content)


def save_thumbnail(picture: VerificationImage, name: str, digest: str, content: bytes) -> None:
    """Seal `content` as the thumbnail of the picture with this digest in the file `name`, unless there is one."""
    wanted = thumbnail_of(name)
    if (saved := _save(wanted, _owner_of_thumbnail(picture, digest), content)) != wanted:
        storage().delete(saved)  # another request made it at the same time


def delete(name: str) -> None:
    """Delete a file and its thumbnail."""
    for each in (thumbnail_of(name), name):
        storage().delete(each)


def thumbnail_of(name: str) -> str:
    """Return the name of the thumbnail of the file `name`."""
    return f"{name}{_THUMBNAIL}"


def file_of(name: str) -> str:
    """Return the name of the file that a file is the thumbnail of, or its own name."""
    return name.removesuffix(_THUMBNAIL)


def _owner_of_thumbnail(picture: VerificationImage, digest: str) -> bytes:
    # With the digest, so that the thumbnail of an earlier picture does not open as that of this one.
    return owner_of(picture) + f"\0thumbnail\0{digest}".encode()


def _save(name: str, owner: bytes, content: bytes) -> str:
    sealed = BytesIO()
    keyring().seal_file(owner, BytesIO(content), sealed)
    return str(storage().save(name, ContentFile(sealed.getvalue())))


def _point_to(stored_file: StoredFile, values: dict[str, Any]) -> None:
    model = type(stored_file)
    alias = router.db_for_write(model, instance=stored_file)
    with transaction.atomic(using=alias):
        # The name that is stored now. The instance may have an older one.
        names = model.objects.using(alias).select_for_update().filter(pk=stored_file.pk)
        former = names.values_list("storage_name", flat=True).first()
        if former is None:
            raise DocumentError("gone", f"{model._meta.label} {stored_file.pk} was deleted while its file was fetched.")
        for name, value in values.items():
            setattr(stored_file, name, value)
        stored_file.save(using=alias, update_fields=list(values))
        _delete_after_commit(former, alias)


def is_stored(stored_file: StoredFile) -> bool:
    """Return whether the row has a file and the storage still has it too."""
    return bool(stored_file.storage_name) and storage().exists(stored_file.storage_name)


def forget(stored_file: StoredFile) -> None:
    """Delete the file of a row that is about to be deleted, when the transaction commits."""
    alias = router.db_for_write(type(stored_file), instance=stored_file)
    # The name that is stored now: a sync may have fetched the file since the row was read. From now on it finds no row.
    rows = type(stored_file).objects.using(alias).select_for_update().filter(pk=stored_file.pk)
    _delete_after_commit(rows.values_list("storage_name", flat=True).first() or "", alias)


def _delete_after_commit(name: str, alias: str) -> None:
    if name:
        # If the storage fails, the file remains without a row until `eprospera_prune` deletes it.
        transaction.on_commit(lambda: delete(name), using=alias, robust=True)


def _have_fetched_again(stored_file: StoredFile) -> None:
    """Forget the digests of the answers that the file belongs to, so that it is fetched again, and have them requested now."""
    if isinstance(stored_file, VerificationImage):
        resource, owners = ResourceState.Resource.ID_VERIFICATION, Q(id_verification__images=stored_file.pk)
    else:
        resource = ResourceState.Resource.ENTITY_DOCUMENTS
        owners = Q(entity_consents__entity=stored_file.entity_id, entity_consents__withdrawn_at=None)
    connections = list(Connection.objects.filter(owners).values_list("pk", flat=True))
    ResourceState.objects.filter(connection__in=connections, resource=resource).update(digest="")
    Connection.objects.filter(pk__in=connections).update(next_sync_at=timezone.now())


def open_chunks(stored_file: StoredFile) -> Iterator[bytes]:
    """Yield the decrypted bytes of the file in verified chunks.

    Raises SealedValueError, naming model and primary key, if it cannot be decrypted, and DocumentError `no_file` or `lost`.
    """
    where = f"{stored_file._meta.label}, the file of row {stored_file.pk},"
    if not stored_file.storage_name:
        raise DocumentError("no_file", f"{where} was never fetched.")
    try:
        source = storage().open(stored_file.storage_name)
    except FileNotFoundError:
        _have_fetched_again(stored_file)
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
def thumbnail(picture: VerificationImage) -> bytes:
    """Return a small copy of the picture, a WebP of at most 20 kB. The first look makes it, and the storage keeps it, sealed.

    Raises SealedValueError if it cannot be decrypted, and what `read` raises.
    """
    content = stored_thumbnail(picture)
    if content is None:
        content = pictures.thumbnail(read(picture))
        save_thumbnail(picture, picture.storage_name, picture.digest or "", content)
    return content


def stored_thumbnail(picture: VerificationImage) -> bytes | None:
    """Return the thumbnail, or None if the storage has none. Raises SealedValueError if it cannot be decrypted."""
    name = thumbnail_of(picture.storage_name)
    try:
        source = storage().open(name)
    except FileNotFoundError:
        return None
    with source:
        try:
            return b"".join(keyring().open_file(_owner_of_thumbnail(picture, picture.digest or ""), source))
        except DoesNotOpen as error:
            raise SealedValueError(
                f"{picture._meta.label}, the thumbnail of row {picture.pk}, does not open: {error}. Nothing was changed. Put "
                f"the key back into FIELD_ENCRYPTION_KEY, or delete {name} from the storage: it is made again."
            ) from None


@forget_locals
def read(stored_file: StoredFile) -> bytes:
    """Return the decrypted file, after verifying that it is complete and the one that was fetched. Raises as `open_chunks`."""
    content = b"".join(open_chunks(stored_file))
    # An older file of the same row can be decrypted too. The row's digest tells them apart.
    if not hmac.compare_digest(hashlib.sha256(content).hexdigest(), stored_file.digest or ""):
        raise SealedValueError(
            f"{stored_file._meta.label}, the file of row {stored_file.pk}, is not the one that was fetched: it was replaced "
            "in the storage. Restore the file."
        )
    return content


def response(stored_file: StoredFile, *, filename: str) -> HttpResponse:
    """Return a response with the file: pictures inline, anything else as a download named `filename` (without extension).

    The whole file is verified before the first byte is sent. Raises as `read`.
    """
    content = read(stored_file)
    # From the content again: the column may have been written by somebody else.
    return _response(content, PDF if content.startswith(b"%PDF-") else stored_file.content_type, filename)


def thumbnail_response(picture: VerificationImage, *, filename: str) -> HttpResponse:
    """Return a response with the thumbnail. Raises as `thumbnail`."""
    return _response(thumbnail(picture), pictures.THUMBNAIL_TYPE, filename)


def _response(content: bytes, content_type: str, filename: str) -> HttpResponse:
    inline = content_type in pictures.PICTURES
    answer = HttpResponse(
        content, content_type=content_type if inline or content_type == PDF else "application/octet-stream"
    )
    answer["Content-Length"] = str(len(content))
    name = f"{_safe(filename)}.{EXTENSIONS.get(content_type, 'bin')}"
    answer["Content-Disposition"] = content_disposition_header(as_attachment=not inline, filename=name) or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Cache-Control"] = "private, no-store"
    # If a browser renders the file as a page after all, it may load and run nothing.
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["Cross-Origin-Resource-Policy"] = "same-origin"
    return answer


def _safe(filename: str) -> str:
    kept = "".join(character if character.isalnum() or character in " -_" else " " for character in filename)
    return " ".join(kept.split())[:100] or "document"


def content_type_of(data: bytes, *, accept: frozenset[str]) -> str:
    """Return the media type of `data`, determined from its content: one of `accept` (`pictures.PICTURES` and `PDF`).

    A picture must decode completely. Raises DocumentError `empty`, `wrong_type`, `too_many_pixels`.
    """
    if not data:
        raise DocumentError("empty", "The file is empty.")
    found = PDF if data.startswith(b"%PDF-") else pictures.media_type(data)
    if found not in accept:
        raise DocumentError("wrong_type", f"The file must be one of {', '.join(sorted(accept))}, and undamaged.")
    return found
