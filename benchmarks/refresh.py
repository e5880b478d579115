"""A refresh of an expired access token ÷ the bare `requests.post` that it needs."""

from datetime import timedelta

import requests
from django.utils import timezone

from benchmarks.measure import Row, queries, sandbox
from django_eprospera.models import Connection
from django_eprospera.testing import factories
from django_eprospera.tokens import access_token
from tests.sandbox_process import LUCIA


def rows(bench):
    with sandbox() as provider:
        factories.sandbox_connection(provider, LUCIA)
        found = {}
        grant = provider.mint()[0]

        def expire():
            Connection.objects.update(access_token_expires_at=timezone.now() - timedelta(days=1))
            found["row"] = Connection.objects.get()

        def ours():
            access_token(found["row"])

        def bare():
            answer = requests.post(
                f"{provider.url}/api/oauth/token", auth=(provider.client_id, requests.utils.quote(provider.client_secret, "")),
                data={"grant_type": "refresh_token", "refresh_token": grant["refresh_token"]}, timeout=60,
            )  # fmt: skip
            answer.raise_for_status()
            grant.update(answer.json())

        what = "Refresh of an expired token"
        yield bench.ratio(f"{what}: CPU ÷ requests.post", ours, bare, before=expire, times=10, goal=3.5)
        expire()
        yield Row(f"{what}: SQL", queries(ours), "queries", 4)
