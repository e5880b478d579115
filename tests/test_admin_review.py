"""The review screen: the queue, the page of one subject, and a decision from reading to the next in the queue."""

from datetime import timedelta
from html.parser import HTMLParser

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import override_settings
from django.urls import reverse
from django.utils import timezone

from django_eprospera import kyc
from django_eprospera.models import AuditEntry, Connection, Decision, Review
from django_eprospera.testing import factories
from tests.conftest import assert_not_in

pytestmark = pytest.mark.django_db

OTHER_KEY = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="
QUEUE = "/admin/django_eprospera/review/"
ALL = ("view_review", "decide_review", "view_personal_data", "view_decision")


def staff(*codenames):
    user = factories.user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return get_user_model().objects.get(pk=user.pk)


@pytest.fixture
def reviewer(client):
    user = staff(*ALL)
    client.force_login(user)
    return user


def person(**facts):
    connection = factories.connection()
    factories.natural_person(connection, **facts.get("person", {}))
    factories.residency(connection, **facts.get("residency", {}))
    factories.id_verification(connection, **facts.get("verification", {}))
    factories.synced(connection)
    return kyc.evaluate(connection)


def page_of(review):
    return reverse("admin:django_eprospera_review_change", args=[review.pk])


class Fields(HTMLParser):
    """The decision form's fields, as a browser would send them back."""

    def __init__(self, text):
        super().__init__()
        self.values = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "input" and attributes.get("type") == "hidden":
            self.values[attributes["name"]] = attributes.get("value", "")


def decide(client, review, outcome="approved", reason="", **changed):
    fields = Fields(client.get(page_of(review)).content.decode()).values
    return client.post(page_of(review), {**fields, "outcome": outcome, "reason": reason, **changed})


# The queue


def test_the_queue_shows_what_awaits_review_oldest_first(client, reviewer):
    second, first = person(), person()
    Review.objects.filter(pk=first.pk).update(queued_at=timezone.now() - timedelta(days=3))
    kyc.evaluate(factories.connection())  # waits for data
    results = client.get(QUEUE).context["cl"].result_list
    assert list(results) == [first, second]


@pytest.mark.parametrize(("status", "count"), [("waiting", 1), ("approved", 0), ("all", 2)])
def test_the_queue_can_be_filtered(client, reviewer, status, count):
    person()
    kyc.evaluate(factories.connection())
    assert len(client.get(QUEUE, {"status": status}).context["cl"].result_list) == count


def test_the_queue_opens_no_name_and_leaves_no_trace(client, reviewer):
    person(person={"name": "Canary Zanahoria"})
    with override_settings(FIELD_ENCRYPTION_KEY=OTHER_KEY):
        text = client.get(QUEUE).content.decode()
    assert "Canary" not in text
    assert "✓ all passed" in text
    assert not AuditEntry.objects.exclude(action="stored").exists()


def test_the_oldest_comes_first_and_an_empty_queue_says_so(client, reviewer):
    assert "The queue is empty." in client.get(f"{QUEUE}next/", follow=True).content.decode()
    _second, first = person(), person()
    Review.objects.filter(pk=first.pk).update(queued_at=timezone.now() - timedelta(days=3))
    assert client.get(f"{QUEUE}next/")["Location"] == page_of(first)


# Finding


def search(client, sought):
    return client.post(f"{QUEUE}find/", {"sought": sought}, follow=True)


@pytest.mark.parametrize(
    "sought", ["90001234564217", " 9000 1234 5642 17 ", "somebody@example.test", "SOMEBODY@example.test"]
)
def test_a_person_is_found_by_the_whole_number_or_address(client, reviewer, sought):
    review = person(person={"resident_permit_number": "90001234564217"})
    person(person={"resident_permit_number": "90000000000001"})
    get_user_model().objects.filter(pk=review.user_id).update(email="somebody@example.test")
    response = search(client, sought)
    assert response.redirect_chain[0][0] == page_of(review)
    assert "9000" not in "".join(url for url, _ in response.redirect_chain)
    entry = AuditEntry.objects.filter(action="searched").get()
    assert (entry.actor, entry.detail) == (reviewer, {"found": 1})


def test_a_company_is_found_by_its_number(client, reviewer):
    connection = factories.connection()
    entity = factories.consent(connection, factories.legal_entity(resident_permit_number="80001234560001")).entity
    kyc.evaluate(connection)
    assert search(client, "80001234560001").redirect_chain[0][0] == page_of(Review.objects.get(entity=entity))


def test_several_are_listed_whatever_their_status(client, reviewer):
    for _ in range(2):
        person(person={"resident_permit_number": "90001234564217"})
    Review.objects.filter(pk=Review.objects.first().pk).update(status="rejected")
    assert len(search(client, "90001234564217").context["cl"].result_list) == 2


@pytest.mark.parametrize("sought", ["9000123456", "Ada", "", "%", "x" * 300])
def test_part_of_a_number_or_a_name_finds_nothing(client, reviewer, sought):
    person(person={"resident_permit_number": "90001234564217"})
    assert "Nothing was found" in search(client, sought).content.decode()


def test_searching_is_a_post_with_permission(client):
    client.force_login(staff("view_review", "decide_review"))
    assert 'name="sought"' not in client.get(QUEUE).content.decode()
    assert client.post(f"{QUEUE}find/", {"sought": "1"}).status_code == 403
    client.force_login(staff(*ALL))
    assert client.get(f"{QUEUE}find/").status_code == 405


# The page


def test_the_page_shows_person_pictures_and_checks_and_notes_the_look(client, reviewer):
    review = person(residency={"termination_date": timezone.now() + timedelta(days=5)})
    response = client.get(page_of(review))
    text = response.content.decode()
    for shown in (
        "Ada Example",
        "90000000004217",
        "May 17, 1990",
        "identity card",
        "The residency ends within 30 days.",
    ):
        assert shown in text
    assert text.count("<img src=") == 3
    assert "no-store" in response["Cache-Control"]
    entry = AuditEntry.objects.exclude(action="stored").get()
    assert (entry.action, entry.actor, entry.subject) == ("viewed", reviewer, f"django_eprospera.review:{review.pk}")
    assert {"person.name", "person.resident_permit_number", "residency.residency_type"} <= set(entry.detail["fields"])


@pytest.mark.parametrize(
    ("kind", "why"), [("passport", "A passport has no back."), ("national_id", "The identity check has no back")]
)
def test_a_missing_back_says_why(client, reviewer, kind, why):
    review = person(verification={"pictures": ["face", "document_front"], "document_type": kind})
    text = client.get(page_of(review)).content.decode()
    assert why in text
    assert text.count("<img src=") == 2


def test_markup_in_facts_and_reasons_stays_text(client, reviewer):
    review = person(person={"name": "<script>alert(1)</script>", "address": {"line1": "<b>x</b>", "country": "<i>"}})
    decide(client, review, "rejected", "<script>alert(2)</script>")
    text = client.get(page_of(review)).content.decode()
    assert "<script>alert" not in text
    assert "<b>x" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert "&lt;script&gt;alert(2)" in text


def test_without_the_permission_the_page_is_masked_and_opens_nothing(client):
    client.force_login(staff("view_review", "decide_review"))
    review = person(person={"name": "Canary Zanahoria"})
    text = client.get(page_of(review)).content.decode()
    assert "Canary" not in text
    assert "<img src=" not in text
    assert "you do not have the permission to see it" in text
    assert not AuditEntry.objects.exclude(action="stored").exists()


def test_facts_that_do_not_open_say_so_and_the_page_stands(client, reviewer):
    review = person()
    with override_settings(FIELD_ENCRYPTION_KEY=OTHER_KEY):
        response = client.get(page_of(review))
    assert response.status_code == 200
    assert "cannot be decrypted" in response.content.decode()
    assert "A value cannot be decrypted." in response.content.decode()


def test_a_company_is_shown_with_documents_and_who_shares_it(client, reviewer):
    connection = person().user.eprospera
    entity = factories.consent(connection).entity
    document = factories.document(entity)
    factories.document(entity, name="Rider", content=b"")
    kyc.evaluate(connection)
    text = client.get(page_of(Review.objects.get(entity=entity))).content.decode()
    assert "Example Kites LLC" in text
    assert reverse("admin:django_eprospera_document", args=[document.pk]) in text
    assert "Rider" in text
    assert page_of(Review.objects.get(user=connection.user)) in text


def test_a_review_whose_person_disconnected_keeps_its_history(client, reviewer):
    review = person()
    decide(client, review, "approved", "Canary reason")
    review.user.eprospera.delete()
    text = client.get(page_of(review)).content.decode()
    assert "The facts have been erased" in text
    assert "Canary reason" in text


def viewed(review):
    """The fields that the newest audit entry about a look at the review names."""
    newest = AuditEntry.objects.filter(action="viewed", subject=f"django_eprospera.review:{review.pk}").first()
    return set(newest.detail["fields"]) if newest else set()


@pytest.mark.parametrize("facts", ["there", "gone"])
def test_showing_a_reason_leaves_an_entry_that_names_it(client, reviewer, facts):
    review = person()
    decide(client, review, "approved", "Canary reason")
    if facts == "gone":
        review.user.eprospera.delete()
    before = AuditEntry.objects.filter(action="viewed").count()
    assert "Canary reason" in client.get(page_of(review)).content.decode()
    assert AuditEntry.objects.filter(action="viewed").count() == before + 1
    assert {"decision.reason", "decision.reviewer_name"} <= viewed(review)
    assert ("person.name" in viewed(review)) is (facts == "there")


def test_a_page_that_shows_nothing_sealed_leaves_no_entry(client, reviewer):
    review = person()
    review.user.eprospera.delete()
    assert client.get(page_of(review)).status_code == 200
    assert not AuditEntry.objects.filter(action="viewed").exists()


@pytest.mark.parametrize("facts", ["there", "gone"])
def test_reasons_and_names_of_reviewers_are_masked_with_the_rest(client, reviewer, facts):
    get_user_model().objects.filter(pk=reviewer.pk).update(first_name="Canary", last_name="Zanahoria")
    review = person(verification={"pictures": ["face", "document_front"], "document_type": "passport"})
    decide(client, review, "approved", "Canary reason")
    get_user_model().objects.filter(pk=reviewer.pk).update(first_name="", last_name="")
    if facts == "gone":
        review.user.eprospera.delete()
    before = AuditEntry.objects.count()
    client.force_login(staff("view_review"))
    text = client.get(page_of(review)).content.decode()
    assert "Canary" not in text
    assert "A passport has no back" not in text
    assert AuditEntry.objects.count() == before


def test_names_of_company_documents_are_named_in_the_entry(client, reviewer):
    connection = person().user.eprospera
    entity = factories.consent(connection).entity
    factories.document(entity)
    kyc.evaluate(connection)
    review = Review.objects.get(entity=entity)
    assert "Certificate of Organization" in client.get(page_of(review)).content.decode()
    assert {"entity.name", "document.name"} <= viewed(review)


def test_people_without_permission_and_unknown_reviews(client):
    review = person()
    assert client.get(page_of(review)).status_code == 302
    client.force_login(staff("view_personal_data"))
    assert client.get(page_of(review)).status_code == 403
    assert client.get(f"{QUEUE}next/").status_code == 403
    client.force_login(staff(*ALL))
    assert client.get(f"{QUEUE}00000000-0000-0000-0000-000000000000/change/").status_code == 404


# Deciding


def test_approving_decides_and_leads_to_the_next(client, reviewer):
    review, following = person(), person()
    response = decide(client, review)
    assert response["Location"] == page_of(following)
    assert Review.objects.get(pk=review.pk).status == "approved"
    assert Decision.objects.get().reviewer == reviewer
    assert "Decided: approved." in client.get(response["Location"]).content.decode()


def test_after_the_last_one_the_queue_is_empty(client, reviewer):
    assert decide(client, person())["Location"] == QUEUE


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"outcome": "rejected", "reason": " "}, "Give a reason: this decision needs one."),
        ({"outcome": ""}, "Choose one."),
        ({"outcome": "reopened", "reason": "x"}, "Select a valid choice"),
        ({"seen": "1.00000000.x"}, "Nothing was decided"),
    ],
)
def test_what_cannot_be_decided_says_so_in_place_and_keeps_what_was_written(client, reviewer, data, error):
    review = person()
    response = decide(client, review, **{"reason": "Kept text.", **data})
    text = response.content.decode()
    assert response.status_code == 200
    assert error in text
    assert 'role="alert"' in text
    assert data.get("reason", "Kept text.").strip() in text
    assert not Decision.objects.exists()


def test_a_page_older_than_the_facts_can_be_decided_after_another_look(client, reviewer):
    review = person()
    fields = Fields(client.get(page_of(review)).content.decode()).values
    details = review.user.eprospera.natural_person
    details.name = "Ada Changed"
    details.save()
    stale = client.post(page_of(review), {**fields, "outcome": "approved"})
    assert "Nothing was decided" in stale.content.decode()
    assert "Ada Changed" in stale.content.decode()
    fresh = Fields(stale.content.decode()).values
    assert client.post(page_of(review), {**fresh, "outcome": "approved"}).status_code == 302


def test_pressing_twice_decides_once(client, reviewer):
    review = person()
    fields = {**Fields(client.get(page_of(review)).content.decode()).values, "outcome": "approved"}
    client.post(page_of(review), fields)
    assert client.post(page_of(review), fields).status_code == 200
    assert Decision.objects.count() == 1


def test_somebody_else_decided_meanwhile(client, reviewer):
    review = person()
    fields = Fields(client.get(page_of(review)).content.decode()).values
    client.force_login(staff(*ALL))
    decide(client, review, "rejected", "First.")
    client.force_login(reviewer)
    response = client.post(page_of(review), {**fields, "outcome": "approved", "reason": "Second."})
    assert "Nothing was decided" in response.content.decode()
    assert Review.objects.get(pk=review.pk).status == "rejected"


@pytest.mark.parametrize("missing", ["decide_review", "view_review", "view_personal_data"])
def test_deciding_needs_all_permissions(client, missing):
    client.force_login(staff(*set(ALL) - {missing}))
    review = person()
    assert client.post(page_of(review), {"outcome": "approved", "seen": "x"}).status_code == 403
    assert not Decision.objects.exists()


@pytest.mark.parametrize(
    ("missing", "why"),
    [
        ("view_personal_data", "You cannot decide this review, because you do not have the permission to see"),
        ("decide_review", "You do not have the permission to decide reviews."),
    ],
)
def test_who_may_not_decide_is_offered_no_form_and_reads_why(client, missing, why):
    client.force_login(staff(*set(ALL) - {missing}))
    text = client.get(page_of(person())).content.decode()
    assert why in text
    assert 'name="outcome"' not in text


def test_reviewers_are_offered_no_decision_on_themselves(client, reviewer):
    connection = factories.connection(reviewer)
    factories.natural_person(connection)
    factories.id_verification(connection)
    review = kyc.evaluate(connection)
    text = client.get(page_of(review)).content.decode()
    assert "Another reviewer has to decide it" in text
    assert 'name="outcome"' not in text
    assert client.get(f"{QUEUE}next/")["Location"] == QUEUE


def test_a_waiting_review_offers_no_decision(client, reviewer):
    text = client.get(page_of(kyc.evaluate(factories.connection()))).content.decode()
    assert "There is nothing to decide yet" in text
    assert 'name="outcome"' not in text


def test_a_decided_review_can_be_reversed_and_put_back(client, reviewer):
    review = person()
    decide(client, review)
    decide(client, review, "rejected", "Forged.")
    decide(client, review, "reopened", "Look again.")
    assert list(review.decisions.values_list("outcome", flat=True)) == ["reopened", "rejected", "approved"]
    assert Review.objects.get(pk=review.pk).status == "pending"


def test_the_admins_own_history_holds_no_personal_data(client, reviewer):
    review = person(person={"name": "Canary Zanahoria"})
    decide(client, review, "rejected", "Canary reason")
    entries = str(list(LogEntry.objects.values()))
    assert "rejected" in entries
    assert "Canary" not in entries


@pytest.mark.parametrize("page", ["review", "connection"])
def test_why_data_is_old_is_said_in_words(client, page):
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    review = person()
    connection = review.user.eprospera
    Connection.objects.update(state="reauthorize", state_cause="invalid_grant")
    address = (
        page_of(review) if page == "review" else reverse(f"admin:django_eprospera_{page}_change", args=[connection.pk])
    )
    text = client.get(address).content.decode()
    assert "access to the e-Próspera account has ended" in text
    assert "grant_gone" not in text


# Error reports


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["django_eprospera_auditentry", "django_session"])
@pytest.mark.parametrize("sought", ["90001234564217", "canary@example.test"])
def test_an_error_of_the_search_does_not_report_what_was_sought(client, reviewer, reports, broken_table, table, sought):
    client.raise_request_exception = False
    person(person={"resident_permit_number": "90001234564217"})
    with broken_table(table):
        assert client.post(f"{QUEUE}find/", {"sought": sought}).status_code == 500
    assert reports()
    assert_not_in(reports(), [sought])


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("table", ["django_admin_log", "django_eprospera_decision", "django_session", "auth_user"])
def test_an_error_of_a_decision_reports_neither_reason_nor_facts(client, reviewer, reports, broken_table, table):
    client.raise_request_exception = False
    review = person(person={"name": "Canary Example"})
    fields = Fields(client.get(page_of(review)).content.decode()).values
    with broken_table(table):
        answer = client.post(page_of(review), {**fields, "outcome": "rejected", "reason": "A reason as a canary."})
    assert answer.status_code == 500
    assert reports()
    assert_not_in(reports(), ["A reason as a canary.", "Canary Example"])


@pytest.mark.django_db(transaction=True)
def test_an_error_while_the_page_is_rendered_reports_no_facts(client, reviewer, reports, tmp_path, settings):
    client.raise_request_exception = False
    review = person(person={"name": "Canary Example"})
    template = tmp_path / "admin" / "django_eprospera" / "review" / "page.html"
    template.parent.mkdir(parents=True)
    template.write_text("{% for letter in facts.person.name %}{% url letter %}{% endfor %}")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    assert client.get(page_of(review)).status_code == 500
    assert reports()
    assert_not_in(reports(), ["Canary Example"])
