"""Authenticated encryption of values and files, bound to their owner, and blind indexes. No Django, no settings.

A *sealed value* is text: ``1.<key id>.<Fernet token>``. The Fernet token holds the owner (a fixed label of the field and the
primary key of the row) in front of the value, so that a ciphertext moved to another field or row does not open. The key id
says which key is still needed, without trying them all. Files are AES-256-GCM in chunks, bound to their owner, their order
and their end. A *blind index* is an HMAC of a normalised value: equal values meet, and it reveals nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import itertools
import os
import re
import struct
from typing import IO, TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = [
    "BadKey",
    "DoesNotOpen",
    "Keyring",
    "Moved",
    "Secret",
    "file_key_id",
    "key_id_of",
    "looks_sealed",
    "prefix_of",
]

_VERSION: Final = "1"
_PREFIX: Final = re.compile(r"1\.([0-9a-f]{8})\.")
_SEALED: Final = re.compile(r"1\.[0-9a-f]{8}\.[\w=-]+", re.ASCII)
_PREFIX_LENGTH: Final = 11
_MAGIC: Final = b"EPS1"
_MAGIC_BYTES: Final = b"EPB1"
_CHUNK: Final = 65_536
_TAG: Final = 16
_SALT: Final = 16
_NONCE: Final = 12


class BadKey(ValueError):
    """The key at `position` (from 1) of a list is not a Fernet key. The message does not show it."""

    def __init__(self, position: int) -> None:
        self.position = position
        super().__init__(f"key number {position} is not a Fernet key (32 bytes, url-safe base64)")


class DoesNotOpen(Exception):
    """A sealed value was made with another key, for another owner, or was changed."""


class Moved(DoesNotOpen):
    """A sealed value is intact, but was made for another owner."""


class Secret(str):
    """String whose `repr` hides it, and so do tracebacks that list local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<secret>"


class Keyring:
    """An ordered list of Fernet keys: the first one seals, every one opens.

    Blind indexes are made under the first of `index_keys`, or, when there is none, under the first of `keys`; a search looks
    under all of both, so that an index is found whichever of them it was made under. A key has one id, whatever it is used
    for; the keys that do the work are derived from it (HKDF, RFC 5869), one for each purpose.
    Raises BadKey when one is not 32 url-safe base64-encoded bytes, ValueError when there is none.
    """

    def __init__(self, keys: Sequence[str], index_keys: Sequence[str] = ()) -> None:
        if not keys:
            raise ValueError("no key given")
        self._fernets: dict[str, Fernet] = {}
        self._files: dict[str, _Key] = {}
        self._codes: dict[str, _Key] = {}
        for position, key in enumerate(keys, 1):
            material = _Key(key, position)
            self._fernets[material.id] = Fernet(key)
            self._files[material.id] = material.derive(b"files")
            self._codes[material.id] = material.derive(b"audit")
        self._indexes: dict[str, _Key] = {}
        for position, key in enumerate((*index_keys, *keys), 1):
            material = _Key(key, position)
            self._indexes[material.id] = material.derive(b"blind index")
        self.current = next(iter(self._fernets))
        self.current_index = next(iter(self._indexes))

    def __repr__(self) -> str:
        return f"<Keyring of {len(self._fernets)}>"

    @property
    def key_ids(self) -> tuple[str, ...]:
        """IDs of the keys that open values and files, newest first."""
        return tuple(self._fernets)

    @property
    def index_key_ids(self) -> tuple[str, ...]:
        """IDs of the keys that a search of a blind index uses, newest first."""
        return tuple(self._indexes)

    def seal(self, owner: bytes, value: bytes) -> str:
        """Seal `value` for `owner` under the newest key."""
        token = self._fernets[self.current].encrypt(_bound(owner) + value)
        return f"{prefix_of(self.current)}{token.decode('ascii')}"

    def open(self, owner: bytes, sealed: str) -> bytes:
        """Open what `seal` made for the same owner. Raises DoesNotOpen, and its subclass Moved."""
        name = key_id_of(sealed)
        if not name:
            raise DoesNotOpen("it is not a sealed value")
        fernet = self._fernets.get(name)
        if fernet is None:
            raise DoesNotOpen(f"it was sealed under key {name}, which FIELD_ENCRYPTION_KEY does not hold")
        try:
            plain = fernet.decrypt(sealed[_PREFIX_LENGTH:].encode("ascii", "replace"))
        except InvalidToken:
            raise DoesNotOpen("it was changed after it was sealed") from None
        bound = _bound(owner)
        if not hmac.compare_digest(plain[: len(bound)], bound):
            del plain  # personal data, which a traceback would list among the local variables
            raise Moved("it was sealed for another row or field")
        return plain[len(bound) :]

    def reseal(self, owner: bytes, sealed: str) -> str:
        """Open a value and seal it for the same owner under the newest key. Raises DoesNotOpen."""
        return self.seal(owner, self.open(owner, sealed))

    def index(self, label: str, text: str) -> str:
        """Return the blind index of a normalised text under the newest index key."""
        return self._indexes[self.current_index].index(_indexed(label, text))

    def indexes(self, label: str, text: str) -> list[str]:
        """Return the blind index of a normalised text under every index key: what a search looks for."""
        message = _indexed(label, text)
        return [key.index(message) for key in self._indexes.values()]

    def authenticate(self, message: bytes) -> str:
        """Return an authentication code (HMAC-SHA256) of a message under the newest key, whose id it begins with."""
        return self._codes[self.current].index(message)

    def is_authentic(self, message: bytes, code: str) -> bool:
        """Return whether `authenticate` made the code for this message. Raises DoesNotOpen if its key is not in the list."""
        key = self._codes.get(key_id_of(code))
        if key is None:
            raise DoesNotOpen(
                f"it needs key {key_id_of(code) or '(none named)'}, which FIELD_ENCRYPTION_KEY does not hold"
            )
        return hmac.compare_digest(key.index(message), code)

    def seal_file(self, owner: bytes, source: IO[bytes], target: IO[bytes]) -> None:
        """Seal the rest of `source` into `target`, in chunks of 64 KiB."""
        salt = os.urandom(_SALT)
        target.write(_MAGIC + bytes.fromhex(self.current) + salt)
        cipher = self._files[self.current].cipher(salt)
        chunk, number = _read(source, _CHUNK), 0
        while True:
            following = _read(source, _CHUNK)
            last = not following
            target.write(cipher.encrypt(_nonce(number, last=last), chunk, owner))
            if last:
                return
            chunk, number = following, number + 1

    def sealer(self, owner: bytes) -> Callable[[bytes], bytes]:
        """Return a function that seals values for `owner`, its key derived beforehand, so that it takes microseconds.

        For `open_bytes`. The function may be called many times.
        """
        salt = os.urandom(_SALT)
        head = _MAGIC_BYTES + bytes.fromhex(self.current) + salt
        cipher, bound, numbers = self._files[self.current].cipher(salt), head + owner, itertools.count()

        def seal(value: bytes) -> bytes:
            nonce = next(numbers).to_bytes(_NONCE)  # the key is this function's own
            return head + nonce + cipher.encrypt(nonce, value, bound)

        return seal

    def open_bytes(self, owner: bytes, sealed: bytes) -> bytes:
        """Open what a `sealer` for the same owner made. Raises DoesNotOpen."""
        source = io.BytesIO(sealed)
        name = _read_key_id(source, _MAGIC_BYTES, "sealed bytes")
        key = self._files.get(name)
        if key is None:
            raise DoesNotOpen(f"it was sealed under key {name}, which FIELD_ENCRYPTION_KEY does not hold")
        salt, nonce = _read(source, _SALT), _read(source, _NONCE)
        try:
            return key.cipher(salt).decrypt(nonce, source.read(), sealed[: len(_MAGIC_BYTES) + 4 + _SALT] + owner)
        except (InvalidTag, ValueError):
            raise DoesNotOpen("it was changed, cut short, or sealed for another owner") from None

    def open_file(self, owner: bytes, source: IO[bytes]) -> Iterator[bytes]:
        """Yield the chunks of a sealed file, each one verified. Raises DoesNotOpen, also when the end is missing."""
        name = file_key_id(source)
        key = self._files.get(name)
        if key is None:
            raise DoesNotOpen(f"it was sealed under key {name}, which FIELD_ENCRYPTION_KEY does not hold")
        cipher = key.cipher(_read(source, _SALT))
        chunk, number = _read(source, _CHUNK + _TAG), 0
        while True:
            following = _read(source, _CHUNK + _TAG)
            last = not following
            try:
                plain = cipher.decrypt(_nonce(number, last=last), chunk, owner)
            except (InvalidTag, ValueError):
                raise DoesNotOpen("it was changed, cut short, or sealed for another row") from None
            yield plain
            if last:
                return
            chunk, number = following, number + 1


def prefix_of(key_id: str) -> str:
    """Return the prefix of every sealed value and every blind index under this key."""
    return f"{_VERSION}.{key_id}."


def key_id_of(sealed: str) -> str:
    """Return the ID of the key of a sealed value or blind index; empty when it is neither."""
    match = _PREFIX.match(sealed)
    return "" if match is None else match[1]


def looks_sealed(text: str) -> bool:
    """Return whether a text has the form of a sealed value or blind index. It may still not open."""
    return _SEALED.fullmatch(text) is not None


def file_key_id(source: IO[bytes]) -> str:
    """Read the head of a sealed file and return the id of its key. Raises DoesNotOpen when it is not one."""
    return _read_key_id(source, _MAGIC, "a sealed file")


def _read_key_id(source: IO[bytes], magic: bytes, what: str) -> str:
    head = _read(source, len(magic) + 4)
    if len(head) != len(magic) + 4 or not head.startswith(magic):
        raise DoesNotOpen(f"it is not {what}")
    return head[len(magic) :].hex()


class _Key:
    """Key material, hidden in `repr`, and its operations."""

    __slots__ = ("_bytes", "id")

    def __init__(self, key: str, position: int) -> None:
        try:
            self._bytes = base64.b64decode(key.encode("ascii"), altchars=b"-_", validate=True)
        except ValueError:
            raise BadKey(position) from None
        if len(self._bytes) != 32:
            raise BadKey(position)
        self.id = _hkdf(self._bytes, b"key id", 4).hex()

    def derive(self, purpose: bytes) -> _Key:
        derived = object.__new__(_Key)
        derived.id = self.id
        derived._bytes = _hkdf(self._bytes, purpose, 32)
        return derived

    def cipher(self, salt: bytes) -> AESGCM:
        # A key for each file: random nonces under one key would meet after some hundred million files.
        return AESGCM(_hkdf(self._bytes, salt, 32))

    def index(self, message: bytes) -> str:
        digest = hmac.digest(self._bytes, message, hashlib.sha256)
        return f"{prefix_of(self.id)}{base64.urlsafe_b64encode(digest).decode('ascii').rstrip('=')}"


def _hkdf(material: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=b"django-eprospera", info=info).derive(material)


def _bound(owner: bytes) -> bytes:
    # The length in front: no owner and value together can be read as another owner and value.
    return struct.pack(">I", len(owner)) + owner


def _indexed(label: str, text: str) -> bytes:
    return f"{label}\0{text}".encode(errors="surrogatepass")


def _nonce(number: int, *, last: bool) -> bytes:
    # STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015): order and end are part of each chunk's nonce.
    return struct.pack(">7xI?", number, last)


def _read(source: IO[bytes], size: int) -> bytes:
    """Read `size` bytes, fewer only at the end: a storage may return less than requested."""
    parts = []
    while size > 0 and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
