"""Base class of the backend: the overridden methods of python-social-auth that do not sign anybody in.

Its settings hold for all providers of a site. Those that would loosen what we promise (another key than `sub`, tokens in
`extra_data`, addresses that nobody verified) are not read.
"""

from __future__ import annotations

import base64
import io
import time
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode, urlsplit

import requests
from django.contrib.auth import get_user_model
from social_core.backends.open_id_connect import OpenIdConnectAuth
from social_core.exceptions import AuthConfigurationError, AuthProviderError, AuthResponseError
from social_core.utils import http_error
from social_django.models import Nonce

from django_eprospera.conf import conf
from django_eprospera.errors import ApiError, MalformedAnswer
from django_eprospera.provider.configured import limits
from django_eprospera.provider.http import call
from django_eprospera.provider.tracebacks import forget_locals
from django_eprospera.sign_in.association import uid_of
from django_eprospera.sign_in.pending import LIFETIME, MOST_PENDING, STATE_INDEX, STATE_KEY, STATE_SCOPE
from django_eprospera.sign_in.user_details import user_details

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SocialBackend"]


class SocialBackend(OpenIdConnectAuth):  # type: ignore[misc]  # social_core is not typed
    """python-social-auth's backend `eprospera`, without the sign-in itself."""

    name: ClassVar[str] = "eprospera"
    title: ClassVar[str] = "e-Próspera"

    def get_user(self, user_id: Any) -> Any:
        """Return the active user with a primary key, or None; unlike the base's, for models without a column `is_active`."""
        user = get_user_model()._default_manager.filter(pk=user_id).first()  # noqa: SLF001 - Django's documented name
        return user if user is not None and user.is_active else None

    def get_or_create_state(self) -> str:
        """Return a new state. Drops the browser's oldest pending sign-ins; `prune_states` deletes abandoned ones of others.

        The base looks first whether the random state is in its table already. The base's format of session and table is kept.
        """
        now = int(time.time())
        index = self.strategy.session_get(STATE_INDEX)
        pending = sorted(index.items(), key=lambda item: item[1]) if isinstance(index, dict) else []
        kept = {state: begun for state, begun in pending[1 - MOST_PENDING :] if now - LIFETIME <= begun <= now}
        for state, begun in pending:
            if state not in kept:
                self.strategy.session_pop(self.transaction_key(state))
                self.strategy.storage.nonce.consume(STATE_SCOPE, begun, state)
        state = self.state_token()
        Nonce.objects.create(server_url=STATE_SCOPE, timestamp=now, salt=state)
        self.strategy.session_set(self.transaction_key(state), {"state": state, "timestamp": now})
        self.strategy.session_set(STATE_INDEX, {**kept, state: now})
        return str(state)

    def get_scope(self) -> list[str]:
        """Return SOCIAL_AUTH_EPROSPERA_SCOPE as a list, with `openid`. Raises ConfigurationError."""
        return list(conf.requested_scopes)

    def id_key(self) -> str:
        """Return `sub`, whatever a site set for its other providers."""
        return "sub"

    def get_user_id(self, details: Any, response: Any) -> str:  # noqa: ARG002
        """Return the verified issuer and `sub`."""
        claims = self.id_token or {}
        return uid_of(str(claims["iss"]), str(claims["sub"]))

    def get_legacy_user_identifiers(self, details: Any, response: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Return an empty list: users were never identified by anything else."""
        return []

    def get_user_details(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """Return the details that EPROSPERA_USER_FIELDS allows in Django's user model."""
        return dict(user_details(response))

    def auth_allowed(self, response: Any, details: Mapping[str, Any]) -> bool:
        """Apply the base's lists of e-mail addresses and domains to verified addresses only."""
        verified = details.get("email", "") if response.get("email_verified") else ""
        return bool(super().auth_allowed(response, {**details, "email": verified}))

    def extra_data(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Return nothing: python-social-auth would store it in plain text. The tokens are in the connection."""
        return {}

    def get_key_and_secret(self) -> tuple[str, str]:
        """Return client ID and secret."""
        return conf.client_id, conf.client_secret

    def oidc_endpoint(self) -> str:
        """Return EPROSPERA_BASE_URL."""
        return conf.EPROSPERA_BASE_URL

    def id_token_issuer(self) -> str:
        """Return EPROSPERA_BASE_URL: the origin is the issuer."""
        return conf.EPROSPERA_BASE_URL

    def get_request_state(self) -> Any:
        """Return the state that `auth_complete` has read."""
        return self.data.get("state")

    def transaction_key(self, state: str) -> str:
        """Return the name under which the session holds a state."""
        return f"{STATE_KEY}{state}"

    # Private parts of social-core: no other module names them. tests/test_dependencies.py reports one that moved.

    def _transaction_index_key(self) -> str:
        return STATE_INDEX

    def _nonce_scope(self) -> str:
        return STATE_SCOPE

    def _state_lifetime(self) -> int:
        return LIFETIME

    def kept_for_state(self) -> Any:
        """Return what `keep_for_state` stored for the state that `validate_state` has just accepted."""
        return (self._oauth2_transaction or {}).get("sealed")

    def keep_for_state(self, state: str, sealed: str) -> None:
        """Store `sealed` in the session with a state."""
        key = self.transaction_key(state)
        self.strategy.session_set(key, {**self.strategy.session_get(key), "sealed": sealed})

    def request(self, url: str, **options: Any) -> Any:
        """Send a request of a site's pipeline step, with the limits of `_bounded_request`; raises what that raises."""
        return _bounded_request(self, url, **options)


@forget_locals
def _bounded_request(
    backend: Any,
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, Any] | None = None,
    data: Mapping[str, str] | None = None,
    json: Any = None,
    auth: Any = None,
    params: Mapping[str, str] | None = None,
    timeout: float | None = None,  # noqa: ARG001 - EPROSPERA_TIMEOUT and EPROSPERA_DEADLINE apply
    stage: str = "user_info",
) -> requests.Response:
    """Return the response as `BaseAuth.request` does, within EPROSPERA_DEADLINE and EPROSPERA_MAX_ANSWER_BYTES.

    Raises AuthProviderError, AuthResponseError for an answer that is too large or redirects, AuthConfigurationError for what
    the provider does not take (JSON bodies, other kinds of `auth` than a pair).
    """
    if json is not None or not (auth is None or isinstance(auth, tuple)):
        raise AuthConfigurationError(backend, code="unsupported_feature", stage=stage)
    sent = {name: value.decode() if isinstance(value, bytes) else str(value) for name, value in (headers or {}).items()}
    if auth is not None:
        sent["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
    target = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(params)}" if params else url
    path = urlsplit(url).path[:200] or "/"
    try:
        answer = call(method, target, limits=limits(), path_template=path, headers=sent, form=data)
    except MalformedAnswer:
        raise AuthResponseError(backend, code="malformed_response", stage=stage) from None
    except ApiError as error:
        code = "timeout" if error.code == "timeout" else "connection_failed"
        raise AuthProviderError(backend, code=code, stage=stage) from None
    response = requests.Response()
    response.status_code, response.url = answer.status, path
    response.headers.update(answer.headers)
    response.raw = io.BytesIO(answer.body)
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        raise http_error(backend, error, stage=stage) from None
    return response
