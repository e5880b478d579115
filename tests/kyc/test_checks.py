"""The automatic checks, also of values that cannot be decrypted."""

from datetime import date, timedelta

import pytest
from django.core.files.base import ContentFile
from django.test import override_settings
from django.utils import timezone, translation

from django_eprospera import documents, kyc
from django_eprospera.kyc.checks import run
from django_eprospera.kyc.facts import entity_facts, person_facts
from django_eprospera.kyc.findings import LABELS, SENTENCES, Finding
from django_eprospera.models import Review
from django_eprospera.testing import factories
from tests.kyc.steps import OTHER_KEY, decide, person, why


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("facts", "code", "expected"),
    [
        ({}, "person_details", "pass complete"),
        ({"person": {"date_of_birth": None}}, "person_details", "warn incomplete"),
        ({"person": {"name": ""}}, "person_details", "warn incomplete"),
        ({}, "permit_number", "pass well_formed"),
        ({"person": {"resident_permit_number": None}}, "permit_number", "warn none"),
        ({"person": {"resident_permit_number": "9000 000000042"}}, "permit_number", "fail malformed"),
        ({"person": {"resident_permit_number": "٩٠٠٠٠٠٠٠٠٠٤٢١٧"}}, "permit_number", "fail malformed"),
        ({}, "of_age", "pass adult"),
        ({"person": {"date_of_birth": None}}, "of_age", "warn unknown"),
        ({}, "residency", "pass active"),
        ({}, "residency_end", "pass none"),
        ({"residency": {"termination_date": timezone.now() + timedelta(days=3)}}, "residency", "pass active"),
        ({"residency": {"termination_date": timezone.now() + timedelta(days=3)}}, "residency_end", "warn soon"),
        ({"residency": {"termination_date": timezone.now() + timedelta(days=90)}}, "residency_end", "pass far"),
        ({"residency": {"termination_date": timezone.now() - timedelta(days=3)}}, "residency", "fail ended"),
        ({"residency": {"termination_date": timezone.now() - timedelta(days=3)}}, "residency_end", None),
        ({"residency": {"residency_type": None}}, "residency", "fail ended"),
        ({"residency": {"residency_type": None, "was_ever_resident": False}}, "residency", "fail never"),
        ({}, "identity_check", "pass approved"),
        ({"verification": {"status": None}}, "identity_check", "fail not_approved"),
        ({}, "identity_check_age", "pass recent"),
        ({"verification": {"date": None}}, "identity_check_age", "warn undated"),
        ({"verification": {"date": timezone.now() - timedelta(days=800)}}, "identity_check_age", "warn old"),
        ({}, "pictures", "pass all"),
        ({"verification": {"pictures": ["face", "document_front"]}}, "pictures", "warn no_back"),
        (
            {"verification": {"pictures": ["face", "document_front"], "document_type": "passport"}},
            "pictures",
            "pass no_back_needed",
        ),
        ({"verification": {"pictures": ["document_front"]}}, "pictures", "fail missing"),
        ({}, "picture_files", "pass open"),
        ({"verification": {"pictures": []}}, "picture_files", None),
        ({}, "account_name", None),
    ],
)
def test_checks_of_a_person(facts, code, expected):
    assert why(run(person_facts(person(**facts))), code) == expected


@pytest.mark.django_db
@pytest.mark.parametrize(("years", "days", "expected"), [(18, 0, "pass adult"), (18, 1, "fail minor")])
def test_somebody_is_of_age_on_the_eighteenth_birthday(years, days, expected):
    today = timezone.localdate()
    born = date(today.year - years, today.month, min(today.day, 28)) + timedelta(days=days)
    if (today.month, today.day) == (2, 29):
        born += timedelta(days=1)
    assert why(run(person_facts(person(person={"date_of_birth": born}))), "of_age") == expected


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("account", "expected"),
    [
        (("ADA", "ejemplo"), "pass agrees"),
        (("Ádá", ""), "pass agrees"),
        (("Somebody", "Else"), "warn differs"),
    ],
)
def test_the_account_name_is_compared_without_accents_and_case(account, expected):
    connection = person()
    connection.user.first_name, connection.user.last_name = account
    assert why(run(person_facts(connection)), "account_name") == expected


@pytest.mark.django_db
def test_nothing_shared_is_told_apart_from_nothing_there():
    bare = run(person_facts(factories.connection(scopes="openid")))
    asked = run(person_facts(factories.connection()))
    for code, outcome in (("person_details", "fail"), ("residency", "warn"), ("identity_check", "fail")):
        assert why(bare, code) == f"{outcome} not_shared"
        assert why(asked, code) in {f"{outcome} none", f"{outcome} unknown"}


@pytest.mark.django_db
def test_a_picture_that_was_exchanged_or_lost_fails_its_check():
    connection = person()
    picture = person_facts(connection).pictures["face"]
    storage = documents.storage()
    with storage.open(picture.storage_name) as file:
        sealed = bytearray(file.read())
    storage.delete(picture.storage_name)
    assert why(run(person_facts(connection)), "picture_files") == "fail lost"
    sealed[-1] ^= 1
    storage.save(picture.storage_name, ContentFile(bytes(sealed)))
    assert why(run(person_facts(connection)), "picture_files") == "fail unreadable"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("facts", "code", "expected"),
    [
        ({}, "entity_exists", "pass exists"),
        ({"dissolution_date": date(2020, 1, 1)}, "entity_exists", "fail dissolved"),
        ({"dissolution_date": date(2999, 1, 1)}, "entity_exists", "warn ending"),
        ({}, "entity_registered", "pass registered"),
        ({"registration_date": None}, "entity_registered", "fail unregistered"),
        ({}, "permit_number", "pass well_formed"),
        ({"resident_permit_number": None}, "permit_number", "warn none"),
        ({}, "entity_documents", "warn none"),
        ({}, "document_files", None),
        ({}, "representative", "warn not_approved"),
    ],
)
def test_checks_of_a_company(facts, code, expected):
    entity = factories.consent(factories.connection(), factories.legal_entity(**facts)).entity
    assert why(run(entity_facts(entity)), code) == expected


@pytest.mark.django_db
def test_a_picture_whose_file_was_never_fetched_is_missing():
    connection = person(verification={"pictures": ["document_front"]})
    factories.picture(connection.id_verification, kind="face", content=b"")
    assert why(run(person_facts(connection)), "pictures") == "fail missing"


@pytest.mark.django_db
def test_a_company_is_dissolved_from_its_day_of_dissolution():
    entity = factories.consent(
        factories.connection(), factories.legal_entity(dissolution_date=timezone.localdate())
    ).entity
    assert why(run(entity_facts(entity)), "entity_exists") == "fail dissolved"


@pytest.mark.django_db
def test_a_representative_whose_review_is_pending_is_not_approved():
    connection = person()
    entity = factories.consent(connection).entity
    kyc.evaluate(connection)
    assert why(run(entity_facts(entity)), "representative") == "warn not_approved"


@pytest.mark.django_db
def test_checks_of_a_company_documents():
    entity = factories.consent(factories.connection(scopes="eprospera:entity.read")).entity
    assert why(run(entity_facts(entity)), "entity_documents") == "warn not_shared"
    factories.document(entity)
    assert why(run(entity_facts(entity)), "entity_documents") == "pass present"
    assert why(run(entity_facts(entity)), "document_files") == "pass open"
    factories.document(entity, content=b"")
    assert why(run(entity_facts(entity)), "entity_documents") == "warn file_missing"


@pytest.mark.django_db
def test_approving_the_representative_shows_in_the_company_at_once(reviewer):
    connection = person()
    entity = factories.consent(connection).entity
    decide(kyc.evaluate(connection), reviewer)
    stored = [Finding.from_json(check) for check in Review.objects.get(entity=entity).checks]
    assert why(stored, "representative") == "pass approved"
    connection.entity_consents.update(withdrawn_at=timezone.now())
    assert why(run(entity_facts(entity)), "representative") == "warn nobody"


def test_every_reason_has_a_sentence_in_both_languages():
    for (code, reason), sentence in SENTENCES.items():
        assert code in LABELS or code == "*"
        with translation.override("en"):
            assert str(sentence) != reason


@pytest.mark.django_db
def test_values_that_do_not_open_fail_a_check_and_undo_nothing(reviewer):
    connection = person()
    review = kyc.evaluate(connection)
    decide(review, reviewer)
    with override_settings(FIELD_ENCRYPTION_KEY=OTHER_KEY):
        again = kyc.evaluate(type(connection).objects.get(pk=connection.pk))
    assert again.status == Review.Status.APPROVED
    assert {"code": "person_details", "outcome": "fail", "why": "unreadable"} in again.checks


@pytest.mark.django_db
def test_values_that_do_not_open_are_no_reason_to_wait():
    connection = person()
    with override_settings(FIELD_ENCRYPTION_KEY=OTHER_KEY):
        assert kyc.evaluate(type(connection).objects.get(pk=connection.pk)).status == Review.Status.PENDING


@pytest.mark.django_db
def test_a_decision_stands_when_keys_are_rotated(reviewer, settings):
    connection = person()
    decide(kyc.evaluate(connection), reviewer)
    settings.FIELD_ENCRYPTION_KEY = [OTHER_KEY, settings.FIELD_ENCRYPTION_KEY]
    assert kyc.evaluate(connection).status == Review.Status.APPROVED
