"""Creation and end of grants, and the tokens that belong to them.

A grant is a `Consent` row. Each token is valid as long as its own row says so; ending a grant changes all of them.
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from django_eprospera.sandbox.models import (
    AccessToken,
    Account,
    Application,
    Code,
    Consent,
    RefreshToken,
    checksum,
)
from django_eprospera.sandbox.options import CLI_CLIENT_ID
from django_eprospera.sandbox.state import current

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "API_AUDIENCE", "create", "end", "ensure_client", "ensure_rows", "issue_code", "mint", "new_access_token",
    "new_refresh_token", "refresh_token_end",
]  # fmt: skip

# The audience of access tokens is the API, not the client (docs/provider.md#revoke-and-introspect).
API_AUDIENCE = "eprospera-api"


def _access_token(sub: str, scope: str, client_id: str, seconds: int) -> str:
    now = int(time.time())
    return current().keys.sign(
        {"iss": current().options.issuer, "aud": API_AUDIENCE, "sub": sub, "client_id": client_id, "scope": scope, "iat": now,
         "exp": now + seconds, "jti": str(uuid.uuid4())},
        typ="at+jwt",
    )  # fmt: skip


def new_access_token(request: Any) -> str:
    """Return a signed access token for an oauthlib token request."""
    return _access_token(str(request.user.pk), " ".join(request.scopes), request.client.client_id, request.expires_in)


def new_refresh_token(_request: Any = None) -> str:
    """Return an opaque refresh token, recognisable by its prefix."""
    return f"rt_{secrets.token_urlsafe(32)}"


def refresh_token_end(consent: Consent) -> datetime:
    """Return when a refresh token that is issued now expires."""
    start = timezone.now() if current().switches.refresh_lifetime == "sliding" else consent.created
    return start + timedelta(days=current().switches.refresh_token_days)


def ensure_rows(account_subs: Iterable[str]) -> None:
    """Create or update the two clients and the accounts. Deletes other clients."""
    given = current().options
    # A data directory may have an earlier client, which is deleted with its grants.
    Application.objects.exclude(client_id__in=[given.client_id, CLI_CLIENT_ID]).delete()
    ensure_client()
    Application.objects.update_or_create(
        client_id=CLI_CLIENT_ID,
        defaults={
            "client_type": Application.CLIENT_PUBLIC,
            "authorization_grant_type": Application.GRANT_DEVICE_CODE,
            "client_secret": "",
            "hash_client_secret": False,
            "algorithm": Application.RS256_ALGORITHM,
            "name": CLI_CLIENT_ID,
        },
    )
    Account.objects.bulk_create([Account(sub=sub) for sub in account_subs], ignore_conflicts=True)


def ensure_client() -> None:
    """Create or update the client of the command line, with the redirect URIs that are registered now."""
    given = current().options
    Application.objects.update_or_create(
        client_id=given.client_id,
        defaults={
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "client_secret": given.client_secret,
            # A password hasher would add about a second to each token request. The secret is compared in constant time.
            "hash_client_secret": False,
            "redirect_uris": " ".join(current().redirect_uris),
            "algorithm": Application.RS256_ALGORITHM,
            "name": given.client_id,
        },
    )


def create(
    account: Account, application: Application, scope: str, entities: list[str], authenticated: datetime
) -> Consent:
    """Return a new grant that shares `entities`. Earlier grants keep theirs."""
    return Consent.objects.create(
        account=account, application=application, scope=scope, entities=entities, authenticated=authenticated
    )


def issue_code(consent: Consent, query: Mapping[str, str]) -> str:
    """Return a new authorization code for a grant and the authorization request that asked for it."""
    code = secrets.token_urlsafe(24)
    Code.objects.create(
        application=consent.application, user=consent.account, consent=consent, scope=consent.scope, code=code,
        expires=timezone.now() + timedelta(seconds=current().switches.code_seconds), redirect_uri=query["redirect_uri"],
        code_challenge=query.get("code_challenge", ""), code_challenge_method=query.get("code_challenge_method", ""),
        nonce=query.get("nonce", ""),
    )  # fmt: skip
    return code


def end(consents: Iterable[Consent]) -> int:
    """End grants and revoke their codes, access tokens and refresh tokens. Return how many were active."""
    now, keys = timezone.now(), [consent.pk for consent in consents]
    active = Consent.objects.filter(pk__in=keys, ended=None).update(ended=now)
    AccessToken.objects.filter(consent__in=keys).delete()
    RefreshToken.objects.filter(consent__in=keys, revoked=None).update(revoked=now, access_token=None)
    Code.objects.filter(consent__in=keys, used=None).update(used=now)
    return active


def mint(
    account: Account, application: Application, scope: str, entities: list[str], count: int, expires_in: int
) -> list[dict[str, Any]]:
    """Create `count` grants without a browser. Return their token responses. For tests and benchmarks."""
    now = timezone.now()
    consents = Consent.objects.bulk_create(
        [
            Consent(account=account, application=application, scope=scope, entities=entities, authenticated=now)
            for _ in range(count)
        ]
    )
    minted: list[dict[str, Any]] = []
    access_rows, refresh_rows = [], []
    for consent in consents:
        # The exp of a JWT must be later than its iat, even for a token that has expired.
        access = _access_token(str(account.pk), scope, application.client_id, max(expires_in, 1))
        access_rows.append(AccessToken(
            user=account, application=application, consent=consent, scope=scope, expires=now + timedelta(seconds=expires_in),
            token_checksum=checksum(access),
        ))  # fmt: skip
        response: dict[str, Any] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": expires_in,
            "scope": scope,
        }
        if "offline_access" in scope.split():
            response["refresh_token"] = new_refresh_token()
            refresh_rows.append(RefreshToken(
                user=account, application=application, consent=consent, token_family=consent.pk,
                expires=refresh_token_end(consent), token_checksum=checksum(response["refresh_token"]),
            ))  # fmt: skip
        minted.append(response)
    AccessToken.objects.bulk_create(access_rows)
    RefreshToken.objects.bulk_create(refresh_rows)
    return minted
