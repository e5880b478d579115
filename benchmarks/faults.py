"""Syncs against a provider that fails, by workers that are killed. Who is synced at the end, by the scheduler alone?

    DATABASE_URL=postgres://postgres@127.0.0.1/bench python -m benchmarks.faults [CONNECTIONS] [SECONDS]

1,000 connections with expired access tokens. Of the requests for facts 20 % get 500, 10 % 429 without Retry-After, 5 % stall,
5 % are cut off; of the refreshes 20 % get 500 and 10 % 429. For two minutes two workers get SIGKILL every five seconds.
Then the faults end, and the workers go on until nothing is due. A grant whose new token was on its way when its worker was
killed cannot be saved (`answer_lost`), and is counted apart. The database is emptied. So that this takes minutes, pauses are
shorter than in production: those of the schedule begin at 2 s, not a minute; those of the site end after 10 s at most.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from tempfile import TemporaryDirectory

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django
from django.conf import settings

from tests.sandbox_process import PEOPLE, SandboxProcess

SCOPE = "offline_access eprospera:person.details.read eprospera:person.residency.read eprospera:entity.read"
SHORT = {
    "EPROSPERA_TIMEOUT": 1.0, "EPROSPERA_DEADLINE": 2.0, "EPROSPERA_REFRESH_BUDGET": timedelta(seconds=2),
    "EPROSPERA_REFRESH_LEASE": timedelta(seconds=6), "EPROSPERA_REFRESH_PAUSE": timedelta(seconds=2), "EPROSPERA_RATE": 200,
}  # fmt: skip
ME, TOKEN = "/api/v1/me/*", "/api/oauth/token"
ERROR, TOO_MANY = '{"error": "Internal server error"}', '{"error": "Too many requests"}'
# A fault gets the requests that those before it left over: 20, 10, 5 and 5 per cent of all.
FAULTS = [
    {"path": ME, "share": 0.2, "status": 500, "body": ERROR},
    {"path": ME, "share": 0.1 / 0.8, "status": 429, "body": TOO_MANY},
    {"path": ME, "share": 0.05 / 0.7, "delay": 3},
    {"path": ME, "share": 0.05 / 0.65, "status": 200, "body": '{"data": [{"id": "3e1b5c77-91d0'},
    {"path": TOKEN, "share": 0.2, "status": 500, "body": ERROR},
    {"path": TOKEN, "share": 0.1 / 0.8, "status": 429, "body": TOO_MANY},
]


def set_up(provider):
    django.setup()
    settings.EPROSPERA_BASE_URL = provider
    settings.SOCIAL_AUTH_EPROSPERA_KEY, settings.SOCIAL_AUTH_EPROSPERA_SECRET = "bench", "bench"
    settings.EPROSPERA_SPOOL = os.environ["BENCH_SPOOL"]
    for name, value in SHORT.items():
        setattr(settings, name, value)


def worker(provider):
    """What a timer does, without the five minutes in between."""
    set_up(provider)
    from django_eprospera import pace
    from django_eprospera.sync import batch, schedule

    schedule._FIRST_PAUSE, pace._LONGEST = timedelta(seconds=2), 10.0
    while True:
        for _ in batch.sync_due(concurrency=4):
            pass
        time.sleep(0.5)


def main(number=1000, seconds=120):
    with TemporaryDirectory() as spool, SandboxProcess(client_id="bench", client_secret="bench") as sandbox:
        os.environ["BENCH_SPOOL"] = spool
        set_up(sandbox.url)
        from django.core.management import call_command
        from django.utils import timezone

        from django_eprospera.models import Connection, ResourceState
        from django_eprospera.sync import sync
        from django_eprospera.testing import factories

        call_command("migrate", verbosity=0)
        call_command("eprospera_audit", "--drop-triggers")
        call_command("flush", interactive=False, verbosity=0)
        examples = {sub: factories.sandbox_connection(sandbox, sub, scopes=SCOPE) for sub in PEOPLE}
        for example in examples.values():
            assert sync(example).failed == {}
        expected = {sub: facts(example) for sub, example in examples.items()}
        # Due again so late that nothing of them is counted.
        Connection.objects.update(next_sync_at=None)
        whose = {}
        for turn, sub in enumerate(PEOPLE):
            count = number // len(PEOPLE) + (turn < number % len(PEOPLE))
            for grant in sandbox.mint(sub, SCOPE, count=count) if count else []:
                row = factories.connection(
                    scopes=SCOPE, access_token=grant["access_token"], refresh_token=grant["refresh_token"],
                    access_token_expires_at=timezone.now() - timedelta(minutes=1),
                )  # fmt: skip
                whose[row.pk] = sub
        sandbox.control("stats", "DELETE")
        for fault in FAULTS:
            sandbox.control("faults", "POST", **fault)

        killed, began = 0, time.monotonic()
        workers = [start(sandbox.url) for _ in range(2)]
        try:
            while time.monotonic() < began + seconds:
                time.sleep(5)
                for one in workers:
                    one.kill()
                    one.wait()
                    killed += 1
                workers = [start(sandbox.url) for _ in range(2)]
            during = Counter(sandbox.control("stats")["counters"])
            synced_during = left_to_do(number)
            sandbox.control("faults", "DELETE")
            ends = time.monotonic() + 1800
            while left_to_do(number) > ended() and time.monotonic() < ends:
                time.sleep(1)
        finally:
            for one in workers:
                one.kill()
                one.wait()
        mine = Connection.objects.filter(pk__in=whose)
        stats = sandbox.control("stats")
        good = ResourceState.objects.filter(connection__in=whose, error="", synced_at__isnull=False).exclude(digest="")
        synced = mine.filter(state="active")
        wrong = [row.pk for row in synced if facts(row) != expected[whose[row.pk]]]
        done = number - left_to_do(number)
        refreshed = Counter(mine.values_list("generation", flat=True))
        print(f"{number} connections, two workers killed {killed} times in {seconds} s")
        print(f"answers during the faults by status: {dict(by_status(during))}")
        print(f"synced while there were faults: {number - synced_during}")
        print(
            f"synced at the end by the scheduler alone: {done} of {number}, {time.monotonic() - began:.0f} s after the start"
        )
        print(f"good resources: {good.count()} of {3 * number}")
        causes = Counter(mine.exclude(state="active").values_list("state_cause", flat=True))
        print(f"grants that ended: {dict(causes)}")
        print(f"wrong or lost rows: connections with other facts than the provider's: {len(wrong)}")
        print(
            f"refreshes: {stats['refreshes']} ({stats['refreshes'] / number:.3f} per expiry), generations {dict(refreshed)}"
        )
        return 0 if done == number - ended() and set(causes) <= {"answer_lost"} and not wrong else 1


def left_to_do(number):
    from django.db.models import Count, Q

    from django_eprospera.models import Connection

    good = Count("resources", filter=Q(resources__error="", resources__synced_at__isnull=False))
    # The examples have no next sync.
    done = Connection.objects.annotate(good=good).filter(good=3, next_sync_at__isnull=False, sync_error="").count()
    return number - done


def ended():
    """How many grants are over: a worker was killed after the provider had rotated the token, and before the answer came."""
    from django_eprospera.models import Connection

    return Connection.objects.exclude(state="active").count()


def facts(connection):
    """Everything that is stored of the person and of the companies, but keys and times of our own."""
    from django_eprospera.models import Connection

    row = Connection.objects.get(pk=connection.pk)
    found = []
    for name in ("natural_person", "residency"):
        stored = getattr(row, name, None)
        found.append(stored and [getattr(stored, fact.name) for fact in stored.FACTS])
    shared = row.entity_consents.filter(withdrawn_at=None).select_related("entity").order_by("entity__entity_id")
    return [*found, [[getattr(each.entity, fact.name) for fact in each.entity.FACTS] for each in shared]]


def by_status(counters):
    found = Counter()
    for name, count in counters.items():
        found[name.rpartition(" ")[2]] += count
    return sorted(found.items())


def start(provider):
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.faults", "worker", provider],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2])
    else:
        sys.exit(main(*map(int, sys.argv[1:])))
