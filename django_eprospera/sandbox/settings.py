"""Django settings of the sandbox, made from its options. They share no database, cookie or secret with another site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django_eprospera.sandbox.state import State, access_token_seconds
from django_eprospera.scopes import LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from django_eprospera.sandbox.keys import KeyRing
    from django_eprospera.sandbox.options import Options

__all__ = ["settings_for"]


def settings_for(options: Options, directory: Path, secret_key: str, keys: KeyRing) -> dict[str, Any]:
    """Return the settings of a sandbox whose database is in `directory`."""
    return {
        "ALLOWED_HOSTS": sorted(
            {"localhost", "127.0.0.1", "[::1]", options.host, urlsplit(options.issuer).hostname or ""}
        ),
        "AUTH_USER_MODEL": "eprospera_sandbox.Account",
        "CSRF_COOKIE_NAME": "eprospera_sandbox_csrf",
        "CSRF_COOKIE_HTTPONLY": True,
        "CSRF_FAILURE_VIEW": "django_eprospera.sandbox.pages.csrf_failure",
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": directory / "sandbox.sqlite3",
                "CONN_MAX_AGE": None,
                "OPTIONS": {
                    "timeout": 30,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                },
            }
        },
        "DATA_UPLOAD_MAX_MEMORY_SIZE": 1_000_000,
        "DEBUG": False,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": ["oauth2_provider", "django_eprospera.sandbox"],
        "LANGUAGES": [("en", "English"), ("es", "Español")],
        "LANGUAGE_CODE": "en",
        "LANGUAGE_COOKIE_NAME": "eprospera_sandbox_language",
        # The server logs each request; Django logs errors only.
        "LOGGING": {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"console": {"class": "logging.StreamHandler"}},
            "root": {"handlers": ["console"], "level": "ERROR"},
            "loggers": {"django": {"level": "ERROR"}},
        },
        "MIDDLEWARE": [
            "django_eprospera.sandbox.middleware.count_and_fail_on_demand",
            "django_eprospera.sandbox.middleware.harden",
            "django_eprospera.sandbox.middleware.vary",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.locale.LocaleMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
        # Tables are created from the models directly: there is no older schema to migrate from.
        "MIGRATION_MODULES": {"oauth2_provider": None, "eprospera_sandbox": None},
        "OAUTH2_PROVIDER": {
            "ACCESS_TOKEN_GENERATOR": "django_eprospera.sandbox.grants.new_access_token",
            "ALLOWED_REDIRECT_URI_SCHEMES": sorted({urlsplit(uri).scheme for uri in options.redirect_uris}),
            "COMPLIANT_BCP_RFC9700_ACCESS_TOKEN_TRANSPORT": True,
            "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": True,
            "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT": True,
            "COMPLIANT_BCP_RFC9700_PKCE_METHOD": True,
            "COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True,
            "EXTRA_SERVER_KWARGS": {"token_expires_in": access_token_seconds},
            "OAUTH_DEVICE_VERIFICATION_URI": f"{options.issuer}/device",
            "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": f"{options.issuer}/device?user_code={{user_code}}",
            "OAUTH2_VALIDATOR_CLASS": "django_eprospera.sandbox.validators.Validator",
            "OIDC_ENABLED": True,
            "OIDC_ISS_ENDPOINT": options.issuer,
            "REFRESH_TOKEN_GENERATOR": "django_eprospera.sandbox.grants.new_refresh_token",
            "SCOPES": {scope: scope for scope in LABELS},
            "DEFAULT_SCOPES": [],
        },
        "OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL": "eprospera_sandbox.AccessToken",
        "OAUTH2_PROVIDER_DEVICE_GRANT_MODEL": "eprospera_sandbox.DeviceCode",
        "OAUTH2_PROVIDER_GRANT_MODEL": "eprospera_sandbox.Code",
        "OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL": "eprospera_sandbox.RefreshToken",
        # No client secret is hashed, so none is taken for a hash.
        "PASSWORD_HASHERS": [],
        "ROOT_URLCONF": "django_eprospera.sandbox.urls",
        "SANDBOX": State(options, keys),
        "SECRET_KEY": secret_key,
        "SESSION_COOKIE_NAME": "eprospera_sandbox_session",
        "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
        "SESSION_SERIALIZER": "django.contrib.sessions.serializers.JSONSerializer",
        "SILENCED_SYSTEM_CHECKS": ["fields.W342"],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.template.context_processors.i18n",
                    ]
                },
            }
        ],
        "TIME_ZONE": "UTC",
        "USE_TZ": True,
    }
