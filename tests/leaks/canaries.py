"""Values that occur nowhere else, and the search for them in bytes, in every encoding that text and bytes may have.

A finding names the kind of a canary and never its value.
"""

import base64
import hashlib
import html
import json
import re
import secrets
import string
import threading
import urllib.parse
import zlib
from collections import defaultdict

_HEAD = 8  # bytes by which a needle is found; no needle is shorter
_PACKED = re.compile(rb"[A-Za-z0-9_\-+/]{24,}={0,2}")
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")


def core(length=12):
    """A random word: text and digits of no other origin hold it once in 10^18."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(length))


def digits(length):
    return str(secrets.randbelow(9) + 1) + "".join(secrets.choice(string.digits) for _ in range(length - 1))


class Canaries:
    """`add` what is secret or personal; `found_in` says which kinds of it some bytes hold."""

    def __init__(self):
        self.kinds = {}
        self._needles = defaultdict(dict)
        self._lock = threading.Lock()  # the wire adds from threads of its own

    def __len__(self):
        return len(self.kinds)

    def add(self, kind, value):
        """Returns the value."""
        plain = value.encode() if isinstance(value, str) else value
        with self._lock:
            if plain not in self.kinds:
                self.kinds[plain] = kind
                for needle in set(_encodings(plain)):
                    if len(needle) >= _HEAD:
                        self._needles[needle[:_HEAD]][needle] = kind
        assert len(plain) >= _HEAD, f"a canary of the kind {kind} is too short to be told from chance"
        return value

    def name(self, kind):
        """A name with an accent, an apostrophe and an ampersand; its random part alone is a canary too."""
        word = core()
        self.add(kind, word)
        return self.add(kind, f"Ñ{word}'&é")

    def file(self, kind, content):
        """Pieces from all over a file: any of them gives it away. So does its hash."""
        step = max(len(content) // 12, 1)
        for start in range(len(content) // 4, len(content) - 32, step):
            piece = content[start : start + 32]
            if len(set(piece)) > 20:  # not the tables and paddings that all files of the format share
                self.add(kind, piece)
        self.add(f"digest of {kind}", hashlib.sha256(content).hexdigest())

    def found_in(self, data, depth=2):
        """The kinds in `data`, and in what is packed in it: base64, zlib, and one in the other."""
        found = self._found_plainly(data)
        if depth:
            for inner in _unpacked(data):
                found |= self.found_in(inner, depth - 1)
        return found

    def _found_plainly(self, data):
        found, heads = set(), self._needles
        with self._lock:
            for start in range(len(data) - _HEAD + 1):
                needles = heads.get(data[start : start + _HEAD])
                if needles:
                    found |= {kind for needle, kind in needles.items() if data.startswith(needle, start)}
        return found


def _encodings(plain):
    yield plain
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for algorithm in ("md5", "sha1", "sha256"):  # without a key, a hash of a short value is the value
        yield hashlib.new(algorithm, plain).hexdigest().encode()
    for shift in range(3):
        # As it would stand in the base64 of something longer: without the ends that depend on the neighbours.
        encoded = base64.b64encode(b"\0" * shift + plain)
        middle = encoded[4 if shift else 0 : len(encoded) - 4 if encoded.endswith(b"=") else len(encoded)]
        yield middle
        yield middle.translate(bytes.maketrans(b"+/", b"-_"))
    try:
        text = plain.decode()
    except UnicodeDecodeError:
        return
    yield json.dumps(text)[1:-1].encode()
    yield repr(text)[1:-1].encode()
    yield html.escape(text).encode()
    yield html.escape(repr(text)[1:-1]).encode()
    yield urllib.parse.quote(text, safe="").encode()
    yield urllib.parse.quote_plus(text).encode()
    yield text.encode("unicode_escape")
    yield text.encode("utf-16-le")
    yield text.encode("latin-1", "replace")


def _unpacked(data):
    for packed in _PACKED.findall(data):
        plain = packed.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        plain = base64.b64decode(plain[: len(plain) - (len(plain) % 4 == 1)] + b"=" * (-len(plain) % 4))
        yield plain
    for start in _ZLIB.finditer(data):
        try:
            yield zlib.decompressobj().decompress(data[start.start() :], 5_000_000)
        except zlib.error:
            continue
