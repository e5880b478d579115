"""One valid token for whoever asks, at most one refresh under way, none lost; against a real sandbox."""

import re
import signal
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection as database
from django.db import connections, transaction
from django.utils import timezone

from django_eprospera.errors import (
    ClientRejected,
    ConfigurationError,
    GrantGone,
    RefreshBusy,
    RefreshPaused,
    RefreshRefused,
)
from django_eprospera.models import Connection
from django_eprospera.signals import grant_lost
from django_eprospera.tokens import access_token, keep_alive
from tests.conftest import go
from tests.sandbox_process import ALL_SCOPES
from tests.tokens.conftest import REFRESH, TOKEN, make_due, works

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_valid_token_is_handed_out_without_asking_the_provider(provider, connect):
    connection = connect(valid_for=timedelta(minutes=30))
    assert works(provider, access_token(connection))
    assert provider.control("stats")["refresh_requests"] == 0


def test_an_expired_token_is_refreshed_once_and_the_pair_replaced(provider, connect):
    connection = connect()
    old = connection.refresh_token
    token = access_token(connection)
    assert works(provider, token)
    row = Connection.objects.get()
    assert (row.access_token, row.generation) == (token, 1)
    assert row.refresh_token not in (None, old)
    assert row.access_token_expires_at > timezone.now() + timedelta(minutes=55)
    assert row.refresh_sent_at is row.lease_holder is row.lease_until is None
    assert connection.access_token == token
    assert connection.generation == 1
    assert access_token(connection) == token
    assert provider.control("stats")["refresh_requests"] == 1


def test_a_token_is_renewed_before_it_ends(provider, connect):
    connection = connect(valid_for=timedelta(seconds=50))
    access_token(connection)
    assert provider.control("stats")["refreshes"] == 1


def test_an_error_before_expiry_costs_nobody_anything(provider, connect, settings):
    settings.EPROSPERA_REFRESH_BUDGET = 0
    connection = connect(valid_for=timedelta(seconds=50))
    provider.fault(TOKEN, status=503)
    assert works(provider, access_token(connection))
    assert works(provider, access_token(connection))
    assert Connection.objects.get().state == Connection.State.ACTIVE


def test_a_token_that_the_provider_refused_is_not_handed_out_again(provider, connect):
    connection = connect(valid_for=timedelta(minutes=30))
    first = access_token(connection)
    second = access_token(connection, rejected=first)
    assert second != first
    assert works(provider, second)
    assert access_token(connection, rejected=first) == second


def test_saving_an_older_copy_of_the_row_brings_no_spent_token_back(connect):
    connection = connect()
    older = Connection.objects.get()
    token = access_token(connection)
    older.signed_in_at = timezone.now()
    older.save()
    assert Connection.objects.get().access_token == token


def test_many_threads_make_one_refresh(provider, connect):
    connection = connect()
    barrier = threading.Barrier(8)

    def ask(_):
        try:
            barrier.wait()
            return str(access_token(Connection.objects.get(pk=connection.pk)))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(ask, range(8)))
    assert len(tokens) == 1
    assert provider.control("stats")["refresh_requests"] == 1


def test_many_processes_make_one_refresh_each_connection(provider, connect, child):
    pks = [connect().pk for _ in range(5)]
    children = [child("ask", *pks, begin=False) for _ in range(4)]
    for process in children:
        go(process)
    said = {tuple(process.communicate(timeout=120)[0].splitlines()) for process in children}
    assert len(said) == 1
    assert all("." in line for line in said.pop())
    assert provider.control("stats")["refresh_requests"] == 5


def test_nothing_is_open_on_the_database_while_the_provider_is_waited_for(provider, connect):
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=1.5, times=1)
    seen = []

    def ask():
        try:
            access_token(Connection.objects.get(pk=connection.pk))
        finally:
            connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    while not Connection.objects.filter(lease_holder__isnull=False).exists():
        pass
    # The row can be written by anybody, at once.
    with transaction.atomic():
        seen.append(
            Connection.objects.select_for_update(nowait=database.features.has_select_for_update_nowait).get().pk
        )
        Connection.objects.update(signed_in_at=timezone.now())
    if database.vendor == "postgresql":
        with database.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND (xact_start IS NOT NULL OR state LIKE 'idle in transaction%%') AND backend_type = 'client backend'"
            )
            seen.append(cursor.fetchone()[0])
            cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
            seen.append(cursor.fetchone()[0])
    thread.join()
    assert seen in ([connection.pk], [connection.pk, 0, 0])
    assert Connection.objects.get().generation == 1


def test_who_does_not_get_the_outcome_in_time_is_told_so(provider, connect, settings):
    settings.EPROSPERA_REFRESH_WAIT = 0.2
    connection = connect()
    Connection.objects.update(lease_until=timezone.now() + timedelta(minutes=1))
    with pytest.raises(RefreshBusy):
        access_token(connection)
    assert provider.control("stats")["refresh_requests"] == 0


def test_a_holder_that_was_killed_is_replaced_when_its_lease_ends(provider, connect, child):
    connection = connect()
    # It is killed while the provider has not yet begun: the refresh token is not spent.
    provider.fault(TOKEN, form=REFRESH, delay=5, status=503, times=1)
    process = child("ask", connection.pk, EPROSPERA_REFRESH_LEASE=2)
    while Connection.objects.get().lease_holder is None:
        assert process.poll() is None
    process.kill()
    process.wait()
    row = Connection.objects.get()
    assert row.refresh_sent_at is not None
    assert works(provider, access_token(connection))
    assert Connection.objects.get().refresh_sent_at is None


def test_a_holder_killed_after_the_provider_answered_leaves_an_answer_lost(provider, connect, child):
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=5, after=True, times=1)
    process = child("ask", connection.pk, EPROSPERA_REFRESH_LEASE=2)
    while Connection.objects.get().lease_holder is None:
        assert process.poll() is None
    while provider.control("stats")["refreshes"] == 0:
        assert process.poll() is None
    process.kill()
    process.wait()
    with pytest.raises(GrantGone) as gone:
        access_token(connection)
    assert gone.value.cause == Connection.Cause.ANSWER_LOST


@pytest.mark.parametrize("shared", [True, False], ids=["with the spool", "without it"])
def test_a_holder_killed_between_arrival_and_commit_loses_nothing(provider, connect, child, settings, tmp_path, shared):
    settings.EPROSPERA_SPOOL = tmp_path / "spool" if shared else None
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, delay=1.5, after=True, times=1)
    process = child("ask", connection.pk, EPROSPERA_REFRESH_LEASE=4, EPROSPERA_SPOOL=settings.EPROSPERA_SPOOL)
    while Connection.objects.get().lease_holder is None:
        assert process.poll() is None
    with transaction.atomic():
        # Its commit has to wait for this transaction; that is when it is killed.
        Connection.objects.update(signed_in_at=timezone.now())
        if shared:
            while not any(file.read_bytes().strip(b"\0") for file in settings.EPROSPERA_SPOOL.glob("*")):
                assert process.poll() is None
            (file,) = settings.EPROSPERA_SPOOL.iterdir()
            assert file.stat().st_mode & 0o777 == 0o600
            # As a word of its own: the letters alone also occur within a ciphertext.
            assert not re.search(rb"\brt_", file.read_bytes())
        else:
            while provider.control("stats")["refreshes"] == 0:
                assert process.poll() is None
        process.kill()
        process.wait()
    if shared:
        assert works(provider, access_token(connection))
        assert provider.control("stats")["refresh_requests"] == 1
        # On PostgreSQL the server may still commit what the dead process had sent; then nobody needs the file.
        assert database.vendor == "postgresql" or not list(settings.EPROSPERA_SPOOL.iterdir())
    else:
        with pytest.raises(GrantGone):
            access_token(connection)


# The write itself takes some fifteen calls.
@pytest.mark.parametrize("calls", [30, 100, 300, 1000])
def test_a_holder_killed_while_it_reads_the_answer_loses_nothing(provider, connect, child, settings, tmp_path, calls):
    settings.EPROSPERA_SPOOL = tmp_path / "spool"
    connection = connect()
    process = child(
        "ask", connection.pk, dies=calls, EPROSPERA_REFRESH_LEASE=1, EPROSPERA_SPOOL=settings.EPROSPERA_SPOOL
    )
    assert process.wait() == -signal.SIGKILL
    assert works(provider, access_token(connection))
    assert provider.control("stats")["refresh_requests"] == 1


class TestTheGrantIsGone:
    def test_it_is_marked_with_cause_and_time_and_costs_no_further_request(self, provider, connect):
        told = []

        def listen(sender, connection, cause, **_):
            told.append((connection.pk, cause))

        grant_lost.connect(listen)
        connection = connect()
        provider.control("revoke", sub=connection.sub)
        for _ in range(3):
            with pytest.raises(GrantGone) as gone:
                access_token(connection)
            assert gone.value.cause == "invalid_grant"
        grant_lost.disconnect(listen)
        row = Connection.objects.get()
        assert (row.state, row.state_cause) == ("reauthorize", "invalid_grant")
        assert row.state_changed_at > timezone.now() - timedelta(minutes=1)
        assert row.access_token is row.refresh_token is None
        assert told == [(connection.pk, "invalid_grant")]
        assert provider.control("stats")["refresh_requests"] == 1

    def test_a_refresh_token_of_which_the_180_days_have_passed(self, provider, connect):
        connection = connect(refresh_token="rt_long-gone")
        with pytest.raises(GrantGone):
            access_token(connection)

    def test_without_a_refresh_token_the_access_ends_with_its_token(self, provider, connect):
        connection = connect(scope=ALL_SCOPES.replace(" offline_access", ""))
        with pytest.raises(GrantGone) as gone:
            access_token(connection)
        assert gone.value.cause == Connection.Cause.NO_REFRESH_TOKEN
        assert provider.control("stats")["refresh_requests"] == 0

    def test_a_connection_that_is_no_longer_there(self, connect):
        connection = connect()
        Connection.objects.all().delete()
        with pytest.raises(GrantGone):
            access_token(connection)

    @pytest.mark.parametrize(
        "other", [{"issuer": "https://portal.eprospera.com"}, {"client_id": "another-client"}], ids=str
    )
    def test_tokens_of_another_provider_or_client_go_nowhere(self, provider, connect, other):
        valid, over = connect(valid_for=timedelta(minutes=30), **other), connect(**other)
        for connection in (valid, over):
            with pytest.raises(GrantGone) as gone:
                access_token(connection)
            assert gone.value.cause == "other_provider"
        assert provider.control("stats")["refresh_requests"] == 0
        assert Connection.objects.filter(state="active").count() == 2


class TestTheProviderIsUnavailable:
    @pytest.mark.parametrize(
        "fault",
        [
            {"status": 503, "body": '{"error": "temporarily_unavailable"}'},
            {"status": 500, "body": "<html>oops</html>", "content_type": "text/html"},
            {"status": 429, "body": '{"error": "Rate limit exceeded"}'},
            {"status": 400, "body": '{"error": "temporarily_unavailable"}'},
        ],
        ids=["503", "500 in HTML", "429", "temporarily_unavailable"],
    )
    def test_it_is_asked_again_within_the_budget(self, provider, connect, fault):
        connection = connect()
        provider.fault(TOKEN, form=REFRESH, times=2, **fault)
        assert works(provider, access_token(connection))

    def test_beyond_the_budget_there_is_a_pause_and_the_connection_lives_on(self, provider, connect, settings):
        settings.EPROSPERA_REFRESH_BUDGET = 0.3
        connection = connect()
        provider.fault(TOKEN, form=REFRESH, status=503)
        for _ in range(3):
            with pytest.raises(RefreshPaused) as paused:
                access_token(connection)
            assert paused.value.retry_at > timezone.now()
        row = Connection.objects.get()
        assert (row.state, row.lease_holder, row.refresh_sent_at) == ("active", None, None)
        provider.control("faults", "DELETE")
        make_due(connection)
        assert works(provider, access_token(connection))

    def test_nobody_listens(self, provider, connect, settings):
        connection = connect(issuer="http://127.0.0.1:9")
        settings.EPROSPERA_REFRESH_BUDGET = 0
        settings.EPROSPERA_BASE_URL = "http://127.0.0.1:9"
        with pytest.raises(RefreshPaused):
            access_token(connection)
        assert Connection.objects.get().state == "active"

    @pytest.mark.parametrize(
        "fault", [{"drop": True}, {"status": 200, "body": "<html>hello</html>"}, {"status": 200, "body": "[]"}],
        ids=["connection cut", "HTML", "a list"],
    )  # fmt: skip
    def test_an_answer_lost_before_the_token_was_spent_heals_after_a_pause(self, provider, connect, fault):
        connection = connect()
        provider.fault(TOKEN, form=REFRESH, times=1, **fault)
        with pytest.raises(RefreshPaused):
            access_token(connection)
        row = Connection.objects.get()
        assert row.refresh_sent_at is not None
        assert row.state == "active"
        with pytest.raises(RefreshPaused):
            access_token(connection)  # within the pause: not asked again
        make_due(connection)
        assert works(provider, access_token(connection))
        assert Connection.objects.get().refresh_sent_at is None

    @pytest.mark.parametrize("fault", [{"drop": True}, {"delay": 3}], ids=["connection cut", "too slow"])
    def test_an_answer_lost_after_the_token_was_spent_becomes_reauthorize_only_by_invalid_grant(
        self, provider, connect, settings, fault
    ):
        settings.EPROSPERA_TIMEOUT = 1
        connection = connect()
        provider.fault(TOKEN, form=REFRESH, times=1, after=True, **fault)
        with pytest.raises(RefreshPaused):
            access_token(connection)
        assert Connection.objects.get().state == "active"
        make_due(connection)
        with pytest.raises(GrantGone) as gone:
            access_token(connection)
        assert gone.value.cause == Connection.Cause.ANSWER_LOST

    def test_a_wrong_client_secret_is_a_matter_of_settings_and_spends_nothing(self, provider, connect, settings):
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = "wrong"
        connection = connect()
        with pytest.raises(ClientRejected):
            access_token(connection)
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = provider.client_secret
        make_due(connection)
        assert works(provider, access_token(connection))

    def test_a_missing_client_secret_holds_no_lease(self, provider, connect, settings):
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = ""
        connection = connect()
        with pytest.raises(ConfigurationError):
            access_token(connection)
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = provider.client_secret
        assert works(provider, access_token(connection))


class TestInsideATransaction:
    def test_a_row_that_the_caller_has_locked_is_refused_before_the_token_is_spent(self, provider, connect):
        connection = connect()
        with transaction.atomic():
            Connection.objects.update(signed_in_at=timezone.now())
            with pytest.raises(RefreshRefused, match="Nothing was spent"):
                access_token(connection)
        assert provider.control("stats")["refresh_requests"] == 0
        assert works(provider, access_token(connection))

    def test_a_valid_token_is_handed_out_there_too(self, provider, connect):
        connection = connect(valid_for=timedelta(minutes=30))
        with transaction.atomic():
            assert works(provider, access_token(connection))


@pytest.mark.django_db(transaction=False)
def test_it_works_inside_a_testcase(provider, connect):
    connection = connect()
    with transaction.atomic():
        assert works(provider, access_token(connection))
    assert Connection.objects.get().generation == 1


class TestTheRefreshedIdToken:
    def test_a_new_signing_key_is_fetched_and_the_token_handed_out(self, provider, connect):
        first, second = connect(), connect()
        access_token(first)  # the key set is known now
        provider.control("rotate-key")
        token = access_token(second)
        assert works(provider, token)
        assert Connection.objects.get(pk=second.pk).access_token_expires_at > timezone.now() + timedelta(minutes=50)

    def test_a_key_set_that_lags_behind_costs_a_pause_and_not_the_grant(self, provider, connect):
        first, second = connect(), connect()
        access_token(first)
        lagging = provider.get("/api/oauth/.well-known/jwks.json").text
        provider.control("rotate-key")
        provider.fault("/api/oauth/.well-known/jwks.json", status=200, body=lagging)
        with pytest.raises(RefreshPaused):
            access_token(second)
        row = Connection.objects.get(pk=second.pk)
        assert (row.state, row.generation) == ("active", 1)
        with pytest.raises(RefreshPaused):
            access_token(second)  # what came is kept, and not handed out
        provider.control("faults", "DELETE")
        make_due(second)
        assert works(provider, access_token(second))

    def test_an_answer_for_another_person_never_touches_the_connection(self, provider, connect):
        connection = connect()
        Connection.objects.update(sub="somebody-else")
        old = connection.refresh_token
        with pytest.raises(GrantGone) as gone:
            access_token(connection)
        assert gone.value.cause == Connection.Cause.OTHER_SUBJECT
        row = Connection.objects.get()
        assert row.generation == 0
        assert row.access_token is row.refresh_token is None
        assert old

    def test_keys_that_cannot_be_fetched_stop_the_refresh_before_it_is_sent(self, provider, connect):
        connection = connect()
        provider.fault("/api/oauth/.well-known/jwks.json", status=404, body="{}")
        with pytest.raises(RefreshPaused):
            access_token(connection)
        assert provider.control("stats")["refresh_requests"] == 0


def test_keep_alive_renews_what_ends_soon_and_only_where_the_site_asks(provider, connect, settings):
    soon = connect(valid_for=timedelta(minutes=30), refresh_token_expires_at=timezone.now() + timedelta(days=9))
    connect(valid_for=timedelta(minutes=30))
    assert keep_alive().renewed == 0
    settings.EPROSPERA_KEEP_ALIVE = timedelta(days=10)
    assert keep_alive().renewed == 1
    row = Connection.objects.get(pk=soon.pk)
    assert row.generation == 1
    assert row.used_at is None
    assert row.refresh_token_expires_at > timezone.now() + timedelta(days=179)
    assert keep_alive().renewed == 0


def test_no_error_shows_a_token(provider, connect, settings):
    settings.EPROSPERA_REFRESH_BUDGET = 0
    connection = connect()
    secret = connection.refresh_token  # a Secret: it does not show itself in this test's own frame
    provider.fault(TOKEN, form=REFRESH, times=1, status=500, body=secret)
    with pytest.raises(RefreshPaused) as paused:
        access_token(connection)
    shown = "".join(traceback.TracebackException.from_exception(paused.value, capture_locals=True).format())
    assert secret not in shown
    assert str(settings.SOCIAL_AUTH_EPROSPERA_SECRET) not in shown
