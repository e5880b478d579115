"""Client for the provider's API: one method per resource, for one OAuth client. No Django.

It needs no database. The caller chooses the access token.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, TypeVar

from django_eprospera.errors import ConfigurationError, MalformedAnswer, NotFound, ProviderUnavailable, TokenRejected
from django_eprospera.provider import grants, introspection
from django_eprospera.provider.discovery import Discovery, discover, is_secure_url
from django_eprospera.provider.grants import Credentials, Tokens
from django_eprospera.provider.http import Answer, Limits, Retries, get_with_retries
from django_eprospera.provider.payloads import (
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    Userinfo,
)
from django_eprospera.provider.refusals import resource_refusal
from django_eprospera.provider.tracebacks import forget_locals

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import requests

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """Client for the provider at `base_url`, for one OAuth client.

    `base_url` is the origin, which is also the issuer: https, or http on loopback. Holds no state but its settings, so
    one may be made per call or shared by threads.
    """

    def __init__(
        self,
        base_url: str,
        *,
        client_id: str = "",
        client_secret: str = "",
        auth_method: str = "client_secret_basic",
        limits: Limits | None = None,
        retries: Retries | None = None,
        session: requests.Session | None = None,
    ) -> None:
        """Raises ConfigurationError for a base URL that is not secure, or an unknown `auth_method`."""
        self._base_url = base_url.rstrip("/")
        if not is_secure_url(self._base_url, allow_http_loopback=True) or "?" in base_url:
            msg = "EPROSPERA_BASE_URL must be an https origin (http on localhost only), without query or password."
            raise ConfigurationError(msg)
        self._credentials = Credentials(client_id, client_secret, auth_method)
        self._limits = limits or Limits()
        self._retries = retries or Retries()
        self._session = session

    def __repr__(self) -> str:
        return f"<Client of {self._base_url}>"

    @property
    def base_url(self) -> str:
        """Origin of the provider, which is its issuer."""
        return self._base_url

    @forget_locals
    def discovery(self, *, patience: float | None = None) -> Discovery:
        """Return the provider's endpoints, fetched at most once an hour per process.

        `patience` is how many seconds to wait while another thread fetches them. Raises ProviderUnavailable.
        """
        return discover(
            self._base_url, limits=self._limits, retries=self._retries, session=self._session, patience=patience
        )

    @forget_locals
    def jwks(self) -> tuple[dict[str, Any], ...]:
        """Fetch and return the provider's public keys (RFC 7517). Raises ProviderUnavailable."""
        template = "/api/oauth/.well-known/jwks.json"
        answer = get_with_retries(
            self._endpoints().jwks_uri,
            limits=self._limits,
            path_template=template,
            retries=self._retries,
            session=self._session,
        )
        value = answer.json() if answer.status == 200 else None
        keys = value.get("keys") if isinstance(value, dict) else None
        if not isinstance(keys, list) or len(keys) > 100 or not all(isinstance(key, dict) for key in keys):
            raise answer.malformed("not_a_key_set")
        return tuple(keys)

    # What a person shares. Every method raises TokenRejected, ScopeMissing, ClientRejected and ProviderUnavailable
    # (AnswerLost and MalformedAnswer among its subclasses); NotFound where the docstring names it.

    @forget_locals
    def userinfo(self, token: str) -> Userinfo:
        """Return the OIDC claims. Raises NotFound when the account no longer exists."""
        endpoint = self.discovery().userinfo_endpoint
        return self._read(self._get(endpoint, "/api/oauth/userinfo", token), Userinfo.from_json)

    @forget_locals
    def natural_person(self, token: str) -> NaturalPerson | None:
        """Return the person's details; None for an account without a usable resident record."""
        return self._ask_or_none("natural-person", token, NaturalPerson.from_json)

    @forget_locals
    def residency(self, token: str) -> Residency | None:
        """Return the residency; None when the provider has no such record."""
        return self._ask_or_none("natural-person/residency", token, Residency.from_json)

    @forget_locals
    def id_verification(self, token: str) -> IdVerification | None:
        """Return the latest approved identity check, or None. Its image URLs work without a token for an hour."""
        answer = self._me("natural-person/id-verification", token)
        if answer.status == 404:
            # The path of older documentation (docs/provider.md#variants, line 1).
            answer = self._me("natural-person/id_verification", token)
        return self._read_or_none(answer, IdVerification.from_json)

    @forget_locals
    def legal_entities(self, token: str) -> tuple[LegalEntity, ...]:
        """Return the entities that the person chose to share and still represents; may be empty."""
        return self._read(self._me("legal-entities", token), LegalEntity.list_from_json)

    @forget_locals
    def legal_entity(self, token: str, entity_id: uuid.UUID | str) -> LegalEntity:
        """Return one entity in full. Raises NotFound when it does not exist, is not shared or no longer represented."""
        return self._read(self._me("legal-entities/{id}", token, entity_id), LegalEntity.from_json)

    @forget_locals
    def legal_entity_documents(self, token: str, entity_id: uuid.UUID | str) -> tuple[EntityDocument, ...]:
        """Return the documents of one entity. Raises NotFound as `legal_entity` does."""
        return self._read(self._me("legal-entities/{id}/documents", token, entity_id), EntityDocument.list_from_json)

    # The grant

    @forget_locals
    def exchange_code(self, code: str, *, redirect_uri: str, code_verifier: str) -> Tokens:
        """Exchange an authorization code for tokens, by one request that is never repeated.

        Raises InvalidGrant when the code is spent, expired or another client's, ClientRejected, ConfigurationError when
        client id or secret is empty, ProviderUnavailable (AnswerLost and MalformedAnswer among its subclasses).
        """
        return grants.exchange_code(
            self._endpoints().token_endpoint,
            self._credentials,
            code,
            redirect_uri=redirect_uri,
            code_verifier=code_verifier,
            limits=self._limits,
            session=self._session,
        )

    @forget_locals
    def refresh(
        self,
        refresh_token: str,
        scope: str | None = None,
        *,
        asked_at: datetime | None = None,
        keep: Callable[[bytes], None] | None = None,
    ) -> Tokens:
        """Exchange a refresh token for new tokens, by one request that is never repeated. Store them before anything else.

        `asked_at` is the time now by the caller's clock, if that is another than this host's. `keep` gets the raw answer as
        it arrives, for `grants.read_answer`. It must not raise.

        Raises InvalidGrant, ClientRejected, ProviderUnavailable (not spent, as far as is known) and AnswerLost (it may
        have been spent: the answer was incomplete, or 2xx and malformed).
        """
        endpoint = self._endpoints().token_endpoint
        return grants.refresh(
            endpoint,
            self._credentials,
            refresh_token,
            limits=self._limits,
            scope=scope,
            asked_at=asked_at,
            session=self._session,
            keep=keep,
        )

    @forget_locals
    def revoke(self, token: str, hint: str = "refresh_token") -> None:
        """Revoke a token; `hint` is `access_token` or `refresh_token`. Raises ClientRejected, ProviderUnavailable."""
        endpoint = self._endpoints().revocation_endpoint
        grants.revoke(endpoint, self._credentials, token, hint, limits=self._limits, session=self._session)

    @forget_locals
    def is_active(self, token: str, hint: str = "refresh_token") -> bool:
        """Return whether a token of this client is good (RFC 7662). Raises ClientRejected, ProviderUnavailable."""
        endpoint = self._endpoints().introspection_endpoint
        return introspection.is_active(
            endpoint, self._credentials, token, hint, limits=self._limits, session=self._session
        )

    def _endpoints(self) -> Discovery:
        """The discovery document. Its failure must not look as if the grant had been sent: it is never AnswerLost."""
        try:
            return self.discovery()
        except ProviderUnavailable as error:
            wrong = error
        raise ProviderUnavailable(
            "GET", wrong.path, wrong.code, status=wrong.status, retry_after=wrong.retry_after, advice=wrong.advice
        )

    def _me(self, resource: str, token: str, entity_id: uuid.UUID | str | None = None) -> Answer:
        template = f"/api/v1/me/{resource}"
        path = template
        if entity_id is not None:
            path = template.replace("{id}", _checked_id(entity_id, template))
        return self._get(self._base_url + path, template, token)

    def _get(self, url: str, template: str, token: str) -> Answer:
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise TokenRejected("GET", template, "missing_token", advice="There is no usable access token.")
        return get_with_retries(
            url,
            limits=self._limits,
            path_template=template,
            auth=f"Bearer {token}",
            retries=self._retries,
            session=self._session,
        )

    def _ask_or_none(self, resource: str, token: str, read: Callable[[Any], T | None]) -> T | None:
        return self._read_or_none(self._me(resource, token), read)

    def _read_or_none(self, answer: Answer, read: Callable[[Any], T | None]) -> T | None:
        """Return what `_read` returns, or None for 404 (docs/provider.md#errors, step 4)."""
        try:
            return self._read(answer, read)
        except NotFound:
            return None

    def _read(self, answer: Answer, read: Callable[[Any], T]) -> T:
        if answer.status != 200:
            raise resource_refusal(answer)
        try:
            return read(answer.json())
        except MalformedAnswer as error:
            wrong = answer.malformed(error.code, error.advice)
        raise wrong


def _checked_id(entity_id: uuid.UUID | str, template: str) -> str:
    """Return the ID for use in a path. Raises NotFound for anything but a UUID, without a request."""
    try:
        return str(uuid.UUID(str(entity_id)))
    except ValueError:
        pass
    raise NotFound("GET", template, "not_a_uuid")
