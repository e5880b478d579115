"""Checks for production (`check --deploy`), and checks that read the tables (`check --deploy --database default`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from django_eprospera.checks.table import error, warning
from django_eprospera.conf import conf
from django_eprospera.errors import ConfigurationError
from django_eprospera.keys import keyring
from django_eprospera.provider.http import is_loopback
from django_eprospera.rotation import census

__all__ = ["check_deployment", "check_keys_in_use"]

Found = Iterator[CheckMessage]


@register(Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Return warnings about settings that are only suitable for development."""
    return [*_tasks(), *_sandbox()]


@register(Tags.database, deploy=True)
def check_keys_in_use(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Return errors for values, files and index entries in these databases whose key is not configured."""
    try:
        held = keyring()
    except ConfigurationError:
        return []  # reported as E001 or E002
    found: list[CheckMessage] = []
    for alias in databases or ():
        for key_id, counts in census(alias).items():
            if not key_id:
                hint = "`eprospera_rotate_keys` lists the rows. Save them through the model."
                found.append(error("E021", f"Sealed columns in database {alias!r} contain plain text: {counts}.", hint))
                continue
            opens = key_id in held.key_ids or not (counts.values or counts.files)
            if not (opens and (key_id in held.index_key_ids or not counts.entries)):
                where = "FIELD_ENCRYPTION_KEY (or EPROSPERA_INDEX_KEY)"
                hint = f"Add the key to the end of {where} again, and run `eprospera_rotate_keys` before you remove it."
                found.append(
                    error("E020", f"In database {alias!r}, {counts} need key {key_id}, which is not in {where}.", hint)
                )
    return found


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
