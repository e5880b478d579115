"""Signals of the package. Each is sent after the commit of what it reports."""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

__all__ = [
    "connection_ended",
    "entity_shared",
    "entity_withdrawn",
    "facts_synced",
    "grant_lost",
    "identity_changed",
    "identity_linked",
    "kyc_decided",
    "residency_changed",
    "revocation_pending",
    "signed_in",
]

# A user signed in and the connection has new tokens. Arguments: connection, is_new.
signed_in: Final = Signal()

# An e-Próspera identity was linked to an account that existed before. Arguments: connection.
identity_linked: Final = Signal()

# A connection was ended and its data erased. Arguments: user, actor (None for a command).
connection_ended: Final = Signal()

# The grant ended: the connection is now `reauthorize`. Arguments: connection, cause.
grant_lost: Final = Signal()

# Tokens wait to be revoked at the provider. Arguments: connection, if more of its replaced grants are held than allowed.
revocation_pending: Final = Signal()

# A sync wrote its results. Arguments: connection, changed (names of resources), failed (names of resources).
facts_synced: Final = Signal()

# A residency began, ended, or changed. Arguments: connection, was_active, is_active (each a boolean; None: nothing on file).
residency_changed: Final = Signal()

# Facts that identify the person changed, personal details or the identity check. Arguments: connection, changed (their names).
identity_changed: Final = Signal()

# A company is shared, for the first time or again. Arguments: connection, entity.
entity_shared: Final = Signal()

# A company is no longer shared, or no longer represented. Arguments: connection, entity.
entity_withdrawn: Final = Signal()

# A reviewer decided. Arguments: review, decision.
kyc_decided: Final = Signal()
