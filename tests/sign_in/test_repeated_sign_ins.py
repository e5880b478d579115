"""Each sign-in brings a new grant: how many replaced ones are held, and what becomes of them; against a real sandbox."""

import io
import time

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone

from django_eprospera.errors import GrantGone
from django_eprospera.models import Connection, Pace, PendingRevocation
from django_eprospera.tokens import access_token, disconnect, remaining, revoke_pending
from django_eprospera.tokens.replaced import revoke_all_replaced, revoke_replaced
from django_eprospera.tokens.revocation import Remaining
from tests.sandbox_process import OTTO
from tests.sign_in.refusal import logged
from tests.sign_in.test_backend import return_of
from tests.visitor import Visitor


@pytest.fixture
def sign_in(site, sandbox, caplog):
    """Sign Otto in through the front door, each time in a new browser."""
    caplog.set_level("DEBUG")

    def repeated(times):
        for _ in range(times):
            answer = return_of(Visitor(site), sandbox, OTTO)
            assert answer.status_code == 302, answer.text

    return repeated


def alive(sandbox):
    return sandbox.control("stats")["refresh_tokens_alive"]


def works(sandbox):
    return sandbox.get("/api/oauth/userinfo", access_token(Connection.objects.get())).status_code == 200


def test_fifty_leave_three_of_them_at_most(sign_in, sandbox):
    sign_in(50)
    assert PendingRevocation.objects.count() == 3
    assert alive(sandbox) == 1 + 3
    assert works(sandbox)


@pytest.mark.parametrize("end", ["disconnect", "delete the user"])
def test_all_of_them_are_revoked_with_the_connection(sign_in, sandbox, end):
    sign_in(6)
    connection = Connection.objects.get()
    if end == "disconnect":
        disconnect(connection)
    else:
        connection.user.delete()
    assert not PendingRevocation.objects.exists()
    assert alive(sandbox) == 0


@pytest.mark.parametrize(("setting", "held"), [(0, 0), (1, 1), (1000, 5)])
def test_the_setting_says_how_many_are_held(sign_in, sandbox, settings, setting, held):
    settings.EPROSPERA_REPLACED_GRANTS = setting
    sign_in(6)
    assert PendingRevocation.objects.count() == held
    assert alive(sandbox) == 1 + held
    assert works(sandbox)


def test_those_that_are_over_are_forgotten_before_any_is_revoked(sign_in, sandbox):
    sign_in(4)
    first, second, third = PendingRevocation.objects.order_by("not_before")
    sandbox.back_channel("revoke", token=second.token)
    sign_in(1)
    left = PendingRevocation.objects.order_by("not_before")
    assert list(left[:2]) == [first, third]
    assert len(left) == 3
    assert alive(sandbox) == 1 + 3


@pytest.mark.parametrize("status", [503, 404], ids=["down", "not there"])
def test_a_provider_that_does_not_say_which_are_over_changes_nothing(sign_in, sandbox, status):
    sandbox.fault("/api/oauth/introspect", status=status, body="<html>")
    sign_in(6)
    assert PendingRevocation.objects.count() == 3
    assert alive(sandbox) == 1 + 3


def test_what_cannot_be_revoked_at_once_is_revoked_by_the_timer(sign_in, sandbox):
    sandbox.fault("/api/oauth/revoke", status=503)
    sign_in(6)
    assert PendingRevocation.objects.filter(held=True).count() == 3
    assert PendingRevocation.objects.filter(held=False, attempts=1).count() == 2
    sandbox.control("faults", "DELETE")
    PendingRevocation.objects.filter(held=False).update(not_before=timezone.now())
    call_command("eprospera_keep_alive")
    assert alive(sandbox) == 1 + 3


def test_the_timer_finds_what_no_worker_has_done(sign_in, sandbox, settings):
    settings.EPROSPERA_REPLACED_GRANTS = 1000
    sign_in(6)
    settings.EPROSPERA_REPLACED_GRANTS = 3
    call_command("eprospera_keep_alive")
    assert PendingRevocation.objects.count() == 3
    assert alive(sandbox) == 1 + 3


def test_a_provider_that_ends_all_grants_at_once_is_reported(sign_in, sandbox, settings, caplog):
    sandbox.control("switches", revoke_refresh_token="person")
    sign_in(4)
    assert works(sandbox)
    assert "EPROSPERA_REPLACED_GRANTS" not in logged(caplog)
    sign_in(1)
    assert alive(sandbox) == 0
    assert "EPROSPERA_REPLACED_GRANTS" in logged(caplog)
    Connection.objects.update(access_token_expires_at=timezone.now())
    with pytest.raises(GrantGone):
        access_token(Connection.objects.get())
    settings.EPROSPERA_REPLACED_GRANTS = 1000
    sign_in(6)
    assert works(sandbox)


def test_nothing_is_asked_after_the_time_that_a_call_has(sign_in, sandbox, settings):
    settings.EPROSPERA_REPLACED_GRANTS = 1000
    sign_in(6)
    settings.EPROSPERA_REPLACED_GRANTS = 3
    assert revoke_all_replaced(seconds=0) == 0
    assert remaining() == Remaining(due=0, later=0, held=5, foreign=0)
    assert revoke_replaced(Connection.objects.get(), seconds=0) == 0
    assert alive(sandbox) == 6
    assert remaining() == Remaining(due=2, later=0, held=3, foreign=0)
    assert revoke_pending(seconds=0) == (0, 2)
    assert alive(sandbox) == 6
    assert revoke_pending() == (2, 0)
    assert alive(sandbox) == 1 + 3


def test_a_silent_provider_is_asked_once(sign_in, sandbox, settings):
    settings.EPROSPERA_REPLACED_GRANTS = 1000
    sign_in(6)
    settings.EPROSPERA_REPLACED_GRANTS = 3
    sandbox.fault("/api/oauth/introspect", delay=5, times=3)
    assert revoke_replaced(Connection.objects.get(), seconds=0.3) == 0
    assert [fault["times"] for fault in sandbox.control("faults")["faults"]] == [2]
    assert PendingRevocation.objects.filter(held=True).count() == 3


def test_the_admin_and_the_timer_say_the_same(sign_in, sandbox, client):
    sign_in(5)
    other = PendingRevocation(issuer="https://elsewhere.example", client_id="x", token="t", hint="refresh_token")
    other.not_before = timezone.now()
    other.save()
    said = "Not revoked yet: 0 due now, 0 tried again later, 3 held until their connection ends, 1 of another"
    out = io.StringIO()
    call_command("eprospera_keep_alive", stdout=out)
    assert said in out.getvalue()
    client.force_login(get_user_model().objects.create_superuser("staff"))
    assert said in client.get("/admin/django_eprospera/pendingrevocation/").content.decode()


def test_a_sign_in_while_the_site_pauses_works_at_once_and_what_it_has_to_revoke_waits(sign_in, sandbox, settings):
    settings.EPROSPERA_REPLACED_GRANTS = 0
    Pace.objects.create(issuer=sandbox.url, paused_until=time.time() + 100, pauses=5, cause="rate_limited")
    began = time.monotonic()
    sign_in(2)
    assert time.monotonic() - began < 50, "nobody waits for the pause"
    assert works(sandbox)
    assert not PendingRevocation.objects.filter(attempts__gt=0).exists()
