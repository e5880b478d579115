"""CPU of renewing an expired access token, as a ratio to the same POST with `requests`, and its SQL statements.

    python -m benchmarks refresh

Both send to the same sandbox over http, by turns; what was measured is the process and its PostgreSQL backend.
"""

import os
import statistics
from datetime import timedelta

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django

django.setup()

import requests
from django.conf import settings
from django.core.management import call_command
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from benchmarks._cpu import Meter
from django_eprospera.models import Connection
from django_eprospera.tokens import access_token
from tests import factories
from tests.sandbox_process import OTTO, SandboxProcess

ROUNDS, REFRESHES = 7, 30


def renew(row, meter):
    """Let the token of the row be over, and renew it."""
    Connection.objects.filter(pk=row.pk).update(access_token_expires_at=timezone.now() - timedelta(hours=1))
    with meter:
        access_token(row)


def post(sandbox, refresh_token, meter):
    """Send the same request with `requests`; returns the next refresh token."""
    with meter:
        answer = requests.post(
            f"{sandbox.url}/api/oauth/token",
            data={"grant_type": "refresh_token", "refresh_token": refresh_token},
            auth=(sandbox.client_id, sandbox.client_secret),
            timeout=60,
        ).json()
    return answer["refresh_token"]


def main():
    call_command("migrate", verbosity=0)
    with SandboxProcess(client_secret="bench-secret") as sandbox:
        settings.EPROSPERA_BASE_URL = sandbox.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY = sandbox.client_id
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = sandbox.client_secret
        row, token = factories.sandbox_connection(sandbox, OTTO), sandbox.mint(OTTO)[0]["refresh_token"]
        ratios, cpu = [], {"ours": [], "bare": []}
        for number in range(ROUNDS + 1):
            ours, bare = Meter(), Meter()
            for _ in range(REFRESHES):
                renew(row, ours)
                token = post(sandbox, token, bare)
            if number:  # the first round fetches the discovery document
                ratios.append(ours.total / bare.total)
                cpu["ours"].append(ours.total / REFRESHES)
                cpu["bare"].append(bare.total / REFRESHES)
        with CaptureQueriesContext(database) as captured:
            renew(row, Meter())
        sent = [query["sql"] for query in captured.captured_queries][1:]  # the first lets the token be over
        count = sum(not sql.startswith(("BEGIN", "COMMIT")) for sql in sent)
        row.user.delete()
    print(
        f"refresh: CPU {statistics.median(ratios):.2f} × requests.post (goal ≤ 3.5), "
        f"{statistics.median(cpu['ours']) * 1000:.1f} ms to {statistics.median(cpu['bare']) * 1000:.1f} ms; "
        f"SQL {count} (goal ≤ 4)"
    )


if __name__ == "__main__":
    main()
