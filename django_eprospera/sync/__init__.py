"""Synchronisation of the provider's answers into rows. Only tasks and commands call it, so that no page waits for it.

`answers` requests the resources with a valid token, within the limits of `fetcher`. What is equal to the stored answer costs
one write for all resources; what differs is stored by `person` and `entity`, which write only what changed (`rows`).
`schedule` has the time of the next sync, `batch` syncs many connections.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from django.utils import timezone

from django_eprospera import pace
from django_eprospera.consent import NOT_GRANTED, SCOPES, UNFINISHED
from django_eprospera.errors import EprosperaError, GrantGone
from django_eprospera.keys import keyring
from django_eprospera.models import Connection, ResourceState
from django_eprospera.provider.tracebacks import forget_locals
from django_eprospera.signals import facts_synced
from django_eprospera.sync import answers, schedule
from django_eprospera.sync.entity import entity_documents, legal_entities, withdraw_all
from django_eprospera.sync.fetcher import ResourceFetcher
from django_eprospera.sync.person import id_verification, natural_person, residency
from django_eprospera.sync.rows import Pulled, note, still
from django_eprospera.sync.schedule import failure_code

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

__all__ = ["SyncReport", "sync"]

logger = logging.getLogger(__name__)


class _Store(Protocol):
    def __call__(self, connection: Connection, answer: answers.Answer, asked_at: datetime, digest: str) -> Pulled: ...


_RESOURCE = ResourceState.Resource
# In this order: documents are those of the companies that were just listed.
_STORES: Final[dict[str, _Store]] = {
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
    # Whether nothing was requested because the site pauses.
    paused: bool = False

    @property
    def failed_entirely(self) -> bool:
        """Whether every requested resource failed."""
        return bool(self.failed) and self.asked == len(self.failed)

    @property
    def grant_ended(self) -> bool:
        """Whether nothing was fetched because the grant has ended."""
        return self.failed_entirely and set(self.failed.values()) == {"grant_gone"}


@forget_locals
def sync(
    connection: Connection,
    resources: Iterable[str] | None = None,
    *,
    only_old: bool = False,
    repair: bool = False,
    turn: pace.Turn | None = None,
) -> SyncReport:
    """Update the cached facts that the granted scopes allow: all, or those of the given `ResourceState.Resource` values.

    With `only_old`, answers that are recent enough are not requested. With `repair`, rows are compared with the answers also
    where an answer is the one that was stored. A batch passes the `turn` that it has waited for; without one the sync begins at
    once, and does nothing but plan itself anew while the site pauses.

    Does not raise for a failure of the provider: a resource that fails keeps its cached facts, and its `ResourceState` has the
    error code. Do not call it inside a transaction, which would stay open during the requests. Sends `facts_synced`; a receiver
    that raises is recorded in the report and in `Connection.sync_error`.
    """
    report = SyncReport()
    current = Connection.objects.filter(pk=connection.pk).first()
    if current is None:
        if turn is not None:
            turn.finish([], connection.pk)
        return report
    states = {state.resource: state for state in current.resources.all()}
    chosen = set(_STORES if resources is None else resources)
    for resource in _STORES:
        if resource in chosen and SCOPES[resource] not in current.scopes:
            _skip(current, resource, states, report)
    if only_old:
        chosen &= set(schedule.old_resources(current, states.values(), timezone.now()))
    asked = [resource for resource in _STORES if resource in chosen and resource not in report.skipped]
    report.asked = len(asked)
    if repair:
        for state in states.values():
            state.digest = ""
    if asked and turn is None:
        try:
            turn = pace.turn(len(asked), first=True)
        except pace.SitePaused as paused:
            schedule.postpone(current, paused.seconds)
            return SyncReport(paused=True)
    _pull(current, asked, states, report, turn)
    logger.info("connection %s: synced, changed %s, failed %s", current.pk, report.changed, report.failed)
    _finish(current, states, report)
    return report


def _pull(
    connection: Connection,
    asked: list[str],
    states: dict[str, ResourceState],
    report: SyncReport,
    turn: pace.Turn | None,
) -> None:
    asked_at = timezone.now()
    found = {} if turn is None else _answers(connection, asked, turn)
    digests = {resource: _digest(connection, resource, answer) for resource, answer in found.items()}
    equal = [resource for resource in asked if _is_stored(states.get(resource), digests[resource])]
    other = [resource for resource in asked if resource not in equal]
    if other:
        # Until `_finish`: a process that dies between storing and calling the receivers leaves a trace.
        Connection.objects.filter(pk=connection.pk).update(sync_error=UNFINISHED)
    for resource in other:
        answer = found[resource]
        code = ""
        try:
            if answer.error is not None:
                raise answer.error
            pulled = _STORES[resource](connection, answer, asked_at, next(iter(digests[resource]), ""))
        except EprosperaError as error:
            code = failure_code(error)
            logger.warning("connection %s: %s failed, %s: %s", connection.pk, resource, code, error)
        else:
            code = pulled.error
            if pulled.changed:
                report.changed.append(resource)
        if code:
            report.failed[resource] = code
            _note(connection, resource, asked_at, code)
    if equal:
        still(connection, equal, asked_at)
    for resource in equal:
        states[resource].synced_at = states[resource].attempted_at = asked_at
    if other:
        states.update((state.resource, state) for state in connection.resources.filter(resource__in=other))


def _answers(connection: Connection, asked: Collection[str], turn: pace.Turn) -> dict[str, answers.Answer]:
    try:
        with turn.noting(connection.pk) as outcomes:
            if not asked:
                return {}
            with ResourceFetcher(connection, turn, outcomes) as fetcher:
                return answers.fetch(fetcher, connection, asked)
    except EprosperaError as error:
        return {resource: answers.Answer(error=error) for resource in asked}


def _digest(connection: Connection, resource: str, answer: answers.Answer) -> list[str]:
    """Return the digests of an answer, under the newest key first; none if it is not complete."""
    text = answer.text
    return keyring().indexes("sync.answer", f"{connection.pk}\0{resource}\0{text}") if text else []


def _is_stored(state: ResourceState | None, digests: Collection[str]) -> bool:
    return state is not None and not state.error and state.synced_at is not None and state.digest in digests


def _finish(connection: Connection, states: dict[str, ResourceState], report: SyncReport) -> None:
    if report.changed and not Connection.objects.filter(pk=connection.pk).exists():
        return  # disconnected meanwhile
    called = facts_synced.send_robust(
        Connection, connection=connection, changed=report.changed, failed=list(report.failed)
    )
    for receiver, outcome in called:
        if isinstance(outcome, Exception):  # which Django has logged
            name = getattr(receiver, "__name__", type(receiver).__name__)
            report.receiver_errors.append(f"{name}: {type(outcome).__name__}")
    schedule.finish(connection, states.values(), ", ".join(report.receiver_errors)[:255])


def _skip(connection: Connection, resource: str, states: dict[str, ResourceState], report: SyncReport) -> None:
    report.skipped.append(resource)
    state = states.get(resource)
    if state is None or state.error == NOT_GRANTED:
        return  # written once: erasure counts from the time at which the scope was found to be missing
    try:
        if resource == _RESOURCE.LEGAL_ENTITIES:
            withdraw_all(connection)
        report.changed.append(resource)
        note(connection, resource, timezone.now(), NOT_GRANTED)
    except GrantGone:
        logger.info("connection %s was disconnected while it was synced", connection.pk)


def _note(connection: Connection, resource: str, asked_at: datetime, code: str) -> None:
    try:
        note(connection, resource, asked_at, code)
    except GrantGone:
        logger.info("connection %s was disconnected while it was synced", connection.pk)


assert set(_STORES) == set(SCOPES)
