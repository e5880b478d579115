"""Is what runs in production safe there? Looks into the tables for what hangs on a key that is not configured any more."""

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
    """What is fine on a developer's machine only."""
    return [*_tasks(), *_sandbox()]


@register(Tags.database, deploy=True)
def check_keys_in_use(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Whether every value, file and index entry in these databases hangs on a key that is configured."""
    try:
        held = keyring()
    except ConfigurationError:
        return []  # E001 and E002 say so
    found: list[CheckMessage] = []
    for alias in databases or ():
        for key_id, counts in census(alias).items():
            if not key_id:
                hint = "Somebody wrote past the model. `eprospera_rotate_keys` names the rows."
                found.append(error("E021", f"In sealed columns of {alias!r} there is unsealed text: {counts}.", hint))
                continue
            opens = key_id in held.key_ids or not (counts.values or counts.files)
            if not (opens and (key_id in held.index_key_ids or not counts.entries)):
                where = "FIELD_ENCRYPTION_KEY (or EPROSPERA_INDEX_KEY)"
                hint = (
                    f"Put that key back, at the end of {where}, and run `eprospera_rotate_keys` before you remove it."
                )
                found.append(error("E020", f"In {alias!r}, {counts} hang on key {key_id}, which {where} lacks.", hint))
    return found


def _tasks() -> Found:
    backend = (getattr(settings, "TASKS", None) or {}).get("default", {}).get("BACKEND", ".ImmediateBackend")
    if str(backend).endswith(".ImmediateBackend") and not settings.DEBUG:
        text = "TASKS runs every task inside the request that asks for it: a sign-in waits for the whole first sync."
        yield warning("W004", text, "Use a backend with workers, such as django_tasks_db.DatabaseBackend.")


def _sandbox() -> Found:
    try:
        host = urlsplit(conf.EPROSPERA_BASE_URL).hostname or ""
    except ValueError:
        return  # E006
    if is_loopback(host) and not settings.DEBUG:
        hint = "Set EPROSPERA_BASE_URL to the provider; anybody is whoever they want to be at a sandbox."
        yield warning("W005", "EPROSPERA_BASE_URL is on this machine.", hint)
