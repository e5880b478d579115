"""Reviews and decisions: who waits, who is queued, what a decision keeps, and what undoes it."""

import hashlib
import json
import threading
from datetime import date, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.core.management import call_command
from django.db import connection as database
from django.db import connections, transaction
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone, translation

from django_eprospera import audit, documents, kyc, signals, tokens
from django_eprospera.admin.review_queue import next_in_queue
from django_eprospera.errors import AuditError, DecisionRefused, SealedValueError
from django_eprospera.kyc import decisions, reviews
from django_eprospera.kyc.checks import results_of, run
from django_eprospera.kyc.decisions import facts_version, outcomes_for
from django_eprospera.kyc.facts import entity_facts, facts_of, person_facts
from django_eprospera.kyc.findings import LABELS, SENTENCES, Finding
from django_eprospera.models import Affiliation, AuditEntry, Connection, Decision, LegalEntity, NaturalPerson, Review
from tests import factories

OTHER_KEY = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="
APPROVED, REJECTED, REOPENED = Decision.Outcome.APPROVED, Decision.Outcome.REJECTED, Decision.Outcome.REOPENED


@pytest.fixture
def reviewer(db):
    return make_reviewer()


def make_reviewer(*, permissions=("decide_review", "view_personal_data"), **fields):
    user = factories.user(is_staff=True, **fields)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return get_user_model().objects.get(pk=user.pk)


def person(**facts):
    """A connection with everything that a review needs; `facts` replaces parts of it."""
    connection = factories.connection()
    factories.natural_person(connection, **facts.get("person", {}))
    factories.residency(connection, **facts.get("residency", {}))
    factories.id_verification(connection, **facts.get("verification", {}))
    return connection


def decide(review, reviewer, outcome=APPROVED, reason="", seen=None):
    return kyc.decide(
        review,
        reviewer=reviewer,
        outcome=outcome,
        reason=reason,
        seen=version_of(review) if seen is None else seen,
    )


def version_of(review):
    """What the page of the review hands to its form."""
    facts = facts_of(review)
    return facts_version(review, facts, results_of(review, facts) if facts else [])


def why(findings, code):
    """The outcome and reason of one check, e.g. "warn soon"; None when it had nothing to look at."""
    found = [finding for finding in findings if finding.code == code]
    return f"{found[0].outcome.value} {found[0].why}" if found else None


# Opening and queueing


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


# The checks


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


# A value that does not open


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


# Deciding


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


# What a decision costs, and which results of checks are shown


class WatchedStorage(FileSystemStorage):
    """Notes for every file that is opened whether a transaction was open."""

    opened = []

    def _open(self, name, mode="rb"):
        self.opened.append(database.in_atomic_block)
        return super()._open(name, mode)


@pytest.fixture
def opened(settings):
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": f"{__name__}.WatchedStorage"}}
    WatchedStorage.opened = []
    return WatchedStorage.opened


def page_of(client, review):
    """The review's page, as a reviewer with every permission sees it."""
    user = make_reviewer()
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_review", "view_personal_data"]))
    client.force_login(user)
    return client.get(reverse("admin:django_eprospera_review_change", args=[review.pk])).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_decision_changes_no_other_review_and_is_sent_with_its_own(reviewer):
    first, other = kyc.evaluate(person()), kyc.evaluate(person())
    sent = []

    def listen(signal, sender, review, decision):
        sent.append((sender, review, decision))

    signals.kyc_decided.connect(listen)
    try:
        decision = decide(first, reviewer)
    finally:
        signals.kyc_decided.disconnect(listen)
    other.refresh_from_db()
    assert (other.status, other.decided_at) == (Review.Status.PENDING, None)
    assert sent == [(Review, first, decision)]


@pytest.mark.django_db
def test_a_company_is_judged_by_those_who_share_it_and_by_nobody_else(reviewer):
    one, other = person(), person()
    company, elsewhere = factories.consent(one).entity, factories.consent(other).entity
    decide(kyc.evaluate(other), reviewer)
    kyc.evaluate(one)
    facts = entity_facts(company)
    assert facts.connections == (one,)
    findings = {finding.code: finding.why for finding in run(facts)}
    assert findings["representative"] == "not_approved", "somebody else was approved"
    assert {finding.code: finding.why for finding in run(entity_facts(elsewhere))}["representative"] == "approved"
    assert kyc.status_for_entity(one.user, company) == Review.objects.get(entity=company)
    assert kyc.status_for_entity(other.user, company) is None


@pytest.mark.django_db
def test_the_digest_of_a_decision_is_that_of_its_published_form(reviewer):
    decision = decide(kyc.evaluate(person()), reviewer, REJECTED, "No.")
    published = {
        "id": str(decision.pk), "review": str(decision.review_id), "outcome": "rejected", "reason": "No.",
        "reviewer_name": decision.reviewer_name, "evidence": decision.evidence,
        "decided_at": decision.decided_at.isoformat().replace("Z", "+00:00"),
    }  # fmt: skip
    text = json.dumps(published, sort_keys=True, separators=(",", ":"))
    assert decision.digest == hashlib.sha256(text.encode("ascii")).hexdigest()


@pytest.mark.django_db(transaction=True)
def test_a_decision_reads_each_file_once_and_outside_of_its_transaction(opened, reviewer):
    review = kyc.evaluate(person())
    seen = version_of(review)
    opened.clear()
    decide(review, reviewer, seen=seen)
    assert opened == [False] * 3


def rename(connection):
    details = connection.natural_person
    details.name = "Ada Changed"
    details.save()


@pytest.fixture
def after_examining(monkeypatch):
    """`after_examining(work)`: `work` is done once the next decision has read facts and files."""

    def arrange(work):
        examine = decisions._examine

        def change_after(review):
            examined = examine(review)
            work()
            return examined

        monkeypatch.setattr(decisions, "_examine", change_after)

    return arrange


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        rename,
        lambda connection: NaturalPerson.objects.get().delete(),
        lambda connection: connection.id_verification.images.get(kind="face").delete(),
        lambda connection: type(connection).objects.update(scope="openid"),
        lambda connection: connection.delete(),
    ],
)
def test_facts_that_change_while_a_decision_is_prepared_refuse_it(reviewer, change, after_examining):
    connection = person()
    review = kyc.evaluate(connection)
    after_examining(lambda: change(connection))
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer)
    assert refused.value.code == "stale"
    assert Review.objects.get().status == Review.Status.PENDING
    assert not Decision.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("change", "decided"),
    [
        (lambda entity: LegalEntity.objects.get().save(), True),  # every sync writes `updated_at`
        (lambda entity: entity.documents.get().delete(), False),
        (lambda entity: entity.consents.update(withdrawn_at=timezone.now()), False),
    ],
    ids=["sync", "document", "consent"],
)
def test_facts_of_a_company_that_change_while_a_decision_is_prepared(reviewer, change, decided, after_examining):
    connection = person()
    entity = factories.consent(connection).entity
    factories.document(entity)
    kyc.evaluate(connection)
    after_examining(lambda: change(entity))
    if decided:
        assert decide(Review.objects.get(entity=entity), reviewer)
    else:
        with pytest.raises(DecisionRefused) as refused:
            decide(Review.objects.get(entity=entity), reviewer)
        assert refused.value.code == "stale"


@pytest.mark.django_db
def test_a_company_that_nobody_shares_can_be_approved_by_its_own_provider_alone(reviewer, settings):
    entity = factories.consent(person()).entity
    kyc.evaluate(Connection.objects.get())
    review = Review.objects.get(entity=entity)
    decide(review, reviewer, REJECTED, "Not known.")
    entity.consents.all().delete()
    settings.EPROSPERA_BASE_URL, before = "https://another.example", settings.EPROSPERA_BASE_URL
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer, reason="Known now.")
    assert refused.value.code == "other_provider"
    settings.EPROSPERA_BASE_URL = before
    assert decide(review, reviewer, reason="Known now.").outcome == APPROVED


@pytest.mark.django_db
def test_a_page_reads_no_file_while_the_facts_are_those_of_the_last_sync(client, opened):
    connection = person()
    review = kyc.evaluate(connection)
    opened.clear()
    assert "Every picture opens" in page_of(client, review)
    assert opened == []
    connection.id_verification.images.get(kind="document_back").delete()
    assert "Every picture opens" in page_of(client, review)
    assert len(opened) == 2


@pytest.mark.django_db
def test_a_file_fetched_again_is_read_again(client):
    connection = person()
    picture = person_facts(connection).pictures["face"]
    content = documents.read(picture)
    documents.storage().delete(picture.storage_name)
    review = kyc.evaluate(connection)
    assert "A picture is no longer in the storage." in page_of(client, review)
    documents.store(picture, content)
    assert "Every picture opens" in page_of(client, review)


@pytest.mark.django_db
def test_results_that_depend_on_the_calendar_are_never_those_of_the_last_sync(client, monkeypatch):
    now = timezone.now()
    review = kyc.evaluate(person(residency={"termination_date": now + timedelta(days=3)}))
    assert "The residency is active." in page_of(client, review)
    monkeypatch.setattr(timezone, "now", lambda: now + timedelta(days=4))
    text = page_of(client, review)
    assert "The residency has ended." in text
    assert "The residency ends within 30 days." not in text


@pytest.mark.django_db
def test_a_file_exchanged_since_the_last_sync_stops_a_decision_and_shows_then(client, reviewer):
    connection = person()
    review = kyc.evaluate(connection)
    seen = version_of(review)
    picture = person_facts(connection).pictures["face"]
    documents.storage().delete(picture.storage_name)
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer, reason="It looked good.", seen=seen)
    assert refused.value.code == "stale"
    assert "A picture is no longer in the storage." in page_of(client, review)
    assert decide(Review.objects.get(), reviewer, reason="Seen in person.").outcome == APPROVED


# What undoes a decision


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


# After a change of the provider or of the client


@pytest.fixture(params=["EPROSPERA_BASE_URL", "SOCIAL_AUTH_EPROSPERA_KEY"])
def move(request, settings):
    """The site now uses another provider, or another client of the same."""
    values = {"EPROSPERA_BASE_URL": "https://another.example", "SOCIAL_AUTH_EPROSPERA_KEY": "another-client"}
    return lambda: setattr(settings, request.param, values[request.param])


@pytest.mark.django_db
@pytest.mark.parametrize("kind", Review.Subject.values)
def test_facts_of_another_provider_or_client_are_shown_as_such_and_never_approved(client, reviewer, move, kind):
    connection = person()
    factories.consent(connection)
    kyc.evaluate(connection)
    review = Review.objects.get(subject_kind=kind)
    move()
    assert review.pk != getattr(next_in_queue(reviewer), "pk", None)
    text = page_of(client, review)
    assert "of another provider or client" in text
    assert 'value="approved"' not in text
    with pytest.raises(DecisionRefused) as refused:
        decide(review, reviewer)
    assert refused.value.code == "other_provider"
    kyc.evaluate(connection)
    assert set(Review.objects.values_list("status", flat=True)) == {Review.Status.WAITING}


@pytest.mark.django_db
def test_an_approval_under_another_provider_or_client_is_nobodys_now_and_counts_again_later(reviewer, move, settings):
    connection = person()
    entity = factories.consent(connection).entity
    decide(kyc.evaluate(connection), reviewer)
    decide(Review.objects.get(entity=entity), reviewer)
    before = settings.EPROSPERA_BASE_URL, settings.SOCIAL_AUTH_EPROSPERA_KEY
    move()
    kyc.evaluate(connection)
    assert kyc.status_for(connection.user) is None
    assert kyc.status_for_entity(connection.user, entity) is None
    assert why(run(entity_facts(entity)), "representative") == "warn nobody"
    settings.EPROSPERA_BASE_URL, settings.SOCIAL_AUTH_EPROSPERA_KEY = before
    assert kyc.status_for(connection.user).status == Review.Status.APPROVED
    assert kyc.status_for_entity(connection.user, entity).status == Review.Status.APPROVED


@pytest.mark.django_db
def test_the_admin_marks_connections_of_another_provider_or_client(client, move):
    connection = person()
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    pages = [
        reverse("admin:django_eprospera_connection_changelist"),
        reverse("admin:django_eprospera_connection_change", args=[connection.pk]),
        reverse("admin:django_eprospera_naturalperson_change", args=[connection.natural_person.pk]),
        reverse("admin:django_eprospera_residency_change", args=[connection.residency.pk]),
    ]
    mark = "of another provider or client"
    assert not any(mark in client.get(page).content.decode() for page in pages)
    move()
    assert all(mark in client.get(page).content.decode() for page in pages)


# Proof


@pytest.mark.django_db
@pytest.mark.parametrize(
    "column", ["outcome = 'rejected'", "decided_at = '2020-01-01 00:00:00+00:00'", f"digest = '{'0' * 64}'"]
)
def test_an_edited_decision_does_not_verify(reviewer, column):
    decision = decide(kyc.evaluate(person()), reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute(f"UPDATE django_eprospera_decision SET {column}")
    assert not kyc.verify_decision(Decision.objects.get(pk=decision.pk))


@pytest.mark.django_db
def test_a_decision_that_the_chain_does_not_hold_does_not_verify(reviewer):
    decision = decide(kyc.evaluate(person()), reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM django_eprospera_auditentry")
    assert not kyc.verify_decision(Decision.objects.get(pk=decision.pk))


@pytest.mark.django_db
@pytest.mark.parametrize("column", ["reason", "reviewer_name", "evidence"])
def test_a_decision_edited_by_somebody_with_the_key_does_not_verify(reviewer, column):
    decision = decide(kyc.evaluate(person()), reviewer, reason="Agrees.")
    value = decision.evidence | {"checks": []} if column == "evidence" else "Somebody else"
    sealed = Decision._meta.get_field(column).seal(value, decision).text
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute(f"UPDATE django_eprospera_decision SET {column} = %s", [sealed])
    edited = Decision.objects.get(pk=decision.pk)
    assert getattr(edited, column) == value
    assert not kyc.verify_decision(edited)


@pytest.mark.django_db
@pytest.mark.parametrize("entry", ["another action", "another review", "another decision"])
def test_an_entry_about_something_else_does_not_prove_a_decision(reviewer, entry):
    review, other = kyc.evaluate(person()), kyc.evaluate(person())
    decision = decide(review, reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM django_eprospera_auditentry")
    detail = {"decision": str(decision.pk), "outcome": "approved", "digest": decision.digest}
    if entry == "another action":
        audit.record(AuditEntry.Action.REOPENED, review, actor=reviewer, detail=detail)
    elif entry == "another review":
        audit.record(AuditEntry.Action.DECIDED, other, actor=reviewer, detail=detail)
    else:
        assert kyc.verify_decision(decide(review, reviewer, REJECTED, "Forged."))
    assert not kyc.verify_decision(Decision.objects.get(pk=decision.pk))


@pytest.mark.django_db
def test_evidence_moved_from_another_decision_does_not_open(reviewer):
    for _ in range(2):
        decide(kyc.evaluate(person()), reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute("SELECT id, evidence FROM django_eprospera_decision")
        (_, evidence), (other, _) = cursor.fetchall()
        cursor.execute("UPDATE django_eprospera_decision SET evidence = %s WHERE id = %s", [evidence, other])
    with pytest.raises(SealedValueError):
        kyc.verify_decision(Decision.objects.get(pk=other))


@pytest.mark.django_db
def test_decisions_are_never_edited_or_deleted(reviewer):
    decision = decide(kyc.evaluate(person()), reviewer)
    for change in (decision.save, decision.delete, Decision.objects.all().delete, Decision.objects.all().update):
        with pytest.raises(AuditError):
            change()


@pytest.mark.django_db
def test_deleting_reviewer_and_person_keeps_the_decision_and_its_proof(reviewer):
    connection = person()
    decision = decide(kyc.evaluate(connection), reviewer)
    key, name = reviewer.pk, reviewer.username
    reviewer.delete()
    connection.user.delete()
    kept = Decision.objects.get(pk=decision.pk)
    assert (kept.reviewer_id, kept.reviewer_name) == (key, name)
    assert kyc.verify_decision(kept)
