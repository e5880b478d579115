"""The only place that stores, refreshes, rotates and revokes tokens.

`renewal` returns a valid access token with at most one refresh under way; `lease` has its database writes, `spool` its
crash-safe file, `durable` its commits inside the caller's transaction. `grant` creates and ends connections, `revocation`
revokes tokens at the provider, `replaced` those of earlier sign-ins, `keep_alive` renews unused grants.
"""

from __future__ import annotations

from django_eprospera.tokens.grant import disconnect
from django_eprospera.tokens.keep_alive import keep_alive
from django_eprospera.tokens.renewal import access_token
from django_eprospera.tokens.revocation import remaining, revoke_pending

__all__ = ["access_token", "disconnect", "keep_alive", "remaining", "revoke_pending"]
