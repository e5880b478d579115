"""A process whose clock is off by up to a day, against a sandbox and a database whose clocks are right."""

from datetime import timedelta

import pytest
from django.db import connection as database
from django.utils import timezone

from django_eprospera.errors import GrantGone, RefreshPaused
from django_eprospera.models import Connection
from django_eprospera.tokens import access_token, disconnect, revoke_pending
from tests.tokens.conftest import REFRESH, TOKEN, make_due, works

pytestmark = pytest.mark.django_db(transaction=True)

OFFSETS = {
    "-1 day": -86_400, "-2 h": -7_200, "-1 h": -3_600, "-90 s": -90,
    "+90 s": 90, "+1 h": 3_600, "+2 h": 7_200, "+1 day": 86_400,
}  # fmt: skip
every_clock = pytest.mark.parametrize("clock", OFFSETS.values(), ids=OFFSETS)
slow_and_fast = pytest.mark.parametrize("clock", [-86_400, 7_200], ids=["-1 day", "+2 h"])


def answers(process):
    return dict(line.split(" ", 1) for line in process.communicate(timeout=120)[0].splitlines())


@every_clock
def test_every_refresh_succeeds_and_no_grant_ends(provider, connect, child, clock):
    rows = [connect() for _ in range(3)]
    said = answers(child("ask", *(row.pk for row in rows), clock=clock))
    assert all(works(provider, said[str(row.pk)]) for row in rows), said
    now = timezone.now()
    for row in Connection.objects.all():
        assert (row.state, row.generation) == ("active", 1)
        assert timedelta(minutes=55) < row.access_token_expires_at - now <= timedelta(minutes=61)
        assert abs(row.used_at - now) < timedelta(minutes=1)
        assert abs(row.refresh_token_expires_at - now - timedelta(days=180)) < timedelta(minutes=1)


@slow_and_fast
def test_a_valid_token_is_used_and_one_that_is_over_is_not(provider, connect, child, clock):
    valid, over = connect(valid_for=timedelta(minutes=30)), connect()
    said = answers(child("ask", valid.pk, over.pk, clock=clock))
    assert said[str(valid.pk)] == valid.access_token
    assert said[str(over.pk)] != over.access_token
    assert provider.control("stats")["refresh_requests"] == 1


@slow_and_fast
def test_its_pause_holds_nobody_else_up(provider, connect, child, clock):
    connection = connect()
    provider.fault(TOKEN, form=REFRESH, status=503, times=1, headers={"Retry-After": "3"})
    said = answers(child("ask", connection.pk, clock=clock, EPROSPERA_REFRESH_BUDGET=0))
    assert said == {str(connection.pk): "RefreshPaused"}
    row, now = Connection.objects.get(), timezone.now()
    assert now + timedelta(seconds=15) < row.refresh_not_before <= now + timedelta(seconds=30)
    assert answers(child("ask", connection.pk, clock=clock)) == said, "it keeps to the pause itself"
    make_due(connection)
    assert works(provider, access_token(connection))


@slow_and_fast
def test_a_date_to_retry_after_is_meant_by_the_providers_clock(provider, connect, child, clock):
    connection = connect()
    date = "Tue, 24 Nov 2026 12:00:{} GMT"
    headers = {"Date": date.format("00"), "Retry-After": date.format("45")}
    provider.fault(TOKEN, form=REFRESH, status=503, times=1, headers=headers)
    answers(child("ask", connection.pk, clock=clock, EPROSPERA_REFRESH_BUDGET=0))
    left = Connection.objects.get().refresh_not_before - timezone.now()
    assert timedelta(seconds=31) < left <= timedelta(seconds=45)


@slow_and_fast
def test_a_grant_that_was_revoked_is_gone_there_too(provider, connect, child, clock):
    connection = connect()
    provider.control("revoke", sub=connection.sub)
    assert answers(child("ask", connection.pk, clock=clock)) == {str(connection.pk): "GrantGone"}
    row = Connection.objects.get()
    assert row.state_cause == "invalid_grant"
    assert abs(row.state_changed_at - timezone.now()) < timedelta(minutes=1)


@slow_and_fast
def test_it_keeps_alive_what_ends_soon_and_revokes_what_is_due(provider, connect, child, clock):
    soon = connect(valid_for=timedelta(minutes=30), refresh_token_expires_at=timezone.now() + timedelta(hours=10))
    later = connect(valid_for=timedelta(minutes=30), refresh_token_expires_at=timezone.now() + timedelta(hours=14))
    ended = connect(valid_for=timedelta(minutes=30))
    token = str(ended.access_token)
    provider.fault("/api/oauth/revoke", status=503, times=2)
    disconnect(ended)
    assert revoke_pending() == (0, 2)
    child("manage", "eprospera_keep_alive", clock=clock, EPROSPERA_KEEP_ALIVE=12 * 3_600).communicate(timeout=60)
    assert Connection.objects.get(pk=soon.pk).generation == 1
    assert Connection.objects.get(pk=later.pk).generation == 0
    assert works(provider, token), "it is not yet time to try the revocation again"


@pytest.mark.parametrize(
    "claims", [{"exp": None}, {"iat": "now"}, {"nbf": "x"}, {"exp": 1, "iat": 4e9, "nbf": 4e9}], ids=str
)
def test_the_times_of_an_id_token_end_no_grant(provider, connect, claims):
    connection = connect()
    provider.control("tamper", "POST", id_token={"claims": claims})
    if len(claims) == 3:
        assert works(provider, access_token(connection)), "well-formed times are not compared with this host's"
    else:
        with pytest.raises(RefreshPaused, match="id_token_"):
            access_token(connection)
    row = Connection.objects.get()
    assert (row.state, row.generation) == ("active", 1), "the new refresh token is kept"
    provider.control("tamper", "DELETE")
    make_due(connection)
    assert works(provider, access_token(connection))


@pytest.mark.parametrize(
    "lie",
    [
        {"key": "foreign"},
        {"key": "none"},
        *({"claims": {name: "x"}} for name in ("iss", "aud", "azp", "sub", "at_hash")),
    ],
    ids=str,
)
def test_a_forged_id_token_does(provider, connect, lie):
    connection = connect()
    provider.control("tamper", "POST", id_token=lie)
    with pytest.raises(GrantGone) as gone:
        access_token(connection)
    assert gone.value.cause == "other_subject"


@slow_and_fast
def test_the_system_check_and_the_log_report_it(connect, child, clock, capfd):
    child("manage", "check", "--deploy", "--database", "default", clock=clock).communicate(timeout=60)
    said = capfd.readouterr().err
    assert "eprospera.W008" in said
    word = "behind" if clock < 0 else "ahead of"
    assert f"seconds {word} e-Próspera's" in said
    assert database.vendor == "sqlite" or f"seconds {word} that of database 'default'" in said


def test_a_clock_that_is_right_is_not_reported(child, capfd):
    child("manage", "check", "--deploy", "--database", "default").communicate(timeout=60)
    assert "W008" not in capfd.readouterr().err
