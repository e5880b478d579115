"""The step that turns a verified sign-in into a connection. The backend adds it to every pipeline that lacks it.

The tokens reach it sealed, in `response["eprospera_grant"]`: a pipeline may pause, and python-social-auth then writes
everything that its steps are given into a table.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from social_django.models import UserSocialAuth

from django_eprospera import tokens
from django_eprospera.crypto import DoesNotOpen
from django_eprospera.errors import OtherSubject, SignInRefused
from django_eprospera.keys import keyring
from django_eprospera.provider.grants import TokenAnswer

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from django_eprospera.provider.id_token import IdToken

__all__ = ["GRANT", "Grant", "store_connection"]

GRANT: Final = "eprospera_grant"
_OWNER: Final = b"sign_in.grant:"


@dataclass(frozen=True, slots=True)
class Grant:
    """The tokens of one verified sign-in on their way through a pipeline. Times are unix seconds.

    `authenticated_at` is the provider's `auth_time`, or None; `issued_at` the ID token's `iat`.
    """

    issuer: str
    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: float
    scope: str
    issued_at: float
    authenticated_at: float | None

    @classmethod
    def of(cls, granted: TokenAnswer, id_token: IdToken, *, requested_scope: str) -> Grant:
        """The grant of a verified sign-in. What was asked for was granted when the answer does not say otherwise."""
        return cls(
            issuer=id_token.issuer,
            access_token=granted.access_token,
            refresh_token=granted.refresh_token,
            expires_at=time.time() + granted.expires_in,
            scope=requested_scope if granted.scope is None else granted.scope,
            issued_at=id_token.issued_at,
            authenticated_at=id_token.auth_time,
        )

    def seal(self, sub: str) -> str:
        """The grant as text that opens for `sub` alone."""
        return keyring().seal(_OWNER + sub.encode(), json.dumps(asdict(self)).encode())

    @classmethod
    def open(cls, sub: str, sealed: Any) -> Grant:
        """Raises SignInRefused when it does not open."""
        try:
            return cls(**json.loads(keyring().open(_OWNER + sub.encode(), str(sealed))))
        except (DoesNotOpen, ValueError, TypeError):
            raise SignInRefused("session_context_missing", "pipeline") from None


def store_connection(
    backend: Any,
    uid: Any = None,
    user: User | None = None,
    response: Any = None,
    *,
    new_association: bool = False,
    **_: Any,
) -> None:
    """Keep the grant as the user's connection. Does nothing in a sign-in with another provider.

    Raises SignInRefused without a user and for an inactive one, OtherSubject when the user is connected as somebody else
    or the person as another user.
    """
    if backend.name != "eprospera":
        return
    if user is None:
        raise SignInRefused("authentication_disallowed", "pipeline")
    if not user.is_active:
        raise SignInRefused("inactive_user", "pipeline")
    others = UserSocialAuth.objects.filter(user=user, provider=backend.name).exclude(uid=str(uid))
    if others.exists():
        # Else whoever holds a user's session could make an account of their own a second way in.
        raise OtherSubject("This user signs in with another e-Próspera account.")
    grant = Grant.open(str(uid), (response or {}).get(GRANT))
    moment = grant.issued_at if grant.authenticated_at is None else grant.authenticated_at
    tokens.store_sign_in(
        user=user,
        issuer=grant.issuer,
        sub=str(uid),
        answer=TokenAnswer(
            access_token=grant.access_token,
            expires_in=max(int(grant.expires_at - time.time()), 1),
            refresh_token=grant.refresh_token,
            scope=grant.scope,
            id_token=None,
        ),
        auth_time=datetime.fromtimestamp(moment, UTC),
    )
    backend.signed_in(grant, new_association=new_association)
