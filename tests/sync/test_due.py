"""A sync that did not finish is due again: killed half way in a process of its own, or given a scope without an answer."""

from datetime import timedelta
from itertools import pairwise

import pytest
from django.utils import timezone

from django_eprospera.models import Connection, ResourceState
from django_eprospera.sync import batch, sync
from django_eprospera.sync.schedule import claim, due
from tests import factories
from tests.sandbox_process import KITES, LUCIA, OTTO

pytestmark = pytest.mark.django_db(transaction=True)

MINUTE = timedelta(minutes=1)
ME = "/api/v1/me"


def passes(connection, time):
    """Let time pass: everything that was noted of the connection was noted that much earlier."""
    row = Connection.objects.get(pk=connection.pk)
    Connection.objects.filter(pk=row.pk).update(
        signed_in_at=row.signed_in_at - time, sync_requested_at=row.sync_requested_at and row.sync_requested_at - time
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


def test_a_scope_that_is_granted_again_is_due_at_once(provider):
    connection = factories.sandbox_connection(provider, OTTO)
    factories.synced(connection, residency="not_granted")
    assert is_due(connection)


def test_a_new_sign_in_is_due_at_once_whatever_failed_before(provider):
    connection = factories.sandbox_connection(provider, OTTO)
    connection.signed_in_at = timezone.now() - timedelta(days=3)
    connection.sync_requested_at = timezone.now() - timedelta(minutes=90)
    connection.save()
    assert not is_due(connection)
    connection.signed_in_at = timezone.now()
    connection.save()
    assert is_due(connection)


def test_those_that_were_never_asked_about_come_first(provider):
    now = timezone.now()
    often = [factories.connection(sync_requested_at=now - timedelta(days=age)) for age in (2, 3, 4)]
    never = [factories.connection() for _ in range(2)]
    order = list(due(now).values_list("pk", flat=True))
    assert set(order[:2]) == {row.pk for row in never}
    assert order[2:] == [row.pk for row in reversed(often)]
