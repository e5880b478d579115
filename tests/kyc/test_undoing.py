"""What returns a decided review to the queue, and what does not."""

from datetime import date

import pytest

from django_eprospera import documents, kyc
from django_eprospera.errors import DecisionRefused
from django_eprospera.kyc import reviews
from django_eprospera.kyc.facts import facts_of, person_facts
from django_eprospera.models import AuditEntry, NaturalPerson, Review
from django_eprospera.testing import factories
from tests.kyc.steps import APPROVED, REJECTED, REOPENED, decide, make_reviewer, person


@pytest.mark.django_db
@pytest.mark.parametrize("outcome", [APPROVED, REJECTED])
@pytest.mark.parametrize("change", ["name", "resident_permit_number", "picture"])
def test_changed_identity_facts_put_a_decided_review_back(reviewer, outcome, change):
    connection = person()
    decide(kyc.evaluate(connection), reviewer, outcome, "Because.")
    if change == "picture":
        documents.store(person_facts(connection).pictures["face"], factories.png("another face"))
    else:
        details = NaturalPerson.objects.get()
        setattr(details, change, "90000000009999")
        details.save()
    review = kyc.evaluate(connection)
    assert review.status == Review.Status.PENDING
    assert review.queued_at is not None
    assert AuditEntry.objects.get(action="reopened").detail == {"why": "facts_changed"}
    assert decide(review, make_reviewer(), APPROVED).outcome == APPROVED


@pytest.mark.django_db
def test_facts_that_say_nothing_of_who_it_is_undo_nothing(reviewer):
    connection = person()
    decide(kyc.evaluate(connection), reviewer)
    details = NaturalPerson.objects.get()
    details.phone_number = "+504 1111 1111"
    details.save()
    assert kyc.evaluate(connection).status == Review.Status.APPROVED


@pytest.mark.django_db
def test_losing_the_identity_check_closes_an_approved_review(reviewer):
    connection = person()
    decide(kyc.evaluate(connection), reviewer)
    connection.id_verification.delete()
    assert kyc.evaluate(connection).status == Review.Status.WAITING


@pytest.mark.django_db
def test_a_dissolved_company_is_reviewed_again(reviewer):
    connection = person()
    entity = factories.consent(connection).entity
    kyc.evaluate(connection)
    decide(Review.objects.get(entity=entity), reviewer)
    entity.dissolution_date = date(2020, 1, 1)
    entity.save()
    kyc.evaluate(connection)
    assert Review.objects.get(entity=entity).status == Review.Status.PENDING


@pytest.mark.django_db
@pytest.mark.parametrize("last", [REJECTED, REOPENED])
def test_a_status_that_is_not_that_of_the_last_decision_does_not_last(reviewer, last):
    connection = person()
    review = kyc.evaluate(connection)
    decide(review, reviewer)
    decide(review, reviewer, last, "Forged.")
    Review.objects.update(status=Review.Status.APPROVED)
    assert kyc.evaluate(connection).status == Review.Status.PENDING


@pytest.mark.django_db
def test_an_approval_of_changed_facts_lasts(reviewer):
    connection = person()
    decide(kyc.evaluate(connection), reviewer)
    details = NaturalPerson.objects.get()
    details.name = "Ada Changed"
    details.save()
    decide(kyc.evaluate(connection), reviewer)
    assert kyc.evaluate(connection).status == Review.Status.APPROVED
    assert kyc.status_for(connection.user).status == Review.Status.APPROVED


@pytest.fixture
def meanwhile(monkeypatch):
    """`meanwhile(work)`: `work` is done once, between the reading and the writing of the next evaluation."""

    def arrange(work):
        original = reviews.columns_of

        def interrupted(*arguments):
            monkeypatch.setattr(reviews, "columns_of", original)
            work()
            return original(*arguments)

        monkeypatch.setattr(reviews, "columns_of", interrupted)

    return arrange


@pytest.mark.django_db
def test_an_evaluation_does_not_undo_a_decision_taken_meanwhile(reviewer, meanwhile):
    connection = person()
    kyc.evaluate(connection)
    meanwhile(lambda: decide(Review.objects.get(), reviewer))
    assert kyc.evaluate(connection).status == Review.Status.APPROVED


@pytest.mark.django_db
def test_an_evaluation_does_not_reopen_what_was_decided_anew_meanwhile(reviewer, meanwhile):
    connection = person()
    decide(kyc.evaluate(connection), reviewer)
    details = NaturalPerson.objects.get()
    details.name = "Ada Changed"
    details.save()

    def decide_anew():
        review = Review.objects.get()
        decide(review, reviewer, REOPENED, "She married.")
        decide(review, reviewer)

    meanwhile(decide_anew)
    assert kyc.evaluate(connection).status == Review.Status.APPROVED


@pytest.mark.django_db
def test_an_evaluation_does_not_take_a_review_out_of_the_queue_that_entered_it_meanwhile(meanwhile):
    connection = factories.connection()
    kyc.evaluate(connection)

    def facts_arrive():
        factories.natural_person(connection)
        factories.id_verification(connection)
        kyc.evaluate(connection)

    meanwhile(facts_arrive)
    assert kyc.evaluate(connection).status == Review.Status.PENDING
    assert kyc.status_for(connection.user).queued_at is not None


@pytest.mark.django_db
def test_the_review_of_a_person_without_details_waits_and_is_told():
    connection = factories.connection()
    review = kyc.evaluate(connection)
    assert kyc.status_for(connection.user) == review


@pytest.mark.django_db
def test_a_status_without_a_decision_behind_it_does_not_last():
    connection = person()
    kyc.evaluate(connection)
    Review.objects.update(status=Review.Status.APPROVED)
    assert kyc.evaluate(connection).status == Review.Status.PENDING


@pytest.mark.django_db
def test_a_reviewer_reopens_and_reverses(reviewer):
    review = kyc.evaluate(person())
    decide(review, reviewer)
    decide(review, reviewer, REJECTED, "Forged, as it turned out.")
    decide(review, reviewer, REOPENED, "The police asks to look again.")
    assert (review.status, review.decisions.count()) == (Review.Status.PENDING, 3)
    assert review.queued_at is not None


@pytest.mark.django_db
def test_a_review_outlives_the_connection_and_covers_the_same_person_again(reviewer):
    connection = person()
    review = kyc.evaluate(connection)
    decide(review, reviewer)
    connection.delete()
    review = Review.objects.select_related("user").get()
    assert facts_of(review) is None
    with pytest.raises(DecisionRefused) as refused:
        kyc.decide(review, reviewer=reviewer, outcome=APPROVED, reason="", seen="")
    assert refused.value.code == "not_now"
    decide(review, reviewer, REJECTED, "Sanctioned since.")
    assert Review.objects.get().status == Review.Status.REJECTED


@pytest.mark.django_db
def test_a_user_who_came_back_as_somebody_else_does_not_inherit_the_review(reviewer):
    connection = person()
    review = kyc.evaluate(connection)
    decide(review, reviewer)
    connection.sub = "somebody else"
    connection.save()
    assert kyc.status_for(connection.user) is None
    assert facts_of(Review.objects.get()) is None
