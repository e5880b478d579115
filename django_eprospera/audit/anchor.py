"""Copy of the chain's newest hash outside of the database, in EPROSPERA_STORAGE.

Each commit of an entry stores a small signed file, and deletes the one that this process stored before. Several processes
therefore leave several files. All of them must agree with the chain, so that neither process needs to wait for another.
"""

from __future__ import annotations

import logging
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from django.core.files.base import ContentFile
from django.core.files.storage import storages

from django_eprospera.conf import conf
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.keys import keyring

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["FOLDER", "Anchor", "remove", "store", "stored"]

logger = logging.getLogger("django_eprospera.audit")

# Beside the encrypted files, so that `eprospera_prune` does not list it.
FOLDER: Final = "eprospera-audit"

_TEXT: Final = re.compile(r"(\d{1,19}) ([0-9a-f]{64}) (\S{1,64})\n?", re.ASCII)
_LONGEST: Final = 200

# The file that this process stored last, and its position.
_former: tuple[int, str] | None = None


@dataclass(frozen=True)
class Anchor:
    """A file with a position and a hash. `problem` is empty if its signature is valid."""

    name: str
    position: int = 0
    head: str = ""
    problem: str = ""


def store(position: int, head: str) -> None:
    """Store the hash of the entry at a position. A storage that fails is logged as an error: the entry is committed."""
    global _former
    try:
        storage = storages[conf.EPROSPERA_STORAGE]
        text = f"{position} {head} {keyring().authenticate(_signed(position, head))}\n"
        name = storage.save(f"{FOLDER}/{position:012d}-{uuid.uuid4().hex}.head", ContentFile(text.encode()))
        former, _former = _former, (position, name)
        # A position that does not grow belongs to a restored database. That file has to stay until somebody has looked.
        if former is not None and former[0] < position:
            storage.delete(former[1])
    except Exception as error:  # noqa: BLE001 - storages raise errors of any type
        logger.error(  # noqa: TRY400 - errors of storages may contain credentials
            "The head of the audit chain (entry %d) could not be stored in EPROSPERA_STORAGE: %s. Until it is, "
            "eprospera_audit --verify does not detect the removal of this entry.",
            position,
            type(error).__name__,
        )


def stored() -> Iterator[Anchor]:
    """Yield all anchors of the storage. Raises what the storage raises."""
    storage = storages[conf.EPROSPERA_STORAGE]
    try:
        names = storage.listdir(FOLDER)[1]
    except FileNotFoundError:
        return
    for name in sorted(names):
        path = f"{FOLDER}/{name}"
        try:
            with storage.open(path) as file:
                text = file.read(_LONGEST).decode("ascii", "replace")
        except FileNotFoundError:
            continue  # replaced by a newer one meanwhile
        yield _read(path, text)


def remove(anchors: Iterable[Anchor]) -> None:
    """Delete these anchors. Raises what the storage raises."""
    storage = storages[conf.EPROSPERA_STORAGE]
    for each in anchors:
        storage.delete(each.name)


def _read(name: str, text: str) -> Anchor:
    match = _TEXT.fullmatch(text)
    if match is None:
        return Anchor(name, problem=f"the anchor {name} is not one")
    position, head = int(match[1]), match[2]
    try:
        if keyring().is_authentic(_signed(position, head), match[3]):
            return Anchor(name, position, head)
    except DoesNotOpen as error:
        return Anchor(name, position, head, f"the anchor {name} cannot be verified: {error}")
    return Anchor(name, position, head, f"the anchor {name} was changed")


def _signed(position: int, head: str) -> bytes:
    return f"anchor\0{position} {head}".encode()
