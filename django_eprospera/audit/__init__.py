"""Audit log: a keyed chain of entries, with digests of the rows that gates and reviewers rely on.

An entry is authenticated with a key that the database does not have, and contains the hash of the entry before it. Entries
also contain digests of decisions, reviews and cached facts, so that a changed row differs from its newest entry. After each
commit the newest hash is stored in EPROSPERA_STORAGE, so that a chain that was cut short or deleted differs from it.
docs/security.md#audit lists what is not detected.
"""

from __future__ import annotations

from django_eprospera.audit.chain import record
from django_eprospera.audit.verification import Report, verify

__all__ = ["Report", "record", "verify"]
