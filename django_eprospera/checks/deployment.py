"""Checks for production: `check --deploy`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from django_eprospera.checks.table import warning
from django_eprospera.conf import conf
from django_eprospera.provider.http import is_loopback

__all__ = ["check_deployment"]

Found = Iterator[CheckMessage]


@register(Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Return warnings about settings that are only suitable for development."""
    return [*_tasks(), *_sandbox()]


def _tasks() -> Found:
    backend = (getattr(settings, "TASKS", None) or {}).get("default", {}).get("BACKEND", ".ImmediateBackend")
    if str(backend).endswith(".ImmediateBackend") and not settings.DEBUG:
        text = "TASKS runs each task inside the request that enqueues it: a sign-in waits for the whole first sync."
        yield warning("W004", text, "Use a backend with a worker, such as django_tasks_db.DatabaseBackend.")


def _sandbox() -> Found:
    try:
        host = urlsplit(conf.EPROSPERA_BASE_URL).hostname or ""
    except ValueError:
        return  # reported as E006
    if is_loopback(host) and not settings.DEBUG:
        hint = "Set it to the provider: at a sandbox anybody can sign in as anybody."
        yield warning("W005", "EPROSPERA_BASE_URL is a sandbox on this machine.", hint)
