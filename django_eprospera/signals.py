"""What does the package tell a site? A signal informs; it never opens a gate. All carry `connection` or `review`."""

from __future__ import annotations

from typing import Final

from django.dispatch import Signal

__all__ = ["entity_consent_withdrawn", "facts_synced", "grant_lost", "kyc_decided", "revocation_pending", "signed_in"]

# A person signed in and the connection holds fresh tokens. Arguments: connection, is_new.
signed_in: Final = Signal()

# The grant is gone: the connection is now `reauthorize`. Arguments: connection, cause.
grant_lost: Final = Signal()

# Tokens wait to be revoked at the provider. No arguments.
revocation_pending: Final = Signal()

# A sync wrote what it got. Arguments: connection, changed (names of resources), failed (names of resources).
facts_synced: Final = Signal()

# A company is no longer shared, or no longer represented. Arguments: connection, entity.
entity_consent_withdrawn: Final = Signal()

# A reviewer decided. Arguments: review, decision.
kyc_decided: Final = Signal()
