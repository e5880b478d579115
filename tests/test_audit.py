"""The audit chain, its copy in the storage, and its triggers. `test_tampering` attacks the rows that it covers."""

import io
import threading

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone

from django_eprospera import audit
from django_eprospera.audit.chain import GENESIS
from django_eprospera.errors import AuditError
from django_eprospera.models import AuditEntry, Decision, Review
from django_eprospera.testing import factories

VIEWED = AuditEntry.Action.VIEWED

pytestmark = pytest.mark.usefixtures("media")


def chain(length, **values):
    return [audit.record(VIEWED, f"thing:{number}", **values) for number in range(length)]


def tamper(sql, *parameters):
    """What somebody with a database shell could do: the models refuse it."""
    command("--drop-triggers")
    with connection.cursor() as cursor:
        cursor.execute(sql.replace("TABLE", AuditEntry._meta.db_table), parameters)


def command(*arguments):
    out = io.StringIO()
    call_command("eprospera_audit", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_entries_follow_each_other_and_verify():
    entries = chain(3, detail={"fields": ["name", "phone_number"], "count": 2, "masked": True})
    assert [entry.position for entry in entries] == [1, 2, 3]
    report = audit.verify()
    assert [entry.previous for entry in entries[:1]] == [GENESIS]
    assert (report.ok, report.entries) == (True, 3)
    assert audit.record(VIEWED, "thing:3").previous == report.head


@pytest.mark.django_db(transaction=True)
def test_an_empty_chain_holds():
    assert audit.verify() == audit.Report(0, GENESIS)
    assert audit.verify(GENESIS).ok


@pytest.mark.django_db(transaction=True)
def test_a_row_is_named_by_its_model_and_key():
    user = factories.user()
    assert audit.record(VIEWED, user).subject == f"auth.user:{user.pk}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("subject", "thing:other"),
        ("before", 1),
        ("action", "exported"),
        ("rows", '["thing:7 -"]'),
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
    # The key that a digest names may be missing: then the entry after it shows the change.
    assert f"entry {4 if column == 'digest' else 3}" in report.problems[0]


@pytest.mark.django_db(transaction=True)
def test_an_entry_given_to_another_actor_shows():
    mallory, reviewer = factories.user(), factories.user()
    chain(2, actor=reviewer)
    tamper("UPDATE TABLE SET actor_id = %s WHERE position = 2", mallory.pk)
    assert "entry 2" in audit.verify().problems[0]


@pytest.mark.django_db(transaction=True)
def test_a_removed_entry_shows():
    chain(5)
    tamper("DELETE FROM TABLE WHERE position = 2")
    assert "entry 2" in audit.verify().problems[0]


@pytest.mark.django_db(transaction=True)
def test_removal_hidden_by_renumbering_shows():
    chain(5)
    tamper("DELETE FROM TABLE WHERE position = 2")
    for position in (3, 4, 5):
        tamper("UPDATE TABLE SET position = %s WHERE position = %s", position - 1, position)
    assert "entry 2" in audit.verify().problems[0]


@pytest.mark.django_db(transaction=True)
def test_two_entries_that_changed_places_show():
    chain(4)
    for before, after in ((2, 99), (3, 2), (99, 3)):
        tamper("UPDATE TABLE SET position = %s WHERE position = %s", after, before)
    assert "entry 2" in audit.verify().problems[0]


@pytest.mark.django_db(transaction=True)
def test_a_cut_end_shows_against_the_copy_in_the_storage_and_against_a_head_that_was_noted(media):
    chain(3)
    former = audit.verify().head
    chain(2)
    newest = audit.verify().head
    tamper("DELETE FROM TABLE WHERE position > 3")
    assert "knows entry 5" in audit.verify().problems[0]
    for path in anchors(media):
        path.unlink()
    assert audit.verify().problems == (
        "the storage has no anchor of the chain, so that the removal of entries cannot be detected",
    )
    command("--accept-head")
    assert audit.verify(expect_head=former).ok
    assert "expected head" in audit.verify(expect_head=newest).problems[0]


@pytest.mark.django_db(transaction=True)
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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("detail", [{"share": 0.5}, {"name": {"given": "Ada"}}, {"name": None}])
def test_detail_takes_only_what_every_database_gives_back(detail):
    with pytest.raises(AuditError):
        audit.record(VIEWED, "thing:1", detail=detail)


@pytest.mark.django_db(transaction=True)
def test_the_entry_outlives_its_actor(client):
    user, admin = factories.user(), factories.user(is_staff=True, is_superuser=True)
    pk = user.pk
    entry = chain(1, actor=user)[0]
    get_user_model().objects.get(pk=pk).delete()
    assert AuditEntry.objects.get().actor_id == pk
    assert audit.verify().ok
    client.force_login(admin)
    for page in ("/admin/django_eprospera/auditentry/", f"/admin/django_eprospera/auditentry/{entry.pk}/change/"):
        assert str(pk) in client.get(page).content.decode()


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


# The copy in the storage


def anchors(media):
    return sorted((media.parent / "eprospera-audit").iterdir())


@pytest.mark.django_db(transaction=True)
def test_a_process_keeps_one_file_that_is_always_the_newest(media):
    chain(5)
    (path,) = anchors(media)
    assert path.name.startswith("000000000005-")
    assert audit.verify().head in path.read_text()


@pytest.mark.django_db(transaction=True)
def test_files_of_other_processes_all_have_to_agree_and_the_newest_stays(media, child, settings):
    for number in range(2):
        chain(1)
        process = child("audit", f"thing:{number}", MEDIA_ROOT=settings.MEDIA_ROOT)
        assert process.wait(60) == 0
    assert len(anchors(media)) == 3
    assert audit.verify().ok
    assert [path.name[:12] for path in anchors(media)] == ["000000000004"]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_entry_leaves_no_file(media):
    chain(1)
    before = anchors(media)
    with transaction.atomic():
        chain(1)
        transaction.set_rollback(True)
    assert anchors(media) == before


@pytest.mark.django_db(transaction=True)
def test_a_changed_file_is_found(media):
    chain(3)
    (path,) = anchors(media)
    former = path.read_text()
    path.write_text(former.replace("3 ", "2 ", 1))
    assert "was changed" in audit.verify().problems[0]
    path.write_text("nonsense")
    assert "is not one" in audit.verify().problems[0]
    path.write_text(former)
    assert audit.verify().ok


@pytest.mark.django_db(transaction=True)
def test_a_restored_backup_is_reported_until_it_is_accepted(media):
    """Also when the restored chain grows beyond the entries that were lost."""
    chain(5)
    tamper("DELETE FROM TABLE WHERE position > 3")
    chain(1)
    assert "a backup was restored" in audit.verify().problems[0]
    chain(4)
    assert "was rewritten" in audit.verify().problems[0]
    assert "Entry 9" in command("--accept-head")
    assert audit.verify().ok
    assert AuditEntry.objects.get(action="anchored").position == 9


@pytest.mark.django_db(transaction=True)
def test_a_broken_chain_is_not_accepted():
    chain(3)
    tamper("DELETE FROM TABLE WHERE position = 2")
    with pytest.raises(CommandError, match="entry 2"):
        command("--accept-head")


@pytest.mark.django_db(transaction=True)
def test_a_storage_that_fails_costs_no_entry_and_is_loud(media, caplog):
    chain(1)
    folder = media.parent / "eprospera-audit"
    folder.rename(media.parent / "away")
    folder.write_text("in the way")
    assert chain(1)[0].position == 2
    assert "could not be stored in EPROSPERA_STORAGE: FileExistsError" in caplog.text or "NotADirectory" in caplog.text
    folder.unlink()
    assert "no anchor" in audit.verify().problems[0]
    chain(1)
    assert audit.verify().ok


# Keys


@pytest.mark.django_db(transaction=True)
def test_a_chain_of_many_keys_verifies_and_a_removed_key_needs_a_later_entry(settings):
    old, new = settings.FIELD_ENCRYPTION_KEY, Fernet.generate_key().decode()
    chain(3)
    settings.FIELD_ENCRYPTION_KEY = [new, old]
    assert audit.verify().ok
    settings.FIELD_ENCRYPTION_KEY = [new]
    assert any("nor is there a later one" in problem for problem in audit.verify().problems)
    settings.FIELD_ENCRYPTION_KEY = [new, old]
    call_command("eprospera_rotate_keys", stdout=io.StringIO())
    audit.verify()
    settings.FIELD_ENCRYPTION_KEY = [new]
    assert audit.verify().ok
    tamper("UPDATE TABLE SET subject = 'x' WHERE position = 2")
    assert "entry 3 does not follow" in audit.verify().problems[0], "the hash in the next entry proves it"


@pytest.mark.django_db(transaction=True)
def test_rotation_renews_the_digests_of_rows_and_not_of_changed_ones(settings):
    old, new = settings.FIELD_ENCRYPTION_KEY, Fernet.generate_key().decode()
    rows = [factories.residency(factories.connection()) for _ in range(3)]
    audit.record(AuditEntry.Action.STORED, rows[0], rows=rows)
    rows[1].termination_date = timezone.now()
    rows[1].save()
    settings.FIELD_ENCRYPTION_KEY = [new, old]
    out = io.StringIO()
    call_command("eprospera_rotate_keys", stdout=out)
    assert "Renewed digests of the audit chain: 2." in out.getvalue()
    out = io.StringIO()
    call_command("eprospera_rotate_keys", check=True, stdout=out)
    assert "1 audit digests: still needed" in out.getvalue()
    (problem,) = audit.verify().problems
    assert str(rows[1].pk) in problem
    settings.FIELD_ENCRYPTION_KEY = [new]
    problems = audit.verify().problems
    assert any(str(rows[1].pk) in problem for problem in problems)
    assert not any(str(row.pk) in problem for row in (rows[0], rows[2]) for problem in problems)


# Triggers


@pytest.fixture
def triggers():
    command("--create-triggers")
    yield
    command("--drop-triggers")
    if connection.vendor == "postgresql":
        command("--create-triggers")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE django_eprospera_auditentry SET subject = 'x'",
        "UPDATE django_eprospera_auditentry SET actor_id = NULL",
        "UPDATE django_eprospera_auditentry SET position = 7",
        "DELETE FROM django_eprospera_auditentry",
        "UPDATE django_eprospera_decision SET outcome = 'rejected'",
        "UPDATE django_eprospera_decision SET reviewer_id = NULL",
        "DELETE FROM django_eprospera_decision",
    ],
)
def test_the_database_refuses_changes(triggers, change):
    connected = factories.connection()
    review = Review.objects.create(subject=f"person:{connected.issuer}:{connected.sub}", subject_kind="person")
    Decision.objects.create(
        review=review, outcome="approved", reviewer=connected.user, reviewer_name="A", reason="", evidence={},
        decided_at=timezone.now(),
    )  # fmt: skip
    chain(1)
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute(change)


@pytest.mark.django_db(transaction=True)
def test_the_triggers_are_no_obstacle_to_key_rotation_and_to_deleting_the_reviewer(triggers, settings):
    reviewer = factories.user()
    review = Review.objects.create(subject="person:x:y", subject_kind="person")
    Decision.objects.create(
        review=review, outcome="approved", reviewer=reviewer, reviewer_name="A", reason="because", evidence={},
        decided_at=timezone.now(),
    )  # fmt: skip
    chain(1, actor=reviewer)
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode(), settings.FIELD_ENCRYPTION_KEY]
    call_command("eprospera_rotate_keys", stdout=io.StringIO())
    reviewer.delete()
    assert Decision.objects.get().reason == "because"


# The command


@pytest.mark.django_db(transaction=True)
def test_the_command_prints_the_head_and_fails_on_tampering():
    chain(3)
    assert f"Head: {audit.verify().head}" in command("--verify")
    tamper("UPDATE TABLE SET subject = 'x' WHERE position = 2")
    with pytest.raises(CommandError, match="entry 2"):
        command("--verify")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("digest", ["00", "", "g" * 64, "A" * 64, "0" * 65])
def test_a_head_that_cannot_be_one_is_a_wrong_argument_and_no_tampering(digest):
    chain(3)
    with pytest.raises(CommandError, match="must be a head of 64 hexadecimal digits"):
        command("--expect-head", digest)


@pytest.mark.django_db(transaction=True)
def test_the_command_fails_when_the_expected_head_is_not_in_the_chain():
    chain(3)
    head = audit.verify().head
    assert "verifies" in command("--expect-head", head)
    with pytest.raises(CommandError, match="expected head"):
        command("--expect-head", "f" * 64)


@pytest.mark.django_db(transaction=True)
def test_the_command_lists_by_subject_actor_and_time():
    user = factories.user()
    audit.record(VIEWED, "thing:a", actor=user)
    audit.record(AuditEntry.Action.DECIDED, "thing:b")
    assert "thing:a" in command("--actor", str(user.pk))
    assert "thing:b" not in command("--actor", str(user.pk))
    assert command("--subject", "thing:b").count("\n") == 1
    assert command("--since", "2999-01-01") == ""
    assert command("--since", "2001-01-01T00:00").count("\n") == 2
    with pytest.raises(CommandError, match="must be a date or a time"):
        command("--since", "yesterday")
