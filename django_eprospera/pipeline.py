"""The pipeline step that stores a verified sign-in as a connection. The backend adds it to every pipeline that lacks it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import router, transaction
from django.db.models.functions import Now
from social_core.exceptions import AuthConfigurationError
from social_django.models import UserSocialAuth

from django_eprospera.errors import OtherSubject, SignInRefused
from django_eprospera.models import Connection
from django_eprospera.sign_in.association import is_proven, mark_proven
from django_eprospera.sign_in.sealed_grant import GRANT, open_grant
from django_eprospera.signals import identity_linked
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
    is_new: bool = False,
    new_association: bool = False,
    **_: Any,
) -> None:
    """Store the grant as the user's connection. Does nothing in a sign-in with another provider.

    Raises SignInRefused without a user, for an inactive one, when the grant does not open, and when the identity was added
    to the account of a session whose own authentication is not recent; AuthConfigurationError when no step before this one
    associated the user; OtherSubject when the user is connected as another person or the person as another user.
    """
    if backend.name != "eprospera":
        return
    if user is None:
        raise SignInRefused("authentication_disallowed", "pipeline")
    if not user.is_active:
        raise SignInRefused("inactive_user", "pipeline")
    associations = UserSocialAuth.objects.filter(user=user, provider=backend.name).annotate(read_at=Now())
    by_uid = {row.uid: row for row in associations}
    association = by_uid.pop(str(uid), None)
    if by_uid:
        # A second identity would be a second way into the account for whoever holds its session.
        raise OtherSubject("This user signs in with another e-Próspera account.")
    if association is None:
        raise AuthConfigurationError(backend, parameter="PIPELINE", stage="pipeline")
    is_linked = new_association and not is_new
    if is_new:
        mark_proven(association, "sign_up")
    elif is_linked and backend.require_recent_authentication():
        mark_proven(association, "recent_authentication")
    granted, id_token = open_grant(str(uid), (response or {}).get(GRANT))
    moment = id_token.issued_at if id_token.auth_time is None else id_token.auth_time
    connection = store_sign_in(
        user=user,
        issuer=id_token.issuer,
        sub=id_token.sub,
        tokens=granted,
        auth_time=datetime.fromtimestamp(moment, UTC),
        now=association.read_at,
    )
    if is_linked:
        transaction.on_commit(
            lambda: identity_linked.send(Connection, connection=connection), using=router.db_for_write(Connection)
        )
    # An identity that was linked just now, or without proof, says nothing about whose account it is.
    backend.signed_in(id_token, proves_identity=is_proven(association) and not is_linked)
