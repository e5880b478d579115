"""The only place that turns the provider's answers into rows.

`asking` asks with the right token, within bounds; `person` and `entity` know what becomes of which answer; `rows` writes
only what changed; `batch` goes through many connections. Nothing here is waited for by a page: tasks and commands call it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from django.utils import timezone

from django_eprospera.conf import conf
from django_eprospera.consent import NOT_GRANTED, SCOPES
from django_eprospera.errors import EprosperaError, GrantGone, TokenError
from django_eprospera.models import Connection, ResourceState
from django_eprospera.provider.tracebacks import forget_locals
from django_eprospera.signals import facts_synced
from django_eprospera.sync.asking import Asker
from django_eprospera.sync.entity import entity_documents, legal_entities, withdraw_all
from django_eprospera.sync.person import id_verification, natural_person, residency
from django_eprospera.sync.rows import Pulled, note
from django_eprospera.sync.schedule import failure_code

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["SyncReport", "sync"]

logger = logging.getLogger(__name__)


class _Pull(Protocol):
    def __call__(self, asker: Asker, connection: Connection, asked_at: datetime) -> Pulled: ...


_RESOURCE = ResourceState.Resource
# In this order: documents are those of the companies that were just listed.
_PULLS: Final[dict[str, _Pull]] = {
    _RESOURCE.NATURAL_PERSON.value: natural_person,
    _RESOURCE.RESIDENCY.value: residency,
    _RESOURCE.ID_VERIFICATION.value: id_verification,
    _RESOURCE.LEGAL_ENTITIES.value: legal_entities,
    _RESOURCE.ENTITY_DOCUMENTS.value: entity_documents,
}


@dataclass(slots=True)
class SyncReport:
    """What one sync did, by names of resources: changed, failed (with a stable code), skipped (no scope for it)."""

    changed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    # How many resources were asked for.
    asked: int = 0

    @property
    def failed_entirely(self) -> bool:
        """Whether nothing at all could be had, of what was asked for."""
        return bool(self.failed) and self.asked == len(self.failed)


@forget_locals
def sync(connection: Connection, resources: Iterable[str] | None = None) -> SyncReport:
    """Pull what the granted scopes allow into the cache: all, or the named `ResourceState.Resource` values.

    Never raises for what the provider does: a resource that fails keeps what it had, and `ResourceState` says why. Not to be
    called inside a transaction, which would stay open while the provider is waited for. Sends `facts_synced` at its end.
    """
    report = SyncReport()
    current = Connection.objects.filter(pk=connection.pk).first()
    if current is None:
        return report
    chosen = set(_PULLS if resources is None else resources)
    for resource in _PULLS:
        if resource in chosen and SCOPES[resource] not in current.scopes:
            _skip(current, resource, report)
    asked = [resource for resource in _PULLS if resource in chosen and resource not in report.skipped]
    report.asked = len(asked)
    _pull(current, asked, report)
    logger.info("connection %s: synced, changed %s, failed %s", current.pk, report.changed, report.failed)
    facts_synced.send_robust(Connection, connection=current, changed=report.changed, failed=list(report.failed))
    return report


def _pull(connection: Connection, asked: list[str], report: SyncReport) -> None:
    # Why nothing more can be asked: then it is the outcome of every resource that is left.
    trouble, asker = "", None
    if connection.issuer != conf.EPROSPERA_BASE_URL:
        trouble = "other_provider"  # whose tokens must not be shown to this one
    elif asked:
        try:
            asker = Asker(connection)
        except EprosperaError as error:
            trouble = failure_code(error)
    for resource in asked:
        asked_at = timezone.now()
        code = trouble or _without_companies(connection, resource, report)
        if asker is not None and not code:
            try:
                pulled = _PULLS[resource](asker, connection, asked_at)
            except EprosperaError as error:
                code = failure_code(error)
                logger.warning("connection %s: %s failed, %s: %s", connection.pk, resource, code, error)
                if isinstance(error, TokenError):
                    trouble = code
            else:
                code = pulled.trouble
                if pulled.changed:
                    report.changed.append(resource)
        if code:
            report.failed[resource] = code
            _note(connection, resource, asked_at, code)


def _without_companies(connection: Connection, resource: str, report: SyncReport) -> str:
    """Documents of companies that could not be listed: not none, but unknown for the same reason."""
    if resource != _RESOURCE.ENTITY_DOCUMENTS or connection.entity_consents.filter(withdrawn_at=None).exists():
        return ""
    return report.failed.get(_RESOURCE.LEGAL_ENTITIES, "")


def _skip(connection: Connection, resource: str, report: SyncReport) -> None:
    report.skipped.append(resource)
    try:
        if resource == _RESOURCE.LEGAL_ENTITIES and withdraw_all(connection):
            report.changed.append(resource)
        # Once: the time of the note is when the scope was found gone, from which erasure counts.
        if connection.resources.filter(resource=resource).exclude(error=NOT_GRANTED).exists():
            note(connection, resource, timezone.now(), NOT_GRANTED)
    except GrantGone:
        logger.info("connection %s was disconnected while it was synced", connection.pk)


def _note(connection: Connection, resource: str, asked_at: datetime, code: str) -> None:
    try:
        note(connection, resource, asked_at, code)
    except GrantGone:
        logger.info("connection %s was disconnected while it was synced", connection.pk)


assert set(_PULLS) == set(SCOPES)
