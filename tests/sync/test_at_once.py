"""Several syncs at once: of one connection, and of two people who share a company."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from django_eprospera import documents
from django_eprospera.models import (
    EntityConsent,
    EntityDocument,
    LegalEntity,
    NaturalPerson,
    ResourceState,
    VerificationImage,
)
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.sandbox_process import KITES, LUCIA, REEF, SAMUEL

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*syncs):
    """Run the functions in threads that begin together; returns what they return, or raises what one raised."""
    begin = threading.Barrier(len(syncs))

    def run(work):
        try:
            begin.wait(60)
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(syncs)) as pool:
        return [future.result(300) for future in [pool.submit(run, work) for work in syncs]]


def test_one_connection_synced_four_times_at_once_is_cached_once(provider, media):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])

    reports = at_once(*[lambda: sync(connection)] * 4)

    assert [report.failed for report in reports] == [{}] * 4
    assert NaturalPerson.objects.count() == 1
    assert ResourceState.objects.count() == 5
    assert EntityConsent.objects.filter(withdrawn_at=None).count() == LegalEntity.objects.count() == 2
    rows = [*VerificationImage.objects.all(), *EntityDocument.objects.exclude(storage_name="")]
    assert all(documents.read(row) for row in rows)
    # Whoever fetched a file that another had fetched too took that one's file away.
    assert {path.name for path in media.iterdir()} == {row.storage_name.rpartition("/")[2] for row in rows}
    assert sync(connection).changed == []


def test_two_people_who_share_new_companies_do_not_stand_in_each_others_way(provider, media):
    lucia = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    samuel = factories.sandbox_connection(provider, SAMUEL, entities=[KITES])

    reports = at_once(lambda: sync(lucia), lambda: sync(samuel), lambda: sync(samuel), lambda: sync(lucia))

    assert [report.failed for report in reports] == [{}] * 4
    assert LegalEntity.objects.count() == 2
    assert EntityConsent.objects.filter(entity__entity_id=KITES, withdrawn_at=None).count() == 2
    rows = EntityDocument.objects.exclude(storage_name="")
    assert all(documents.read(row) for row in rows)
    assert len(list(media.iterdir())) == rows.count() + VerificationImage.objects.count()


def test_an_expired_token_is_renewed_once_for_all_of_them(provider):
    connection = factories.sandbox_connection(provider, LUCIA, access_token_expires_at=factories.timezone.now())

    reports = at_once(*[lambda: sync(connection, ["residency"])] * 4)

    assert [report.failed for report in reports] == [{}] * 4
    assert provider.control("stats")["refresh_requests"] == 1
