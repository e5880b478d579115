"""What does python-social-auth ask of a backend, and what may its settings not decide here? No views, no pipeline.

Its settings hold for all providers of a site. Those that would loosen what we promise (another key than `sub`, tokens in
`extra_data`, addresses that nobody verified) are not read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from social_core.backends.open_id_connect import OpenIdConnectAuth

from django_eprospera.conf import conf
from django_eprospera.scopes import EMAIL, OFFLINE_ACCESS, OPENID, PROFILE
from django_eprospera.social_requests import bounded_request
from django_eprospera.transactions import LIFETIME, MOST_PENDING, prune_states
from django_eprospera.user_details import user_details

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SocialBackend"]


class SocialBackend(OpenIdConnectAuth):  # type: ignore[misc]  # social_core is not typed
    """The answers of `eprospera` to what python-social-auth asks; its subclass signs people in."""

    name: ClassVar[str] = "eprospera"
    title: ClassVar[str] = "e-Próspera"

    def get_or_create_state(self) -> str:
        """A new state. The oldest of this browser's pending sign-ins make room, and some forgotten ones of others go."""
        prune_states()
        index = self.strategy.session_get(self._transaction_index_key())
        pending = sorted(index.items(), key=lambda item: item[1]) if isinstance(index, dict) else []
        for state, timestamp in pending[: max(len(pending) - MOST_PENDING + 1, 0)]:
            self.strategy.session_pop(self.transaction_key(state))
            self.strategy.storage.nonce.consume(self._nonce_scope(), timestamp, state)
            del index[state]
        return str(super().get_or_create_state())

    def get_scope(self) -> list[str]:
        """SOCIAL_AUTH_EPROSPERA_SCOPE, a list or words separated by spaces; `openid` always, nothing twice."""
        configured = getattr(settings, "SOCIAL_AUTH_EPROSPERA_SCOPE", (PROFILE, EMAIL, OFFLINE_ACCESS))
        words = configured.split() if isinstance(configured, str) else " ".join(configured).split()
        return list(dict.fromkeys([OPENID, *words]))

    def id_key(self) -> str:
        """`sub`, whatever a site chose for its other providers."""
        return "sub"

    def get_user_id(self, details: Any, response: Any) -> str:  # noqa: ARG002
        """The verified `sub`."""
        return str((self.id_token or {})["sub"])

    def get_legacy_user_identifiers(self, details: Any, response: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """None: nobody was ever known by anything else."""
        return []

    def get_user_details(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """What EPROSPERA_USER_FIELDS lets into Django's user model."""
        return dict(user_details(response))

    def auth_allowed(self, response: Any, details: Mapping[str, Any]) -> bool:
        """The base's lists of e-mail addresses and domains, for verified addresses only."""
        verified = details.get("email", "") if response.get("email_verified") else ""
        return bool(super().auth_allowed(response, {**details, "email": verified}))

    def extra_data(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nothing: python-social-auth would keep it in plain text. The tokens are in the connection."""
        return {}

    def get_key_and_secret(self) -> tuple[str, str]:
        """The client's id and secret."""
        return conf.client_id, conf.client_secret

    def oidc_endpoint(self) -> str:
        """EPROSPERA_BASE_URL."""
        return conf.EPROSPERA_BASE_URL

    def id_token_issuer(self) -> str:
        """EPROSPERA_BASE_URL: the origin is the issuer."""
        return conf.EPROSPERA_BASE_URL

    def get_request_state(self) -> Any:
        """The state that `auth_complete` has read."""
        return self.data.get("state")

    def _state_lifetime(self) -> int:
        return LIFETIME

    def request(self, url: str, **options: Any) -> Any:
        """For steps of a site that call the provider through the base: the same bounds as everything else."""
        return bounded_request(self, url, **options)
