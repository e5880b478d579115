"""A sandbox of their own for the token tests, and connections made of its grants."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from django_eprospera.models import Connection
from tests.sandbox_process import ALL_SCOPES, ANA, JOSE, LUCIA, MIRJAM, OTTO, SAMUEL

TOKEN = "/api/oauth/token"
REFRESH = {"grant_type": "refresh_token"}
PERSONAS = (LUCIA, SAMUEL, MIRJAM, OTTO, ANA, JOSE)


def works(provider, token):
    return provider.get("/api/v1/me/natural-person/residency", token).status_code == 200


def make_due(connection):
    """Let the access token be over and the pause after a failure too."""
    Connection.objects.filter(pk=connection.pk).update(
        access_token_expires_at=timezone.now() - timedelta(seconds=1), refresh_not_before=None
    )


@pytest.fixture
def connect(provider):
    """Make a connection of a grant of the sandbox, its access token over unless `valid_for` says otherwise."""

    def make(sub=None, scope=ALL_SCOPES, valid_for=timedelta(seconds=-1), **more):
        sub = sub or PERSONAS[Connection.objects.count()]
        grant = provider.mint(sub=sub, scopes=scope)[0]
        now = timezone.now()
        user = get_user_model().objects.create(username=f"user-{get_user_model().objects.count()}")
        values = {
            "issuer": provider.url,
            "sub": sub,
            "client_id": provider.client_id,
            "scope": scope,
            "signed_in_at": now,
            "access_token": grant["access_token"],
            "access_token_expires_at": now + valid_for,
            "refresh_token": grant.get("refresh_token"),
            "refresh_token_expires_at": now + timedelta(days=180),
        }
        return Connection.objects.create(user=user, **values | more)

    return make
