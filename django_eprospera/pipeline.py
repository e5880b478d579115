"""The pipeline step that stores a verified sign-in as a connection. The backend adds it to every pipeline that lacks it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from social_django.models import UserSocialAuth

from django_eprospera.errors import OtherSubject, SignInRefused
from django_eprospera.sign_in.sealed_grant import GRANT, open_grant
from django_eprospera.tokens.grant import store_sign_in

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["store_connection"]


def store_connection(
    backend: Any,
    uid: Any = None,
    user: User | None = None,
    response: Any = None,
    *,
    new_association: bool = False,
    **_: Any,
) -> None:
    """Store the grant as the user's connection. Does nothing in a sign-in with another provider.

    Raises SignInRefused without a user, for an inactive one, and when the grant does not open, OtherSubject when the user
    is connected as somebody else or the person as another user.
    """
    if backend.name != "eprospera":
        return
    if user is None:
        raise SignInRefused("authentication_disallowed", "pipeline")
    if not user.is_active:
        raise SignInRefused("inactive_user", "pipeline")
    others = UserSocialAuth.objects.filter(user=user, provider=backend.name).exclude(uid=str(uid))
    if others.exists():
        # A second identity would be a second way into the account for whoever holds its session.
        raise OtherSubject("This user signs in with another e-Próspera account.")
    granted, id_token = open_grant(str(uid), (response or {}).get(GRANT))
    moment = id_token.issued_at if id_token.auth_time is None else id_token.auth_time
    store_sign_in(
        user=user,
        issuer=id_token.issuer,
        sub=id_token.sub,
        tokens=granted,
        auth_time=datetime.fromtimestamp(moment, UTC),
    )
    backend.signed_in(id_token, new_association=new_association)
