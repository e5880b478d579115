"""What becomes of good answers: rows, files, and nothing where nothing changed."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils import timezone

from django_eprospera import documents, scopes, signals
from django_eprospera.errors import DocumentError
from django_eprospera.freshness import freshness
from django_eprospera.models import IdVerification, NaturalPerson, Residency, ResourceState
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.sandbox_process import ANA, LUCIA, MIRJAM, NADIA, OTTO, TEO

pytestmark = pytest.mark.django_db(transaction=True)

ALL = sorted(ResourceState.Resource.values)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_everything_that_was_granted_is_cached(provider, media):
    connection = factories.sandbox_connection(provider, LUCIA)

    report = sync(connection)

    assert (sorted(report.changed), report.failed, report.skipped) == (ALL, {}, [])
    person = connection.natural_person
    assert (person.name, person.given_name, person.surname) == ("Lucía Ejemplo", "Lucía", "Ejemplo")
    assert person.resident_permit_number == "90000000004217"
    assert NaturalPerson.objects.get(rpn_index="9000 0000 0042 17") == person
    assert person.date_of_birth == date(1988, 2, 29)
    assert person.citizenships == ["Honduras", "Spain"]
    assert person.address["postal_code"] == "34101"
    residency = connection.residency
    assert (residency.residency_type, residency.was_ever_resident, residency.is_active) == ("Resident", True, True)
    check = connection.id_verification
    assert (check.status, check.kind, check.document_type) == ("approved", "veriff", "national_id")
    assert check.date == datetime(2026, 3, 4, 15, 20, tzinfo=UTC)
    pictures = list(check.images.all())
    assert sorted(picture.kind for picture in pictures) == ["document_back", "document_front", "face"]
    assert {picture.content_type for picture in pictures} == {"image/jpeg"}
    companies = [consent.entity for consent in connection.entity_consents.all()]
    assert {company.name for company in companies} >= {"Invented Kites", "Faroles de Papel"}
    assert all(company.formation_date for company in companies), "the detail answer was used, not only the list's"
    papers = [document for company in companies for document in company.documents.all()]
    stored = [row for row in papers + pictures if row.storage_name]
    assert {row.error for row in papers} == {""}, "a document that the provider has no file of is nothing that failed"
    assert all(documents.read(row).startswith((b"%PDF-", b"\xff\xd8")) for row in stored)
    assert len(files(media)) == len(stored)
    assert all(one.granted and not one.stale and not one.error for one in freshness(connection))


def test_nothing_is_written_or_downloaded_when_nothing_changed(provider, asked, media):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    before, ciphertext = files(media), NaturalPerson.objects.values("name", "address").get()
    asked("/files/")

    report = sync(connection)

    assert (report.changed, report.failed) == ([], {})
    assert asked("/files/") == 0
    assert files(media) == before
    after = NaturalPerson.objects.values("name", "address").get()
    assert [value.text for value in after.values()] == [value.text for value in ciphertext.values()]


def test_only_what_changed_is_written(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    name = NaturalPerson.objects.values_list("name", flat=True).get().text
    provider.control(f"personas/{LUCIA}", person={"phoneNumber": "+50499999999"})

    report = sync(connection)

    assert report.changed == ["natural_person"]
    assert NaturalPerson.objects.get().phone_number == "+50499999999"
    assert NaturalPerson.objects.values_list("name", flat=True).get().text == name, (
        "an unchanged column was sealed anew"
    )


def test_only_what_the_scopes_open_is_asked_for(provider, asked):
    granted = ["openid", "offline_access", scopes.PERSON_RESIDENCY_READ]
    connection = factories.sandbox_connection(provider, LUCIA, scopes=" ".join(granted))

    report = sync(connection)

    assert report.changed == ["residency"]
    assert sorted(report.skipped) == [resource for resource in ALL if resource != "residency"]
    assert asked("/api/v1/me/") == 1
    told = {one.resource: one for one in freshness(connection)}
    assert told["natural_person"].error == "not_granted"
    assert "not allowed" in told["natural_person"].message


def test_a_connection_for_signing_in_alone_costs_no_request(provider, asked):
    connection = factories.sandbox_connection(provider, LUCIA, scopes="openid profile offline_access")

    report = sync(connection)

    assert (report.changed, report.failed, report.asked) == ([], {}, 0)
    assert asked("/") == 0


def test_some_resources_can_be_synced_alone(provider):
    connection = factories.sandbox_connection(provider, LUCIA)

    report = sync(connection, ["residency"])

    assert (report.changed, report.skipped) == (["residency"], [])
    assert not NaturalPerson.objects.exists()


def test_a_person_without_a_record_is_none_on_file_and_no_failure(provider):
    connection = factories.sandbox_connection(provider, NADIA)

    report = sync(connection)

    assert report.failed == {}
    assert not NaturalPerson.objects.exists()
    state = connection.resources.get(resource="natural_person")
    assert state.synced_at is not None
    assert state.error == ""


def test_a_record_that_is_gone_at_the_provider_is_deleted_here(provider, media):
    connection = factories.sandbox_connection(
        provider, LUCIA, scopes=f"openid {scopes.PERSON_DETAILS_READ} {scopes.PERSON_ID_VERIFICATION_READ}"
    )
    sync(connection)
    assert len(files(media)) == 3
    provider.fault("/api/v1/me/natural-person", status=200, body="null")
    provider.control(f"personas/{LUCIA}", check=None)

    report = sync(connection)

    assert sorted(report.changed) == ["id_verification", "natural_person"]
    assert not NaturalPerson.objects.exists()
    assert not IdVerification.objects.exists()
    assert files(media) == [], "the pictures went with their row"


@pytest.mark.parametrize(("sub", "active"), [(LUCIA, True), (MIRJAM, True), (OTTO, False), (NADIA, False)])
def test_residency_is_active_when_there_is_one_that_has_not_ended(provider, sub, active):
    connection = factories.sandbox_connection(provider, sub)

    sync(connection)

    assert Residency.objects.get().is_active is active


def test_a_residency_that_ends_is_overwritten_with_none(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    provider.control(f"personas/{LUCIA}", residency={"activeResidency": None})

    sync(connection)

    residency = Residency.objects.get()
    assert (residency.residency_type, residency.effective_date, residency.is_active) == (None, None, False)
    assert residency.was_ever_resident is True


def test_nulls_wherever_the_contract_allows_them_are_kept_as_nulls(provider):
    connection = factories.sandbox_connection(provider, TEO)

    report = sync(connection)

    assert report.failed == {}
    assert NaturalPerson.objects.get().phone_number is None
    assert not IdVerification.objects.exists()


def test_a_document_without_a_back_has_no_row_for_one(provider):
    connection = factories.sandbox_connection(provider, ANA)

    sync(connection)

    assert sorted(image.kind for image in IdVerification.objects.get().images.all()) == ["document_front", "face"]


def test_pictures_of_an_earlier_check_never_stand_beside_a_new_one(provider, media):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    before = set(files(media))
    pictures = set(IdVerification.objects.get().images.values_list("pk", flat=True))
    provider.control(
        f"personas/{LUCIA}", check={"id": "11111111-2222-4333-8444-555555555555", "date": "2026-10-01T00:00:00.000Z"}
    )
    provider.fault("/files/*", status=403, body="{}")

    report = sync(connection)

    assert report.failed == {"id_verification": "files"}
    images = list(IdVerification.objects.get().images.all())
    assert {(image.storage_name, image.error) for image in images} == {("", "http_403")}
    assert not pictures & {image.pk for image in images}
    assert len(before - set(files(media))) == 3

    provider.control("faults", "DELETE")
    assert sync(connection).failed == {}
    assert all(documents.read(image) for image in IdVerification.objects.get().images.all())


def is_lost(image):
    try:
        documents.read(image)
    except DocumentError as error:
        return error.code == "lost"
    return False


@pytest.mark.parametrize("loss", ["never fetched", "lost from the storage"])
def test_a_picture_that_is_missing_is_fetched_by_the_next_sync(provider, asked, media, loss):
    connection = factories.sandbox_connection(provider, LUCIA, scopes=f"openid {scopes.PERSON_ID_VERIFICATION_READ}")
    if loss == "never fetched":
        provider.fault("/files/*", status=500, times=3)
        assert sync(connection).failed == {"id_verification": "files"}
        assert connection.resources.get().synced_at is not None, "the facts themselves are fresh"
        lost = 3
    else:
        sync(connection)
        next(media.iterdir()).unlink()
        assert any(is_lost(image) for image in IdVerification.objects.get().images.all()), "noticed by who opens it"
        lost = 1
    asked("/files/")

    report = sync(connection)

    assert (report.changed, report.failed) == (["id_verification"], {})
    assert asked("/files/") == lost
    assert all(documents.read(image) for image in IdVerification.objects.get().images.all())
    assert len(files(media)) == 3


def test_a_file_that_is_not_a_picture_is_refused_and_noted(provider, media):
    connection = factories.sandbox_connection(provider, LUCIA, scopes=f"openid {scopes.PERSON_ID_VERIFICATION_READ}")
    provider.fault("/files/*", status=200, body="<html>signature expired</html>", content_type="image/jpeg")

    report = sync(connection)

    assert report.failed == {"id_verification": "files"}
    assert set(IdVerification.objects.get().images.values_list("error", flat=True)) == {"wrong_type"}
    assert files(media) == []


def test_a_signal_tells_what_changed_and_what_failed(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    provider.fault("/api/v1/me/natural-person/residency", status=403, body='{"error": "missing_scopes"}')
    heard = []

    def listen(connection, changed, failed, **_):
        heard.append((connection.pk, sorted(changed), failed))

    signals.facts_synced.connect(listen)
    try:
        sync(connection)
    finally:
        signals.facts_synced.disconnect(listen)

    assert heard == [(connection.pk, [name for name in ALL if name != "residency"], ["residency"])]


def test_an_answer_older_than_the_one_in_the_cache_is_thrown_away(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    # As if another sync, which asked later, had stored its answer while ours was on its way.
    later = timezone.now() + timedelta(minutes=5)
    connection.resources.update(synced_at=later)
    provider.control(f"personas/{LUCIA}", person={"phoneNumber": "+50499999999"})

    report = sync(connection)

    assert report.changed == []
    assert NaturalPerson.objects.get().phone_number == "+50400000001"
    assert set(connection.resources.values_list("synced_at", flat=True)) == {later}
