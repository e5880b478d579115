"""Companies: shared, shared by two, no longer shared, no longer represented; and their documents."""

import json

import pytest

from django_eprospera import documents, scopes, signals
from django_eprospera.consent import readable_documents, readable_entities
from django_eprospera.models import EntityConsent, EntityDocument, LegalEntity
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.sandbox_process import KITES, LANTERNS, LUCIA, REEF, SAMUEL

pytestmark = pytest.mark.django_db(transaction=True)

DOCUMENTS = f"/api/v1/me/legal-entities/{KITES}/documents"


@pytest.fixture
def withdrawn():
    """Which companies the signal told of."""
    heard = []

    def listen(connection, entity, **_):
        heard.append((connection.pk, str(entity.entity_id)))

    signals.entity_withdrawn.connect(listen)
    yield heard
    signals.entity_withdrawn.disconnect(listen)


def share(provider, connection, *entities):
    """The person goes through consent again and picks these companies."""
    grant = provider.mint(connection.sub, connection.scope, entities=list(entities))[0]
    connection.access_token, connection.refresh_token = grant["access_token"], grant["refresh_token"]
    connection.save(update_fields=["access_token", "refresh_token"])


def readable(connection):
    return {str(entity.entity_id) for entity in readable_entities(connection.user)}


def test_only_the_companies_that_were_chosen_are_readable(provider):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])

    sync(connection)

    assert readable(connection) == {KITES, REEF}
    assert readable_documents(connection.user).exists()


def test_none_chosen_is_a_normal_answer(provider):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[])

    report = sync(connection)

    assert report.failed == {}
    assert not LegalEntity.objects.exists()


def test_a_company_no_longer_shared_is_unreadable_at_once_and_told_of(provider, withdrawn):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    sync(connection)
    share(provider, connection, REEF)

    report = sync(connection)

    assert "legal_entities" in report.changed
    assert readable(connection) == {REEF}
    assert not readable_documents(connection.user, LegalEntity.objects.get(entity_id=KITES)).exists()
    assert withdrawn == [(connection.pk, KITES)]
    # Kept until it is erased on schedule, so that a slip of the finger costs nothing.
    assert EntityConsent.objects.get(entity__entity_id=KITES).withdrawn_at is not None


def test_a_company_shared_again_is_readable_again(provider, withdrawn):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    sync(connection)
    share(provider, connection, REEF)
    sync(connection)
    share(provider, connection, REEF, KITES)

    sync(connection)

    assert readable(connection) == {KITES, REEF}
    assert EntityConsent.objects.count() == 2


def test_a_company_no_longer_represented_is_unreadable(provider, withdrawn):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, LANTERNS])
    sync(connection)
    provider.control("represent", sub=LUCIA, entity=LANTERNS, active=False)

    report = sync(connection)

    assert report.failed == {}
    assert readable(connection) == {KITES}
    assert withdrawn == [(connection.pk, LANTERNS)]


@pytest.mark.parametrize("path", [f"/api/v1/me/legal-entities/{KITES}", DOCUMENTS])
def test_a_company_that_is_lost_after_it_was_listed_is_withdrawn(provider, withdrawn, path):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    provider.fault(path, status=404, body='{"error": "Legal entity not found"}')

    report = sync(connection)

    assert report.failed == {}
    assert readable(connection) == {REEF}
    assert withdrawn == [(connection.pk, KITES)]


def test_a_page_of_a_gateway_withdraws_nothing(provider, withdrawn):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    sync(connection)
    provider.fault(
        f"/api/v1/me/legal-entities/{KITES}", status=404, body="<h1>Not Found</h1>", content_type="text/html"
    )

    report = sync(connection)

    assert report.failed == {"legal_entities": "malformed"}
    assert readable(connection) == {KITES}
    assert withdrawn == []


def test_when_the_scope_for_companies_is_gone_every_consent_ends(provider, withdrawn):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    sync(connection)
    connection.scope = f"openid offline_access {scopes.PERSON_RESIDENCY_READ}"
    connection.save()
    assert readable(connection) == set(), "unreadable before any sync"

    sync(connection)

    assert sorted(withdrawn) == sorted([(connection.pk, KITES), (connection.pk, REEF)])
    assert not EntityConsent.objects.filter(withdrawn_at=None).exists()


def test_a_company_shared_by_two_people_is_one_company_with_two_consents(provider):
    lucia = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    samuel = factories.sandbox_connection(provider, SAMUEL, entities=[KITES])

    sync(lucia)
    report = sync(samuel)

    assert "entity_documents" not in report.changed, "its documents were fetched by the first of the two"
    assert LegalEntity.objects.filter(entity_id=KITES).count() == 1
    assert EntityConsent.objects.filter(entity__entity_id=KITES, withdrawn_at=None).count() == 2


def test_one_of_two_who_stops_sharing_ends_it_for_themself_only(provider):
    lucia = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    samuel = factories.sandbox_connection(provider, SAMUEL, entities=[KITES])
    sync(lucia)
    sync(samuel)
    share(provider, lucia)

    sync(lucia)

    assert readable(lucia) == set()
    assert readable(samuel) == {KITES}
    assert readable_documents(samuel.user).exists()
    assert not readable_documents(lucia.user).exists()


def test_an_error_of_one_company_leaves_the_others_renewed(provider):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    provider.fault(f"/api/v1/me/legal-entities/{KITES}", status=500, body="{}", headers={"Retry-After": "0"})

    report = sync(connection)

    assert report.failed == {"legal_entities": "unavailable"}
    assert readable(connection) == {KITES, REEF}
    assert LegalEntity.objects.get(entity_id=REEF).formation_date is not None
    kites = LegalEntity.objects.get(entity_id=KITES)
    assert kites.name == "Invented Kites", "what the list said is there already"
    assert kites.documents.exists()


# Documents


def list_documents(provider, connection, change):
    """From now on the list of documents is the real one, after `change` was made to it."""
    provider.control("faults", "DELETE")
    items = provider.get(DOCUMENTS, connection.access_token).json()["data"]
    change(items)
    provider.fault(DOCUMENTS, status=200, body=json.dumps({"data": items}))


@pytest.fixture
def kites(provider):
    """A connection that shares one company, synced, and nothing counted since."""
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    assert sync(connection).failed == {}
    provider.control("stats", "DELETE")
    return connection


def of_kites(number):
    return EntityDocument.objects.get(document_id=f"7c0a9b1e-5d2f-4b6c-9e3d-0a1b2c3d4e0{number}")


@pytest.mark.parametrize("change", [{"version": "9.9"}, {"version": 9.9}, {"createdAt": "2026-11-01T00:00:00.000Z"}])
def test_a_new_version_of_a_document_is_fetched_and_the_old_file_deleted(provider, asked, kites, media, change):
    former = of_kites(1).storage_name
    list_documents(provider, kites, lambda items: items[0].update(change))

    report = sync(kites)

    assert (report.changed, report.failed) == (["entity_documents"], {})
    assert asked("/files/") == 1
    row = of_kites(1)
    assert row.storage_name != former
    assert documents.read(row)
    assert not (media.parent / former).exists()
    asked("")
    assert sync(kites).changed == []
    assert asked("/files/") == 0


def test_a_new_version_that_cannot_be_fetched_leaves_the_old_one_described_as_the_old_one(provider, kites):
    before = of_kites(1)
    list_documents(provider, kites, lambda items: items[0].update(version="9.9"))
    provider.fault("/files/*", status=404, times=1)

    report = sync(kites)

    assert report.failed == {"entity_documents": "files"}
    row = of_kites(1)
    assert (row.storage_name, row.version, row.error) == (before.storage_name, before.version, "http_404")
    assert documents.read(row)

    assert sync(kites).failed == {}
    assert (of_kites(1).version, of_kites(1).error) == ("9.9", "")


def test_a_renamed_document_is_not_downloaded_again(provider, asked, kites):
    list_documents(provider, kites, lambda items: items[0].update(name="Certificado"))

    sync(kites)

    assert of_kites(1).name == "Certificado"
    assert asked("/files/") == 0


def test_a_document_gone_from_the_list_is_deleted_with_its_file(provider, kites, media):
    former = of_kites(1).storage_name
    list_documents(provider, kites, lambda items: items.pop(0))

    report = sync(kites)

    assert report.changed == ["entity_documents"]
    assert not EntityDocument.objects.filter(storage_name=former).exists()
    assert not (media.parent / former).exists()


def test_a_new_version_without_a_file_drops_the_old_file(provider, kites, media):
    former = of_kites(1).storage_name
    list_documents(provider, kites, lambda items: items[0].update(version="9.9", fileUrl=None))

    report = sync(kites)

    assert report.failed == {}
    row = of_kites(1)
    assert (row.version, row.storage_name, row.error) == ("9.9", "", "")
    assert not (media.parent / former).exists()


def test_a_document_whose_url_is_withheld_keeps_the_file_it_has(provider, kites):
    list_documents(provider, kites, lambda items: items[0].update(fileUrl=None))

    assert sync(kites).changed == []
    assert documents.read(of_kites(1))


@pytest.mark.eprospera_provider
@pytest.mark.parametrize(
    "url", ["http://203.0.113.7/x.pdf", "ftp://localhost/x.pdf", "file:///etc/passwd", "https://10.0.0.1/x"]
)
def test_a_file_is_not_fetched_from_where_no_file_should_be(provider, kites, url):
    list_documents(provider, kites, lambda items: items[0].update(fileUrl=url, version="9.9"))

    report = sync(kites)

    assert report.failed == {"entity_documents": "files"}
    assert of_kites(1).error in {"bad_url", "connect_failed"}
