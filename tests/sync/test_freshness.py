"""Which connections are due, what a person is told of each datum, and when one is on its way."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from django_eprospera import pace, scopes
from django_eprospera.consent import SCOPES, is_granted, readable_documents, readable_entities
from django_eprospera.errors import ApiError, ConfigurationError, SealedValueError, TokenError
from django_eprospera.freshness import freshness, is_on_its_way
from django_eprospera.models import Connection, ResourceState
from django_eprospera.sync import batch, sync
from django_eprospera.sync.schedule import claim, due, failure_code
from django_eprospera.testing import factories
from tests.sandbox_process import ANA, LUCIA, OTTO

pytestmark = pytest.mark.django_db

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def is_due(connection):
    return due(timezone.now()).filter(pk=connection.pk).exists()


def test_one_that_was_never_synced_is_due():
    assert is_due(factories.connection())


def test_one_that_was_synced_lately_is_not_due():
    connection = factories.connection()
    factories.synced(connection)

    assert not is_due(connection)


@pytest.mark.parametrize(
    ("ages", "due_now"),
    [(DAY, True), (2 * DAY, False), ({"residency": 2 * DAY}, True), (dict.fromkeys(SCOPES, 2 * DAY), False)],
    ids=str,
)
def test_one_with_an_old_answer_is_due(settings, ages, due_now):
    settings.EPROSPERA_STALE_AFTER = ages
    connection = factories.connection()
    factories.synced(connection, at=timezone.now() - DAY - MINUTE)
    assert is_due(connection) is due_now


@pytest.mark.parametrize(
    ("code", "soon"),
    [
        ("unavailable", True),
        ("rate_limited", True),
        ("files", True),
        ("scope_missing", False),
        ("token_rejected", False),
        ("does_not_open", False),
    ],
)
def test_what_passes_by_itself_is_tried_again_soon_and_the_rest_with_the_day(code, soon):
    connection = factories.connection()
    factories.synced(connection, at=timezone.now() - 16 * MINUTE, residency=code)

    assert is_due(connection) is soon


def test_a_failure_of_a_moment_ago_is_not_tried_again_yet():
    connection = factories.connection()
    factories.synced(connection, at=timezone.now() - MINUTE / 2, residency="unavailable")

    assert not is_due(connection)


def test_a_scope_that_is_gone_makes_nothing_due_for_ever():
    connection = factories.connection(scopes=factories.ALL_SCOPES.replace(scopes.PERSON_RESIDENCY_READ, ""))
    factories.synced(connection)
    connection.resources.filter(resource="residency").update(
        error="not_granted", attempted_at=timezone.now() - 90 * DAY
    )

    assert not is_due(connection)


@pytest.mark.parametrize("fields", [{"state": "reauthorize"}, {"issuer": "https://staging-portal.eprospera.com"},
                                    {"client_id": "another-client"}])  # fmt: skip
def test_one_that_could_not_be_asked_for_anything_is_not_due(fields):
    assert not is_due(factories.connection(**fields))


def test_one_that_shares_nothing_is_looked_at_once():
    connection = factories.connection(scopes="openid email")
    assert sync(connection).skipped == list(SCOPES)
    assert Connection.objects.get().next_sync_at is None
    assert not is_due(connection)


def test_a_sync_is_asked_for_once_a_minute():
    connection = factories.connection()

    assert claim(connection.pk)
    assert not claim(connection.pk)
    Connection.objects.update(sync_requested_at=timezone.now() - 61 * timedelta(seconds=1))
    assert claim(connection.pk)


def test_data_is_on_its_way_from_the_request_until_every_granted_resource_was_tried():
    connection = factories.connection(scopes=f"openid {scopes.PERSON_DETAILS_READ} {scopes.PERSON_RESIDENCY_READ}")
    assert not is_on_its_way(connection)

    claim(connection.pk)
    connection.refresh_from_db()
    assert is_on_its_way(connection)
    now = timezone.now()
    ResourceState.objects.create(connection=connection, resource="natural_person", attempted_at=now, synced_at=now)
    assert is_on_its_way(connection)
    ResourceState.objects.create(connection=connection, resource="residency", attempted_at=now, error="unavailable")
    assert not is_on_its_way(connection), "tried, though in vain"


def test_a_worker_that_never_comes_does_not_keep_it_on_its_way_for_ever():
    connection = factories.connection(sync_requested_at=timezone.now() - timedelta(hours=1))

    assert not is_on_its_way(connection)


def test_each_resource_is_told_of_in_words():
    connection = factories.connection(scopes=f"openid {scopes.PERSON_DETAILS_READ} {scopes.PERSON_RESIDENCY_READ}")
    factories.synced(connection, at=timezone.now() - 2 * DAY, residency="unavailable")

    told = {one.resource: one for one in freshness(connection)}

    assert list(told) == list(SCOPES)
    assert told["natural_person"].message == "Older than it should be. The site tries again automatically."
    assert told["residency"].message == "e-Próspera did not answer. The site tries again automatically."
    assert (told["legal_entities"].granted, told["legal_entities"].error) == (False, "not_granted")
    assert all(one.stale for one in told.values())


def test_what_was_never_tried_is_on_its_way():
    told = freshness(factories.connection())

    assert {one.message for one in told} == {"Being fetched."}


def test_the_words_are_chosen_when_they_are_shown():
    one = freshness(factories.connection())[0]

    with translation.override("en"):
        assert str(one.label) == "personal details"


@pytest.mark.parametrize(("state", "cause", "granted"), [
    ("active", "", True), ("active", "invalid_grant", True), ("reauthorize", "answer_lost", True),
    ("reauthorize", "no_refresh_token", True),
    ("reauthorize", "invalid_grant", False), ("reauthorize", "other_subject", False),
])  # fmt: skip
def test_a_grant_that_the_provider_ended_opens_nothing(state, cause, granted):
    connection = factories.connection(state=state, state_cause=cause)

    assert is_granted(connection, "residency") is granted


@pytest.mark.parametrize("changed", [{"issuer": "https://other.example"}, {"client_id": "another-client"}])
def test_facts_of_another_provider_or_client_are_not_used_and_say_so(changed, media):
    connection = factories.connection(**changed)
    factories.document(factories.consent(connection).entity)
    factories.synced(connection)

    assert not any(is_granted(connection, resource) for resource in SCOPES)
    assert not readable_entities(connection.user).exists()
    assert not readable_documents(connection.user).exists()
    assert {one.error for one in freshness(connection)} == {"other_provider"}
    assert not any(one.granted for one in freshness(connection))


def test_an_inactive_user_reads_nothing(media):
    connection = factories.connection(factories.user(is_active=False))
    factories.document(factories.consent(connection).entity)

    assert not readable_entities(connection.user).exists()
    assert not readable_documents(connection.user).exists()


def test_documents_need_their_own_scope_and_a_consent_in_force(media):
    connection = factories.connection(scopes=scopes.ENTITY_READ)
    consent = factories.consent(connection)
    factories.document(consent.entity)

    assert readable_entities(connection.user).get() == consent.entity
    assert not readable_documents(connection.user).exists()

    connection.scope = factories.ALL_SCOPES
    connection.save()
    assert readable_documents(connection.user).exists()
    consent.withdrawn_at = timezone.now()
    consent.save()
    assert not readable_entities(connection.user).exists()
    assert not readable_documents(connection.user).exists()


def kinds_of(kind):
    return [kind, *(below for child in kind.__subclasses__() for below in kinds_of(child))]


@pytest.mark.parametrize("kind", [*kinds_of(ApiError), *kinds_of(TokenError)[1:], SealedValueError, ConfigurationError])
def test_every_failure_that_asking_can_end_in_has_a_code_and_words_of_its_own(kind):
    error = kind.__new__(kind)
    error.status = error.cause = None
    connection = factories.connection()

    code = failure_code(error)
    factories.synced(connection, residency=code)

    assert code != "failed"
    told = next(one for one in freshness(connection) if one.resource == "residency")
    assert told.reason != "It could not be renewed."


# Batches


def test_a_batch_syncs_what_is_due_and_nothing_else(provider):
    stale = factories.sandbox_connection(provider, OTTO)
    fresh = factories.sandbox_connection(provider, ANA)
    factories.synced(fresh)

    done = dict(batch.sync_due())

    assert list(done) == [stale.pk]
    assert done[stale.pk].failed == {}
    assert list(batch.sync_due()) == []


def test_two_workers_do_not_sync_the_same_connection(provider):
    factories.sandbox_connection(provider, OTTO)
    first, second = batch.sync_due(), batch.sync_due()  # both have seen that it is due

    assert [len(list(first)), len(list(second))] == [1, 0]


def test_one_bad_connection_does_not_stop_the_batch(provider):
    bad = factories.connection(access_token=None, refresh_token=None)
    good = factories.sandbox_connection(provider, LUCIA)

    done = dict(batch.sync_each([bad.pk, good.pk]))

    assert set(done[bad.pk].failed.values()) == {"grant_gone"}
    assert done[good.pk].failed == {}


def test_a_provider_that_is_down_is_not_asked_for_everybody(settings, monkeypatch):
    monkeypatch.setattr(pace, "_PATIENCE", 0)
    settings.EPROSPERA_BASE_URL = "http://127.0.0.1:1"
    everybody = [factories.connection().pk for _ in range(5)]

    done = list(batch.sync_each(everybody))

    assert [pk for pk, _ in done] == everybody[:3]
    assert all(report.failed_entirely for _, report in done)
