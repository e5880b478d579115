"""Settings of the test suite. DATABASE_URL chooses the database; the default is a SQLite file."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import dj_database_url

if scratch := os.environ.get("EPROSPERA_TEST_SCRATCH"):
    SCRATCH = Path(scratch)
else:
    SCRATCH = Path(tempfile.mkdtemp(prefix="eprospera-tests-"))
    atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

SECRET_KEY = "only-for-tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
USE_TZ = True
TIME_ZONE = "America/Tegucigalpa"  # not UTC, so that a shift by the zone shows
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("es", "Español")]
STATIC_URL = "/static/"
MEDIA_ROOT = SCRATCH / "media"
# What Django 6.1 asks for; the test runner replaces the backend.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "social_django",
    "django_eprospera",
    "tests.notebook",  # a site's own models with sealed fields
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
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
DATABASES = {"default": dj_database_url.parse(os.environ.get("DATABASE_URL") or f"sqlite:///{SCRATCH}/db.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file and not memory: threads and processes of the tests share it.
    DATABASES["default"]["TEST"] = {"NAME": str(SCRATCH / "test.sqlite3")}
    # Nothing here has to survive a power cut, and waiting for the disk is most of a test's time.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA synchronous=OFF",
    }  # fmt: skip

AUTHENTICATION_BACKENDS = [
    "django_eprospera.backends.EprosperaOpenIdConnect",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
LOGIN_URL = "/"
LOGIN_REDIRECT_URL = "/account/"

FIELD_ENCRYPTION_KEY = "cUqDoJ9ZB4ReeBRH2nVGZ1mCnwRN1qyKyrePGSIKhNk="
SOCIAL_AUTH_EPROSPERA_KEY = "test-client"
SOCIAL_AUTH_EPROSPERA_SECRET = "test-secret"
SOCIAL_AUTH_EPROSPERA_SCOPE = ["openid", "profile", "email", "offline_access"]
EPROSPERA_RATE = None  # tests of the rate set their own
EPROSPERA_BASE_URL = "http://127.0.0.1:1"  # nobody listens: a test that needs a provider says so
