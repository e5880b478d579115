"""The commands for timers: what they do, what they say, and with which exit code they end."""

import os
import time
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.utils import timezone
from social_django.models import Nonce

from django_eprospera import documents, scopes
from django_eprospera.models import (
    AuditEntry,
    Connection,
    EntityConsent,
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    PendingRevocation,
    Residency,
    Review,
)
from django_eprospera.testing import factories
from tests.sandbox_process import ANA, LUCIA, MIRJAM, NADIA, OTTO, SAMUEL

pytestmark = pytest.mark.usefixtures("transactional_db", "media")
LONG_AGO = timedelta(days=31)


def command(name, *arguments, **options):
    """Run a command; returns (what it wrote, the error it ended with)."""
    out, err = StringIO(), StringIO()
    try:
        call_command(name, *arguments, stdout=out, stderr=err, **options)
    except CommandError as error:
        return out.getvalue() + err.getvalue(), error
    return out.getvalue() + err.getvalue(), None


# eprospera_sync


def test_sync_takes_those_that_are_stale_by_default(sandbox):
    stale = factories.sandbox_connection(sandbox, OTTO)
    factories.synced(factories.sandbox_connection(sandbox, ANA))

    written, error = command("eprospera_sync")

    assert error is None
    assert written == "1 connection synced, 0 in part, 0 ended, 0 failed.\n"
    assert list(Residency.objects.values_list("connection", flat=True)) == [stale.pk]
    assert command("eprospera_sync")[0].startswith("0 connections synced")


def test_sync_can_be_told_whom(sandbox):
    one, other = factories.sandbox_connection(sandbox, OTTO), factories.sandbox_connection(sandbox, ANA)
    factories.synced(one)
    factories.synced(other)

    assert command("eprospera_sync", user=one.user.username)[0].startswith("1 connection synced")
    assert Residency.objects.get().connection == one
    assert command("eprospera_sync", connection=other.pk)[0].startswith("1 connection synced")
    assert command("eprospera_sync", "--all")[0].startswith("2 connections synced")
    assert command("eprospera_sync", "--all", limit=1)[0].startswith("1 connection synced")


@pytest.mark.parametrize("whom", [{"user": "nobody"}, {"connection": "6b2f7d1e-3c40-4d0f-9a57-000000000000"}])
def test_sync_of_nobody_is_an_error(whom):
    assert "no such connection" in str(command("eprospera_sync", **whom)[1])


def test_sync_goes_on_past_a_bad_one_names_it_and_fails_at_the_end(sandbox):
    bad = factories.sandbox_connection(sandbox, ANA)
    good = factories.sandbox_connection(sandbox, OTTO)
    with database.cursor() as cursor:
        cursor.execute("UPDATE django_eprospera_connection SET access_token = 'x' WHERE sub = %s", [ANA])

    written, error = command("eprospera_sync")

    assert error is not None
    assert f"{bad.pk}  natural_person: does_not_open" in written
    assert str(good.pk) not in written
    assert "1 connection synced, 0 in part, 0 ended, 1 failed.\n" in written
    assert Residency.objects.filter(connection=good).exists()


def test_sync_does_not_call_an_ended_grant_synced(sandbox):
    ended, good = factories.sandbox_connection(sandbox, ANA), factories.sandbox_connection(sandbox, OTTO)
    sandbox.control("revoke", sub=ANA)

    written, error = command("eprospera_sync")

    assert error is None, "nothing that an operator could do"
    assert f"{ended.pk}  The grant has ended. The person has to sign in again." in written
    assert "grant_gone" not in written
    assert "1 connection synced, 0 in part, 1 ended, 0 failed.\n" in written
    assert Residency.objects.get().connection == good


def test_sync_that_fails_in_part_says_so_and_ends_well(sandbox):
    factories.sandbox_connection(sandbox, OTTO)
    sandbox.fault("/api/v1/me/natural-person", status=403, body='{"error": "missing_scopes"}')

    written, error = command("eprospera_sync")

    assert error is None
    assert "natural_person: scope_missing" in written
    assert "0 connections synced, 1 in part" in written


def test_sync_lists_failures_by_code(sandbox):
    for who in (OTTO, ANA):
        factories.sandbox_connection(sandbox, who)
    sandbox.fault("/api/v1/me/natural-person", status=403, body='{"error": "missing_scopes"}')

    written, _ = command("eprospera_sync")

    assert "       2  natural_person: scope_missing\n" in written


def test_sync_while_the_provider_is_down_needs_nobody(sandbox, settings):
    factories.sandbox_connection(sandbox, OTTO)
    sandbox.fault("/api/v1/me/*", status=500, headers={"Retry-After": "0"})

    written, error = command("eprospera_sync")

    assert error is None, "it passes by itself"
    assert "0 connections synced, 0 in part, 0 ended, 1 failed." in written


@pytest.mark.parametrize("concurrency", [1, 4])
def test_sync_of_several_at_a_time_syncs_each_once(sandbox, concurrency):
    everybody = [OTTO, ANA, LUCIA, NADIA, SAMUEL, MIRJAM]
    for who in everybody:
        factories.sandbox_connection(sandbox, who)

    written, error = command("eprospera_sync", concurrency=concurrency)

    assert (written, error) == ("6 connections synced, 0 in part, 0 ended, 0 failed.\n", None)
    assert sandbox.control("stats")["counters"]["GET /api/v1/me/natural-person/residency 200"] == len(everybody)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"limit": -1}, {"repair": True}])
def test_sync_refuses_what_makes_no_sense(options):
    _, error = command("eprospera_sync", **options)
    assert str(error).startswith("--")


# eprospera_keep_alive


def test_keep_alive_renews_and_revokes(sandbox, settings):
    settings.EPROSPERA_KEEP_ALIVE = timedelta(days=7)
    factories.sandbox_connection(sandbox, OTTO, refresh_token_expires_at=timezone.now() + timedelta(days=1))
    ended = factories.sandbox_connection(sandbox, ANA)
    sandbox.fault("/api/oauth/revoke", status=503, body="{}", times=2)
    ended.delete()
    PendingRevocation.objects.update(not_before=timezone.now())

    written, error = command("eprospera_keep_alive")

    assert error is None
    assert "2 tokens revoked or over. Not revoked yet: 0 due now, 0 tried again later, 0 held" in written
    assert "1 grants renewed, 0 found gone, 0 failed for now." in written


def test_keep_alive_that_fails_says_so(settings):
    settings.EPROSPERA_KEEP_ALIVE = timedelta(days=7)
    settings.EPROSPERA_REFRESH_BUDGET = 0
    factories.connection(refresh_token_expires_at=timezone.now() + timedelta(days=1))

    written, error = command("eprospera_keep_alive")

    assert "1 failed" in written
    assert error is not None


# eprospera_prune


def counts(written):
    return [int(line.split()[0]) for line in written.splitlines()[1:]]


def withdrawn(connection, ago, company=None):
    return factories.consent(connection, company, withdrawn_at=timezone.now() - ago)


def test_prune_erases_companies_whose_consent_was_withdrawn_long_ago(media):
    connection = factories.connection()
    old, recent, shared = (
        withdrawn(connection, LONG_AGO),
        withdrawn(connection, timedelta(days=29)),
        factories.consent(connection),
    )
    for consent in (old, recent, shared):
        factories.document(consent.entity)
    review = Review.objects.create(subject="entity:x", subject_kind="entity", entity=old.entity, status="approved")

    assert counts(command("eprospera_prune", "--dry-run")[0]) == [1, 1, 0, 0, 0]
    assert EntityConsent.objects.count() == 3, "a dry run erases nothing"
    assert counts(command("eprospera_prune")[0]) == [1, 1, 0, 0, 0, 0]

    assert set(EntityConsent.objects.all()) == {recent, shared}
    assert set(LegalEntity.objects.all()) == {recent.entity, shared.entity}
    assert len(list(media.iterdir())) == 2
    review.refresh_from_db()
    assert (review.entity, review.status) == (None, "approved"), "the decision stays on record"
    assert AuditEntry.objects.filter(action="erased", subject__endswith=str(old.entity_id)).exists()


def test_prune_keeps_a_company_that_somebody_else_shares():
    company = factories.legal_entity()
    withdrawn(factories.connection(), LONG_AGO, company)
    factories.consent(factories.connection(), company)

    assert counts(command("eprospera_prune")[0])[:2] == [1, 0]
    assert LegalEntity.objects.get() == company


def test_the_site_chooses_how_long_withdrawn_data_is_kept(settings):
    withdrawn(factories.connection(), timedelta(days=2))
    settings.EPROSPERA_ERASE_AFTER = timedelta(days=1)

    assert counts(command("eprospera_prune")[0])[:2] == [1, 1]


def test_prune_erases_the_facts_of_a_scope_that_is_gone_for_long(media):
    connection = factories.connection(scopes=f"openid {scopes.PERSON_RESIDENCY_READ}")
    factories.natural_person(connection)
    factories.residency(connection)
    factories.id_verification(connection)
    factories.synced(connection)
    states = connection.resources
    states.filter(resource="natural_person").update(
        error="not_granted", attempted_at=timezone.now() - timedelta(days=29)
    )
    states.filter(resource="id_verification").update(error="not_granted", attempted_at=timezone.now() - LONG_AGO)

    assert counts(command("eprospera_prune", "--dry-run")[0])[3] == 1
    assert counts(command("eprospera_prune")[0])[3] == 1

    assert not IdVerification.objects.exists()
    assert list(media.iterdir()) == []
    assert NaturalPerson.objects.exists()
    assert Residency.objects.exists()
    assert states.get(resource="id_verification").synced_at is None
    assert counts(command("eprospera_prune")[0])[3] == 0, "and counts it once"


def test_prune_erases_documents_that_nobody_who_shares_the_company_may_open_any_more(media):
    connection = factories.connection(scopes=f"openid {scopes.ENTITY_READ}")
    both = factories.consent(connection).entity
    alone = factories.consent(connection).entity
    factories.consent(factories.connection(), both)
    factories.document(both)
    factories.document(alone)
    factories.synced(connection, at=timezone.now() - LONG_AGO, entity_documents="not_granted")

    assert counts(command("eprospera_prune")[0])[2] == 1

    assert EntityDocument.objects.get().entity == both
    assert len(list(media.iterdir())) == 1


@pytest.mark.parametrize(("cause", "erased"), [("invalid_grant", True), ("answer_lost", False)])
def test_prune_erases_what_was_fetched_under_a_grant_that_the_provider_ended_long_ago(media, cause, erased):
    connection = factories.connection(
        state="reauthorize", state_cause=cause, state_changed_at=timezone.now() - LONG_AGO
    )
    factories.natural_person(connection)
    factories.id_verification(connection)
    factories.document(factories.consent(connection).entity)
    factories.synced(connection)

    command("eprospera_prune")

    assert NaturalPerson.objects.exists() is not erased
    assert IdVerification.objects.exists() is not erased
    assert LegalEntity.objects.exists() is not erased
    assert bool(list(media.iterdir())) is not erased
    assert Connection.objects.exists(), "the person may sign in again"


def test_prune_removes_files_that_belong_to_no_row_unless_they_may_just_be_being_written(media):
    row = factories.document(factories.consent(factories.connection()).entity)
    for name, age in (
        ("old.sealed", 7200), ("old.sealed.thumbnail", 60), ("new.sealed", 60), ("new.sealed.thumbnail", 7200),
        ("alone.sealed.thumbnail", 7200), ("other.txt", 7200),
    ):  # fmt: skip
        (media / name).write_bytes(b"x")
        os.utime(media / name, (time.time() - age,) * 2)
    picture = factories.id_verification(factories.connection(), pictures=["face"]).images.get()
    documents.thumbnail(picture)
    kept = [row.storage_name, picture.storage_name, f"{picture.storage_name}.thumbnail"]
    for name in kept:
        os.utime(media.parent / name, (time.time() - 7200,) * 2)

    assert counts(command("eprospera_prune")[0])[4] == 2

    assert sorted(path.name for path in media.iterdir()) == sorted(
        ["new.sealed", "new.sealed.thumbnail", "other.txt", *(name.rpartition("/")[2] for name in kept)]
    )


def test_prune_with_nothing_to_erase_costs_few_queries_whoever_is_there(media, django_assert_max_num_queries):
    for number in range(30):
        state = {"state": "reauthorize", "state_cause": "invalid_grant"} if number % 2 else {}
        connection = factories.connection(state_changed_at=timezone.now() - LONG_AGO, **state)
        verification = factories.id_verification(connection, pictures=("face",)) if not number % 2 else None
        assert verification is None or verification.images.get().storage_name
    with django_assert_max_num_queries(20):
        assert counts(command("eprospera_prune")[0]) == [0] * 6


def test_prune_works_before_there_is_any_file(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "nothing-yet"

    assert counts(command("eprospera_prune")[0]) == [0] * 6


def test_prune_removes_what_abandoned_sign_ins_left():
    Nonce.objects.create(server_url="social_core.oauth2.eprospera", timestamp=1, salt="a-state")
    Nonce.objects.create(server_url="social_core.oauth2.eprospera", timestamp=int(time.time()), salt="another")

    assert counts(command("eprospera_prune")[0])[5] == 1

    assert Nonce.objects.get().salt == "another", "a sign-in that is under way goes on"


def test_the_last_person_who_leaves_takes_the_company_along(media):
    connection = factories.connection()
    factories.document(factories.consent(connection).entity)

    connection.user.delete()

    assert not LegalEntity.objects.exists()
    assert list(media.iterdir()) == []
