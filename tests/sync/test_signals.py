"""The signals that say what a sync changed: sent after the commit, with names and booleans, and without personal data."""

import pytest
from django.db import connection as database

from django_eprospera import signals
from django_eprospera.models import LegalEntity, Residency
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.sandbox_process import KITES, LUCIA

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ("residency_changed", "identity_changed", "entity_shared", "entity_withdrawn")


@pytest.fixture
def sent():
    heard = []

    def listen(signal, sender, **arguments):
        assert not database.in_atomic_block
        name = next(name for name in NAMES if getattr(signals, name) is signal)
        heard.append((name, {key: value for key, value in arguments.items() if key != "connection"}))

    for name in NAMES:
        getattr(signals, name).connect(listen)
    yield heard
    for name in NAMES:
        getattr(signals, name).disconnect(listen)


def test_a_first_sync_sends_what_is_new_and_the_next_one_nothing(provider, sent):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    assert sync(connection).failed == {}
    assert ("residency_changed", {"was_active": None, "is_active": True}) in sent
    assert ("entity_shared", {"entity": LegalEntity.objects.get()}) in sent
    identity = [arguments["changed"] for name, arguments in sent if name == "identity_changed"]
    assert "date_of_birth" in identity[0]
    assert "document_type" in identity[1]
    sent.clear()
    sync(connection)
    assert sent == []


def test_a_residency_that_ends_is_sent_with_what_it_was(provider, sent):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    sent.clear()
    provider.control(f"personas/{LUCIA}", residency={"activeResidency": None})
    assert sync(connection).changed == ["residency"]
    assert sent == [("residency_changed", {"was_active": True, "is_active": False})]
    assert not Residency.objects.get().is_active


def test_only_facts_that_identify_the_person_are_sent_as_identity(provider, sent):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    sent.clear()
    provider.control(f"personas/{LUCIA}", person={"phoneNumber": "+50499999999"})
    assert sync(connection).changed == ["natural_person"]
    assert sent == []
    provider.control(f"personas/{LUCIA}", person={"surname": "Another"})
    sync(connection)
    assert sent == [("identity_changed", {"changed": ["surname"]})]


def test_a_company_that_is_not_shared_any_more_and_then_again(provider, sent):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    sync(connection)
    entity = LegalEntity.objects.get()
    sent.clear()
    provider.fault("/api/v1/me/legal-entities", status=200, body='{"data": []}', times=1)
    sync(connection)
    assert sent == [("entity_withdrawn", {"entity": entity})]
    sync(connection)
    assert sent[1:] == [("entity_shared", {"entity": entity})]
