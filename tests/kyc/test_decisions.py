"""Decisions: who may decide, on what, what is kept, and what is refused."""

import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import connection as database
from django.db import connections, transaction
from django.utils import timezone

from django_eprospera import kyc, signals, tokens
from django_eprospera.admin.review_queue import next_in_queue
from django_eprospera.errors import DecisionRefused
from django_eprospera.kyc.facts import person_facts
from django_eprospera.models import Affiliation, AuditEntry, Decision, NaturalPerson, Review
from django_eprospera.testing import factories
from tests.kyc.steps import APPROVED, REJECTED, REOPENED, decide, make_reviewer, person, version_of


@pytest.mark.django_db
def test_an_approval_keeps_who_why_when_and_on_which_facts(reviewer):
    connection = person()
    review = kyc.evaluate(connection)
    decision = decide(review, reviewer, reason="Face and document agree.")
    kept = Decision.objects.get(pk=decision.pk)
    assert review.status == Review.Status.APPROVED
    assert Review.objects.get().decided_at == kept.decided_at
    assert (kept.reviewer, kept.reviewer_name, kept.reason) == (reviewer, reviewer.username, "Face and document agree.")
    facts = kept.evidence["facts"]
    assert facts["identity"]["person"]["name"] == "Ada Example"
    assert facts["identity"]["pictures"]["face"] == person_facts(connection).pictures["face"].digest
    assert facts["residency"]["residency_type"] == "Resident"
    assert kept.evidence["checks"] == review.checks
    assert (kept.evidence["subject"], kept.evidence["reviewer"]) == (review.subject, str(reviewer.pk))
    entry = AuditEntry.objects.get(action="decided")
    assert entry.detail == {"decision": str(kept.pk), "outcome": "approved", "digest": kept.digest}
    assert entry.actor == reviewer
    assert kyc.verify_decision(kept)


@pytest.mark.django_db
def test_decisions_lie_sealed_in_the_database(reviewer):
    connection = person(person={"name": "Canary Zanahoria"})
    decide(kyc.evaluate(connection), reviewer, REJECTED, "Canary reason")
    with database.cursor() as cursor:
        cursor.execute("SELECT * FROM django_eprospera_decision")
        assert "Canary" not in str(cursor.fetchall())
        cursor.execute("SELECT * FROM django_eprospera_auditentry")
        assert "Canary" not in str(cursor.fetchall())


@pytest.mark.django_db
def test_a_company_is_decided_on_with_its_documents(reviewer):
    connection = person()
    entity = factories.consent(connection).entity
    document = factories.document(entity)
    kyc.evaluate(connection)
    decision = decide(Review.objects.get(entity=entity), reviewer)
    assert decision.evidence["facts"]["documents"][0]["digest"] == document.digest
    assert kyc.status_for_entity(connection.user, entity).status == Review.Status.APPROVED


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("facts", "outcome", "reason", "code"),
    [
        ({}, REJECTED, "", "reason_required"),
        ({}, REJECTED, "   ", "reason_required"),
        ({"residency": {"residency_type": None}}, APPROVED, "", "reason_required"),
        ({}, REJECTED, "x" * 2001, "reason_too_long"),
        ({}, REOPENED, "why not", "not_now"),
    ],
)
def test_refusals_change_nothing(reviewer, facts, outcome, reason, code):
    review = kyc.evaluate(person(**facts))
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer, outcome, reason)
    assert refused.value.code == code
    assert Review.objects.get().status == Review.Status.PENDING
    assert not Decision.objects.exists()
    assert not AuditEntry.objects.filter(action="decided").exists()


@pytest.mark.django_db
def test_an_approval_against_a_failed_check_needs_a_reason_and_then_stands(reviewer):
    review = kyc.evaluate(person(residency={"residency_type": None}))
    assert decide(review, reviewer, reason="Resident elsewhere, known in person.").outcome == APPROVED


@pytest.mark.django_db
def test_a_waiting_review_is_not_decided(reviewer):
    with pytest.raises(DecisionRefused) as refused:
        decide(kyc.evaluate(factories.connection()), reviewer, REJECTED, "Never came.")
    assert refused.value.code == "not_now"


@pytest.mark.django_db
@pytest.mark.parametrize("missing", ["decide_review", "view_personal_data", "inactive"])
def test_only_reviewers_who_may_see_personal_data_decide(missing):
    permissions = {"decide_review", "view_personal_data"} - {missing}
    user = make_reviewer(permissions=permissions, is_active=missing != "inactive")
    with pytest.raises(DecisionRefused) as refused:
        decide(kyc.evaluate(person()), user)
    assert refused.value.code == "not_permitted"


@pytest.mark.django_db
def test_nobody_decides_on_themself_or_on_a_company_of_theirs(reviewer):
    connection = factories.connection(reviewer)
    factories.natural_person(connection)
    factories.id_verification(connection)
    entity = factories.consent(connection).entity
    own = kyc.evaluate(connection)
    for review in (own, Review.objects.get(entity=entity)):
        with pytest.raises(DecisionRefused) as refused:
            decide(review, reviewer)
        assert refused.value.code == "own_review"


def come_back(reviewer, connection):
    """The person connects with a new account, which is a reviewer too, and disconnects it again."""
    again = make_reviewer()
    tokens.disconnect(factories.connection(again, sub=connection.sub))
    return get_user_model().objects.get(pk=again.pk)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [Review.Subject.PERSON, Review.Subject.ENTITY])
@pytest.mark.parametrize(
    "afterwards",
    [
        lambda reviewer, connection: tokens.disconnect(connection),
        lambda reviewer, connection: connection.entity_consents.all().delete(),
        lambda reviewer, connection: (tokens.disconnect(connection), factories.connection(reviewer, sub="another")),
        lambda reviewer, connection: (tokens.disconnect(connection), come_back(reviewer, connection))[1],
        lambda reviewer, connection: (reviewer.delete(), come_back(reviewer, connection))[1],
    ],
    ids=["disconnects", "stops sharing", "connects as another", "new account", "deleted and back"],
)
def test_who_was_ever_the_person_or_shared_the_company_never_decides(client, reviewer, kind, afterwards):
    connection = factories.connection(reviewer)
    factories.natural_person(connection)
    factories.id_verification(connection)
    entity = factories.consent(connection).entity
    partner = person()
    factories.consent(partner, entity)
    kyc.evaluate(connection)
    came = afterwards(reviewer, connection)
    reviewer = get_user_model().objects.get(pk=came.pk if isinstance(came, get_user_model()) else reviewer.pk)
    kyc.evaluate(partner)
    review = Review.objects.get(
        subject_kind=kind, subject__endswith=connection.sub if kind == "person" else entity.entity_id
    )
    Review.objects.filter(pk=review.pk).update(status=Review.Status.APPROVED)
    with pytest.raises(DecisionRefused) as refused:
        decide(Review.objects.get(pk=review.pk), reviewer, REJECTED, "No friend of mine.")
    assert refused.value.code == "own_review"
    Review.objects.exclude(pk=review.pk).delete()
    Review.objects.update(status=Review.Status.PENDING, queued_at=timezone.now())
    assert next_in_queue(reviewer) is None
    assert next_in_queue(make_reviewer()) == review


@pytest.mark.django_db
def test_a_review_of_the_reviewers_own_account_is_their_own_also_without_a_record(reviewer):
    review = kyc.evaluate(person())
    Review.objects.update(user=reviewer)
    Affiliation.objects.all().delete()
    with pytest.raises(DecisionRefused) as refused:
        decide(Review.objects.get(pk=review.pk), reviewer)
    assert refused.value.code == "own_review"


@pytest.mark.django_db
def test_what_is_kept_of_who_shared_a_company_is_only_keys():
    connection = person(person={"name": "Canary Zanahoria"})
    consent = factories.consent(connection)
    connection.user.delete()
    kept = Affiliation.objects.values_list("subject", "person", "user_ref")
    person_ = f"person:{connection.issuer}:{connection.sub}"
    company = f"entity:{connection.issuer}:{consent.entity.entity_id}"
    user_ref = str(connection.user_id)
    assert set(kept) == {(person_, person_, user_ref), (company, person_, user_ref)}


@pytest.mark.django_db
def test_a_screen_older_than_the_facts_decides_nothing(reviewer):
    connection = person()
    review = kyc.evaluate(connection)
    seen = version_of(review)
    details = NaturalPerson.objects.get()
    details.phone_number = "+504 1111 1111"
    details.save()
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer, seen=seen)
    assert refused.value.code == "stale"
    assert Review.objects.get().status == Review.Status.PENDING


@pytest.mark.django_db
def test_pressing_twice_decides_once(reviewer):
    review = kyc.evaluate(person())
    seen = version_of(review)
    decide(Review.objects.get(), reviewer, seen=seen)
    for copy in (review, Review.objects.get()):
        with pytest.raises(DecisionRefused) as refused:
            decide(copy, reviewer, seen=seen)
        assert refused.value.code in {"stale", "not_now"}
    assert Decision.objects.count() == 1


@pytest.mark.django_db
def test_a_page_from_before_two_decisions_decides_nothing_though_the_status_is_the_same(reviewer):
    review = kyc.evaluate(person())
    before = Review.objects.get()
    decide(review, reviewer)
    decide(review, reviewer, REOPENED, "Look again.")
    with pytest.raises(DecisionRefused) as refused:
        decide(before, reviewer)
    assert refused.value.code == "stale"


@pytest.mark.django_db
def test_a_review_that_left_the_queue_meanwhile_is_not_decided(reviewer):
    review = kyc.evaluate(person())
    Review.objects.update(status=Review.Status.WAITING)
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer)
    assert refused.value.code == "stale"


@pytest.mark.django_db
def test_facts_that_were_erased_are_not_approved(reviewer):
    connection = person()
    review = kyc.evaluate(connection)
    decide(review, reviewer, REJECTED, "Not legible.")
    connection.delete()
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer, reason="Known in person.")
    assert refused.value.code == "no_facts"


@pytest.mark.django_db
def test_a_reason_may_have_two_thousand_characters(reviewer):
    assert decide(kyc.evaluate(person()), reviewer, REJECTED, f" {'x' * 2000} ").reason == "x" * 2000


@pytest.mark.django_db
def test_a_decision_leaves_the_queue_and_a_reopened_one_enters_it_at_its_end(reviewer):
    review = kyc.evaluate(person())
    waited = review.queued_at
    decide(review, reviewer)
    assert review.queued_at is None
    assert Review.objects.get().queued_at is None
    decide(review, reviewer, REOPENED, "Look again.")
    assert review.queued_at == Review.objects.get().queued_at > waited


@pytest.mark.django_db
def test_a_digest_says_nothing_of_guessed_facts(reviewer):
    """Equal facts, reasons and reviewers have salts of their own, so that no guess can be compared with a digest."""
    salts = {decide(kyc.evaluate(person()), reviewer).evidence["salt"] for _ in range(2)}
    assert len(salts) == 2
    assert {len(salt) for salt in salts} == {32}


@pytest.mark.django_db(transaction=True)
def test_of_many_reviewers_at_once_one_decides():
    review = kyc.evaluate(person())
    seen = version_of(review)
    reviewers = [make_reviewer() for _ in range(6)]
    start, outcomes = threading.Barrier(len(reviewers)), []

    def press(reviewer, outcome):
        try:
            copy = Review.objects.get(pk=review.pk)
            start.wait()
            decide(copy, reviewer, outcome, "At once.", seen)
            outcomes.append("decided")
        except DecisionRefused as refused:
            outcomes.append(refused.code)
        finally:
            connections.close_all()

    threads = [
        threading.Thread(target=press, args=(reviewer, (APPROVED, REJECTED)[number % 2]))
        for number, reviewer in enumerate(reviewers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["decided"] + ["stale"] * 5
    assert Decision.objects.count() == 1
    assert Review.objects.get().status == Decision.objects.get().outcome


@pytest.mark.django_db(transaction=True)
def test_listeners_hear_of_a_decision_once_it_is_committed(reviewer):
    heard = []

    def listener(**arguments):
        heard.append(arguments["decision"].pk)
        raise RuntimeError("a listener's fault is not the reviewer's")

    signals.kyc_decided.connect(listener)
    try:
        with transaction.atomic():
            decision = decide(kyc.evaluate(person()), reviewer)
            assert heard == []
        assert heard == [decision.pk]
    finally:
        signals.kyc_decided.disconnect(listener)
