"""The provider's rules for requests and tokens, as a subclass of django-oauth-toolkit's validator.

It differs from its base class: redirect URIs must be equal strings; a code used twice ends its grant; a refresh token is valid
once and its reuse ends the grant; missing PKCE verifiers are `invalid_grant`; ID tokens are not stored.
Callers of methods that write hold `current().write_lock` and an open transaction.
"""

# ruff: noqa: ARG002 - the signatures are oauthlib's

from __future__ import annotations

import functools
import time
import uuid
from datetime import timedelta
from typing import Any

import jwt
from django.utils import timezone
from oauth2_provider.oauth2_backends import OAuthLibCore, get_oauthlib_core
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.openid.connect.core.grant_types.base import GrantTypeBase

from django_eprospera.sandbox import facts
from django_eprospera.sandbox.clients import DEVICE_CODE, allowed_scopes
from django_eprospera.sandbox.grants import end, refresh_token_end
from django_eprospera.sandbox.models import AccessToken, Code, Consent, DeviceCode, RefreshToken, checksum
from django_eprospera.sandbox.state import current
from django_eprospera.scopes import OFFLINE_ACCESS, OPENID

__all__ = ["Validator", "core"]


@functools.cache
def core() -> OAuthLibCore:
    """Return django-oauth-toolkit's wrapper of the oauthlib server."""
    return get_oauthlib_core()


class Validator(OAuth2Validator):  # type: ignore[misc]
    """Validator that oauthlib calls."""

    # Clients

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Any, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Return whether the URI equals a registered one, loopback port included (docs/provider.md#authorize)."""
        return redirect_uri in request.client.redirect_uris.split()

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Any, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Return whether the client is registered with all these scopes."""
        return set(scopes) <= set(allowed_scopes(client.client_id))

    def validate_silent_login(self, request: Any) -> bool:
        """Return True: the authorize view has checked prompt=none with the session."""
        return True

    def validate_silent_authorization(self, request: Any) -> bool:
        """Return True, see `validate_silent_login`."""
        return True

    def is_pkce_required(self, client_id: str, request: Any) -> bool:
        """Return the switch `require_pkce`: PKCE is optional for the provider."""
        return current().switches.require_pkce == "yes"

    # Codes

    def validate_code(self, client_id: str, code: str, client: Any, request: Any, *_args: Any, **_kwargs: Any) -> bool:
        """Return whether an unused code belongs to this client, redirect URI and PKCE verifier. Reuse ends the grant."""
        found = Code.objects.select_related("consent", "user").filter(code=code, application=client).first()
        if found is None or found.consent.ended:
            return False
        if found.used:
            # RFC 6749 section 4.1.2: a code that is used twice has leaked, so its tokens are revoked.
            current().count("reuse code")
            if current().switches.code_reuse == "revoke":
                end([found.consent])
            return False
        if found.is_expired() or found.redirect_uri != request.redirect_uri:
            return False
        if bool(found.code_challenge) != bool(request.code_verifier):
            return False
        request.scopes, request.user, request.consent = found.scope.split(), found.user, found.consent
        return True

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Any, *_args: Any, **_kwargs: Any
    ) -> None:
        """Mark the code as used. Raises InvalidGrantError if it is used already."""
        if not Code.objects.filter(code=code, used=None).update(used=timezone.now()):
            raise errors.InvalidGrantError(request=request)

    # Tokens

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *_args: Any, **_kwargs: Any
    ) -> bool:
        """Return whether an unused refresh token belongs to this client. The switch `refresh_reuse` decides what reuse does."""
        rows = RefreshToken.objects.select_related("consent", "user")
        found = rows.filter(token_checksum=checksum(refresh_token), application=client).first()
        if found is None:
            return False
        if found.revoked:
            if found.consent.ended is None:
                current().count("reuse refresh_token")
                grace = timedelta(seconds=current().switches.refresh_grace_seconds)
                reuse = current().switches.refresh_reuse
                if reuse == "grace" and timezone.now() - found.revoked < grace and found.expires > timezone.now():
                    request.user, request.consent, request.spent = found.user, found.consent, found
                    return True
                if reuse != "reject":
                    end([found.consent])
            return False
        if found.expires <= timezone.now():
            return False
        request.user, request.consent, request.spent = found.user, found.consent, found
        return True

    def get_original_scopes(self, refresh_token: str, request: Any, *_args: Any, **_kwargs: Any) -> str:
        """Return the scopes of the grant, which a narrower refresh does not narrow (RFC 6749 section 6)."""
        scope: str = request.consent.scope
        return scope

    def save_bearer_token(self, token: dict[str, Any], request: Any, *_args: Any, **_kwargs: Any) -> None:
        """Store the checksums of new tokens. Without the scope offline_access, remove the refresh token from the response."""
        if request.grant_type == DEVICE_CODE:
            request.consent = DeviceCode.objects.select_related("consent").get(device_code=request.device_code).consent
        consent: Consent = request.consent
        if request.grant_type == DEVICE_CODE and OPENID in request.scopes:
            # oauthlib adds an ID token to the responses of the other grants only.
            half = GrantTypeBase().id_token_hash(token["access_token"])
            started = {"aud": request.client.client_id, "iat": int(time.time()), "at_hash": half}
            token["id_token"] = self.finalize_id_token(started, token, None, request)
        AccessToken.objects.create(
            user=request.user, application=request.client, consent=consent, scope=token["scope"],
            expires=timezone.now() + timedelta(seconds=token["expires_in"]), token_checksum=checksum(token["access_token"]),
        )  # fmt: skip
        if OFFLINE_ACCESS not in consent.scope.split():
            token.pop("refresh_token", None)
            return
        if spent := getattr(request, "spent", None):
            RefreshToken.objects.filter(pk=spent.pk, revoked=None).update(revoked=timezone.now())
        RefreshToken.objects.create(
            user=request.user, application=request.client, consent=consent, token_family=consent.pk,
            expires=spent.expires if spent and current().switches.refresh_lifetime == "fixed" else refresh_token_end(consent),
            token_checksum=checksum(token["refresh_token"]),
        )  # fmt: skip

    def validate_jwt_bearer_token(self, token: str, scopes: list[str], request: Any) -> bool:
        """Check a JWT as an access token. oauthlib guesses from its form that it is an ID token."""
        valid: bool = self.validate_bearer_token(token, scopes, request)
        return valid

    def introspect_token(
        self, token: str, token_type_hint: str | None, request: Any, *_args: Any, **_kwargs: Any
    ) -> dict[str, Any] | None:
        """Return what introspection says about a valid token of this client, None for any other."""
        valid = {"token_checksum": checksum(token), "application": request.client, "expires__gt": timezone.now()}
        found: RefreshToken | AccessToken | None
        if token.startswith("rt_"):
            found = RefreshToken.objects.select_related("consent").filter(**valid, revoked=None).first()
            if found is None:
                return None
            kind, scope = "refresh_token", found.consent.scope
            claims = {"exp": int(found.expires.timestamp()), "iat": int(found.created.timestamp())}
        else:
            found = AccessToken.objects.filter(**valid).first()
            if found is None:
                return None
            kind, scope = "Bearer", found.scope
            # The checksum proves that the sandbox issued the token; the signature need not be verified again.
            payload = jwt.decode(token, options={"verify_signature": False})
            claims = {name: payload[name] for name in ("exp", "iat", "jti", "aud", "iss")}
        sub = str(found.user_id)
        about = {"scope": scope, "client_id": request.client.client_id, "username": sub, "sub": sub, "token_type": kind}
        return about | claims

    def revoke_token(self, token: str, token_type_hint: str | None, request: Any, *_args: Any, **_kwargs: Any) -> None:
        """Revoke a refresh token with its grant, or one access token. Ignore tokens of other clients."""
        own = {"token_checksum": checksum(token), "application": request.client}
        if refresh := RefreshToken.objects.select_related("consent").filter(**own).first():
            reach = current().switches.revoke_refresh_token
            if reach == "grant":
                end([refresh.consent])
            elif reach == "person":
                end(Consent.objects.filter(account=refresh.consent.account, application=request.client))
            else:
                # With all that were rotated before, or those could be used within their grace.
                RefreshToken.objects.filter(consent=refresh.consent).delete()
        AccessToken.objects.filter(**own).delete()

    # ID tokens

    def refresh_id_token(self, request: Any) -> bool:
        """Return the switch `id_token_on_refresh`."""
        return current().switches.id_token_on_refresh == "yes"  # noqa: S105 - a switch

    def finalize_id_token(self, id_token: dict[str, Any], token: Any, token_handler: Any, request: Any) -> str:
        """Return the signed ID token, with oauthlib's claims (aud, iat, nonce, at_hash) completed."""
        claims = {
            **id_token,
            "iss": current().options.issuer,
            "sub": str(request.user.pk),
            "exp": int(time.time()) + current().switches.id_token_seconds,
            "auth_time": int(request.consent.authenticated.timestamp()),
            "jti": str(uuid.uuid4()),
        }
        if current().switches.id_token_profile == "claims":  # noqa: S105 - a switch
            claims |= facts.claims(request.user, set(request.scopes))
        return current().tampering.signed_id_token(current().keys, claims)
