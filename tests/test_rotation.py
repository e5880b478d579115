"""Key rotation: all comes under the newest key, whoever saves or dies meanwhile; what does not open is not touched."""

import io
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from django_eprospera import audit, documents
from django_eprospera.crypto import Keyring, key_id_of
from django_eprospera.keys import keyring
from django_eprospera.models import AuditEntry, Connection, LegalEntity, NaturalPerson, VerificationImage
from django_eprospera.rotation import Progress, census, count_outdated, rotate_rows, tables
from django_eprospera.testing import factories
from tests.notebook.models import Cover, Notebook, Page

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW, LOST = (
    "ycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJyck=",
    "ysrKysrKysrKysrKysrKysrKysrKysrKysrKysrKyso=",
    "y8vLy8vLy8vLy8vLy8vLy8vLy8vLy8vLy8vLy8vLy8s=",
)
OLD_ID, NEW_ID, LOST_ID = (Keyring([key]).current for key in (OLD, NEW, LOST))


@pytest.fixture(autouse=True)
def sealed_under_the_old_key(settings, tmp_path):
    settings.FIELD_ENCRYPTION_KEY = OLD
    settings.MEDIA_ROOT = tmp_path / "media"
    settings.STORAGES = {**settings.STORAGES}  # storages are made anew for the other folder


def rotate(*arguments, **options):
    out = io.StringIO()
    call_command("eprospera_rotate_keys", *arguments, stdout=out, stderr=out, **options)
    return out.getvalue()


def raw(sql, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else None


def database_key(row):
    return row._meta.pk.get_db_prep_value(row.pk, connection)


def stored_files():
    return storages["default"].listdir(documents.FOLDER)[1]


def left():
    return sum(count_outdated(table) for table in tables("default"))


def table_of(model):
    return next(table for table in tables("default") if table.model is model)


def looked_at(verification):
    """A check whose pictures have thumbnails."""
    for picture in verification.images.all():
        documents.thumbnail(picture)
    return verification


def life():
    """Rows of the package and of a site, with files."""
    link = factories.connection(access_token="at-1", refresh_token="rt-1")
    factories.natural_person(link, name="Ada")
    factories.residency(link)
    looked_at(factories.id_verification(link))
    factories.consent(link)
    entity = LegalEntity.objects.get()
    factories.document(entity)
    book = Notebook.objects.create(
        title="plain", owner="Ada", email="ada@example.test", day=date(1988, 2, 29), facts=[1],
        moment=datetime(2026, 3, 1, tzinfo=UTC),
    )  # fmt: skip
    Page.objects.create(slug="it's a % key", notebook=book, text="Dear diary")
    Cover.objects.create(notebook=book, motto="Carpe")
    return book


def assert_life_opens():
    assert Connection.objects.get().refresh_token == "rt-1"
    assert NaturalPerson.objects.get(rpn_index="9000 0000 0042 17").name == "Ada"
    book = Notebook.objects.get(owner_index="ADA", email_index="Ada@example.test")
    assert (book.title, book.owner, book.day, book.facts) == ("plain", "Ada", date(1988, 2, 29), [1])
    assert Page.objects.get(slug="it's a % key").text == "Dear diary"
    assert Cover.objects.get().motto == "Carpe"
    for picture in VerificationImage.objects.all():
        assert documents.read(picture) == factories.png(picture.kind)
        assert documents.stored_thumbnail(picture)


def test_everything_of_the_package_and_of_the_site_comes_under_the_newest_key(settings):
    life()
    before = raw("SELECT updated_at, type FROM django_eprospera_legalentity")
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    said = rotate()
    assert left() == 0
    assert set(census("default")) == {NEW_ID}
    assert "4 files" in said
    settings.FIELD_ENCRYPTION_KEY = NEW  # the old key is gone
    assert_life_opens()
    assert raw("SELECT updated_at, type FROM django_eprospera_legalentity") == before
    assert len(stored_files()) == 4 + 3, "and three thumbnails"


def test_a_second_run_has_nothing_to_do(settings):
    life()
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    rotate()
    before = raw("SELECT access_token FROM django_eprospera_connection")
    assert ": 0 rows and 0 files" in rotate()
    assert raw("SELECT access_token FROM django_eprospera_connection") == before


def test_an_index_key_of_its_own_takes_over_the_indexes_alone(settings):
    life()
    settings.EPROSPERA_INDEX_KEY = NEW
    rotate()
    counts = census("default")
    assert counts[NEW_ID].entries == 4
    assert counts[NEW_ID].values == 0
    assert counts[OLD_ID].entries == 0
    assert counts[OLD_ID].values > 10
    assert_life_opens()


def test_an_index_whose_key_is_lost_is_made_anew_from_its_source(settings):
    settings.EPROSPERA_INDEX_KEY = LOST
    life()
    settings.EPROSPERA_INDEX_KEY = NEW
    assert not Notebook.objects.filter(owner_index="ada").exists()
    rotate()
    assert_life_opens()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_size_of_the_batches_makes_no_difference(settings, size):
    for number in range(7):
        Page.objects.create(slug=f"page {number}", text=f"text {number}")
        Notebook.objects.create(owner=f"owner {number}")
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    rotate(batch_size=size)
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert [page.text for page in Page.objects.order_by("slug")] == [f"text {number}" for number in range(7)]
    assert all(Notebook.objects.filter(owner_index=f"Owner {number}").count() == 1 for number in range(7))


# What does not open


def test_what_does_not_open_is_named_left_as_it_lies_and_the_rest_is_done(settings):
    good = [Notebook.objects.create(owner=f"owner {number}", email="x") for number in range(5)]
    settings.FIELD_ENCRYPTION_KEY = LOST
    lost = Notebook.objects.create(owner="Lost Canary")
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    plain, moved = Notebook.objects.create(), Notebook.objects.create()
    raw("UPDATE notebook_notebook SET owner = %s WHERE id = %s", "Plain Canary", database_key(plain))
    (token,) = raw("SELECT email FROM notebook_notebook WHERE id = %s", database_key(good[0]))
    raw("UPDATE notebook_notebook SET pin = %s WHERE id = %s", token[0], database_key(moved))
    before = raw(
        "SELECT id, owner, pin FROM notebook_notebook WHERE owner NOT LIKE %s OR pin IS NOT NULL", f"1.{OLD_ID}.%"
    )

    out = io.StringIO()
    with pytest.raises(CommandError, match="cannot be decrypted"):
        call_command("eprospera_rotate_keys", batch_size=2, stdout=out, stderr=out)

    said = out.getvalue()
    for row, field in ((lost, "owner"), (lost, "owner_index"), (plain, "owner"), (moved, "pin")):
        assert f"notebook.Notebook.{field} of row {row.pk}" in said
    assert "Canary" not in said
    assert all(str(row.pk) not in said for row in good)
    again = raw(
        "SELECT id, owner, pin FROM notebook_notebook WHERE owner NOT LIKE %s OR pin IS NOT NULL", f"1.{NEW_ID}.%"
    )
    assert sorted(again, key=str) == sorted(before, key=str)
    assert [row.owner for row in Notebook.objects.filter(email_index="x").order_by("pk")] == [
        row.owner for row in sorted(good, key=lambda row: database_key(row))
    ]


def test_a_wrong_key_changes_nothing(settings):
    life()
    settings.FIELD_ENCRYPTION_KEY = NEW
    everything = "SELECT access_token, refresh_token FROM django_eprospera_connection"
    before = (
        raw(everything),
        raw("SELECT * FROM notebook_notebook"),
        raw("SELECT * FROM django_eprospera_entitydocument"),
    )
    with pytest.raises(CommandError):
        rotate()
    assert before == (
        raw(everything),
        raw("SELECT * FROM notebook_notebook"),
        raw("SELECT * FROM django_eprospera_entitydocument"),
    )
    settings.FIELD_ENCRYPTION_KEY = OLD
    assert_life_opens()


def test_a_lost_and_a_damaged_file_are_named_and_the_others_done(settings):
    verification = factories.id_verification(factories.connection())
    lost, damaged, good = VerificationImage.objects.order_by("kind")
    storage = storages["default"]
    storage.delete(lost.storage_name)
    with open(storage.path(damaged.storage_name), "r+b") as file:
        file.truncate(100)
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    out = io.StringIO()
    with pytest.raises(CommandError, match=r"^2 "):
        call_command("eprospera_rotate_keys", stdout=out, stderr=out)
    assert str(lost.pk) in out.getvalue()
    assert str(damaged.pk) in out.getvalue()
    assert str(good.pk) not in out.getvalue()
    assert sorted(verification.images.values_list("key_id", flat=True)) == sorted([OLD_ID, OLD_ID, NEW_ID])


# Somebody saves meanwhile


def test_a_row_that_is_saved_between_reading_and_writing_keeps_what_was_saved(settings):
    pages = [Page.objects.create(slug=f"{number:02}", text="before") for number in range(6)]
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    table, field = table_of(Page), Page._meta.get_field("text")
    old_ring = Keyring([OLD])

    def save_in_the_batch_that_was_read(progress):
        # The first batch is written, the second was read and sealed, and is not sent yet.
        if progress.rows == 2 and not saved:
            saved.append(True)
            pages[2].text = "saved"
            pages[2].save()
            under_old_key = old_ring.seal(field.owner(pages[3].pk), b"saved by a slower process")
            raw("UPDATE notebook_page SET text = %s WHERE slug = %s", under_old_key, pages[3].pk)

    saved = []
    progress = Progress(report=save_in_the_batch_that_was_read)
    rotate_rows(table, progress, batch_size=2)
    assert saved
    assert count_outdated(table) == 0
    settings.FIELD_ENCRYPTION_KEY = NEW
    texts = [page.text for page in Page.objects.order_by("slug")]
    assert texts == ["before", "before", "saved", "saved by a slower process", "before", "before"]
    assert progress.rows == 5


def test_a_source_that_is_saved_meanwhile_does_not_get_the_index_of_the_old_value(settings):
    settings.EPROSPERA_INDEX_KEY = LOST
    books = [Notebook.objects.create(owner=f"owner {number}") for number in range(4)]
    books.sort(key=lambda book: database_key(book))
    settings.EPROSPERA_INDEX_KEY = NEW  # only the indexes are outdated

    def save(progress):
        if progress.rows == 2:
            (row,) = Notebook.objects.filter(pk=books[2].pk)
            row.owner = "renamed"
            row.save()

    rotate_rows(table_of(Notebook), Progress(report=save), batch_size=2)
    assert Notebook.objects.get(owner_index="renamed").pk == books[2].pk
    assert all(Notebook.objects.filter(owner_index=book.owner).exists() for book in books if book != books[2])
    assert not Notebook.objects.filter(owner_index=books[2].owner).exists()


def test_rotating_inside_a_transaction_is_refused(settings):
    Page.objects.create(slug="a", text="x")
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    with transaction.atomic(), pytest.raises(CommandError, match="transactions"):
        rotate()
    assert left() == 1


def worker(*arguments, keys=(NEW, OLD), dies="", waits="", settings):
    """Start the command in a process of its own, on the test's database and media."""
    name = connection.settings_dict["NAME"]
    server = os.environ.get("DATABASE_URL") or "sqlite:///"
    url = f"sqlite:///{name}" if connection.vendor == "sqlite" else urlsplit(server)._replace(path=f"/{name}").geturl()
    scratch = Path(settings.MEDIA_ROOT).parent
    return subprocess.Popen(
        [sys.executable, "-m", "tests.rotation_worker", *arguments],
        env={
            **os.environ,
            "DATABASE_URL": url,
            "EPROSPERA_TEST_SCRATCH": str(scratch),
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "WORKER_KEYS": ",".join(keys),
            "WORKER_DIES": dies,
            "WORKER_WAITS": waits,
        },
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_processes_that_save_while_keys_are_rotated_lose_nothing(settings):
    for number in range(60):
        Page.objects.create(slug=f"{number:03}", text="0")
    settings.FIELD_ENCRYPTION_KEY = [OLD, NEW]  # this process saves under the old key still
    process = worker("--batch-size", "3", settings=settings)
    saved = {}
    while process.poll() is None or not saved:
        for page in Page.objects.order_by("?")[:20]:
            page.text = saved[page.slug] = f"{len(saved)} {page.text}"[:40]
            page.save(update_fields=["text"])
    process.communicate()
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    rotate()
    settings.FIELD_ENCRYPTION_KEY = NEW
    for page in Page.objects.all():
        assert page.text == saved.get(page.slug, "0")


def test_a_file_that_another_run_has_rotated_meanwhile_is_not_reported(settings):
    verification = looked_at(factories.id_verification(factories.connection()))
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    first = worker(waits="yes", settings=settings)
    assert first.stdout.readline() == "waiting\n", "it has read a row, and not yet opened the file that the row names"
    said, _ = worker(settings=settings).communicate(timeout=120)
    assert "and 3 files." in said
    said, _ = first.communicate("go\n", timeout=120)
    assert "and 0 files." in said
    assert first.returncode == 0
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert_pictures_open(verification)
    assert len(stored_files()) == 3 + 3, "and three thumbnails"


def test_a_file_that_a_sync_replaces_under_an_older_key_meanwhile_is_rotated_too(settings):
    verification = factories.id_verification(factories.connection())
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    process = worker(waits="yes", settings=settings)
    assert process.stdout.readline() == "waiting\n"
    settings.FIELD_ENCRYPTION_KEY = [OLD, NEW]
    for picture in verification.images.all():
        documents.store(picture, factories.png(picture.kind))
    said, _ = process.communicate("go\n", timeout=120)
    assert "and 3 files." in said
    assert "cannot be decrypted" not in said
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    rotate()  # the sync saved columns under the older key too
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert_pictures_open(verification)


def test_the_anchor_that_a_process_left_under_the_old_key_is_not_needed_afterwards(settings):
    person = factories.natural_person(factories.connection())
    audit.record(AuditEntry.Action.STORED, person, rows=[person])
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    said, _ = worker(settings=settings).communicate(timeout=120)
    assert "Renewed digests of the audit chain: 1." in said
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert audit.verify().problems == ()


# SIGKILL


@pytest.mark.parametrize("dies", ["after:1", "before:4", "after:8"])
def test_a_run_that_is_killed_while_it_writes_rows_is_continued_by_the_next(settings, dies):
    for number in range(20):
        Page.objects.create(slug=f"{number:02}", text=f"text {number}")
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    process = worker("--batch-size", "2", dies=dies, settings=settings)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said
    done = 2 * (int(dies.partition(":")[2]) - 1)  # the batch that was being written was not committed
    assert left() == 20 - done
    assert [page.text for page in Page.objects.order_by("slug")] == [f"text {number}" for number in range(20)]
    assert f"{20 - done} rows" in rotate(batch_size=2)
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert [page.text for page in Page.objects.order_by("slug")] == [f"text {number}" for number in range(20)]


@pytest.mark.parametrize("dies", ["before:1", "after:1", "before:2"])
def test_a_run_that_is_killed_while_it_moves_files_leaves_every_file_readable(settings, dies):
    link = factories.connection()
    verification = looked_at(factories.id_verification(link))
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    for table in tables("default"):
        rotate_rows(table, Progress(), batch_size=10)  # only the files are left
    process = worker(dies=dies, settings=settings)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, said
    assert_pictures_open(verification)
    rotate()
    settings.FIELD_ENCRYPTION_KEY = NEW
    assert_pictures_open(verification)
    stored = {documents.file_of(name) for name in stored_files()}
    named = {Path(name).name for name in verification.images.values_list("storage_name", flat=True)}
    assert named <= stored
    assert len(stored - named) <= 1


def assert_pictures_open(verification):
    pictures = verification.images.all()
    assert len(pictures) == 3
    for picture in pictures:
        assert documents.read(picture) == factories.png(picture.kind)
        assert documents.thumbnail(picture)


# --check, and what is shown


def test_check_says_what_hangs_on_which_key_and_changes_nothing(settings):
    life()
    settings.FIELD_ENCRYPTION_KEY = [NEW, LOST, OLD]
    Page.objects.create(slug="new", text="x")
    before = raw("SELECT * FROM notebook_notebook")
    lines = {line.split()[0]: line for line in rotate("--check").splitlines()}
    assert "1 value: newest" in lines[NEW_ID]
    assert "nothing: may be removed" in lines[LOST_ID]
    assert lines[OLD_ID].endswith("4 files, 4 index entries: still needed")
    assert raw("SELECT * FROM notebook_notebook") == before
    rotate()
    lines = {line.split()[0]: line for line in rotate("--check").splitlines()}
    assert "may be removed" in lines[OLD_ID]
    assert lines[NEW_ID].endswith("newest")


def test_check_tells_the_keys_of_indexes_apart(settings):
    settings.EPROSPERA_INDEX_KEY = [LOST]
    life()
    lines = rotate("--check").splitlines()
    place = lines.index("EPROSPERA_INDEX_KEY, newest first:")
    assert lines[place + 1].strip() == f"{LOST_ID}  4 index entries: newest"


def test_check_fails_when_something_hangs_on_a_key_that_is_not_there(settings):
    life()
    settings.FIELD_ENCRYPTION_KEY = NEW
    out = io.StringIO()
    with pytest.raises(CommandError, match="missing keys"):
        call_command("eprospera_rotate_keys", "--check", stdout=out)
    assert f"{OLD_ID}  " in out.getvalue()


def test_the_command_exits_with_a_failure_when_something_does_not_open(settings):
    Page.objects.create(slug="a", text="Canary")
    process = worker(keys=(NEW,), settings=settings)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "notebook.Page.text of row a" in said
    assert "Canary" not in said


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(settings):
    for number in range(4):
        Page.objects.create(slug=str(number), text="x")
    settings.FIELD_ENCRYPTION_KEY = [NEW, OLD]
    shown = Terminal()
    call_command("eprospera_rotate_keys", batch_size=1, stdout=shown)
    assert " 25%  1 of 4" in shown.getvalue()
    assert "100%  4 of 4\n" in shown.getvalue()
    settings.FIELD_ENCRYPTION_KEY = [OLD, NEW]
    assert "%" not in rotate()


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_no_rows_is_refused(size):
    with pytest.raises(CommandError, match="batch-size"):
        rotate(batch_size=size)


def test_key_ids_in_the_report_are_those_of_the_values(settings):
    Page.objects.create(slug="a", text="x")
    ((text,),) = raw("SELECT text FROM notebook_page")
    assert key_id_of(text) == keyring().current == OLD_ID
