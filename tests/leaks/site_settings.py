"""The example site as nobody should run it: DEBUG, every logger at its loudest, errors mailed whole, a cache in files."""

import json
import logging
import os
from datetime import timedelta
from pathlib import Path

import django

from example_project.settings import *  # noqa: F403

HOME = Path(os.environ["LEAKS_HOME"])

DEBUG = True
ROOT_URLCONF = "tests.leaks.site_urls"
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": HOME / "cache"}}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = HOME / "mails"
ADMINS = ["staff@example.test"] if django.VERSION >= (6, 0) else [("Staff", "staff@example.test")]

EPROSPERA_SPOOL = HOME / "spool"
EPROSPERA_TIMEOUT = 2
EPROSPERA_DEADLINE = 4
EPROSPERA_REFRESH_PAUSE = timedelta(0)
EPROSPERA_REFRESH_BUDGET = timedelta(0)
EPROSPERA_STALE_AFTER = timedelta(0)
EPROSPERA_ERASE_AFTER = timedelta(0)
SOCIAL_AUTH_PIPELINE = [
    "social_core.pipeline.social_auth.social_details",
    "social_core.pipeline.social_auth.social_uid",
    "social_core.pipeline.social_auth.auth_allowed",
    "social_core.pipeline.social_auth.social_user",
    "tests.leaks.site_pipeline.pause",
    "tests.leaks.site_pipeline.fail",
    "social_core.pipeline.user.get_username",
    "social_core.pipeline.user.create_user",
    "social_core.pipeline.social_auth.associate_user",
    "social_core.pipeline.social_auth.load_extra_data",
    "social_core.pipeline.user.user_details",
]


class AsJson(logging.Formatter):
    """One line per record, whatever is in it."""

    def format(self, record):
        return json.dumps([record.name, super().format(record)], ensure_ascii=False)


_everything = {"class": "logging.FileHandler", "filename": HOME / "logs" / f"{os.getpid()}.jsonl", "formatter": "json"}
_loud = {"level": "DEBUG", "handlers": ["file"], "propagate": False}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": AsJson}},
    "filters": {"without_query": {"()": lambda: without_query}},  # noqa: F405 - the example site's
    "handlers": {
        "file": _everything,
        "requests": {**_everything, "filters": ["without_query"]},
        "mail": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR", "include_html": True},
        "stderr": {"class": "logging.StreamHandler", "level": "INFO"},
    },
    "root": {"level": "DEBUG", "handlers": ["file", "stderr"]},
    "loggers": {
        "django": {**_loud, "handlers": ["file", "mail", "stderr"]},
        "django.db.backends": _loud,  # not on stderr: what SQL may say is looked at apart
        "django.server": {**_loud, "handlers": ["requests"]},
    },
}
