"""The tokens of a verified sign-in on their way through the pipeline, sealed for their subject.

A pipeline step may pause the sign-in, and python-social-auth then writes everything that its steps are given into a table.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import SignInRefused
from django_eprospera.keys import keyring
from django_eprospera.provider.grants import Tokens
from django_eprospera.provider.id_token import IdToken
from django_eprospera.sign_in.association import uid_of

__all__ = ["GRANT", "open_grant", "seal_grant"]

GRANT: Final = "eprospera_grant"  # where the pipeline's `response` holds it
_OWNER: Final = b"sign_in.grant:"


def seal_grant(tokens: Tokens, id_token: IdToken) -> str:
    """Return tokens and ID token claims as text that opens for the token's issuer and `sub` alone."""
    text = json.dumps({"tokens": tokens.dump(), "id_token": asdict(id_token)})
    return keyring().seal(_owner(uid_of(id_token.issuer, id_token.sub)), text.encode())


def open_grant(uid: str, sealed: Any) -> tuple[Tokens, IdToken]:
    """Return what `seal_grant` sealed for the association's `uid`. Raises SignInRefused when it does not open."""
    try:
        values = json.loads(keyring().open(_owner(uid), str(sealed)))
        return Tokens.load(values["tokens"]), IdToken(**values["id_token"])
    except (DoesNotOpen, ValueError, TypeError, KeyError):
        raise SignInRefused("session_context_missing", "pipeline") from None


def _owner(uid: str) -> bytes:
    return _OWNER + uid.encode()
