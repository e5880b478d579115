"""Key rotation: seals values and files again under the newest key, and counts what each key is still needed for.

Rotation runs in small steps while the site is in use, and may be killed at any time: each sealed value names its key, so a
later run finds what is left.
"""

from __future__ import annotations

from django_eprospera.rotation.census import Counts, census
from django_eprospera.rotation.files import outdated_files, rotate_files
from django_eprospera.rotation.rows import Progress, count_outdated, rotate_rows
from django_eprospera.rotation.tables import Table, tables

__all__ = [
    "Counts",
    "Progress",
    "Table",
    "census",
    "count_outdated",
    "outdated_files",
    "rotate_files",
    "rotate_rows",
    "tables",
]
