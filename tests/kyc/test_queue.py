"""Which reviews wait, which are queued, and what is stored of their checks."""

import pytest
from django.db import connection as database
from django.utils import timezone

from django_eprospera import kyc, signals
from django_eprospera.kyc.decisions import outcomes_for
from django_eprospera.models import Review
from django_eprospera.testing import factories
from tests.kyc.steps import person


@pytest.mark.django_db
def test_a_person_with_enough_facts_is_queued():
    connection = person()
    review = kyc.evaluate(connection)
    assert review.status == Review.Status.PENDING
    assert review.queued_at is not None
    assert review.user == connection.user
    assert review.subject == f"person:{connection.issuer}:{connection.sub}"


@pytest.mark.django_db
def test_a_sync_is_what_evaluates():
    connection = person()
    signals.facts_synced.send(type(connection), connection=connection, changed=["residency"], failed=[])
    assert kyc.status_for(connection.user).status == Review.Status.PENDING


@pytest.mark.django_db
@pytest.mark.parametrize("missing", ["person", "verification", "face", "document_front"])
def test_a_person_without_enough_facts_waits(missing):
    connection = factories.connection()
    if missing != "person":
        factories.natural_person(connection)
    if missing != "verification":
        kinds = [kind for kind in ("face", "document_front", "document_back") if kind != missing]
        factories.id_verification(connection, pictures=kinds)
    review = kyc.evaluate(connection)
    assert (review.status, review.queued_at) == (Review.Status.WAITING, None)
    assert outcomes_for(review) == ()


@pytest.mark.django_db
def test_a_waiting_review_is_queued_when_the_facts_arrive_and_keeps_its_place():
    connection = factories.connection()
    assert kyc.evaluate(connection).status == Review.Status.WAITING
    factories.natural_person(connection)
    factories.id_verification(connection)
    queued = kyc.evaluate(connection)
    assert queued.status == Review.Status.PENDING
    assert kyc.evaluate(connection).queued_at == queued.queued_at
    assert Review.objects.count() == 1


@pytest.mark.django_db
def test_a_company_shared_by_two_people_has_one_review():
    entity = factories.legal_entity()
    connections_ = [person(), person()]
    for connection in connections_:
        factories.consent(connection, entity)
        kyc.evaluate(connection)
    review = Review.objects.get(subject_kind=Review.Subject.ENTITY)
    assert (review.status, review.entity) == (Review.Status.PENDING, entity)
    assert kyc.status_for_entity(connections_[0].user, entity) == review


@pytest.mark.django_db
def test_a_company_nobody_shares_any_more_leaves_the_queue():
    connection = person()
    consent = factories.consent(connection)
    kyc.evaluate(connection)
    consent.withdrawn_at = timezone.now()
    consent.save()
    kyc.evaluate(connection)
    review = Review.objects.get(entity=consent.entity)
    assert (review.status, review.queued_at) == (Review.Status.WAITING, None)
    assert kyc.status_for_entity(connection.user, consent.entity) is None


@pytest.mark.django_db
def test_what_is_stored_of_the_checks_holds_no_personal_data():
    connection = person(person={"name": "Canary Zanahoria", "resident_permit_number": "9000000000424"})
    review = kyc.evaluate(connection)
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM django_eprospera_review")
        stored = str(cursor.fetchall())
    assert "Canary" not in stored
    assert "9000000000424" not in stored
    assert {"code": "permit_number", "outcome": "fail", "why": "malformed"} in review.checks
