"""What the provider does wrong costs freshness, never data, and is told apart by a code."""

import logging
import re
import threading
import traceback

import pytest
from django.db import connection as database
from django.db import connections

from django_eprospera.consent import is_granted
from django_eprospera.freshness import freshness
from django_eprospera.models import Connection, LegalEntity, NaturalPerson, Residency, ResourceState
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.peers import Peer, response, routes
from tests.sandbox_process import KITES, LUCIA, REEF

pytestmark = pytest.mark.django_db(transaction=True)

ME = "/api/v1/me"
PATHS = {
    "natural_person": f"{ME}/natural-person",
    "residency": f"{ME}/natural-person/residency",
    "id_verification": f"{ME}/natural-person/id-verification",
    "legal_entities": f"{ME}/legal-entities",
    "entity_documents": f"{ME}/legal-entities/{KITES}/documents",
}
AT_ONCE = {"Retry-After": "0"}  # what is repeated is repeated without a pause
FAULTS = {
    "401": ({"status": 401, "body": '{"error": "invalid_token"}'}, "token_rejected"),
    "401 missing_scopes": ({"status": 401, "body": '{"error": "missing_scopes: eprospera:x"}'}, "scope_missing"),
    "403": ({"status": 403, "body": '{"error": "missing_scopes"}'}, "scope_missing"),
    "429": ({"status": 429, "body": '{"error": "Too many requests"}', "headers": AT_ONCE}, "rate_limited"),
    "500": ({"status": 500, "body": '{"error": "Internal server error"}', "headers": AT_ONCE}, "unavailable"),
    "HTML": ({"status": 200, "body": "<h1>Maintenance</h1>", "content_type": "text/html"}, "malformed"),
    "a list": ({"status": 200, "body": "[1, 2]"}, "malformed"),
    "cut off": ({"drop": True}, "unavailable"),
}


def cached():
    """Every stored value as it lies in the database."""
    tables = (
        "naturalperson",
        "residency",
        "idverification",
        "verificationimage",
        "legalentity",
        "entityconsent",
        "entitydocument",
    )
    rows = {}
    with database.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT * FROM django_eprospera_{table} ORDER BY id")
            names = [column[0] for column in cursor.description]
            # `updated_at` is when the provider last answered for a company: it moves with the answers of the others.
            rows[table] = [
                [v for n, v in zip(names, row, strict=True) if n != "updated_at"] for row in cursor.fetchall()
            ]
    return rows


@pytest.mark.parametrize("fault", FAULTS)
def test_a_resource_that_fails_keeps_its_cache_says_why_and_stops_no_other(provider, fault):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    assert sync(connection).failed == {}
    before = cached()
    what, code = FAULTS[fault]
    for resource, path in PATHS.items():
        states = {state.resource: state for state in connection.resources.all()}
        provider.control("faults", "DELETE")
        provider.fault(path, **what)

        report = sync(connection)

        assert report.failed == {resource: code}
        assert cached() == before
        for state in connection.resources.all():
            former = states[state.resource]
            if state.resource == resource:
                assert (state.synced_at, state.error) == (former.synced_at, code)
                assert state.attempted_at > former.attempted_at
            else:
                assert state.synced_at > former.synced_at, "another resource was not renewed"
        told = next(one for one in freshness(connection) if one.resource == resource)
        assert told.stale
        assert told.reason
        assert told.remedy

    provider.control("faults", "DELETE")
    assert sync(connection).failed == {}
    assert all(one.message == "Up to date." for one in freshness(connection))


@pytest.mark.parametrize("resource", ["natural_person", "residency", "id_verification"])
def test_404_of_a_person_is_as_null(provider, resource):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection, [resource])
    provider.fault(PATHS[resource], status=404, body='{"error": "Not found"}')
    if resource == "id_verification":
        provider.fault(f"{ME}/natural-person/id_verification", status=404, body='{"error": "Not found"}')

    report = sync(connection, [resource])

    assert (report.changed, report.failed) == ([resource], {})
    assert connection.resources.get(resource=resource).error == ""
    assert not hasattr(Connection.objects.get(pk=connection.pk), resource)


def test_404_of_the_list_of_companies_withdraws_nothing(provider):
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES])
    sync(connection)
    provider.fault(PATHS["legal_entities"], status=404, body='{"error": "Not found"}')

    report = sync(connection)

    assert report.failed == {"legal_entities": "not_found"}
    assert connection.entity_consents.filter(withdrawn_at=None).count() == 1


def test_the_provider_being_gone_is_found_out_once_and_not_once_per_resource(settings):
    requests = []

    with Peer(lambda talk: requests.append(talk.number)) as peer:
        settings.EPROSPERA_BASE_URL = peer.url
        connection = factories.connection(issuer=peer.url)
        factories.synced(connection)
    # The port is closed by now.

    report = sync(connection)

    assert report.failed == dict.fromkeys(PATHS, "unavailable")
    assert report.failed_entirely
    assert not connection.resources.filter(error="").exists()


def test_a_token_that_is_refused_is_renewed_once_and_the_question_repeated(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    provider.fault(PATHS["residency"], status=401, body='{"error": "invalid_token"}', times=1)

    report = sync(connection)

    assert report.failed == {}
    assert provider.control("stats")["refreshes"] == 1


def test_a_provider_that_refuses_every_token_is_asked_for_one_new_token_only(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    provider.fault(f"{ME}/*", status=401, body='{"error": "invalid_token"}')

    report = sync(connection)

    assert report.failed == dict.fromkeys(PATHS, "token_rejected")
    assert provider.control("stats")["refresh_requests"] == 1


def test_an_expired_token_is_renewed_before_anything_is_asked(provider):
    connection = factories.sandbox_connection(provider, LUCIA, access_token_expires_at=factories.timezone.now())

    report = sync(connection)

    assert report.failed == {}
    stats = provider.control("stats")
    assert stats["refreshes"] == 1
    assert not any(name.endswith(" 401") for name in stats["counters"])


def test_a_grant_revoked_at_the_portal_keeps_the_cache_but_closes_it(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    provider.control("revoke", sub=LUCIA)

    report = sync(connection)

    assert report.failed == dict.fromkeys(PATHS, "grant_gone")
    connection.refresh_from_db()
    assert connection.state == Connection.State.REAUTHORIZE
    assert NaturalPerson.objects.exists()
    assert not any(is_granted(connection, resource) for resource in PATHS)
    told = freshness(connection)
    assert {one.error for one in told} == {"grant_gone"}
    assert all("Sign in" in one.message for one in told)


@pytest.mark.parametrize(
    "other", [{"issuer": "https://staging-portal.eprospera.com"}, {"client_id": "another"}], ids=str
)
def test_a_token_is_never_shown_to_another_provider_or_client_than_its_own(provider, other):
    connection = factories.sandbox_connection(provider, LUCIA)
    Connection.objects.update(**other)

    report = sync(connection)

    assert report.failed == dict.fromkeys(PATHS, "other_provider")
    assert provider.control("stats")["counters"] == {}


def test_a_setting_that_is_missing_is_told_as_such(provider, settings):
    connection = factories.sandbox_connection(provider, LUCIA)
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = ""

    assert sync(connection).failed == dict.fromkeys(PATHS, "misconfigured")


def test_a_cached_value_that_does_not_open_is_left_as_it_lies(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    sync(connection)
    with database.cursor() as cursor:
        # The ciphertext of another column: it is sealed, and does not belong there.
        cursor.execute("UPDATE django_eprospera_naturalperson SET name = phone_number")
    before = cached()["naturalperson"]
    assert sync(connection).failed == {}, "an answer that has not changed is not compared with the rows"

    report = sync(connection, repair=True)

    assert report.failed == {"natural_person": "does_not_open"}
    assert cached()["naturalperson"] == before


def test_a_connection_that_ends_meanwhile_is_not_brought_back(settings):
    def disconnects(request):
        Connection.objects.all().delete()
        connections.close_all()
        return response(200, {"wasEverResident": True})

    with Peer(routes({PATHS["natural_person"]: response(200, b"null"), PATHS["residency"]: disconnects})) as peer:
        settings.EPROSPERA_BASE_URL = peer.url
        connection = factories.connection(issuer=peer.url)

        report = sync(connection)

    assert report.failed["residency"] == "grant_gone"
    assert not Residency.objects.exists()
    assert not ResourceState.objects.exists()


def test_a_connection_that_is_gone_already_is_nothing_to_do(provider):
    connection = factories.sandbox_connection(provider, LUCIA)
    Connection.objects.all().delete()

    report = sync(connection)

    assert (report.changed, report.failed, report.skipped) == ([], {}, [])


def test_nothing_is_held_on_the_database_while_the_provider_is_waited_for(settings):
    asked, answer = threading.Event(), threading.Event()

    def waits(request):
        asked.set()
        assert answer.wait(60)
        return response(200, b"null")

    with Peer(routes({PATHS["natural_person"]: waits})) as peer:
        settings.EPROSPERA_BASE_URL = peer.url
        settings.EPROSPERA_TIMEOUT = settings.EPROSPERA_DEADLINE = 60
        connection = factories.connection(issuer=peer.url)
        thread = threading.Thread(target=lambda: (sync(connection, ["natural_person"]), connections.close_all()))
        thread.start()
        try:
            assert asked.wait(60)
            # Would wait, and fail, if the sync held the row or (SQLite) the database.
            assert Connection.objects.filter(pk=connection.pk).update(scope="openid") == 1
            assert thread.is_alive()
        finally:
            answer.set()
            thread.join(60)

    assert ResourceState.objects.get().error == ""


def test_neither_log_nor_traceback_holds_a_secret_or_a_datum(provider, caplog):
    caplog.set_level(logging.DEBUG)
    connection = factories.sandbox_connection(provider, LUCIA, entities=[KITES, REEF])
    sync(connection)
    provider.fault("/files/*", status=200, body="no picture")
    provider.control(f"personas/{LUCIA}", check={"id": "99999999-2222-4333-8444-555555555555"})
    provider.fault(
        f"{ME}/legal-entities/{REEF}", status=200, body='{"data": {"id": "not-a-uuid", "name": "Secret Reef"}}'
    )
    provider.fault(PATHS["residency"], status=500, body='{"error": "Lucía Ejemplo"}', headers=AT_ONCE)

    sync(connection)

    logged = "\n".join(
        record.getMessage() + "".join(traceback.format_exception(*record.exc_info) if record.exc_info else ())
        for record in caplog.records
    )
    assert "residency failed" in logged
    tokens = (connection.access_token, connection.refresh_token)
    for secret in (*tokens, "signature=", "Lucía", "Ejemplo", "90000000004217", "Reef", "Kites", "0000001"):
        assert not re.search(re.escape(secret), logged), f"{secret!r} was logged"
    assert LegalEntity.objects.count() == 2
