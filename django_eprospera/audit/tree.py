"""Merkle tree over all audit entries in order (RFC 9162), which proves to outsiders that an entry stands in the chain.

The chain itself is keyed: only the site can verify it. A leaf is the hash of an entry, which the entry after it contains, so
that the tree is read from one column. The roots of each 1,024 entries are stored (`AuditBlock`): a proof reads the entries of
the blocks that it is about, and those after the last full block, however long the chain is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from django.db import router

from django_eprospera.audit.chain import COLUMNS, hash_of
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import AuditError
from django_eprospera.keys import keyring
from django_eprospera.models import AuditEntry
from django_eprospera.models.audit import AuditBlock
from django_eprospera.verify import leaf_hash, node_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["BLOCK", "Roots", "forget_blocks", "keep", "prove"]

# A power of two, so that a block is a subtree of every tree that contains it.
BLOCK: Final = 1_024


@dataclass
class Roots:
    """Roots of the full blocks of entries whose hashes are added in order."""

    roots: list[str] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)

    def add(self, hash_of_entry: str) -> None:
        """Add the hash of the next entry."""
        self.leaves.append(leaf_hash(hash_of_entry))
        if len(self.leaves) == BLOCK:
            self.roots.append(_levels(self.leaves)[-1][0].hex())
            self.leaves.clear()


def prove(hashes: Mapping[int, str], size: int) -> tuple[str, dict[int, list[str]]]:
    """Return the root of the tree over the first `size` entries, and inclusion proofs of some, as hexadecimal.

    `hashes` are the hashes of these by position. Raises AuditError if an entry is missing or is not the one with this hash, or
    a block is not the one that was stored.
    """
    full = size // BLOCK
    roots = _roots(full)
    top = [bytes.fromhex(root) for root in roots]
    blocks: dict[int, list[list[bytes]]] = {}
    if size % BLOCK:
        blocks[full] = _levels(_leaves(full, size))
        top.append(blocks[full][-1][0])
    top_levels, proofs = _levels(top), {}
    for position, hash_of_entry in hashes.items():
        number, index = divmod(position - 1, BLOCK)
        if number not in blocks:
            blocks[number] = _levels(_leaves(number, size))
            if blocks[number][-1][0] != top[number]:
                raise AuditError(_changed(number))
        if blocks[number][0][index] != leaf_hash(hash_of_entry):
            raise AuditError(
                f"Audit entry {position} is not the one whose hash the entry after it contains: one was changed."
            )
        proofs[position] = [each.hex() for each in (*_path(blocks[number], index), *_path(top_levels, number))]
    return top_levels[-1][0].hex(), proofs


def keep(found: Sequence[str]) -> Iterator[str]:
    """Compare the stored blocks with the roots of verified entries, store those that are missing, and yield what differs."""
    stored = _stored()
    # An export may have stored later ones meanwhile.
    different = [number for number, root in enumerate(found) if stored.get(number, root) != root]
    yield from map(_changed, different)
    if not different:
        _store({number: root for number, root in enumerate(found) if number not in stored})


def forget_blocks() -> None:
    """Delete all stored blocks: for a chain that was restored from a backup and accepted."""
    AuditBlock.objects.using(router.db_for_write(AuditBlock)).all().delete()


def _roots(full: int) -> list[str]:
    stored = _stored()
    missing = {
        number: _levels(_leaves(number, full * BLOCK))[-1][0].hex() for number in range(full) if number not in stored
    }
    _store(missing)
    return [missing.get(number) or stored[number] for number in range(full)]


def _leaves(number: int, size: int) -> list[bytes]:
    """Return the leaves of a block, of those of the first `size` entries."""
    first, last = number * BLOCK + 1, min((number + 1) * BLOCK, size)
    entries = AuditEntry.objects.using(router.db_for_write(AuditEntry))
    following = entries.filter(position__gt=first, position__lte=last + 1).order_by("position")
    hashes = list(following.values_list("previous", flat=True))
    if len(hashes) == last - first:  # the last entry is the newest one of the chain
        hashes += [hash_of(row) for row in entries.filter(position=last).values(*COLUMNS)]
    try:
        leaves = [leaf_hash(each) for each in hashes]
    except ValueError:
        leaves = []
    if len(leaves) != last - first + 1:
        raise AuditError(
            f"Audit entries from {first} to {last} are missing or damaged. `eprospera_audit --verify` says more."
        )
    return leaves


def _stored() -> dict[int, str]:
    """Return the stored roots by number. One whose code is not ours or under a removed key is computed again."""
    rows = AuditBlock.objects.using(router.db_for_write(AuditBlock)).values_list("number", "root", "digest")
    return {number: root for number, root, digest in rows if _is_ours(number, root, digest)}


def _is_ours(number: int, root: str, digest: str) -> bool:
    try:
        return keyring().is_authentic(_signed(number, root), digest)
    except DoesNotOpen:
        return False


def _store(roots: dict[int, str]) -> None:
    blocks = AuditBlock.objects.using(router.db_for_write(AuditBlock))
    if roots:
        blocks.filter(number__in=list(roots)).delete()  # those that are not ours
        rows = [AuditBlock(number=number, root=root, digest=keyring().authenticate(_signed(number, root)))
                for number, root in roots.items()]  # fmt: skip
        blocks.bulk_create(rows, batch_size=500, ignore_conflicts=True)


def _signed(number: int, root: str) -> bytes:
    return f"block\0{number} {root}".encode()


def _changed(number: int) -> str:
    first, last = number * BLOCK + 1, (number + 1) * BLOCK
    return f"the entries from {first} to {last} are not those of the stored block: the chain was rewritten"


def _levels(nodes: list[bytes]) -> list[list[bytes]]:
    """Return the levels of a tree from its leaves to its root. The last one of an odd number goes up as it is."""
    levels = [nodes]
    while len(nodes) > 1:
        pairs = zip(nodes[::2], nodes[1::2], strict=False)
        nodes = [*(node_hash(left, right) for left, right in pairs), *nodes[len(nodes) & ~1 :]]
        levels.append(nodes)
    return levels


def _path(levels: list[list[bytes]], index: int) -> list[bytes]:
    siblings = []
    for nodes in levels:
        if (index ^ 1) < len(nodes):
            siblings.append(nodes[index ^ 1])
        index >>= 1
    return siblings
