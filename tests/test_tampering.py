"""`eprospera_audit --verify` after an attack by somebody who can write to the database, and to nothing else."""

import random
import uuid
from collections import Counter
from datetime import timedelta
from io import StringIO
from itertools import islice

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.db import connection as database
from django.utils import timezone

from django_eprospera import access, audit, kyc, tokens
from django_eprospera.kyc.checks import run
from django_eprospera.kyc.decisions import facts_version
from django_eprospera.kyc.facts import facts_of
from django_eprospera.models import AuditEntry, Connection, Decision, EntityConsent, LegalEntity, Residency, Review
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.sandbox_process import LUCIA

pytestmark = pytest.mark.usefixtures("transactional_db", "media")

ENTRY, DECISION, REVIEW = "django_eprospera_auditentry", "django_eprospera_decision", "django_eprospera_review"


@pytest.fixture
def reviewer():
    return make_reviewer()


@pytest.fixture
def approved(sandbox, reviewer):
    """A synced connection whose person is approved, after a few other entries."""
    connection = make_history(sandbox, reviewer)
    assert access.kyc(connection.user).allowed
    assert problem() == ""
    drop_triggers()
    return connection


def make_reviewer():
    user = factories.user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["decide_review", "view_personal_data"]))
    return type(user).objects.get(pk=user.pk)


def make_history(sandbox, reviewer=None):
    """Sync, decide twice, look at it, search. Returns the connection."""
    reviewer = reviewer or make_reviewer()
    connection = factories.sandbox_connection(sandbox, LUCIA)
    sync(connection)
    decide(Review.objects.filter(subject_kind="entity", status="pending")[0], reviewer, "rejected")
    decide(Review.objects.get(subject_kind="person"), reviewer, "approved")
    audit.record(AuditEntry.Action.VIEWED, connection, actor=reviewer, detail={"fields": ["name"]})
    audit.record(AuditEntry.Action.SEARCHED, "django_eprospera.review:", actor=reviewer, detail={"found": 1})
    return connection


def decide(review, reviewer, outcome, reason="It was looked at."):
    facts = facts_of(review)
    seen = facts_version(review, facts, run(facts))
    return kyc.decide(review, reviewer=reviewer, outcome=outcome, reason=reason, seen=seen)


def problem():
    """What the command ends with; empty when everything verifies."""
    try:
        call_command("eprospera_audit", "--verify", stdout=StringIO(), stderr=StringIO())
    except CommandError as error:
        return str(error)
    return ""


def sql(query, *parameters):
    with database.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def drop_triggers():
    """The owner of the tables can do that: the triggers are for mistakes, and for accounts with fewer rights."""
    call_command("eprospera_audit", "--drop-triggers")


# The chain


@pytest.mark.parametrize("attack", [
    f"DELETE FROM {ENTRY} WHERE position > (SELECT MAX(position) - 2 FROM {ENTRY})",
    f"DELETE FROM {ENTRY} WHERE position = (SELECT MAX(position) FROM {ENTRY})",
    f"DELETE FROM {ENTRY}",
    f"DELETE FROM {ENTRY} WHERE position = 2",
    f"UPDATE {ENTRY} SET position = position + 1000 WHERE position = (SELECT MAX(position) FROM {ENTRY})",
    f"UPDATE {ENTRY} SET actor_id = NULL WHERE actor_id IS NOT NULL",
    f"UPDATE {ENTRY} SET actor_id = actor_id + 1 WHERE actor_id IS NOT NULL",
    f"UPDATE {ENTRY} SET action = 'exported' WHERE action = 'searched'",
    f"UPDATE {ENTRY} SET subject = 'other' WHERE position = 3",
    f"UPDATE {ENTRY} SET at = '2020-01-01 00:00:00+00:00' WHERE position = 3",
    f"""UPDATE {ENTRY} SET detail = '{{"found": 2}}' WHERE action = 'searched'""",
    f"UPDATE {ENTRY} SET before = before + 1 WHERE position = 3",
    f"UPDATE {ENTRY} SET previous = digest WHERE position = 3",
    f"UPDATE {ENTRY} SET digest = previous WHERE position = 3",
    f"UPDATE {ENTRY} SET digest = previous WHERE position = (SELECT MAX(position) FROM {ENTRY})",
])  # fmt: skip
def test_a_changed_or_removed_entry_is_found(approved, attack):
    assert sql(attack)
    assert problem()


def test_a_chain_forged_anew_is_found(approved, settings):
    """Forged with everything that the code does, under a key of the attacker's own."""
    kept = list(AuditEntry.objects.order_by("position").exclude(action="viewed").values())
    key = settings.FIELD_ENCRYPTION_KEY
    sql(f"DELETE FROM {ENTRY}")
    settings.FIELD_ENCRYPTION_KEY = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="
    with transaction.atomic():  # the anchor goes to another storage: this one is not the attacker's
        settings.MEDIA_ROOT = f"{settings.MEDIA_ROOT}-attacker"
        for entry in kept:
            audit.record(entry["action"], entry["subject"], detail=entry["detail"])
    settings.MEDIA_ROOT = settings.MEDIA_ROOT.removesuffix("-attacker")
    settings.FIELD_ENCRYPTION_KEY = key
    assert problem()


def test_an_entry_copied_to_the_end_is_found(approved):
    columns = "at, action, actor_id, subject, before, detail, rows, previous, digest"
    sql(f"INSERT INTO {ENTRY} (position, {columns}) SELECT MAX(position) + 1, {columns} FROM "
        f"(SELECT * FROM {ENTRY} ORDER BY position DESC LIMIT 1) newest GROUP BY {columns}")  # fmt: skip
    assert problem()


def test_a_deleted_user_is_no_change_of_the_chain(approved, reviewer):
    number = reviewer.pk
    reviewer.delete()
    assert problem() == ""
    assert AuditEntry.objects.filter(actor_id=number).exists()
    assert set(Decision.objects.values_list("reviewer_id", flat=True)) == {number}


# Decisions and reviews


@pytest.mark.parametrize("attack", [
    f"DELETE FROM {DECISION}",
    f"UPDATE {DECISION} SET outcome = 'rejected'",
    f"UPDATE {DECISION} SET reviewer_id = NULL",
    f"UPDATE {DECISION} SET reviewer_id = reviewer_id + 1",
    f"UPDATE {DECISION} SET reason = reviewer_name",
    f"UPDATE {DECISION} SET digest = 'f'",
    f"UPDATE {DECISION} SET decided_at = '2020-01-01 00:00:00+00:00'",
    f"UPDATE {REVIEW} SET status = 'rejected' WHERE status = 'approved'",
    f"UPDATE {REVIEW} SET status = 'pending' WHERE status = 'approved'",
    f"UPDATE {REVIEW} SET status = 'approved' WHERE status <> 'approved'",
    f"UPDATE {REVIEW} SET queued_at = '2020-01-01 00:00:00+00:00'",
    f"UPDATE {REVIEW} SET user_id = NULL WHERE user_id IS NOT NULL",
    f"UPDATE {REVIEW} SET checks = '[]'",
])  # fmt: skip
def test_a_changed_or_deleted_decision_or_review_is_found(approved, attack):
    assert sql(attack)
    assert problem()


def test_a_deleted_review_is_found(approved):
    assert sql(f"DELETE FROM {REVIEW} WHERE subject_kind = 'entity' AND decided_at IS NULL")
    assert "was deleted" in problem()


def test_a_rejection_turned_round_in_every_table_is_found(approved, reviewer):
    """The gate opens on `review.status`: the attacker also removes the decision and its entry."""
    decide(Review.objects.get(subject_kind="person"), reviewer, "rejected")
    assert not access.kyc(approved.user).allowed
    newest = AuditEntry.objects.order_by("-position").values_list("position", flat=True)[0]
    sql(f"UPDATE {REVIEW} SET status = 'approved' WHERE subject_kind = 'person'")
    sql(f"DELETE FROM {DECISION} WHERE outcome = 'rejected'")
    sql(f"DELETE FROM {ENTRY} WHERE position = %s", newest)
    assert access.kyc(approved.user).allowed, "what the attack is for"
    assert problem()


def test_a_row_at_its_former_state_is_found(approved, reviewer):
    """Nothing is forged: the whole row is put back as it was approved."""
    former = Review.objects.filter(subject_kind="person").values("status", "decided_at", "queued_at").get()
    decide(Review.objects.get(subject_kind="person"), reviewer, "rejected")
    Review.objects.filter(subject_kind="person").update(**former)
    assert access.kyc(approved.user).allowed
    assert "review" in problem()


# Facts


def test_a_residency_put_back_to_an_earlier_ciphertext_is_found(approved, sandbox):
    columns = "termination_date, residency_type, effective_date"
    active = sql(f"SELECT {columns} FROM django_eprospera_residency")[0]
    end_residency(sandbox, approved)
    assert access.residency(fresh(approved).user).code == "residency_ended"
    assert problem() == ""

    sql(
        "UPDATE django_eprospera_residency SET termination_date = %s, residency_type = %s, effective_date = %s", *active
    )
    assert access.residency(fresh(approved).user).allowed, "what the attack is for"
    assert "residency" in problem()


def test_a_residency_without_its_end_is_found(approved, sandbox):
    end_residency(sandbox, approved)
    sql("UPDATE django_eprospera_residency SET termination_date = NULL")
    assert access.residency(fresh(approved).user).allowed, "what the attack is for"
    assert "residency" in problem()


def test_facts_that_were_deleted_and_are_there_again_are_found(approved, sandbox):
    row = Residency.objects.values().get()
    sandbox.control(f"personas/{LUCIA}", residency=None)
    sync(approved)
    assert not Residency.objects.exists()
    assert problem() == ""
    insert("django_eprospera_residency", row)
    assert "there again" in problem()


def test_another_persons_facts_are_found(approved):
    other = factories.connection()
    sql("UPDATE django_eprospera_residency SET connection_id = %s", key(other.pk))
    assert access.residency(other.user).allowed, "what the attack is for"
    assert "residency" in problem()


@pytest.mark.parametrize("attack", [
    "UPDATE django_eprospera_entityconsent SET withdrawn_at = NULL",
    "UPDATE django_eprospera_legalentity SET option_id = 'corp', type = 'Corporation'",
    "UPDATE django_eprospera_legalentity SET name = extension",
    "UPDATE django_eprospera_entitydocument SET name = NULL",
    "UPDATE django_eprospera_naturalperson SET date_of_birth = NULL",
    "UPDATE django_eprospera_idverification SET status = NULL",
])  # fmt: skip
def test_a_changed_fact_is_found(approved, sandbox, attack):
    withdraw_companies(sandbox, approved)
    assert problem() == ""
    assert sql(attack)
    assert problem()


def test_a_consent_that_nobody_gave_is_found(approved):
    other = factories.connection()
    EntityConsent.objects.create(connection=other, entity=LegalEntity.objects.all()[0], shared_at=timezone.now())
    assert access.entity(other.user, LegalEntity.objects.all()[0]).allowed, "what the attack is for"
    assert "is in no entry" in problem()


def test_a_disconnected_connection_that_is_there_again_is_found(approved):
    row = Connection.objects.values().get()
    tokens.disconnect(approved)
    assert problem() == ""
    insert("django_eprospera_connection", row)
    assert "there again" in problem()


# What is no attack


def test_everything_that_the_site_itself_does_verifies(approved, sandbox, reviewer):
    withdraw_companies(sandbox, approved)
    assert problem() == ""
    approved.user.delete()
    assert problem() == ""
    call_command("eprospera_prune", stdout=StringIO())
    assert problem() == ""


# Any single value


def test_any_single_value_of_chain_decisions_and_reviews_is_covered(approved):
    """`python -m benchmarks tampering` makes a thousand."""
    made = Counter(outcome_of(edit) for edit in islice(edits(random.Random(7)), 100))
    assert made["missed"] == 0
    assert made["found"] > 30
    assert problem() == ""


def edits(rng):
    """Edits of one value, each in a random row and column, to NULL, to another row's value, or to another value."""
    while True:
        model = rng.choice([AuditEntry, Decision, Review])
        rows = list(model.objects.order_by("pk").values_list("pk", flat=True))
        field = rng.choice(list(model._meta.concrete_fields))
        row, other = rng.choice(rows), rng.choice(rows)
        yield model, field.column, row, other, rng.choice(["null", "other", "made up"]), rng.random()


def outcome_of(edit):
    """Make the edit, verify, and take it back. Returns found, missed, refused (by the database) or nothing (changed)."""
    model, column, row, other, kind, chance = edit
    table, pk = model._meta.db_table, model._meta.pk.column
    with transaction.atomic():
        before = sql(f"SELECT {column} FROM {table} WHERE {pk} = %s", key(row))
        value = {
            "null": None,
            "other": sql(f"SELECT {column} FROM {table} WHERE {pk} = %s", key(other))[0][0],
            "made up": made_up(model._meta.get_field(column.removesuffix("_id")), before[0][0], chance),
        }[kind]
        try:
            with transaction.atomic():
                sql(f"UPDATE {table} SET {column} = %s WHERE {pk} = %s", value, key(row))
                if database.vendor == "postgresql":
                    sql("SET CONSTRAINTS ALL IMMEDIATE")
        except DatabaseError:
            outcome = "refused"
        else:
            after = sql(f"SELECT {column} FROM {table} WHERE {pk} = %s", key(row))
            outcome = "nothing" if before == after else "found" if problem() else "missed"
        transaction.set_rollback(True)
    return outcome


def made_up(field, before, chance):
    kind = field.get_internal_type()
    if kind in ("PositiveBigIntegerField", "ForeignKey") and isinstance(before, (int, type(None))):
        return int(chance * 100_000)
    if kind in ("UUIDField", "ForeignKey"):
        return key(uuid.uuid4())
    if kind == "DateTimeField":
        return (timezone.now() - timedelta(seconds=int(chance * 10_000_000))).isoformat()
    if kind == "JSONField":
        return "[]" if chance < 0.5 else '{"found": 7}'
    return f"{'x' * int(chance * 10)}{chance}"[:12]


def insert(table, row):
    names = ", ".join(row)
    values = [getattr(value, "text", value) for value in row.values()]
    sql(f"INSERT INTO {table} ({names}) VALUES ({', '.join(['%s'] * len(row))})", *map(key, values))


def key(value):
    """A value as the database's own driver takes it."""
    return value.hex if isinstance(value, uuid.UUID) and database.vendor == "sqlite" else value


def end_residency(sandbox, connection):
    ended = (timezone.now() - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    active = sandbox.control(f"personas/{LUCIA}", residency={})["residency"]["activeResidency"]
    sandbox.control(f"personas/{LUCIA}", residency={"activeResidency": {**active, "terminationDate": ended}})
    assert "residency" in sync(connection).changed


def withdraw_companies(sandbox, connection):
    for entity in LegalEntity.objects.values_list("entity_id", flat=True):
        sandbox.control("represent", sub=LUCIA, entity=str(entity), active=False)
    sync(connection)
    assert not EntityConsent.objects.filter(withdrawn_at=None).exists()


def fresh(connection):
    return Connection.objects.get(pk=connection.pk)
