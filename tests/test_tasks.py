"""Work in the background: what is enqueued when, with which arguments, and what becomes of it."""

import json
import uuid
from datetime import timedelta

import django
import pytest
from django.db import transaction
from django.utils import timezone

from django_eprospera import signals, tasks
from django_eprospera.models import Connection, PendingRevocation, Residency
from django_eprospera.testing import factories
from tests.sandbox_process import LUCIA, OTTO

if django.VERSION >= (6, 0):
    from django.tasks import default_task_backend
    from django.tasks.backends.dummy import DummyBackend
else:
    from django_tasks import default_task_backend
    from django_tasks.backends.dummy import DummyBackend

pytestmark = pytest.mark.usefixtures("transactional_db", "media")


@pytest.fixture
def queue(settings):
    """A queue that nobody works on: returns what was enqueued, as (name, arguments)."""
    settings.TASKS = {"default": {"BACKEND": f"{DummyBackend.__module__}.{DummyBackend.__name__}"}}

    def enqueued():
        return [(result.task.name, result.args) for result in default_task_backend.results]

    return enqueued


# What is enqueued


def signed_in(connection):
    signals.signed_in.send(Connection, connection=connection, is_new=False)


def test_a_sign_in_asks_for_a_sync_and_hands_over_nothing_but_the_id(queue):
    connection = factories.connection()

    signed_in(connection)

    assert queue() == [("sync_connection", [str(connection.pk)])]


def test_a_sign_in_that_is_not_committed_asks_for_nothing(queue):
    connection = factories.connection()

    with transaction.atomic():
        signed_in(connection)
        assert queue() == []
        transaction.set_rollback(True)

    assert queue() == []


def test_a_second_sign_in_within_a_minute_syncs_again(queue):
    connection = factories.connection()

    signed_in(connection)
    signed_in(connection)

    assert len(queue()) == 2, "it may have brought other scopes and companies"


def test_a_queue_that_is_down_does_not_spoil_the_sign_in(settings, caplog):
    settings.TASKS = {"default": {"BACKEND": "tests.broken_queue.BrokenQueue"}}
    connection = factories.connection()

    signed_in(connection)

    assert "does not answer" in caplog.text
    connection.refresh_from_db()
    assert connection.sync_requested_at is None, "the next batch may see to it"


def test_a_connection_that_ends_asks_for_its_revocation(queue):
    connection = factories.connection()

    connection.user.delete()

    assert queue() == [("revoke_pending", [])]
    assert PendingRevocation.objects.count() == 2


def test_a_sync_is_enqueued_once_a_minute(queue):
    connection = factories.connection()

    assert tasks.ask_for_sync(connection.pk)
    assert not tasks.ask_for_sync(connection.pk)
    assert len(queue()) == 1


# What becomes of it


def run(task, *arguments):
    """Run a task where it stands, and return what it leaves in the queue's table."""
    result = task.enqueue(*arguments)
    assert result.status == "SUCCESSFUL", result.errors
    json.dumps(result.return_value)
    return result.return_value


def test_the_sync_of_one_connection_leaves_names_and_codes_only(sandbox):
    connection = factories.sandbox_connection(sandbox, LUCIA)
    sandbox.fault("/api/v1/me/natural-person/residency", status=403, body='{"error": "missing_scopes"}')

    left = run(tasks.sync_connection, str(connection.pk))

    assert sorted(left["changed"]) == ["entity_documents", "id_verification", "legal_entities", "natural_person"]
    assert left["failed"] == {"residency": "scope_missing"}


def test_a_provider_that_is_down_fails_no_task(settings):
    settings.EPROSPERA_BASE_URL = "http://127.0.0.1:1"
    connection = factories.connection()
    factories.connection(refresh_token_expires_at=timezone.now() + timedelta(days=1))
    settings.EPROSPERA_KEEP_ALIVE = timedelta(days=7)
    settings.EPROSPERA_REFRESH_BUDGET = 0
    factories.connection().delete()

    assert set(run(tasks.sync_connection, str(connection.pk))["failed"].values()) == {"unavailable"}
    Connection.objects.filter(pk=connection.pk).update(next_sync_at=timezone.now())
    assert run(tasks.sync_batch, [str(connection.pk)]) == {"synced": 1, "failed": 1}
    assert run(tasks.revoke_pending) == {"done": 0, "left": 2}
    assert run(tasks.keep_alive)["failed"] == 1


@pytest.mark.parametrize("gone", ["", "never there"])
def test_a_connection_that_is_gone_is_nothing_to_worry_about(gone):
    connection = factories.connection()
    pk = str(uuid.uuid4()) if gone else str(connection.pk)
    connection.delete()

    assert run(tasks.sync_connection, pk) == {}


def test_due_connections_are_synced_by_batches(sandbox):
    due = [factories.sandbox_connection(sandbox, sub) for sub in (LUCIA, OTTO)]

    assert run(tasks.sync_stale) == {"connections": 2, "batches": 1}
    assert Residency.objects.filter(connection__in=due).count() == 2
    assert run(tasks.sync_stale) == {"connections": 0, "batches": 0}
    assert run(tasks.sync_batch, [str(connection.pk) for connection in due]) == {"synced": 0, "failed": 0}


def test_a_batch_holds_ids_of_those_that_wait_longest(queue):
    now = timezone.now()
    due = [factories.connection(next_sync_at=now - timedelta(minutes=age)) for age in range(61, 1, -1)]

    assert tasks.sync_stale.call() == {"connections": 60, "batches": 2}

    ids = [str(connection.pk) for connection in due]
    assert queue() == [("sync_batch", [ids[:50]]), ("sync_batch", [ids[50:]])]


@pytest.mark.parametrize(("queues", "chosen"), [({}, "default"), ({"QUEUES": ["default", "eprospera"]}, "eprospera")])
def test_batches_have_a_queue_of_their_own_where_the_site_has_one(settings, queue, queues, chosen):
    settings.TASKS = {"default": settings.TASKS["default"] | queues}
    connection = factories.connection()

    tasks.sync_stale.call()
    tasks.ask_for_sync(connection.pk)

    used = [(result.task.name, result.task.queue_name) for result in default_task_backend.results]
    assert used == [("sync_batch", chosen), ("sync_connection", "default")]


def test_a_batch_begins_nothing_after_its_time(sandbox, monkeypatch):
    monkeypatch.setattr(tasks, "_SECONDS", -1.0)
    monkeypatch.setattr(tasks, "_AT_ONCE", 1)
    ids = [str(factories.sandbox_connection(sandbox, sub).pk) for sub in (LUCIA, OTTO)]

    assert run(tasks.sync_batch, ids) == {"synced": 1, "failed": 0}
    assert Connection.objects.filter(next_sync_at__lte=timezone.now()).count() == 1, "the other is still due"


def test_a_batch_inside_a_transaction_sees_its_rows(sandbox):
    with transaction.atomic():
        connection = factories.sandbox_connection(sandbox, OTTO)
        assert tasks.sync_batch.call([str(connection.pk)]) == {"synced": 1, "failed": 0}


def test_pending_revocations_are_sent(sandbox, queue):
    connection = factories.sandbox_connection(sandbox, OTTO)
    token = connection.refresh_token
    connection.delete()
    assert PendingRevocation.objects.count() == 2

    assert tasks.revoke_pending.call() == {"done": 2, "left": 0}
    assert sandbox.refresh(token).status_code == 400


def test_unused_grants_are_renewed_where_the_site_asks_for_it(sandbox, settings):
    factories.sandbox_connection(sandbox, OTTO, refresh_token_expires_at=timezone.now() + timedelta(days=1))

    assert run(tasks.keep_alive) == {"renewed": 0, "gone": 0, "failed": 0}
    settings.EPROSPERA_KEEP_ALIVE = timedelta(days=7)
    assert run(tasks.keep_alive) == {"renewed": 1, "gone": 0, "failed": 0}
