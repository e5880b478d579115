"""How is a grant made, and how does it end? The only place that makes tokens.

A grant (`Consent`) is one row; its tokens are good only while their own rows say so. Ending a grant ends all of them at once.
"""

from __future__ import annotations

import functools
import secrets
import time
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from django_eprospera.sandbox import state
from django_eprospera.sandbox.keys import KeyRing
from django_eprospera.sandbox.models import (
    AccessToken,
    Account,
    Application,
    Code,
    Consent,
    RefreshToken,
    Share,
    checksum,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "API_AUDIENCE", "end", "ensure_rows", "give", "key_ring", "mint", "new_access_token", "new_refresh_token",
    "refresh_token_end", "share",
]  # fmt: skip

# The audience of access tokens: the API, not the client (contract, section 7).
API_AUDIENCE = "eprospera-api"


@functools.cache
def key_ring() -> KeyRing:
    """The signing keys of this sandbox."""
    return KeyRing(settings.SANDBOX_DIRECTORY / "keys.json")  # type: ignore[misc]  # a setting of the sandbox only


def _access_token(sub: str, scope: str, client_id: str, seconds: int) -> str:
    now = int(time.time())
    return key_ring().sign(
        {"iss": state.options().issuer, "aud": API_AUDIENCE, "sub": sub, "client_id": client_id, "scope": scope, "iat": now,
         "exp": now + seconds, "jti": str(uuid.uuid4())},
        typ="at+jwt",
    )  # fmt: skip


def new_access_token(request: Any) -> str:
    """A signed access token for an oauthlib token request."""
    return _access_token(str(request.user.pk), " ".join(request.scopes), request.client.client_id, request.expires_in)


def new_refresh_token(_request: Any = None) -> str:
    """A refresh token: opaque, recognisable by its first letters."""
    return f"rt_{secrets.token_urlsafe(32)}"


def refresh_token_end(consent: Consent) -> datetime:
    """When a refresh token issued now stops working."""
    start = timezone.now() if state.switches().refresh_lifetime == "sliding" else consent.created
    return start + timedelta(days=state.switches().refresh_token_days)


def ensure_rows(account_subs: Iterable[str]) -> None:
    """Writes the client and the accounts that the sandbox was started with."""
    given = state.options()
    # A kept state may know an earlier client; it is no longer registered, and its grants go with it.
    Application.objects.exclude(client_id=given.client_id).delete()
    Application.objects.update_or_create(
        client_id=given.client_id,
        defaults={
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "client_secret": given.client_secret,
            # A password hasher would cost each token request a good part of a second; the secret is compared in constant time.
            "hash_client_secret": False,
            "redirect_uris": " ".join(given.redirect_uris),
            "algorithm": Application.RS256_ALGORITHM,
            "name": given.client_id,
        },
    )
    Account.objects.bulk_create([Account(sub=sub) for sub in account_subs], ignore_conflicts=True)


def share(account: Account, application: Application, entities: list[str]) -> None:
    """Records which entities a person picked for a client, in place of what was picked before."""
    Share.objects.update_or_create(account=account, application=application, defaults={"entities": entities})


def give(account: Account, application: Application, scope: str, authenticated: datetime) -> Consent:
    """A new grant."""
    return Consent.objects.create(account=account, application=application, scope=scope, authenticated=authenticated)


def end(consents: Iterable[Consent]) -> int:
    """Ends grants: their codes, access tokens and refresh tokens stop working. Returns how many were alive."""
    now, keys = timezone.now(), [consent.pk for consent in consents]
    alive = Consent.objects.filter(pk__in=keys, ended=None).update(ended=now)
    AccessToken.objects.filter(consent__in=keys).delete()
    RefreshToken.objects.filter(consent__in=keys, revoked=None).update(revoked=now, access_token=None)
    Code.objects.filter(consent__in=keys, used=None).update(used=now)
    return alive


def mint(account: Account, application: Application, scope: str, count: int, expires_in: int) -> list[dict[str, Any]]:
    """Makes `count` grants with their tokens at once, without a browser. For tests and measurements."""
    now = timezone.now()
    consents = Consent.objects.bulk_create(
        [Consent(account=account, application=application, scope=scope, authenticated=now) for _ in range(count)]
    )
    minted: list[dict[str, Any]] = []
    access_rows, refresh_rows = [], []
    for consent in consents:
        # A token that is already over still needs a time of expiry that lies after its time of issue.
        access = _access_token(str(account.pk), scope, application.client_id, max(expires_in, 1))
        access_rows.append(AccessToken(
            user=account, application=application, consent=consent, scope=scope, expires=now + timedelta(seconds=expires_in),
            token_checksum=checksum(access),
        ))  # fmt: skip
        answer: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": expires_in,
            "scope": scope,
        }
        if "offline_access" in scope.split():
            answer["refresh_token"] = new_refresh_token()
            refresh_rows.append(RefreshToken(
                user=account, application=application, consent=consent, token_family=consent.pk,
                expires=refresh_token_end(consent), token_checksum=checksum(answer["refresh_token"]),
            ))  # fmt: skip
        minted.append(answer)
    AccessToken.objects.bulk_create(access_rows)
    RefreshToken.objects.bulk_create(refresh_rows)
    return minted
