"""How a connection begins, heals and ends; against a real sandbox."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from django_eprospera.errors import GrantGone, OtherSubject
from django_eprospera.models import AuditEntry, Connection, PendingRevocation
from django_eprospera.provider.grants import Tokens
from django_eprospera.signals import revocation_pending, signed_in
from django_eprospera.tokens import access_token, disconnect, revoke_pending
from django_eprospera.tokens.grant import store_sign_in
from tests.sandbox_process import ALL_SCOPES, LUCIA, SAMUEL

pytestmark = pytest.mark.django_db(transaction=True)

REVOKE = "/api/oauth/revoke"


def sign_in(provider, user, sub=LUCIA):
    tokens = Tokens.from_json(provider.mint(sub=sub)[0], timezone.now())
    now = timezone.now()
    return store_sign_in(user=user, issuer=provider.url, sub=sub, tokens=tokens, auth_time=now, now=now)


@pytest.fixture
def user():
    return get_user_model().objects.create(username="somebody")


@pytest.fixture
def heard():
    """What the signals of the test said."""
    said = []

    def listen(signal, **_):
        said.append(signal)

    signed_in.connect(listen)
    revocation_pending.connect(listen)
    yield said
    signed_in.disconnect(listen)
    revocation_pending.disconnect(listen)


class TestSigningIn:
    def test_keeps_the_grant_and_says_so(self, provider, user, heard):
        connection = sign_in(provider, user)
        row = Connection.objects.get()
        assert row == connection
        assert (row.user, row.sub, row.issuer, row.state) == (user, LUCIA, provider.url, "active")
        assert row.scopes == set(ALL_SCOPES.split())
        assert row.refresh_token_expires_at > timezone.now() + timedelta(days=179)
        assert access_token(row) == row.access_token
        assert heard == [signed_in]

    def test_again_replaces_the_grant_of_the_same_connection(self, provider, user):
        first = sign_in(provider, user)
        second = sign_in(provider, user)
        assert first.pk == second.pk
        assert Connection.objects.get().access_token == second.access_token != first.access_token
        assert Connection.objects.get().generation == 2

    def test_heals_a_connection_whose_grant_was_gone(self, provider, user):
        connection = sign_in(provider, user)
        provider.control("revoke", sub=LUCIA)
        Connection.objects.update(access_token_expires_at=timezone.now())
        with pytest.raises(GrantGone):
            access_token(connection)
        sign_in(provider, user)
        assert provider.get("/api/v1/me/natural-person", access_token(Connection.objects.get())).status_code == 200

    def test_as_somebody_else_is_refused_and_changes_nothing(self, provider, user):
        sign_in(provider, user)
        with pytest.raises(OtherSubject):
            sign_in(provider, user, SAMUEL)
        assert Connection.objects.get().sub == LUCIA

    def test_of_a_person_who_is_connected_with_another_user_is_refused(self, provider, user):
        sign_in(provider, user)
        with pytest.raises(OtherSubject):
            sign_in(provider, get_user_model().objects.create(username="another"))
        assert Connection.objects.get().user == user

    def test_while_the_old_grant_is_being_refreshed_the_new_one_stays(self, provider, user, connect):
        connection = sign_in(provider, user)
        holder = Connection.objects.get()
        new = sign_in(provider, user)
        from django_eprospera.tokens import lease

        tokens = Tokens.from_json(provider.refresh(connection.refresh_token).json(), timezone.now())
        assert lease.store("default", holder, tokens, keep_alive=False) is None
        assert Connection.objects.get().access_token == new.access_token


class TestDisconnecting:
    def test_revokes_at_the_provider_and_erases_here(self, provider, user, heard):
        connection = sign_in(provider, user)
        token, refresh_token = str(connection.access_token), str(connection.refresh_token)
        disconnect(connection, actor=user)
        assert not Connection.objects.exists()
        assert heard == [signed_in, revocation_pending]
        revoke_pending()
        assert PendingRevocation.objects.count() == 0
        assert provider.get("/api/v1/me/natural-person", token).status_code == 401
        assert provider.refresh(refresh_token).json()["error"] == "invalid_grant"
        assert AuditEntry.objects.get(action="disconnected").actor == user

    def test_with_the_provider_down_erases_at_once_and_revokes_later(self, provider, user):
        connection = sign_in(provider, user)
        token = str(connection.access_token)
        provider.fault(REVOKE, status=503)
        disconnect(connection)
        assert not Connection.objects.exists()
        assert revoke_pending() == (0, 2)
        assert PendingRevocation.objects.filter(attempts__gte=1, not_before__gt=timezone.now()).count() == 2
        provider.control("faults", "DELETE")
        assert revoke_pending() == (0, 2)  # not before its time
        PendingRevocation.objects.update(not_before=timezone.now() - timedelta(seconds=1))
        assert revoke_pending() == (2, 0)
        assert provider.get("/api/v1/me/natural-person", token).status_code == 401

    def test_ends_the_grants_that_newer_sign_ins_replaced_too(self, provider, user):
        first = str(sign_in(provider, user).refresh_token)
        connection = sign_in(provider, user)
        assert revoke_pending() == (0, 0)  # not before its end: the new grant might end with the old one
        assert provider.get("/api/v1/me/natural-person", access_token(connection)).status_code == 200
        disconnect(connection)
        revoke_pending()
        assert PendingRevocation.objects.count() == 0
        assert provider.refresh(first).json()["error"] == "invalid_grant"

    def test_deleting_the_user_does_the_same(self, provider, user):
        token = str(sign_in(provider, user).access_token)
        user.delete()
        assert not Connection.objects.exists()
        revoke_pending()
        assert PendingRevocation.objects.count() == 0
        assert provider.get("/api/v1/me/natural-person", token).status_code == 401

    def test_a_revocation_that_outlived_every_token_is_dropped(self, provider, user):
        provider.fault(REVOKE, status=503)
        disconnect(sign_in(provider, user))
        PendingRevocation.objects.update(created_at=timezone.now() - timedelta(days=181))
        assert revoke_pending() == (0, 0)

    def test_a_token_that_does_not_open_stops_no_disconnection(self, provider, user, settings):
        connection = sign_in(provider, user)
        settings.FIELD_ENCRYPTION_KEY = "Zk6rBPlyBBdfcR2m9hPQyAq3uOVYNFzGqL1EbVzKLgY="
        disconnect(Connection.objects.get(pk=connection.pk))
        assert not Connection.objects.exists()
