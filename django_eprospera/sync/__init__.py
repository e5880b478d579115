"""Synchronisation of the provider's answers into rows. Only tasks and commands call it, so that no page waits for it.

`fetcher` sends requests with a valid token, within limits; `person` and `entity` store the answers; `rows` writes only what
changed; `batch` syncs many connections.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from django.utils import timezone

from django_eprospera.consent import NOT_GRANTED, SCOPES, is_current
from django_eprospera.errors import EprosperaError, GrantGone, TokenError
from django_eprospera.models import Connection, ResourceState
from django_eprospera.provider.tracebacks import forget_locals
from django_eprospera.signals import facts_synced
from django_eprospera.sync.entity import entity_documents, legal_entities, withdraw_all
from django_eprospera.sync.fetcher import ResourceFetcher
from django_eprospera.sync.person import id_verification, natural_person, residency
from django_eprospera.sync.rows import Pulled, note
from django_eprospera.sync.schedule import failure_code

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["SyncReport", "sync"]

logger = logging.getLogger(__name__)


class _Pull(Protocol):
    def __call__(self, fetcher: ResourceFetcher, connection: Connection, asked_at: datetime) -> Pulled: ...


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
    """Result of one sync, by resource: changed, failed (with a stable code), skipped (scope not granted).

    `receiver_errors` names receivers of `facts_synced` that raised, with the type of the error: `evaluate_reviews: KeyError`.
    """

    changed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    receiver_errors: list[str] = field(default_factory=list)
    # Number of resources that were requested.
    asked: int = 0

    @property
    def failed_entirely(self) -> bool:
        """Whether every requested resource failed."""
        return bool(self.failed) and self.asked == len(self.failed)

    @property
    def grant_ended(self) -> bool:
        """Whether nothing was fetched because the grant has ended."""
        return self.failed_entirely and set(self.failed.values()) == {"grant_gone"}


@forget_locals
def sync(connection: Connection, resources: Iterable[str] | None = None) -> SyncReport:
    """Update the cached facts that the granted scopes allow: all, or those of the given `ResourceState.Resource` values.

    Does not raise for a failure of the provider: a resource that fails keeps its cached facts, and its `ResourceState` has the
    error code. Do not call it inside a transaction, which would stay open during the requests. Sends `facts_synced`; a receiver
    that raises is recorded in the report and in `Connection.sync_error`.
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
    _send_synced(current, report)
    return report


def _send_synced(connection: Connection, report: SyncReport) -> None:
    if not Connection.objects.filter(pk=connection.pk).exists():
        return  # disconnected meanwhile
    called = facts_synced.send_robust(
        Connection, connection=connection, changed=report.changed, failed=list(report.failed)
    )
    for receiver, outcome in called:
        if isinstance(outcome, Exception):  # which Django has logged
            name = getattr(receiver, "__name__", type(receiver).__name__)
            report.receiver_errors.append(f"{name}: {type(outcome).__name__}")
    error = ", ".join(report.receiver_errors)[:255]
    if error != connection.sync_error:
        Connection.objects.filter(pk=connection.pk).update(sync_error=error)


def _pull(connection: Connection, asked: list[str], report: SyncReport) -> None:
    # A failure that the remaining resources would meet too. They are not requested, and get this code.
    failed_for_all, fetcher = "", None
    if not is_current(connection):
        failed_for_all = "other_provider"  # tokens of another provider or client must not be sent to this one
    elif asked:
        try:
            fetcher = ResourceFetcher(connection)
        except EprosperaError as error:
            failed_for_all = failure_code(error)
    for resource in asked:
        asked_at = timezone.now()
        code = failed_for_all or _without_companies(connection, resource, report)
        if fetcher is not None and not code:
            try:
                pulled = _PULLS[resource](fetcher, connection, asked_at)
            except EprosperaError as error:
                code = failure_code(error)
                logger.warning("connection %s: %s failed, %s: %s", connection.pk, resource, code, error)
                if isinstance(error, TokenError):
                    failed_for_all = code
            else:
                code = pulled.error
                if pulled.changed:
                    report.changed.append(resource)
        if code:
            report.failed[resource] = code
            _note(connection, resource, asked_at, code)


def _without_companies(connection: Connection, resource: str, report: SyncReport) -> str:
    """Return the error of the list of companies if there is none to ask about: their documents are unknown, not absent."""
    if resource != _RESOURCE.ENTITY_DOCUMENTS or connection.entity_consents.filter(withdrawn_at=None).exists():
        return ""
    return report.failed.get(_RESOURCE.LEGAL_ENTITIES, "")


def _skip(connection: Connection, resource: str, report: SyncReport) -> None:
    report.skipped.append(resource)
    try:
        if resource == _RESOURCE.LEGAL_ENTITIES and withdraw_all(connection):
            report.changed.append(resource)
        # Written once: erasure counts from the time at which the scope was found to be missing.
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
