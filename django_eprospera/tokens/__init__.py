"""The only place that stores, refreshes, rotates and revokes tokens.

`durable` commits whatever the caller's transaction does; `renewal` refreshes at most once, whoever asks; `lease` is what it
writes, `spool` its net; `grant` begins and ends a connection; `revocation` tells the provider; `keep_alive` renews what nobody
uses.
"""

from __future__ import annotations

from django_eprospera.tokens.grant import disconnect, store_sign_in
from django_eprospera.tokens.keep_alive import KeptAlive, keep_alive
from django_eprospera.tokens.renewal import access_token
from django_eprospera.tokens.revocation import queue_revocation, revoke_pending
from django_eprospera.tokens.spool import sweep as sweep_spool

__all__ = [
    "KeptAlive",
    "access_token",
    "disconnect",
    "keep_alive",
    "queue_revocation",
    "revoke_pending",
    "store_sign_in",
    "sweep_spool",
]
