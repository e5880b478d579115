"""A sync that did not finish is due again: killed half way in a process of its own, or given a scope without an answer."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from django_eprospera.models import Connection, ResourceState
from django_eprospera.provider.grants import Tokens
from django_eprospera.sync import batch, sync
from django_eprospera.sync.schedule import claim, due, finish
from django_eprospera.testing import factories
from django_eprospera.tokens.grant import store_sign_in
from tests.sandbox_process import KITES, LUCIA, OTTO, REEF

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
ME = "/api/v1/me"


def passes(connection, time):
    """Let time pass: everything that was noted of the connection was noted that much earlier."""
    row = Connection.objects.get(pk=connection.pk)
    Connection.objects.filter(pk=row.pk).update(
        signed_in_at=row.signed_in_at - time,
        sync_requested_at=row.sync_requested_at and row.sync_requested_at - time,
        next_sync_at=row.next_sync_at - time,
    )
    for state in row.resources.all():
        state.attempted_at -= time
        state.synced_at = state.synced_at and state.synced_at - time
        state.save()


def is_due(connection):
    return due(timezone.now()).filter(pk=connection.pk).exists()


@pytest.mark.parametrize(
    "path",
    [
        f"{ME}/natural-person",
        f"{ME}/natural-person/residency",
        f"{ME}/natural-person/id-verification",
        "/files/*",
        f"{ME}/legal-entities",
        f"{ME}/legal-entities/{KITES}",
        f"{ME}/legal-entities/{KITES}/documents",
    ],
)
def test_a_sync_that_is_killed_half_way_is_due_again_at_once(provider, child, path):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    assert claim(connection.pk)
    provider.fault(path, delay=30, times=1)
    process = child("sync", connection.pk)
    while provider.control("faults", "GET")["faults"]:
        assert process.poll() is None
    process.kill()
    process.wait()

    passes(connection, 2 * MINUTE)
    done = dict(batch.sync_due())

    assert done[connection.pk].failed == {}
    assert ResourceState.objects.filter(error="", synced_at__isnull=False).count() == 5
    passes(connection, 20 * MINUTE)
    assert not is_due(connection)


def test_a_resource_that_never_had_a_good_answer_is_tried_again_less_and_less_often(provider):
    connection = factories.sandbox_connection(provider, OTTO)
    provider.fault(f"{ME}/natural-person/residency", status=403, body='{"error": "missing_scopes"}')
    tries = []
    for minute in range(6 * 60):
        if is_due(connection) and claim(connection.pk):
            tries.append(minute)
            sync(connection)
        passes(connection, MINUTE)
    assert tries[0] == 0
    assert 8 <= len(tries) <= 10, tries
    assert all(later - earlier >= earlier for earlier, later in pairwise(tries))


def test_a_scope_that_is_granted_again_is_requested_although_the_other_answers_are_recent(provider):
    connection = factories.sandbox_connection(provider, OTTO)
    factories.synced(connection, residency="not_granted")
    report = sync(connection, only_old=True)
    assert (report.asked, report.failed) == (1, {})
    assert connection.resources.get(resource="residency").error == ""


def sign_in_again(connection):
    tokens = Tokens("access", "refresh", connection.scope, None, timezone.now(), timezone.now() + MINUTE)
    store_sign_in(
        user=connection.user,
        issuer=connection.issuer,
        sub=connection.sub,
        tokens=tokens,
        auth_time=timezone.now(),
        now=timezone.now(),
    )


def is_due_in_a_minute(connection):
    row = Connection.objects.get(pk=connection.pk)
    return row.next_sync_at == row.signed_in_at + MINUTE


def test_a_new_sign_in_is_claimed_for_its_sync_whatever_failed_before(provider):
    connection = factories.sandbox_connection(provider, OTTO)
    for _ in range(5):
        assert claim(connection.pk, pause=timedelta(0))
    assert not is_due(connection)
    with transaction.atomic():
        sign_in_again(connection)
        assert is_due_in_a_minute(connection)
        assert Connection.objects.get().sync_attempts == 1


def test_the_plan_of_a_sign_in_during_a_sync_stays(provider):
    connection = factories.sandbox_connection(provider, OTTO)
    before = Connection.objects.get()
    with transaction.atomic():
        sign_in_again(connection)
        finish(before, [], "")
        assert is_due_in_a_minute(connection)


def test_those_that_wait_longest_come_first(provider):
    now = timezone.now()
    rows = [factories.connection(next_sync_at=now - timedelta(days=age)) for age in (2, 4, 3)]
    assert list(due(now)) == [rows[1], rows[2], rows[0]]


def test_the_query_for_what_is_due_uses_its_index(settings):
    plan = due(timezone.now())[:100].explain()
    if database.vendor == "postgresql":
        with database.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            plan = due(timezone.now())[:100].explain()
            cursor.execute("RESET enable_seqscan")
        assert "Sort" not in plan, plan
    assert "eprospera_connection_due" in plan, plan


def test_a_sync_in_which_nothing_changed_costs_few_queries(provider, django_assert_max_num_queries):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    assert sync(connection).failed == {}
    with django_assert_max_num_queries(8) as queries:
        assert sync(connection).changed == []
    assert not any("_naturalperson" in query["sql"] or "_review" in query["sql"] for query in queries)
    assert is_due(connection) is False
    assert {state.synced_at for state in connection.resources.all()} == {connection.resources.first().attempted_at}


def test_answers_of_different_ages_are_requested_each_in_its_time(provider, settings):
    settings.EPROSPERA_STALE_AFTER = {"residency": timedelta(hours=1)}
    connection = factories.sandbox_connection(provider, LUCIA)
    assert sync(connection).asked == 5
    passes(connection, timedelta(hours=2))
    assert is_due(connection)
    provider.control("stats", "DELETE")
    (_, report) = next(batch.sync_due())
    assert (report.asked, report.changed, report.failed) == (1, [], {})
    passes(connection, timedelta(hours=21))
    (_, report) = next(batch.sync_due())
    assert report.asked == 5, "what gets old within the next hours is requested with it"
