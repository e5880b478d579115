"""Offline verification of a case file: `python -m django_eprospera.verify case.zip --key KEY`.

Needs Python 3.11 and `cryptography`, no Django, no database and no other file of this package: a copy of this one works too.
It also defines the format: `casefile` and `audit` import the hashes and the container from here.

Exit codes: 0 everything that a case file can prove was proved; 1 something is wrong, and is named; 2 the file or the key cannot
be used. docs/kyc.md#case-files says what is proved and what is not.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import struct
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = [
    "AUDIT",
    "DECISIONS",
    "FORMAT",
    "GENESIS",
    "MANIFEST",
    "MAX_JSON",
    "REVIEW",
    "SIGNATURE",
    "SUMMARY",
    "Result",
    "Unusable",
    "canonical",
    "directory",
    "entry_hash",
    "jwk",
    "key_id",
    "leaf_hash",
    "local_header",
    "main",
    "node_hash",
    "read_keys",
    "signed",
    "verify",
]

FORMAT: Final = "django-eprospera case file 1"
SUMMARY: Final = "summary.html"
REVIEW: Final = "review.json"
DECISIONS: Final = "decisions.json"
AUDIT: Final = "audit.json"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
GENESIS: Final = "0" * 64

# What is parsed is held in memory. Other files are hashed as they are read.
MAX_JSON: Final = 16 * 1_048_576
_PARSED: Final = (REVIEW, DECISIONS, AUDIT, MANIFEST, SIGNATURE)
_MOST_FILES: Final = 5_000
_MAX_KEY: Final = 65_536
_DEEPEST: Final = 64
_CHUNK: Final = 65_536

_NAME: Final = re.compile(rb"(?:files/)?[a-z0-9][a-z0-9_-]{0,79}\.[a-z0-9]{1,8}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")

# A ZIP of uncompressed files, without dates and attributes: its bytes follow from names and contents (APPNOTE 4.3).
_LOCAL: Final = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL: Final = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END: Final = struct.Struct("<4sHHHHIIH")
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_CENTRAL_MAGIC: Final = b"PK\x01\x02"
_VERSION, _DATE = 20, 0x21  # 1980-01-01


class Unusable(Exception):
    """The file or the key is not one, or cannot be read."""


# Hashes


def canonical(value: Any) -> bytes:
    """Return the one JSON text that equal values of plain JSON types have."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def entry_hash(entry: Any) -> str:
    """Return the SHA-256 of an audit entry, as the entry after it contains it."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def leaf_hash(hash_of_entry: str) -> bytes:
    """Return the leaf of an entry in the Merkle tree (RFC 9162, 2.1.1).

    Neighbours of an entry are disclosed as leaves. They can not be guessed: an entry contains an HMAC of itself.
    """
    return hashlib.sha256(b"\x00" + bytes.fromhex(hash_of_entry)).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the node above two nodes (RFC 9162, 2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root to which an inclusion proof leads, None if it has another length (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return None
    last, node = size - 1, leaf
    for other in proof:
        if last == 0:
            return None
        if index & 1 or index == last:
            node = node_hash(other, node)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            node = node_hash(node, other)
        index, last = index >> 1, last >> 1
    return node if last == 0 else None


# Keys and signature


def signed(manifest: bytes) -> bytes:
    """Return what the signature of a manifest signs."""
    return FORMAT.encode() + b"\0" + manifest


def jwk(public: bytes) -> dict[str, str]:
    """Return an Ed25519 public key as a JSON Web Key (RFC 8037) without an id."""
    return {"crv": "Ed25519", "kty": "OKP", "x": base64.urlsafe_b64encode(public).decode().rstrip("=")}


def key_id(public: bytes) -> str:
    """Return the thumbprint of an Ed25519 public key (RFC 7638)."""
    return base64.urlsafe_b64encode(hashlib.sha256(canonical(jwk(public))).digest()).decode().rstrip("=")


def read_keys(given: str) -> dict[str, bytes]:
    """Return public keys by their id, from a file (a JWK Set, or a key in base64) or from a key in base64.

    Raises Unusable if there is none.
    """
    text = given.strip()
    if not re.fullmatch(r"[\w+/-]{43}=?", text, re.ASCII):
        try:
            with Path(given).open("rb") as file:
                text = file.read(_MAX_KEY).decode("utf-8").strip()
        except (OSError, ValueError) as error:
            raise Unusable(
                f"--key must be a file or a key of 32 bytes in base64, and {_shown(given)} is neither "
                f"({type(error).__name__})."
            ) from None
    found = list(_keys_in(text))
    if not found:
        raise Unusable("--key has no Ed25519 key: give the JWK Set that the site publishes, or a key in base64.")
    return {key_id(public): public for public in found}


def _keys_in(text: str) -> Iterator[bytes]:
    texts: list[Any] = [text]
    if text.startswith("{"):
        document = _parsed(text.encode(), dict) or {}
        listed = document.get("keys", [document])
        keys = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        texts = [each.get("x") for each in keys if each.get("kty") == "OKP" and each.get("crv") == "Ed25519"]
    for each in texts:
        if isinstance(each, str) and re.fullmatch(r"[\w+/-]{43}=?", each, re.ASCII):
            yield base64.b64decode(each[:43].replace("-", "+").replace("_", "/") + "=")


# The container


def local_header(name: str, crc: int, size: int) -> bytes:
    """Return what stands before the contents of a file in the ZIP."""
    encoded = name.encode("ascii")
    return _LOCAL.pack(_LOCAL_MAGIC, _VERSION, 0, 0, 0, _DATE, crc, size, size, len(encoded), 0) + encoded


def directory(members: Iterable[tuple[str, int, int]]) -> bytes:
    """Return the end of the ZIP: the central directory of files in order, each with name, CRC-32 and size."""
    entries, offset = [], 0
    for name, crc, size in members:
        encoded = name.encode("ascii")
        fixed = (
            _CENTRAL_MAGIC,
            _VERSION,
            _VERSION,
            0,
            0,
            0,
            _DATE,
            crc,
            size,
            size,
            len(encoded),
            0,
            0,
            0,
            0,
            0,
            offset,
        )
        entries.append(_CENTRAL.pack(*fixed) + encoded)
        offset += _LOCAL.size + len(encoded) + size
    text = b"".join(entries)
    return text + _END.pack(b"PK\x05\x06", 0, 0, len(entries), len(entries), len(text), offset, 0)


@dataclass
class _Contents:
    """The files of a ZIP: SHA-256 and size by name, and the bytes of those that are parsed."""

    digests: dict[str, tuple[str, int]] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def _read(file: IO[bytes]) -> _Contents:
    contents = _Contents()
    members: list[tuple[str, int, int]] = []
    where = "the beginning of the file"
    while True:
        start = file.read(_LOCAL.size)
        if not start.startswith(_LOCAL_MAGIC) or len(start) < _LOCAL.size:
            break
        crc, size, _size, length = _LOCAL.unpack(start)[6:10]
        name = file.read(min(length, 100))
        if not _NAME.fullmatch(name) or len(members) == _MOST_FILES:
            contents.problems.append(f"the ZIP is damaged after {where}: what follows is no file of a case file")
            return contents
        text = name.decode("ascii")
        if start + name != local_header(text, crc, size):
            contents.problems.append(f"the ZIP header of {text} was changed, or {text} is compressed")
            return contents
        if text in contents.digests:
            contents.problems.append(f"{text} is there twice")
            return contents
        if not _read_member(file, text, crc, size, contents):
            return contents
        members.append((text, crc, size))
        where = text
    end = directory(members)
    if start + file.read(len(end) + 1) != end:
        contents.problems.append(f"the ZIP is cut short or changed after {where}")
    return contents


def _read_member(file: IO[bytes], name: str, crc: int, size: int, contents: _Contents) -> bool:
    kept: bytearray | None = bytearray() if name in _PARSED else None
    digest, found, left = hashlib.sha256(), 0, size
    while left and (chunk := file.read(min(left, _CHUNK))):
        digest.update(chunk)
        found, left = zlib.crc32(chunk, found), left - len(chunk)
        if kept is not None:
            kept += chunk
            if len(kept) > MAX_JSON:
                contents.problems.append(f"{name} is larger than {MAX_JSON} bytes")
                return False
    if left:
        contents.problems.append(f"the file ends within {name}: it was cut short")
        return False
    if found != crc:
        contents.problems.append(f"{name} does not agree with its checksum in the ZIP")
    contents.digests[name] = (digest.hexdigest(), size)
    if kept is not None:
        contents.texts[name] = bytes(kept)
    return True


# The verification


@dataclass
class Result:
    """What was proved, what is wrong, and what cannot be proved, each in sentences."""

    proved: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify(path: str | Path, keys: dict[str, bytes]) -> Result:
    """Verify a case file with the public keys of its site, by id. Raises Unusable if it is not one, or cannot be read."""
    result = Result()
    try:
        with Path(path).open("rb") as file:
            if file.read(4) != _LOCAL_MAGIC:
                raise Unusable(f"{_shown(path)} is not a ZIP file.")
            file.seek(0)
            contents = _read(file)
    except OSError as error:
        raise Unusable(f"{_shown(path)} cannot be read: {type(error).__name__}.") from None
    result.problems += contents.problems
    manifest = _manifest(contents, keys, result)
    if manifest is None:
        return result
    _files(contents, manifest, result)
    listed = _entries(contents, result)
    _tree(listed, manifest, result)
    _completeness(listed, manifest, result)
    _decisions(contents, listed, manifest, result)
    result.notes += _NOT_PROVED
    return result


_NOT_PROVED: Final = (
    "that the site recorded everything that happened: an event that was never recorded leaves no trace",
    "that what the provider and the person said is true: the file shows what the site received and decided",
    "that all times are right: they are those of the site's clock",
    "that the site shows everybody the same log: compare the size and root of the tree with those of other case files",
    "that nothing happened after the export",
)


def _manifest(contents: _Contents, keys: dict[str, bytes], result: Result) -> dict[str, Any] | None:
    """Return the manifest if it is signed; nothing in an unsigned one is worth a look."""
    text, signature = contents.texts.get(MANIFEST), contents.texts.get(SIGNATURE)
    if text is None or signature is None:
        absent = MANIFEST if text is None else SIGNATURE
        result.problems.append(f"{absent} is missing, so that nothing can be proved")
        return None
    if not re.fullmatch(rb"[0-9a-f]{128}", signature):
        result.problems.append(f"{SIGNATURE} was changed: it is no signature")
        return None
    signer = next((name for name, public in keys.items() if _is_signed(text, signature, public)), None)
    if signer is None:
        result.problems.append(
            f"{MANIFEST} is not signed with the key given ({', '.join(keys)}): it or {SIGNATURE} was changed, or the file "
            "is of another site, or of another key of this site"
        )
        return None
    manifest: dict[str, Any] | None = _parsed(text, dict)
    if manifest is None or manifest.get("format") != FORMAT:
        raise Unusable(f"{MANIFEST} is signed, but not in the format of this version ({FORMAT}).")
    if manifest.get("key") != signer or not _is_manifest(manifest):
        result.problems.append(f"{MANIFEST} is signed, and contradicts itself")
        return None
    result.proved.append(
        f"{MANIFEST} was signed with key {signer}. It says: case {_shown(manifest['review'])}, exported at "
        f"{_shown(manifest['exported_at'])} for the purpose {_shown(manifest['purpose'])}"
    )
    return manifest


def _is_signed(manifest: bytes, signature: bytes, public: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(bytes.fromhex(signature.decode()), signed(manifest))
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_manifest(manifest: dict[str, Any]) -> bool:
    tree, files, subjects = manifest.get("tree"), manifest.get("files"), manifest.get("subjects")
    return (
        all(isinstance(manifest.get(name), str) for name in ("review", "exported_at", "purpose"))
        and isinstance(tree, dict)
        and _is_number(tree.get("size"))
        and _is_hash(tree.get("root"))
        and isinstance(subjects, dict)
        and all(map(_is_number, subjects.values()))
        and isinstance(manifest.get("missing"), dict)
        and isinstance(files, dict)
        and all(
            isinstance(each, dict) and _is_hash(each.get("sha256")) and _is_number(each.get("size"))
            for each in files.values()
        )
    )


def _files(contents: _Contents, manifest: dict[str, Any], result: Result) -> None:
    listed, changed = manifest["files"], len(result.problems)
    for name, each in listed.items():
        if name not in contents.digests:
            result.problems.append(f"{_shown(name)} was left out")
        elif contents.digests[name] != (each["sha256"], each["size"]):
            result.problems.append(f"{_shown(name)} was changed: its SHA-256 is not the one in {MANIFEST}")
    result.problems += [
        f"{_shown(name)} was added: {MANIFEST} does not list it"
        for name in contents.digests
        if name not in listed and name not in (MANIFEST, SIGNATURE)
    ]
    result.notes += [
        f"{_shown(name)}: the site could not read it when it exported the case ({_shown(why)})"
        for name, why in manifest["missing"].items()
    ]
    if len(result.problems) == changed:
        result.proved.append(f"All {len(listed)} files are there and unchanged")


@dataclass(frozen=True)
class _Listed:
    """An entry of the file that has the columns of one, with its inclusion proof."""

    entry: dict[str, Any]
    proof: list[bytes] | None

    @property
    def position(self) -> int:
        return int(self.entry["position"])

    @property
    def name(self) -> str:
        return f"entry {self.position} ({_shown(self.entry['action'])}, {_shown(self.entry['at'])})"


def _entries(contents: _Contents, result: Result) -> dict[int, _Listed]:
    document = _parsed(contents.texts.get(AUDIT, b""), dict)
    items = document.get("entries") if document else None
    if not isinstance(items, list):
        result.problems.append(f"{AUDIT} has no list of entries")
        return {}
    found: dict[int, _Listed] = {}
    for number, item in enumerate(items, 1):
        listed = _listed(item)
        if listed is None or listed.position in found:
            result.problems.append(f"item {number} of {AUDIT} is no entry, or is there twice")
        else:
            found[listed.position] = listed
    return found


def _listed(item: Any) -> _Listed | None:
    entry, proof = (item.get("entry"), item.get("proof")) if isinstance(item, dict) else (None, None)
    if not isinstance(entry, dict) or not isinstance(entry.get("detail"), dict):
        return None
    if not all(isinstance(entry.get(name), str) for name in ("at", "action", "subject")):
        return None
    if not (_is_number(entry.get("position")) and _is_number(entry.get("before"))):
        return None
    if isinstance(proof, list) and len(proof) <= 64 and all(map(_is_hash, proof)):
        return _Listed(entry, [bytes.fromhex(each) for each in proof])
    return _Listed(entry, None)


def _tree(listed: dict[int, _Listed], manifest: dict[str, Any], result: Result) -> None:
    size, root, wrong = manifest["tree"]["size"], manifest["tree"]["root"], 0
    for position, each in listed.items():
        leaf = leaf_hash(entry_hash(each.entry))
        found = None if each.proof is None else root_of(leaf, position - 1, size, each.proof)
        if found is None or found.hex() != root:
            wrong += 1
            result.problems.append(
                f"{each.name} is not in the log whose head is signed: it or its proof was changed, or it is of another site"
            )
    if listed and not wrong:
        result.proved.append(
            f"All {len(listed)} audit entries stand, as they are here, at their positions in the site's log of {size} "
            f"entries with the signed root {root}"
        )


def _completeness(listed: dict[int, _Listed], manifest: dict[str, Any], result: Result) -> None:
    """Follow the entries of each subject from the last one to the first: each names the one before it."""
    subjects, review, known = manifest["subjects"], manifest["review"], len(result.problems)
    for each in listed.values():
        if each.entry["subject"] not in subjects:
            result.problems.append(f"{each.name} is about {_shown(each.entry['subject'])}, which is not of this case")
    for subject, last in subjects.items():
        position, after = last, f"{MANIFEST}"
        while position:
            current = listed.get(position)
            if current is None or current.entry["subject"] != subject or current.entry["before"] >= position:
                result.problems.append(f"entry {position} about {_shown(subject)} was left out: {after} names it")
                break
            position, after = current.entry["before"], current.name
        else:
            continue
    unnamed = _unnamed(listed, subjects)
    result.problems += [f"{listed[position].name} is named by no later entry" for position in unnamed]
    head = listed.get(manifest["tree"]["size"])
    if head is None or (head.entry["action"], head.entry["subject"]) != ("exported", review):
        result.problems.append("the last entry of the log is not the export of this case")
    if len(result.problems) == known:
        result.proved.append(
            "No entry about the review was left out up to the export, which is the last entry of the log: each entry names "
            "the one before it"
        )
        if len(subjects) > 1:
            result.notes.append(
                f"of the {len(subjects) - 1} other subjects (the person's or company's rows and files), no entry before the "
                "last one was left out. Which one is the last, the site states with its signature"
            )


def _unnamed(listed: dict[int, _Listed], subjects: dict[str, int]) -> list[int]:
    named = {each.entry["before"] for each in listed.values()} | set(subjects.values())
    return [position for position in listed if position not in named]


def _decisions(contents: _Contents, listed: dict[int, _Listed], manifest: dict[str, Any], result: Result) -> None:
    decisions: list[Any] | None = _parsed(contents.texts.get(DECISIONS, b""), list)
    known = len(result.problems)
    if decisions is None:
        result.problems.append(f"{DECISIONS} has no list of decisions")
        return
    recorded = {
        str(each.entry["detail"].get("decision")): each
        for each in listed.values()
        if each.entry["action"] == "decided" and each.entry["subject"] == manifest["review"]
    }
    for number, decision in enumerate(decisions, 1):
        name = decision.get("id") if isinstance(decision, dict) else None
        each = recorded.pop(name, None) if isinstance(name, str) else None
        if each is None:
            result.problems.append(f"decision {number} of {DECISIONS} is in no audit entry, or is there twice")
        elif hashlib.sha256(canonical(decision)).hexdigest() != each.entry["detail"].get("digest"):
            result.problems.append(f"decision {_shown(name)} was changed: its digest is not the one in {each.name}")
    result.problems += [
        f"decision {_shown(name)} was left out: {each.name} records it" for name, each in recorded.items()
    ]
    if len(result.problems) == known and decisions:
        result.proved.append(
            f"The {len(decisions)} decisions, with reasons and evidence, are those whose digests the log has"
        )
    evidence = set(_texts(decisions))
    result.notes += [
        f"{_shown(name)}: no decision names it by its digest. It was fetched or replaced later, or was never there to decide on"
        for name, each in manifest["files"].items()
        if name.startswith("files/") and each["sha256"] not in evidence
    ]


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, str):
            yield current
        elif isinstance(current, (list, dict)):
            waiting += current.values() if isinstance(current, dict) else current


def _parsed(text: bytes, kind: type[Any]) -> Any:
    """Return the value of a JSON text; None if it is not one of this type, names something twice, or is not plain."""
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) and _is_plain(value) else None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError
    return found


def _is_plain(value: Any) -> bool:
    """Whether a value is nested at most so deep, and has no infinite number: it can be written as canonical JSON."""
    level = [value]
    for _ in range(_DEEPEST):
        if any(isinstance(each, float) and not math.isfinite(each) for each in level):
            return False
        inner: list[Any] = []
        for each in level:
            if isinstance(each, (list, dict)):
                inner += each.values() if isinstance(each, dict) else each
        level = inner
    return not level


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _shown(value: Any) -> str:
    """Return a text of the file without what a terminal would obey."""
    return "".join(each if each.isprintable() else "?" for each in str(value)[:120])


# The command


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify a file, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m django_eprospera.verify",
        description="Verify a case file offline. Exit codes: 0 all proved, 1 something is wrong, 2 file or key unusable.",
    )
    parser.add_argument("file", help="the case file (ZIP)")
    parser.add_argument(
        "--key",
        required=True,
        help="the site's public key: a file with what it publishes at eprospera/audit-key/, or the key in base64",
    )
    options = parser.parse_args(arguments)
    try:
        result = verify(options.file, read_keys(options.key))
    except Unusable as error:
        _say(f"Cannot be verified: {error}", sys.stderr)
        return 2
    for title, lines in (("Wrong", result.problems), ("Proved", result.proved), ("Not proved", result.notes)):
        if lines:
            _say(f"{title}:")
            for line in lines[:100]:
                _say(f"  - {line}.")
            if len(lines) > 100:
                _say(f"  - and {len(lines) - 100} more.")
    _say("The case file verifies." if result.ok else "THE CASE FILE DOES NOT VERIFY.")
    return 0 if result.ok else 1


def _say(text: str, stream: Any = None) -> None:
    stream = stream or sys.stdout
    encoding = stream.encoding or "ascii"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream)


if __name__ == "__main__":
    sys.exit(main())
