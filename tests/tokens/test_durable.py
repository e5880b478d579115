"""A refresh inside the caller's transaction: kept whatever becomes of the transaction, or refused before anything is spent."""

import threading

import pytest
from django.db import connection as database
from django.db import transaction
from django.utils import timezone

from django_eprospera.errors import GrantGone, RefreshRefused
from django_eprospera.models import Connection
from django_eprospera.tokens import access_token
from tests.tokens.conftest import REFRESH, TOKEN, works

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["atomic", "autocommit off"])
def rolled_back(request):
    """Run a function inside a transaction that is then rolled back, and return its result."""

    def run(work):
        if request.param == "atomic":
            with transaction.atomic():
                result = work()
                transaction.set_rollback(True)
            return result
        transaction.set_autocommit(False)
        try:
            return work()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    return run


def test_a_token_outlives_the_transaction_or_is_not_spent(provider, connect, rolled_back):
    connection = connect()
    if database.vendor == "sqlite":
        with pytest.raises(RefreshRefused, match="Nothing was spent"):
            rolled_back(lambda: access_token(connection))
        assert provider.control("stats")["refresh_requests"] == 0
    else:
        token = rolled_back(lambda: access_token(connection))
        assert Connection.objects.get().access_token == token
    assert works(provider, access_token(connection))
    assert provider.control("stats")["refresh_requests"] == 1


def test_what_is_raised_there_reaches_the_caller(provider, connect, rolled_back):
    connection = connect()
    provider.control("revoke", sub=connection.sub)
    expected = RefreshRefused if database.vendor == "sqlite" else GrantGone
    with pytest.raises(expected) as raised:
        rolled_back(lambda: access_token(connection))
    if expected is GrantGone:
        assert raised.value.cause == Connection.objects.get().state_cause == "invalid_grant"


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite refuses before it opens a second connection.")
def test_the_second_database_connection_is_closed_again(connect, rolled_back):
    pks = [connect().pk for _ in range(3)]
    before = backends()
    for pk in pks:
        rolled_back(lambda pk=pk: access_token(Connection.objects.get(pk=pk)))
    while backends() > before:  # the server takes a moment to notice
        pass
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("eprospera")]


@pytest.mark.skipif(database.vendor == "sqlite", reason="SQLite refuses before it opens a second connection.")
@pytest.mark.parametrize("work", ["ask-in-transaction", "ask-in-snapshot"])
def test_while_it_waits_for_another_process_it_holds_no_second_database_connection(
    provider, connect, child, monkeypatch, work
):
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=5, status=503, times=1)
    holder = child("ask", connection.pk, EPROSPERA_REFRESH_LEASE=600)
    while Connection.objects.get().lease_holder is None:
        assert holder.poll() is None
    holder.kill()  # its lease goes on
    monkeypatch.setenv("PGAPPNAME", "waiter")
    waiter = child(work, connection.pk)
    for expected in (2, 1, 2, 1, 2, 1):
        while backends("waiter") != expected:
            assert waiter.poll() is None, f"it ended before it held {expected} connections"
    Connection.objects.update(lease_until=timezone.now())
    assert works(provider, waiter.communicate()[0].split()[-1])


def backends(name=""):
    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %s",
            [name or "%"],
        )
        return cursor.fetchone()[0]
