"""How are bytes sealed so that they open only where they belong? No Django, no settings, no database.

A *sealed value* is text: ``1.<key id>.<Fernet token>``. The Fernet token holds the owner (a fixed label of the field and the
primary key of the row) in front of the value, so that a ciphertext moved to another field or row does not open. The key id
says which key is still needed, without trying them all. Files are AES-256-GCM in chunks, bound to their owner, their order
and their end. A *blind index* is an HMAC of a normalised value: equal values meet, and nothing else can be read from it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["DoesNotOpen", "Keyring", "Secret", "key_id_of"]

_VERSION: Final = "1"
_MAGIC: Final = b"EPS1"
_CHUNK: Final = 65_536
_TAG: Final = 16


class DoesNotOpen(Exception):
    """A sealed value was made with another key, for another owner, or was changed."""


class Secret(str):
    """Text that does not show itself in `repr`, and so not in a traceback's list of local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


class Keyring:
    """An ordered list of Fernet keys: the first one seals, every one opens.

    `index_keys` are the keys of the blind indexes, newest first; without any they are derived from the Fernet keys.
    Raises ValueError, without showing the key, when one is not 32 url-safe base64-encoded bytes.
    """

    def __init__(self, keys: Sequence[str], index_keys: Sequence[str] = ()) -> None:
        if not keys:
            raise ValueError("no key given")
        self._fernets: dict[str, Fernet] = {}
        self._files: dict[str, AESGCM] = {}
        for position, key in enumerate(keys, 1):
            material = _material(key, position)
            name = _derive(material, b"key id", 4).hex()
            self._fernets[name] = Fernet(key)
            self._files[name] = AESGCM(_derive(material, b"files", 32))
        self._indexes: dict[str, bytes] = {}
        for key in index_keys or keys:
            material = key.encode()
            self._indexes[_derive(material, b"index key id", 4).hex()] = _derive(material, b"blind index", 32)
        self.current = next(iter(self._fernets))
        self.current_index = next(iter(self._indexes))

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._fernets)}>"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of the keys that open, newest first."""
        return tuple(self._fernets)

    @property
    def index_key_ids(self) -> tuple[str, ...]:
        """Ids of the keys of the blind indexes, newest first."""
        return tuple(self._indexes)

    def seal(self, owner: bytes, value: bytes) -> str:
        """Seal `value` for `owner` under the newest key."""
        token = self._fernets[self.current].encrypt(owner + b"\0" + value)
        return f"{_VERSION}.{self.current}.{token.decode('ascii')}"

    def open(self, owner: bytes, sealed: str) -> bytes:
        """Open what `seal` made for the same owner. Raises DoesNotOpen."""
        version, _, rest = sealed.partition(".")
        name, _, token = rest.partition(".")
        if version != _VERSION or not token:
            raise DoesNotOpen("it is not a sealed value")
        fernet = self._fernets.get(name)
        if fernet is None:
            raise DoesNotOpen(f"it was sealed under key {name[:8]!r}, which FIELD_ENCRYPTION_KEY does not hold")
        try:
            plain = fernet.decrypt(token.encode("ascii", "replace"))
        except InvalidToken:
            raise DoesNotOpen("it was changed after it was sealed") from None
        bound, value = plain[: len(owner) + 1], plain[len(owner) + 1 :]
        if not hmac.compare_digest(bound, owner + b"\0"):
            raise DoesNotOpen("it was sealed for another row or field")
        return value

    def index(self, label: str, text: str) -> str:
        """Blind index of a normalised text under the newest index key."""
        return _index(self.current_index, self._indexes[self.current_index], label, text)

    def indexes(self, label: str, text: str) -> list[str]:
        """Blind index of a normalised text under every index key: what a search has to look for."""
        return [_index(name, key, label, text) for name, key in self._indexes.items()]

    def seal_file(self, owner: bytes, source: IO[bytes], target: IO[bytes]) -> None:
        """Seal everything that `source` still holds into `target`, in chunks of 64 KiB."""
        prefix = os.urandom(7)
        target.write(_MAGIC + bytes.fromhex(self.current) + prefix)
        cipher = self._files[self.current]
        chunk, number = source.read(_CHUNK), 0
        while True:
            following = source.read(_CHUNK)
            last = not following
            target.write(cipher.encrypt(_nonce(prefix, number, last=last), chunk, owner))
            if last:
                return
            chunk, number = following, number + 1

    def open_file(self, owner: bytes, source: IO[bytes]) -> Iterator[bytes]:
        """Yield the chunks of a sealed file, each one verified. Raises DoesNotOpen, also when the end is missing."""
        name = file_key_id(source)
        cipher = self._files.get(name)
        if cipher is None:
            raise DoesNotOpen(f"it was sealed under key {name!r}, which FIELD_ENCRYPTION_KEY does not hold")
        prefix = source.read(7)
        chunk, number = source.read(_CHUNK + _TAG), 0
        while True:
            following = source.read(_CHUNK + _TAG)
            last = not following
            try:
                yield cipher.decrypt(_nonce(prefix, number, last=last), chunk, owner)
            except (InvalidTag, ValueError):
                raise DoesNotOpen("it was changed, cut short, or sealed for another row") from None
            if last:
                return
            chunk, number = following, number + 1


def key_id_of(sealed: str) -> str:
    """Id of the key that a sealed value or blind index hangs on; empty when it is neither."""
    version, _, rest = sealed.partition(".")
    return rest.partition(".")[0] if version == _VERSION else ""


def file_key_id(source: IO[bytes]) -> str:
    """Read the head of a sealed file and return the id of its key. Raises DoesNotOpen when it is not one."""
    head = source.read(len(_MAGIC) + 4)
    if len(head) != len(_MAGIC) + 4 or not head.startswith(_MAGIC):
        raise DoesNotOpen("it is not a sealed file")
    return head[len(_MAGIC) :].hex()


def _material(key: str, position: int) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(key)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise ValueError(f"key number {position} is not a Fernet key (32 bytes, url-safe base64)") from None
    return raw


@lru_cache(maxsize=256)
def _derive(material: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=b"django-eprospera", info=purpose).derive(material)


def _index(name: str, key: bytes, label: str, text: str) -> str:
    digest = hmac.new(key, f"{label}\0{text}".encode(), hashlib.sha256).digest()
    return f"{_VERSION}.{name}.{base64.urlsafe_b64encode(digest).decode('ascii').rstrip('=')}"


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    # STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): order and end are part of each chunk's nonce.
    return prefix + struct.pack(">IB", number, last)
