"""Lists of the admin: pages by key in both directions, filters, orders, and search by whole values."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin import site
from django.urls import reverse
from django.utils import timezone

from django_eprospera import audit
from django_eprospera.models import AuditEntry, Connection, LegalEntity, Residency, Review
from django_eprospera.testing import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client, monkeypatch):
    for model in (AuditEntry, Connection, LegalEntity, Residency, Review):
        monkeypatch.setattr(site.get_model_admin(model), "list_per_page", 3)
    user = factories.user(username="superuser", is_staff=True, is_superuser=True)
    client.force_login(user)
    client.user = user
    return client


def listed(admin, model, data=None):
    return admin.get(reverse(f"admin:django_eprospera_{model}_changelist"), data)


def follow(admin, page, name):
    """Open the link of this name, or return None if there is none."""
    link = re.search(rf'<a href="(\?[^"]*)"[^>]*>{name}</a>', page.content.decode())
    return link and admin.get(page.request["PATH_INFO"] + unescape(link[1]))


def rows(page):
    return [row.pk for row in page.context["cl"].result_list]


def walk(admin, page, name):
    pages = []
    while page:
        pages.append(rows(page))
        page = follow(admin, page, name)
    return pages


def connections():
    """Eight, of which four signed in at the same moment, as the list has them."""
    now = timezone.now()
    made = [
        factories.connection(signed_in_at=now - timedelta(minutes=n if n < 3 else 5 if n < 7 else 9)) for n in range(8)
    ]
    return [row.pk for row in sorted(made, key=lambda row: (row.signed_in_at, row.pk), reverse=True)]


def test_pages_lead_through_all_rows_and_back(admin):
    every = connections()
    first = listed(admin, "connection")
    assert walk(admin, first, "Next page") == [every[:3], every[3:6], every[6:]]
    last = follow(admin, follow(admin, first, "Next page"), "Next page")
    assert walk(admin, last, "Previous page") == [every[6:], every[3:6], every[:3]]
    assert rows(follow(admin, last, "First page")) == every[:3]
    assert follow(admin, first, "Previous page") is None


def test_the_other_direction_of_an_order_pages_too(admin):
    every = connections()
    column = site.get_model_admin(Connection).list_display.index("signed_in_at") + 1  # behind the boxes
    pages = walk(admin, listed(admin, "connection", {"o": str(column)}), "Next page")
    assert pages == [every[:-4:-1], every[-4:-7:-1], every[1::-1]]
    other = listed(admin, "connection", {"o": str(column + 1)})
    assert rows(other) == every[:3], "a column without an index is no order"


@pytest.mark.parametrize(
    "place",
    ["3", "next", "next,,", "next,x,y", "other,2026-01-01T00:00:00+00:00,x", "next,1999-01-01T00:00:00+00:00,{pk}"],
)
def test_a_page_that_does_not_exist_is_the_first(admin, place):
    every = connections()
    assert rows(listed(admin, "connection", {"p": place.format(pk=every[0])})) == every[:3]


def test_rows_that_come_and_go_move_no_page(admin):
    every = connections()
    first = listed(admin, "connection")
    Connection.objects.get(pk=every[2]).delete()
    factories.connection()
    assert rows(follow(admin, first, "Next page")) == every[3:6]


def test_a_list_in_the_order_of_a_unique_column_pages(admin):
    for _ in range(4):
        factories.residency(factories.connection())
    every = [row.pk for row in Residency.objects.order_by("connection_id")]
    assert walk(admin, listed(admin, "residency"), "Next page") == [every[:3], every[3:]]


def test_a_list_of_one_page_says_how_many_rows_it_has(admin):
    factories.connection()
    text = listed(admin, "connection").content.decode()
    assert "1 connection" in text
    assert "Next page" not in text


def test_pages_speak_spanish(admin):
    connections()
    admin.cookies.load({"django_language": "es"})
    assert "Página siguiente" in listed(admin, "connection").content.decode()


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ("state:active", ["well", "failing"]),
        ("state:reauthorize", ["ended"]),
        ("state_cause:invalid_grant", ["ended"]),
        ("state_cause:answer_lost", []),
        ("sync_error", ["failing"]),
        ("sub:x", ["well", "failing", "ended"]),
    ],
)
def test_connections_are_filtered_by_state_cause_or_error(admin, chosen, found):
    made = {
        "well": factories.connection(),
        "failing": factories.connection(sync_error="receiver: ValueError"),
        "ended": factories.connection(state="reauthorize", state_cause="invalid_grant"),
    }
    assert set(rows(listed(admin, "connection", {"show": chosen}))) == {made[name].pk for name in found}


def test_companies_are_filtered_by_the_types_that_occur(admin):
    for type_ in ("B", "A", "B", ""):
        factories.legal_entity(type=type_)
    page = listed(admin, "legalentity", {"type": "B"})
    assert [value for value, _label in page.context["cl"].filter_specs[0].lookup_choices] == ["A", "B"]
    assert {row.type for row in page.context["cl"].result_list} == {"B"}


def test_a_company_shows_how_many_people_share_it_now(admin):
    company, nobodys = factories.legal_entity(), factories.legal_entity()
    for withdrawn in (None, None, timezone.now()):
        factories.consent(factories.connection(), company, withdrawn_at=withdrawn)
    shared = {row.pk: row.sharing for row in listed(admin, "legalentity").context["cl"].result_list}
    assert shared == {company.pk: 2, nobodys.pk: 0}


def test_audit_entries_are_found_by_the_whole_subject_or_user_name(admin):
    reader = factories.user(username="reader")
    by_reader = audit.record("viewed", "thing:1", actor=reader)
    by_site = audit.record("viewed", "thing:12")
    for sought, found in (
        ("thing:1", [by_reader]),
        ("thing:12", [by_site]),
        ("reader", [by_reader]),
        ("read", []),
        ("thing", []),
    ):
        assert rows(listed(admin, "auditentry", {"q": sought})) == [entry.pk for entry in found], sought


def test_the_queue_is_counted_up_to_a_bound(admin, monkeypatch):
    monkeypatch.setattr("django_eprospera.admin.review_queue._MOST_COUNTED", 1)
    pages = []
    for number in range(2):
        review = Review.objects.create(
            subject=f"person:x:{number}", subject_kind="person", status="pending", queued_at=timezone.now()
        )
        pages.append(admin.get(reverse("admin:django_eprospera_review_change", args=[review.pk])).content.decode())
    assert ["Queue (1)" in pages[0], "Queue (1+)" in pages[1]] == [True, True]


def test_the_history_page_leads_to_the_row(admin):
    row = factories.connection()
    answer = admin.get(reverse("admin:django_eprospera_connection_history", args=[row.pk]))
    assert answer["Location"] == reverse("admin:django_eprospera_connection_change", args=[row.pk])
