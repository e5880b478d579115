"""Blind indexes: exact search over sealed values, in step with them, across keys."""

import uuid

import pytest
from django.db import connection, models, transaction
from django.db.models import F
from django.test.utils import isolate_apps
from hypothesis import given, settings
from hypothesis import strategies as st

from django_eprospera.crypto import key_id_of
from django_eprospera.errors import SealedLookupError, UnsealableWrite
from django_eprospera.fields import BlindIndexField, SealedTextField, normalise_digits, normalise_email, normalise_text
from django_eprospera.keys import keyring
from tests.notebook.models import Notebook

pytestmark = pytest.mark.django_db

OTHER_KEY = "ycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJyck="


def lying(row, column="owner_index"):
    with connection.cursor() as cursor:
        key = row._meta.pk.get_db_prep_value(row.pk, connection)
        cursor.execute(f"SELECT {column} FROM notebook_notebook WHERE id = %s", [key])
        return cursor.fetchone()[0]


@pytest.mark.parametrize(
    "asked",
    ["José  Pérez", "jose\u0301 pe\u0301rez", " JOSÉ PÉREZ ", "Ｊosé pérez"],
)
def test_a_search_finds_the_value_however_it_is_written(asked):
    row = Notebook.objects.create(owner="José Pérez")
    Notebook.objects.create(owner="José Peres")
    assert Notebook.objects.get(owner_index=asked) == row
    assert Notebook.objects.exclude(owner_index=asked).count() == 1


@pytest.mark.parametrize("normalise", [normalise_text, normalise_email, normalise_digits])
@given(st.text())
@settings(deadline=None)
def test_normalising_twice_changes_nothing(normalise, text):
    assert normalise(normalise(text)) == normalise(text)


def test_what_counts_is_said_by_the_normalisation():
    assert (
        normalise_digits("9000 0000-0042/17") == normalise_digits("９０００ ００００ ００４２ １７") == "90000000004217"
    )
    assert normalise_email(" Ada@Example.TEST\n") == "ada@example.test"
    assert normalise_text("Straße  12\tA") == normalise_text("STRASSE 12 a")


def test_the_index_holds_no_value_and_differs_between_fields():
    row = Notebook.objects.create(owner="ada@example.test", email="ada@example.test")
    assert "ada" not in lying(row)
    assert lying(row) != lying(row, "email_index")


@pytest.mark.parametrize("nothing", ["", "   ", "\u3000"])
def test_a_search_for_nothing_finds_nothing_and_not_the_rows_without_a_value(nothing):
    Notebook.objects.create()
    Notebook.objects.create(owner=nothing)
    assert Notebook.objects.filter(owner_index=nothing).count() == 0
    assert Notebook.objects.exclude(owner_index=nothing).count() == 2


@pytest.mark.parametrize("rhs", [None, 5, b"x", ["x"], F("title")], ids=str)
def test_a_search_for_something_that_is_no_text_is_refused(rhs):
    with pytest.raises(SealedLookupError):
        Notebook.objects.filter(owner_index=rhs)


@pytest.mark.parametrize("lookup", ["in", "contains", "startswith", "gt", "isnull", "regex", "length"])
def test_only_an_exact_search_is_possible(lookup):
    with pytest.raises(SealedLookupError, match="owner__isnull"):
        Notebook.objects.filter(**{f"owner_index__{lookup}": "1."})


def test_a_value_sealed_before_a_rotation_is_found_after_it(settings):
    row = Notebook.objects.create(owner="Ada")
    settings.FIELD_ENCRYPTION_KEY = [OTHER_KEY, settings.FIELD_ENCRYPTION_KEY]
    assert Notebook.objects.get(owner_index="ada") == row
    settings.EPROSPERA_INDEX_KEY = OTHER_KEY
    assert Notebook.objects.get(owner_index="ada") == row
    again = Notebook.objects.get()
    again.owner = "Ada"
    again.save()
    assert key_id_of(lying(row)) == keyring().current_index
    assert Notebook.objects.get(owner_index="ada") == row


def test_the_index_follows_its_source():
    row = Notebook.objects.create(owner="Ada")
    row.owner = "Grace"
    row.save(update_fields=["owner"])
    assert not Notebook.objects.filter(owner_index="ada").exists()
    assert Notebook.objects.filter(owner_index="grace").exists()
    row.owner = None
    row.save()
    assert lying(row) == ""


def test_the_index_stays_when_its_source_is_not_looked_at():
    row = Notebook.objects.create(owner="Ada")
    before = lying(row)
    for rows in (Notebook.objects.all(), Notebook.objects.defer("owner"), Notebook.objects.defer("owner_index")):
        again = rows.get()
        again.title = "changed"
        again.save()
        again.save(update_fields=["title", "owner_index"])
        assert lying(row) == before


def test_a_deferred_index_follows_its_source():
    Notebook.objects.create(owner="Ada")
    row = Notebook.objects.defer("owner_index").get()
    row.owner = "Grace"
    row.save()
    assert Notebook.objects.filter(owner_index="grace").exists()
    row = Notebook.objects.only("owner").get()
    row.owner = "Alan"
    row.save()
    assert Notebook.objects.filter(owner_index="alan").exists()


@pytest.mark.parametrize("value", ["90000000004217", "1.5.2024", None, F("title")], ids=str)
def test_nothing_but_an_index_is_ever_written_to_the_column(value):
    row = Notebook.objects.create(owner="Ada")
    before = lying(row)
    with pytest.raises(UnsealableWrite, match="owner_index"), transaction.atomic():
        Notebook.objects.update(owner_index=value)
    assert lying(row) == before


@isolate_apps("tests.notebook")
def test_an_index_that_could_not_work_is_named_by_the_system_check():
    def model(name, base, source):
        return type(
            name,
            (base,),
            {
                "__module__": __name__,
                "Meta": type("Meta", (), {"app_label": "notebook"}),
                "id": models.UUIDField(primary_key=True, default=uuid.uuid4),
                "a": SealedTextField(label="a.b"),
                "index": BlindIndexField(source=source, label="a.b", normalise=normalise_text),
            },
        )

    sealed_model = Notebook.__bases__[0]
    for wrong in (
        model("Plain", models.Model, "a"),
        model("Absent", sealed_model, "b"),
        model("Other", sealed_model, "id"),
    ):
        assert [message.id for message in wrong.check()] == ["eprospera.E104"]
    assert model("Right", sealed_model, "a").check() == []
