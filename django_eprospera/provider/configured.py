"""API clients as the settings configure them. No other module builds one."""

from __future__ import annotations

from dataclasses import replace

from django_eprospera.conf import conf
from django_eprospera.errors import ConfigurationError
from django_eprospera.provider.client import Client
from django_eprospera.provider.http import Limits, Retries

__all__ = ["client", "limits"]


def client(*, deadline: float | None = None, retries: Retries | None = None) -> Client:
    """Return a client for the provider, client ID and secret of the settings.

    Raises ConfigurationError for invalid settings, and when `SOCIAL_AUTH_EPROSPERA_KEY` or `_SECRET` is missing.
    `deadline` (seconds) replaces EPROSPERA_DEADLINE.
    """
    if not conf.client_id or not conf.client_secret:
        raise ConfigurationError(
            "Set SOCIAL_AUTH_EPROSPERA_KEY and SOCIAL_AUTH_EPROSPERA_SECRET to the client ID and secret of the provider."
        )
    return Client(
        base_url=conf.EPROSPERA_BASE_URL,
        client_id=conf.client_id,
        client_secret=conf.client_secret,
        auth_method=conf.EPROSPERA_TOKEN_AUTH_METHOD,
        limits=limits() if deadline is None else replace(limits(), deadline=deadline),
        retries=retries,
    )


def limits() -> Limits:
    """Return the bounds of one exchange with the provider."""
    return Limits(
        connect_timeout=conf.EPROSPERA_TIMEOUT,
        read_timeout=conf.EPROSPERA_TIMEOUT,
        deadline=conf.EPROSPERA_DEADLINE,
        max_bytes=conf.EPROSPERA_MAX_ANSWER_BYTES,
    )
