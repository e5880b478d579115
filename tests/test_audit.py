"""The audit chain: it grows by one under any crowd, and no change, gap, swap or cut goes unnoticed."""

import io
import threading

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from django_eprospera import audit
from django_eprospera.errors import AuditError
from django_eprospera.models import AuditEntry
from tests import factories

VIEWED = AuditEntry.Action.VIEWED


def chain(length, **values):
    return [audit.record(VIEWED, f"thing:{number}", **values) for number in range(length)]


def tamper(sql, *parameters):
    """What somebody with a database shell could do: the models refuse it."""
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("TABLE", AuditEntry._meta.db_table), parameters)


def command(*arguments):
    out = io.StringIO()
    call_command("eprospera_audit", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_entries_follow_each_other_and_verify():
    entries = chain(3, detail={"fields": ["name", "phone_number"], "count": 2, "masked": True})
    assert [entry.position for entry in entries] == [1, 2, 3]
    assert [entry.previous for entry in entries] == [audit.GENESIS, entries[0].digest, entries[1].digest]
    report = audit.verify()
    assert (report.ok, report.entries, report.head) == (True, 3, entries[2].digest)


@pytest.mark.django_db
def test_an_empty_chain_holds():
    assert audit.verify() == audit.Report(0, audit.GENESIS)
    assert audit.verify(audit.GENESIS).ok


@pytest.mark.django_db
def test_a_row_is_named_by_its_model_and_key():
    user = factories.user()
    assert audit.record(VIEWED, user).subject == f"auth.user:{user.pk}"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("subject", "thing:other"),
        ("action", "exported"),
        ("actor_ref", "7"),
        ("detail", '{"fields": []}'),
        ("at", "2020-01-01 00:00:00+00:00"),
        ("digest", "f" * 64),
        ("previous", "e" * 64),
    ],
)
def test_an_edited_column_shows_at_its_position(column, value):
    chain(5, detail={"fields": ["name"]})
    tamper(f"UPDATE TABLE SET {column} = %s WHERE position = 3", value)
    report = audit.verify()
    assert not report.ok
    assert (report.position, report.entries) == (3, 2)


@pytest.mark.django_db
def test_an_entry_given_to_another_actor_shows():
    mallory, reviewer = factories.user(), factories.user()
    chain(2, actor=reviewer)
    tamper("UPDATE TABLE SET actor_id = %s WHERE position = 2", mallory.pk)
    assert audit.verify().position == 2


@pytest.mark.django_db
def test_a_removed_entry_shows():
    chain(5)
    tamper("DELETE FROM TABLE WHERE position = 2")
    assert audit.verify().position == 2


@pytest.mark.django_db
def test_removal_hidden_by_renumbering_shows():
    chain(5)
    tamper("DELETE FROM TABLE WHERE position = 2")
    for position in (3, 4, 5):
        tamper("UPDATE TABLE SET position = %s WHERE position = %s", position - 1, position)
    assert audit.verify().position == 2


@pytest.mark.django_db
def test_two_entries_that_changed_places_show():
    chain(4)
    for before, after in ((2, 99), (3, 2), (99, 3)):
        tamper("UPDATE TABLE SET position = %s WHERE position = %s", after, before)
    assert audit.verify().position == 2


@pytest.mark.django_db
def test_a_cut_end_shows_against_a_head_that_was_noted():
    entries = chain(5)
    tamper("DELETE FROM TABLE WHERE position > 3")
    assert audit.verify().ok  # by itself a shorter chain is sound
    assert not audit.verify(expect_head=entries[4].digest).ok
    assert audit.verify(expect_head=entries[2].digest).ok


@pytest.mark.django_db
def test_entries_cannot_be_edited_or_deleted_through_the_models():
    entry = chain(1)[0]
    with pytest.raises(AuditError):
        entry.save()
    with pytest.raises(AuditError):
        entry.delete()
    with pytest.raises(AuditError):
        AuditEntry.objects.all().delete()
    with pytest.raises(AuditError):
        AuditEntry.objects.update(subject="other")
    assert audit.verify().entries == 1


@pytest.mark.django_db
@pytest.mark.parametrize("detail", [{"share": 0.5}, {"name": {"given": "Ada"}}, {"name": None}])
def test_detail_takes_only_what_every_database_gives_back(detail):
    with pytest.raises(AuditError):
        audit.record(VIEWED, "thing:1", detail=detail)


@pytest.mark.django_db
def test_the_entry_outlives_its_actor():
    user = factories.user()
    pk = str(user.pk)
    chain(1, actor=user)
    get_user_model().objects.get(pk=pk).delete()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.actor_ref) == (None, pk)
    assert audit.verify().ok


@pytest.mark.django_db(transaction=True)
def test_an_entry_goes_with_the_transaction_that_is_rolled_back():
    chain(1)
    with transaction.atomic():
        chain(1)
        transaction.set_rollback(True)
    assert audit.verify().entries == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_crowd_appends_without_gap_or_fork(in_transaction):
    writers, each = 12, 10
    start, errors = threading.Barrier(writers), []

    def write():
        try:
            start.wait()
            for _ in range(each):
                if in_transaction:
                    with transaction.atomic():
                        chain(1)
                else:
                    chain(1)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    report = audit.verify()
    assert (report.ok, report.entries) == (True, writers * each)


@pytest.mark.django_db
def test_the_command_prints_the_head_and_fails_on_tampering():
    entries = chain(3)
    assert entries[2].digest in command("--verify")
    tamper("UPDATE TABLE SET subject = 'x' WHERE position = 2")
    with pytest.raises(CommandError, match="entry 2"):
        command("--verify")


@pytest.mark.django_db
def test_the_command_fails_when_the_expected_head_is_gone():
    entries = chain(3)
    tamper("DELETE FROM TABLE WHERE position = 3")
    with pytest.raises(CommandError, match="expected head"):
        command("--expect-head", entries[2].digest)


@pytest.mark.django_db
def test_the_command_lists_by_subject_actor_and_time():
    user = factories.user()
    audit.record(VIEWED, "thing:a", actor=user)
    audit.record(AuditEntry.Action.DECIDED, "thing:b")
    assert "thing:a" in command("--actor", str(user.pk))
    assert "thing:b" not in command("--actor", str(user.pk))
    assert command("--subject", "thing:b").count("\n") == 1
    assert command("--since", "2999-01-01") == ""
    assert command("--since", "2001-01-01T00:00").count("\n") == 2
    with pytest.raises(CommandError, match="neither a date"):
        command("--since", "yesterday")
