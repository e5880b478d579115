"""Reviews whose checks the calendar changes: found by date, and evaluated without a sync."""

from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection as database

from django_eprospera import audit, kyc
from django_eprospera.models import Review
from django_eprospera.testing import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("media")]
TODAY = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def connection():
    with time_machine.travel(TODAY, tick=False):
        row = factories.connection()
        factories.natural_person(row, date_of_birth=date(2008, 2, 29))
        factories.residency(row, termination_date=TODAY + timedelta(days=50))
        factories.id_verification(row, date=TODAY - timedelta(days=700))
        kyc.evaluate(row)
    return row


def outcomes():
    codes = ("of_age", "residency", "residency_end", "identity_check_age")
    found = {check["code"]: check["why"] for check in Review.objects.get().checks}
    return [found.get(code) for code in codes]


def test_each_day_that_changes_a_check_is_found(connection):
    assert outcomes() == ["adult", "active", "far", "recent"]
    seen = []
    for day in range(60):
        with time_machine.travel(TODAY + timedelta(days=day, hours=1), tick=False):
            if kyc.evaluate_due():
                seen.append((day, *outcomes()))
    assert seen == [
        (20, "adult", "active", "soon", "recent"),
        (30, "adult", "active", "soon", "old"),
        (50, "adult", "ended", None, "old"),
    ]
    assert Review.objects.get().evaluate_at is None


def test_somebody_comes_of_age(connection):
    with time_machine.travel(TODAY, tick=False):
        person = connection.natural_person
        person.date_of_birth = date(2008, 3, 10)
        person.save()
        kyc.evaluate(connection)
    assert outcomes()[0] == "minor"
    with time_machine.travel(TODAY + timedelta(days=8), tick=False):
        assert kyc.evaluate_due() == 0
    with time_machine.travel(TODAY + timedelta(days=10), tick=False):
        assert kyc.evaluate_due() == 1
    assert outcomes()[0] == "adult"


def test_a_company_is_dissolved(connection):
    with time_machine.travel(TODAY, tick=False):
        entity = factories.legal_entity(dissolution_date=date(2026, 3, 5))
        factories.consent(connection, entity)
        kyc.evaluate(connection)
    with time_machine.travel(TODAY + timedelta(days=6), tick=False):
        call_command("eprospera_sync")
    review = Review.objects.get(subject_kind="entity")
    assert {check["code"]: check["why"] for check in review.checks}["entity_exists"] == "dissolved"


def test_what_is_due_is_found_by_its_index(connection, django_assert_num_queries):
    with time_machine.travel(TODAY, tick=False), django_assert_num_queries(1):
        assert kyc.evaluate_due() == 0
    rows = Review.objects.filter(evaluate_at__lte=TODAY).order_by("evaluate_at")
    if database.vendor == "postgresql":
        with database.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
            plan = rows.explain()
            cursor.execute("RESET enable_seqscan; RESET enable_bitmapscan")
    else:
        plan = rows.explain()
    assert "evaluate_at" in plan, plan
    assert "Sort" not in plan, plan
    assert "TEMP" not in plan, plan


def test_a_review_whose_facts_were_erased_is_left_as_it_is(connection):
    with time_machine.travel(TODAY, tick=False):
        connection.delete()
    checks = outcomes()
    with time_machine.travel(TODAY + timedelta(days=40), tick=False):
        assert kyc.evaluate_due() == 1
        assert kyc.evaluate_due() == 0
    assert outcomes() == checks
    assert not any("review" in problem for problem in audit.verify().problems)


@pytest.mark.parametrize(
    "dates",
    [
        {"date_of_birth": date(9990, 2, 1)},
        {"termination_date": datetime(1, 1, 2, tzinfo=UTC)},
        {"date": datetime(9999, 12, 31, tzinfo=UTC)},
    ],
    ids=["born", "ends", "checked"],
)
def test_a_date_at_an_end_of_the_calendar_hides_no_other_day(dates):
    with time_machine.travel(TODAY, tick=False):
        dates = {"date_of_birth": date(2008, 3, 10), "termination_date": None, "date": TODAY} | dates
        row = factories.connection()
        factories.natural_person(row, date_of_birth=dates["date_of_birth"])
        factories.residency(row, termination_date=dates["termination_date"])
        factories.id_verification(row, date=dates["date"])
        evaluate_at = kyc.evaluate(row).evaluate_at
    comes_of_age = datetime(2026, 3, 10, tzinfo=UTC)
    old = TODAY + timedelta(days=2 * 365)
    assert evaluate_at.astimezone(UTC).replace(hour=0) == (
        comes_of_age if dates["date_of_birth"].year == 2008 else old.replace(hour=0)
    )
