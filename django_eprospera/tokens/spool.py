"""Crash-safe local file for a refreshed token that is not committed yet, encrypted.

A process that is killed, or loses its database, after the provider rotated the refresh token would lose the only copy of the
new one. So the raw answer is written to a local file as it arrives, before it is parsed, which takes microseconds and survives
the process. The next caller that takes the lease on this machine parses and commits it instead of sending the spent token. The
file is sealed for its connection and generation, so a stale, incomplete or forged one is ignored. Best effort: without a usable
directory everything works, except for this protection.
"""

from __future__ import annotations

import logging
import mmap
import os
import struct
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from django_eprospera.conf import conf
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import MalformedAnswer
from django_eprospera.keys import keyring
from django_eprospera.provider.grants import read_answer
from django_eprospera.provider.tracebacks import forget_locals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_eprospera.models import Connection
    from django_eprospera.provider.grants import Tokens

__all__ = ["drop", "find", "ready", "sweep"]

logger = logging.getLogger("django_eprospera.tokens")

_LARGEST: Final = 80 * 1024
_LENGTH: Final = struct.Struct(">I")
_OLDEST: Final = 7 * 86_400


@contextmanager
def ready(row: Connection) -> Iterator[Callable[[datetime, bytes], None]]:
    """Hand out the function that writes down what the provider answers to the refresh of this row, and when it was asked.

    It is called anew, with the whole, whenever more of the answer has arrived. Everything that can be done beforehand is done
    beforehand: the key is derived, and the file is mapped into memory. A write to it is a copy in memory, which the kernel
    keeps when the process dies; a system call could wait for the disk.
    """
    directory, seal = _directory(), keyring().sealer(_owner(row))
    memory = None if directory is None else _map(directory / _name(row))
    kept = False

    def keep(asked_at: datetime, raw: bytes) -> None:
        nonlocal kept
        if memory is not None:
            sealed = seal(b"%.6f\n%b" % (asked_at.timestamp(), raw))
            if len(sealed) <= _LARGEST - _LENGTH.size:
                memory[: _LENGTH.size + len(sealed)] = _LENGTH.pack(len(sealed)) + sealed
                kept = True

    try:
        yield keep
    except BaseException:
        if not kept:  # there was no answer to keep
            drop(row)
        raise
    finally:
        if memory is not None:
            memory.close()


@forget_locals
def find(row: Connection) -> Tokens | None:
    """Return the tokens of the answer that was written down for this row as it is now; None without a whole one."""
    directory = _directory()
    if directory is None:
        return None
    try:
        with (directory / _name(row)).open("rb") as file:
            content = file.read(_LARGEST)
        end = _LENGTH.size + _LENGTH.unpack(content[: _LENGTH.size])[0]
        asked_at, _, raw = keyring().open_bytes(_owner(row), content[_LENGTH.size : end]).partition(b"\n")
        return read_answer(raw, datetime.fromtimestamp(float(asked_at), UTC))
    except (OSError, struct.error, DoesNotOpen, MalformedAnswer):
        return None


def drop(row: Connection) -> None:
    """Forget the answer for this row: it is committed, or good for nothing."""
    directory = _directory()
    if directory is not None:
        _delete(directory / _name(row))


def sweep() -> int:
    """Delete files of a week ago and older, whose connections have moved on. Returns how many."""
    directory = _directory()
    if directory is None:
        return 0
    try:
        with os.scandir(directory) as entries:
            found = [entry.path for entry in entries if _is_old(entry)]
    except OSError as error:
        logger.warning("EPROSPERA_SPOOL %s cannot be listed: %s", directory, error.strerror)
        return 0
    return sum(_delete(Path(path)) for path in found)


def _is_old(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file(follow_symlinks=False) and time.time() - entry.stat().st_mtime > _OLDEST
    except FileNotFoundError:  # another process committed it meanwhile
        return False


def _delete(file: Path) -> bool:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("EPROSPERA_SPOOL: %s cannot be deleted: %s", file, error.strerror)
        return False
    return True


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


def _map(path: Path) -> mmap.mmap | None:
    """Return a new file as memory, every page of it present and its space on the disk reserved; None when that fails."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    # Not cut short and used again: a holder that outlived its lease may have it mapped still, and would die (SIGBUS).
    _delete(path)
    try:
        file = os.open(path, flags, 0o600)
        try:
            os.write(file, bytes(_LARGEST))
            memory = mmap.mmap(file, _LARGEST)
        finally:
            os.close(file)
    except (OSError, ValueError) as error:  # ValueError: the disk took less than that
        logger.warning("EPROSPERA_SPOOL %s cannot be written to: %s", path.parent, getattr(error, "strerror", error))
        return None
    memory[:] = bytes(_LARGEST)
    return memory


def _name(row: Connection) -> str:
    return f"{row.pk}.{row.generation}"


def _owner(row: Connection) -> bytes:
    return f"spool.answer\0{row.pk}\0{row.generation}".encode()
