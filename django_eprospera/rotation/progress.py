"""What did a rotation do? Counts, and the rows that do not open, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Progress"]


def _silent(_: Progress) -> None:
    return


@dataclass
class Progress:
    """`report` is called after each step. `closed` maps model and primary key to why something there does not open."""

    report: Callable[[Progress], None] = _silent
    rows: int = 0
    files: int = 0
    closed: dict[str, str] = field(default_factory=dict)

    def moved(self, *, rows: int = 0, files: int = 0) -> None:
        """Count what was sealed again."""
        self.rows += rows
        self.files += files
        self.report(self)
