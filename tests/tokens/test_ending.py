"""A connection ends, or its user is deleted, at any moment of a sync: both succeed, and nothing of the person is left."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection as database
from django.db import connections

from django_eprospera.models import (
    Connection,
    EntityConsent,
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    ResourceState,
    VerificationImage,
)
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from django_eprospera.tokens import disconnect
from tests.sandbox_process import KITES, LUCIA

pytestmark = pytest.mark.django_db(transaction=True)

OF_A_PERSON = (
    Connection, NaturalPerson, Residency, IdVerification, VerificationImage, EntityConsent, LegalEntity, EntityDocument,
    ResourceState,
)  # fmt: skip


def end_during_sync(provider, end, after):
    """Let two syncs run, and end the connection `after` so many seconds. Raises what was raised in any of them."""
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    over, begun = threading.Event(), threading.Barrier(3)

    def run():
        try:
            begun.wait(60)
            while not over.is_set():
                sync(connection)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        syncs = [pool.submit(run) for _ in range(2)]
        begun.wait(60)
        over.wait(after)
        try:
            end(connection)
        finally:
            over.set()
    for future in syncs:
        future.result()


ENDS = {
    "disconnected": lambda connection: disconnect(Connection.objects.get(pk=connection.pk)),
    "user deleted": lambda connection: connection.user.delete(),
}


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite has one writer at a time.")
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_it_succeeds_whatever_a_sync_does_meanwhile(provider, media, end, caplog):
    for number in range(20):
        end_during_sync(provider, end, number * 0.02)
        assert [model.__name__ for model in OF_A_PERSON if model.objects.exists()] == []
        assert not list(media.iterdir())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
