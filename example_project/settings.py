"""Settings of the example site, read from the environment.

EPROSPERA_BASE_URL     origin of the provider; default: production
EPROSPERA_CLIENT_ID, EPROSPERA_CLIENT_SECRET    as issued by the provider
EPROSPERA_SCOPE        space-separated; default: all nine scopes
DATABASE_URL           default: a SQLite file beside manage.py
FIELD_ENCRYPTION_KEY   Fernet keys, newest first, comma-separated
EPROSPERA_SIGNING_KEY  keys of case files, likewise; without one, none can be exported
SECRET_KEY, DEBUG, ALLOWED_HOSTS (comma-separated)    as in Django; DEBUG is off unless it is 1, true, yes or on
MEDIA_ROOT             directory of the sealed files; default: media beside manage.py
TASK_BACKEND           dotted path; default: threads of the site. `make demo` uses a database and a worker process
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from example_project.access_log import without_query

BASE_DIR = Path(__file__).resolve().parent.parent


def _words(name: str, default: str = "", separator: str | None = ",") -> list[str]:
    return [word.strip() for word in (os.environ.get(name) or default).split(separator) if word.strip()]


DEBUG = os.environ.get("DEBUG", "").strip().lower() in {"1", "true", "yes", "on"}
SECRET_KEY = os.environ.get("SECRET_KEY", "")
if not SECRET_KEY:
    msg = (
        "Set SECRET_KEY in the environment to a long random value, for instance that of "
        "python -c 'import secrets; print(secrets.token_urlsafe(50))'. `make demo` makes one by itself."
    )
    raise ImproperlyConfigured(msg)

LOOPBACK = ["localhost", "127.0.0.1", "[::1]"]
ALLOWED_HOSTS = _words("ALLOWED_HOSTS", ",".join(LOOPBACK))
# A site with a host name is served over HTTPS; loopback is not. `*` is not a host name.
NAMED_HOSTS = [host for host in ALLOWED_HOSTS if host not in {*LOOPBACK, "*"}]
HTTPS = bool(NAMED_HOSTS) and not DEBUG

ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
INSTALLED_APPS = [
    "example_project",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_tasks_db",
    "social_django",
    "django_eprospera",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

DATABASES = {"default": dj_database_url.parse(os.environ.get("DATABASE_URL") or f"sqlite:///{BASE_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # The site, its worker and its threads write to one file: writers wait for each other instead of failing.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MEDIA_ROOT = os.environ.get("MEDIA_ROOT") or str(BASE_DIR / "media")

# On Django 5.2 django-tasks reads this setting too.
TASKS = {"default": {"BACKEND": os.environ.get("TASK_BACKEND") or "example_project.background.ThreadBackend"}}

# Sign in with e-Próspera
EPROSPERA_BASE_URL = os.environ.get("EPROSPERA_BASE_URL") or "https://portal.eprospera.com"
SOCIAL_AUTH_EPROSPERA_KEY = os.environ.get("EPROSPERA_CLIENT_ID", "")
SOCIAL_AUTH_EPROSPERA_SECRET = os.environ.get("EPROSPERA_CLIENT_SECRET", "")
SOCIAL_AUTH_EPROSPERA_SCOPE = _words(
    "EPROSPERA_SCOPE",
    "openid profile email offline_access eprospera:person.details.read eprospera:person.residency.read "
    "eprospera:person.id_verification.read eprospera:entity.read eprospera:entity.documents.read",
    separator=None,
)
FIELD_ENCRYPTION_KEY = _words("FIELD_ENCRYPTION_KEY")
EPROSPERA_SIGNING_KEY = _words("EPROSPERA_SIGNING_KEY")
AUTHENTICATION_BACKENDS = [
    "django_eprospera.backends.EprosperaOpenIdConnect",
    "django.contrib.auth.backends.ModelBackend",  # the reviewer's password for /admin/
]
LOGIN_URL = LOGOUT_REDIRECT_URL = "home"
LOGIN_REDIRECT_URL = "account"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# Browsers apply form-action to redirects too, and the form of the sign-in button leads to the provider.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        **{kind: ["'self'"] for kind in ("style-src", "script-src", "img-src", "font-src", "connect-src")},
        "form-action": ["'self'", EPROSPERA_BASE_URL],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# Browsers share cookies between the ports of a host: these names differ from those of the sandbox.
SESSION_COOKIE_NAME = "eprospera_example_session"
CSRF_COOKIE_NAME = "eprospera_example_csrf"
LANGUAGE_COOKIE_NAME = "eprospera_example_language"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_HTTPONLY = True
CSRF_TRUSTED_ORIGINS = [
    f"https://{host.replace('.', '*.', 1) if host.startswith('.') else host}" for host in NAMED_HOSTS
]
SOCIAL_AUTH_REDIRECT_IS_HTTPS = HTTPS  # the callback URL behind a proxy that ends TLS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("es", _("Spanish"))]
TIME_ZONE = "America/Tegucigalpa"
USE_TZ = True

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # serve static files without collectstatic, with DEBUG off too
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"without_query": {"()": lambda: without_query}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "plain"},
        "requests": {"class": "logging.StreamHandler", "formatter": "plain", "filters": ["without_query"]},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"django.server": {"handlers": ["requests"], "level": "INFO", "propagate": False}},
}
