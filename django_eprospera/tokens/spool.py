"""Crash-safe local file for a refreshed token that is not committed yet, encrypted.

A process that is killed, or loses its database, after the provider rotated the refresh token would lose the only copy of the
new one. So the answer is first written to a local file, which takes microseconds and survives the process. The next caller that
takes the lease on this machine commits it instead of sending the spent token. The file is sealed for its connection and
generation, so a stale, incomplete or forged one is ignored. Best effort: without a usable directory everything works, except
for this protection.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from django_eprospera.conf import conf
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.keys import keyring
from django_eprospera.provider.grants import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from django_eprospera.models import Connection

__all__ = ["drop", "find", "ready", "sweep"]

logger = logging.getLogger("django_eprospera.tokens")

_LARGEST: Final = 200_000
_OLDEST: Final = 7 * 86_400


@contextmanager
def ready(row: Connection) -> Iterator[Callable[[Tokens], None]]:
    """Hand out the function that writes down what the provider answers to the refresh of this row.

    Everything that can be done beforehand is done beforehand: the file is open before the refresh is sent.
    """
    directory, ring, owner = _directory(), keyring(), _owner(row)
    file = None if directory is None else _open(directory / _name(row))
    kept = False

    def keep(tokens: Tokens) -> None:
        nonlocal kept
        if file is not None:
            kept = True
            try:
                # No fsync: the kernel keeps the write when the process dies, and a machine that dies takes more with it.
                os.write(file, ring.seal(owner, tokens.dump().encode()).encode())
            except OSError as error:
                logger.warning("connection %s: nothing written to the spool: %s", row.pk, error.strerror)

    try:
        yield keep
    except BaseException:
        if not kept:  # there was no answer to keep
            drop(row)
        raise
    finally:
        if file is not None:
            os.close(file)


def find(row: Connection) -> Tokens | None:
    """Return the tokens that were written down for this row as it is now; None without."""
    directory = _directory()
    if directory is None:
        return None
    try:
        with (directory / _name(row)).open("rb") as file:
            text = keyring().open(_owner(row), file.read(_LARGEST).decode("ascii", "replace"))
    except (OSError, DoesNotOpen):
        return None
    return Tokens.load(text)


def drop(row: Connection) -> None:
    """Forget the answer for this row: it is committed, or good for nothing."""
    directory = _directory()
    if directory is not None:
        (directory / _name(row)).unlink(missing_ok=True)


def sweep() -> int:
    """Delete files of a week ago and older, whose connections have moved on. Returns how many."""
    directory = _directory()
    if directory is None:
        return 0
    old = [file for file in directory.iterdir() if file.is_file() and time.time() - file.stat().st_mtime > _OLDEST]
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)


def _directory() -> Path | None:
    """The spool, made when missing; None when it is switched off, or not ours alone."""
    directory = conf.EPROSPERA_SPOOL
    if directory is None:
        return None
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat(follow_symlinks=False)
    except OSError as error:
        logger.warning("EPROSPERA_SPOOL %s cannot be used: %s", directory, error.strerror)
        return None
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        logger.warning("EPROSPERA_SPOOL %s is not used: it has to belong to this user alone (mode 0700).", directory)
        return None
    return directory


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        logger.warning("EPROSPERA_SPOOL %s cannot be written to: %s", path.parent, error.strerror)
        return None


def _name(row: Connection) -> str:
    return f"{row.pk}.{row.generation}"


def _owner(row: Connection) -> bytes:
    return f"spool.answer\0{row.pk}\0{row.generation}".encode()
