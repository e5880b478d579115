"""How does everything that is sealed come under the newest key, and what hangs on which key until then?

`census` counts. `rotate_rows` and `rotate_files` seal again, in small steps that other processes do not notice and that a kill
at any instant only stops: each sealed value says which key it is under, so what is left to do is seen by looking.
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
