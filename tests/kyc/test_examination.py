"""What a decision and a page read, and facts that change meanwhile."""

import hashlib
import json
from datetime import timedelta

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import connection as database
from django.utils import timezone

from django_eprospera import documents, kyc, signals
from django_eprospera.errors import DecisionRefused
from django_eprospera.kyc import decisions
from django_eprospera.kyc.checks import run
from django_eprospera.kyc.facts import entity_facts, person_facts
from django_eprospera.models import Connection, Decision, LegalEntity, NaturalPerson, Review
from django_eprospera.testing import factories
from tests.kyc.steps import (
    APPROVED,
    REJECTED,
    decide,
    page_of,
    person,
    version_of,
)


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
