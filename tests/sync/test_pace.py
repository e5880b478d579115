"""Rate and pause of all processes together: two and more real processes, against a sandbox on a port."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from django_eprospera import pace
from django_eprospera.models import Connection, Pace, Residency
from django_eprospera.sync import batch, sync
from django_eprospera.sync.schedule import claim
from django_eprospera.testing import factories
from django_eprospera.tokens import access_token, keep_alive, revoke_pending
from tests.peers import Peer, response, routes
from tests.sandbox_process import KITES, LUCIA, OTTO, REEF

pytestmark = pytest.mark.django_db(transaction=True)

ME = "/api/v1/me"
TOO_MANY = {"status": 429, "body": '{"error": "Too many requests"}'}
DOWN = {"status": 503, "body": '{"error": "Internal server error"}'}


@pytest.fixture
def impatient(monkeypatch):
    """Batches that stop at once when the site pauses."""
    monkeypatch.setattr(pace, "_PATIENCE", 0)


def many(provider, number, **fields):
    """Connections with one person's good token: the rows need different subjects only."""
    minted = provider.mint(OTTO)[0]["access_token"]
    return [factories.connection(access_token=minted, **fields) for _ in range(number)]


def over(seconds=1.0):
    """Let the pause be over, as if that time had passed."""
    Pace.objects.update(paused_until=time.time() - seconds)


def requests_of(provider):
    """How many requests the provider was sent since the last call."""
    counters = provider.control("stats")["counters"]
    provider.control("stats", "DELETE")
    return sum(number for name, number in counters.items() if "/me/" in name)


def test_processes_together_keep_to_the_rate(child):
    arrived = []

    def answer(request):
        arrived.append(time.monotonic())
        return response(200, {"wasEverResident": False, "activeResidency": None})

    with Peer(routes({f"{ME}/natural-person/residency": answer})) as peer:
        scope = "openid eprospera:person.residency.read"
        for _ in range(60):
            factories.connection(issuer=peer.url, scopes=scope, access_token="good")
        processes = [
            child("manage", "eprospera_sync", "--concurrency=4", EPROSPERA_RATE=20, EPROSPERA_BASE_URL=peer.url)
            for _ in range(3)
        ]
        for process in processes:
            process.communicate(timeout=120)
            assert process.returncode == 0

    assert len(arrived) == 60, "each is asked for once"
    for begin in arrived:
        # The bucket holds one second's worth. What is sent in time may arrive together, late: allow for a few.
        for seconds in (0.5, 1, 2):
            assert sum(begin <= moment < begin + seconds for moment in arrived) <= 20 * (seconds + 1) + 5


def test_a_429_without_a_time_stops_all_processes_and_each_pause_costs_one_request(provider, child):
    everybody = many(provider, 60)
    provider.control("stats", "DELETE")
    provider.fault(f"{ME}/*", **TOO_MANY)

    processes = [child("manage", "eprospera_sync", "--concurrency=2") for _ in range(3)]
    written = [process.communicate(timeout=120)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all("The site pauses until" in text and "(rate_limited)" in text for text in written)
    told = pace.state()
    assert (told.cause, told.probing) == ("rate_limited", False)
    assert told.paused_until > timezone.now() - timedelta(seconds=2)
    # Six connections were under way at most, with four requests each; then one request per pause.
    assert requests_of(provider) <= 6 * 4 + told.pauses
    untouched = Connection.objects.filter(sync_attempts=0, next_sync_at__lte=timezone.now()).count()
    assert untouched >= len(everybody) - 6 - told.pauses


def test_a_provider_that_is_down_costs_a_handful_and_all_is_synced_afterwards_by_the_scheduler(
    provider, settings, impatient
):
    everybody = many(provider, 200, scopes="openid eprospera:person.residency.read")
    settings.EPROSPERA_TIMEOUT = 2
    provider.control("stats", "DELETE")
    provider.fault("/*", drop=True)

    for _ in range(10):  # the timer
        assert all(report.failed_entirely for _, report in batch.sync_due())

    assert requests_of(provider) <= 20
    assert Connection.objects.filter(sync_attempts=0).count() >= len(everybody) - 3
    provider.control("faults", "DELETE")
    over()
    # What was tried in vain is due again after a minute.
    Connection.objects.filter(sync_attempts__gt=0).update(next_sync_at=timezone.now())
    while Connection.objects.filter(next_sync_at__lte=timezone.now()).exists():
        assert not any(report.failed for _, report in batch.sync_due(300, concurrency=2))
    assert Residency.objects.count() == len(everybody)
    assert pace.state().paused_until is None


def test_a_port_that_is_closed_pauses_the_site_too(provider, settings, impatient):
    with Peer(lambda talk: None) as peer:
        settings.EPROSPERA_BASE_URL = peer.url
    for _ in range(50):
        factories.connection(access_token_expires_at=timezone.now())

    done = [each for _ in range(5) for each in batch.sync_due()]

    assert len(done) == 3
    assert pace.state().cause == "connect_failed"


def test_a_connection_that_fails_alone_stops_nobody(provider, impatient):
    bad, good = many(provider, 2)
    provider.fault(f"{ME}/*", **DOWN | {"headers": {"Retry-After": "0"}})
    for _ in range(5):
        sync(bad)
    assert pace.state().paused_until is None
    provider.control("faults", "DELETE")
    assert sync(good).failed == {}
    assert pace.state().failures == 0


def test_one_failing_resource_of_everybody_is_no_outage(provider, impatient):
    everybody = many(provider, 5)
    provider.fault(f"{ME}/natural-person/residency", **DOWN | {"headers": {"Retry-After": "0"}})
    done = list(batch.sync_due())
    assert len(done) == len(everybody)
    assert pace.state().paused_until is None


def test_retry_after_is_how_long_all_wait(provider, impatient):
    one, other = many(provider, 2)
    provider.fault(f"{ME}/natural-person", **TOO_MANY, headers={"Retry-After": "120"})
    sync(one)
    left = (pace.state().paused_until - timezone.now()).total_seconds()
    assert 110 < left <= 121
    assert sync(other).paused


def test_a_pause_that_does_not_end_doubles_up_to_a_quarter_of_an_hour(provider, impatient):
    many(provider, 40)
    provider.fault(f"{ME}/*", **TOO_MANY)
    lengths = []
    for _ in range(14):
        list(batch.sync_due())
        lengths.append((pace.state().paused_until - timezone.now()).total_seconds())
        over()
    assert all(longer > shorter for shorter, longer in zip(lengths[:9:2], lengths[2:10:2], strict=False)), lengths
    assert 890 < lengths[-1] <= 901


def test_whoever_tries_sends_one_request_and_a_success_lets_all_go_on(provider, impatient):
    many(provider, 5)
    provider.fault(f"{ME}/*", **TOO_MANY)
    list(batch.sync_due(1))
    over()
    requests_of(provider)
    list(batch.sync_due())
    assert requests_of(provider) == 1
    over()
    provider.control("faults", "DELETE")
    assert len(list(batch.sync_due())) == 3
    assert (pace.state().paused_until, pace.state().pauses) == (None, 0)


def test_a_process_that_is_killed_while_it_tries_does_not_keep_the_right(provider, child, settings, impatient):
    settings.EPROSPERA_DEADLINE = 1
    many(provider, 3)
    Pace.objects.create(issuer=provider.url, paused_until=time.time() - 1, pauses=3, cause="timeout")
    provider.fault(f"{ME}/natural-person", delay=30, times=1)
    process = child("manage", "eprospera_sync", EPROSPERA_DEADLINE=1, EPROSPERA_TIMEOUT=60)
    while provider.control("faults", "GET")["faults"]:
        assert process.poll() is None
    assert pace.state().probing
    assert list(batch.sync_due()) == [], "one process tries at a time"
    process.kill()
    process.wait()

    ends = time.monotonic() + 60
    while not (done := list(batch.sync_due())):
        assert time.monotonic() < ends
        time.sleep(0.2)

    assert len(done) >= 2
    assert pace.state().paused_until is None


def test_a_sync_that_was_asked_for_during_a_pause_is_due_after_it_and_counts_no_attempt(provider):
    connection = many(provider, 1)[0]
    Pace.objects.create(issuer=provider.url, paused_until=time.time() + 100, pauses=3, cause="timeout")
    assert claim(connection.pk)

    report = sync(Connection.objects.get())

    assert (report.paused, report.asked, report.failed) == (True, 0, {})
    row = Connection.objects.get()
    assert row.sync_attempts == 0
    assert timedelta(seconds=95) < row.next_sync_at - timezone.now() < timedelta(seconds=140)
    assert not row.resources.exists()


def test_a_clock_that_is_wrong_sees_the_same_pause_and_the_same_rate(provider, child):
    many(provider, 2)
    Pace.objects.create(issuer=provider.url, paused_until=time.time() + 100, pauses=3, cause="timeout")
    for clock in (-7200, 7200):
        process = child("manage", "eprospera_sync", "--all", clock=clock)
        assert "The site pauses" in process.communicate(timeout=60)[0]
    Pace.objects.update(paused_until=None, next_at=time.time())
    process = child("manage", "eprospera_sync", "--all", clock=7200, EPROSPERA_RATE=100)
    assert process.communicate(timeout=60)[0].startswith("2 connections synced")
    assert Pace.objects.get().next_at < time.time() + 60


def test_a_refresh_that_a_person_waits_for_is_sent_during_a_pause(provider):
    connection = factories.sandbox_connection(provider, LUCIA, access_token_expires_at=timezone.now())
    Pace.objects.create(issuer=provider.url, paused_until=time.time() + 100, pauses=3, cause="timeout")
    assert access_token(connection)
    connection.delete()
    assert revoke_pending()[0] == 0, "a revocation waits"


def test_unused_grants_are_renewed_after_the_pause(provider, settings, impatient):
    settings.EPROSPERA_KEEP_ALIVE = timedelta(days=365)
    factories.sandbox_connection(provider, LUCIA)
    Pace.objects.create(issuer=provider.url, paused_until=time.time() + 100, pauses=3, cause="timeout")
    assert keep_alive().renewed == 0
    over()
    assert (keep_alive().renewed, pace.state().paused_until) == (1, None)


def test_the_rate_costs_an_unchanged_sync_two_statements(provider, settings, django_assert_max_num_queries):
    settings.EPROSPERA_RATE = 1000
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    assert sync(connection).failed == {}
    with django_assert_max_num_queries(8) as queries:
        assert sync(connection).changed == []
    assert sum("_pace" in query["sql"] for query in queries) == 2


def test_threads_reserve_each_slot_once(settings):
    settings.EPROSPERA_RATE = 50
    pace.turn()  # makes the row

    def reserve(_):
        try:
            return pace.turn(1, first=True).slots(1)[0]
        finally:
            connections.close_all()

    begin = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        slots = sorted(pool.map(reserve, range(100)))
    assert slots[-1] - begin >= (101 - 50) / 50 - 0.1
    assert max(sum(slot <= other < slot + 0.5 for other in slots) for slot in slots[51:]) <= 30
