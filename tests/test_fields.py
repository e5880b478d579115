"""Sealed fields: what is stored, what opens, what is refused. The hazards of the library below, each as a test."""

import copy
import pickle
import sys
import traceback
import uuid
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat, Upper
from django.forms.models import model_to_dict
from django.test.utils import isolate_apps
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_eprospera.crypto import key_id_of
from django_eprospera.errors import ConfigurationError, SealedLookupError, SealedValueError, UnsealableWrite
from django_eprospera.fields import Sealed, SealedDateField, SealedTextField
from django_eprospera.keys import keyring
from tests.notebook.models import Cover, Notebook, Page

pytestmark = pytest.mark.django_db

OTHER_KEY = "ycnJycnJycnJycnJycnJycnJycnJycnJycnJycnJyck="
SEALED = ("owner", "email", "pin", "day", "moment", "facts")
FULL = {
    "owner": "Ada Example",
    "email": "ada@example.test",
    "pin": "4711",
    "day": date(1988, 2, 29),
    "moment": datetime(2026, 3, 1, 23, 30, tzinfo=UTC),
    "facts": {"list": [1, 2.5, None, True], "ñ": "ü"},
}


def lying(row, column="owner"):
    """What lies in a column."""
    meta = row._meta
    with connection.cursor() as cursor:
        key = meta.pk.get_db_prep_value(row.pk, connection)
        cursor.execute(f"SELECT {column} FROM {meta.db_table} WHERE {meta.pk.column} = %s", [key])
        return cursor.fetchone()[0]


def plant(row, text, column="owner"):
    """Lay a text into a column, past the field."""
    meta = row._meta
    with connection.cursor() as cursor:
        key = meta.pk.get_db_prep_value(row.pk, connection)
        cursor.execute(f"UPDATE {meta.db_table} SET {column} = %s WHERE {meta.pk.column} = %s", [text, key])


@contextmanager
def refused(error, match=None):
    """What is raised in the middle of a save spoils the transaction around it, here the test's own."""
    with pytest.raises(error, match=match) as caught, transaction.atomic():
        yield caught


def fresh(row):
    return type(row).objects.get(pk=row.pk)


# What is stored, and comes back


def test_every_kind_of_value_comes_back_and_none_lies_in_the_table():
    row = fresh(Notebook.objects.create(**FULL))
    assert {name: getattr(row, name) for name in SEALED} == FULL
    assert type(row.day) is date
    assert row.moment.tzinfo is not None
    for name in SEALED:
        assert key_id_of(lying(row, name)) == keyring().current
        assert "Ada" not in lying(row, name)


def test_an_empty_text_is_not_the_absence_of_one():
    row = fresh(Notebook.objects.create(owner="", email=None))
    assert row.owner == ""
    assert row.email is None
    assert lying(row, "email") is None
    assert Notebook.objects.filter(owner__isnull=False, email__isnull=True).count() == 1


anything = st.text(st.characters(codec="utf-8"))
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | anything,
    lambda inner: st.lists(inner) | st.dictionaries(anything, inner),
    max_leaves=8,
)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(
    owner=anything,
    day=st.dates(),
    facts=plain_json,
    moment=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=zones),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_value_comes_back(owner, day, facts, moment):
    row = fresh(Notebook.objects.create(owner=owner, day=day, facts=facts, moment=moment))
    assert (row.owner, row.day, row.facts, row.moment) == (owner, day, facts, moment)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", "half a pair \ud800"),
        ("owner", b"bytes"),
        ("owner", F("email")),
        ("owner", Value("x")),
        ("facts", "half a pair \ud800"),
        ("facts", {"a": object()}),
        ("facts", float("nan")),
        ("facts", F("email")),
        ("day", "29.02.1988"),
        ("day", "not-a-secret-day"),
        ("day", 5),
        ("moment", "yesterday"),
        ("moment", datetime(2026, 3, 1)),
        ("moment", date(2026, 3, 1)),
    ],
)
def test_a_value_of_another_kind_is_refused_before_anything_is_stored_and_not_quoted(field, value):
    row = Notebook.objects.create(**FULL)
    before = lying(row, field)
    setattr(row, field, value)
    with refused(UnsealableWrite) as caught:
        row.save()
    assert lying(row, field) == before
    assert "secret" not in str(caught.value)
    assert field in str(caught.value)


def test_dates_may_be_assigned_as_text():
    row = fresh(Notebook.objects.create(day="1988-02-29", moment="2026-03-01T17:30:00-06:00"))
    assert row.day == FULL["day"]
    assert row.moment == FULL["moment"]


def test_assigned_text_is_text_even_if_it_is_a_ciphertext():
    row = Notebook.objects.create(**FULL)
    pasted = lying(row)
    row.email = pasted
    row.full_clean()
    row.save()
    assert fresh(row).email == pasted
    row.owner = pasted  # its own, even
    row.save()
    assert fresh(row).owner == pasted


def test_a_value_changed_in_place_is_stored():
    row = fresh(Notebook.objects.create(**FULL))
    row.facts["list"].append("more")
    row.save()
    assert fresh(row).facts["list"][-1] == "more"


# Opening


def test_a_list_opens_nothing_that_is_not_looked_at():
    good, bad = Notebook.objects.create(**FULL), Notebook.objects.create(**FULL)
    plant(bad, "not sealed")
    rows = {row.pk: row for row in Notebook.objects.all()}
    assert isinstance(rows[good.pk].__dict__["owner"], Sealed)
    assert rows[good.pk].owner == FULL["owner"]
    with pytest.raises(SealedValueError):
        rows[bad.pk].owner  # noqa: B018


@pytest.mark.parametrize("column", SEALED)
@pytest.mark.parametrize("text", ["plain text", "", "gAAAAABnot", "1.00000000.gAAAA"])
def test_a_value_that_does_not_open_names_model_field_and_row_and_is_left_as_it_lies(column, text):
    row = Notebook.objects.create(**FULL)
    plant(row, text, column)
    again = fresh(row)
    with pytest.raises(SealedValueError) as caught:
        getattr(again, column)
    assert "notebook.Notebook" in str(caught.value)
    assert column in str(caught.value)
    assert str(row.pk) in str(caught.value)
    assert "plain text" not in str(caught.value)
    again.title = "changed"
    again.save()
    assert lying(row, column) == text
    assert fresh(row).title == "changed"


@pytest.mark.parametrize("source", ["field", "row", "model"])
def test_a_ciphertext_moved_to_another_place_does_not_open(source):
    row, other = Notebook.objects.create(**FULL), Notebook.objects.create(owner="somebody else")
    cover = Cover.objects.create(notebook=row, motto="motto")  # the same primary key, in another model
    plant(row, {"field": lying(row, "email"), "row": lying(other), "model": lying(cover, "motto")}[source])
    with pytest.raises(SealedValueError, match="another row or field"):
        fresh(row).owner  # noqa: B018


def test_another_key_opens_nothing_and_overwrites_nothing(settings):
    row = Notebook.objects.create(**FULL)
    before = {name: lying(row, name) for name in SEALED}
    settings.FIELD_ENCRYPTION_KEY = OTHER_KEY
    again = fresh(row)
    with pytest.raises(SealedValueError, match="FIELD_ENCRYPTION_KEY"):
        again.owner  # noqa: B018
    again.save()
    assert {name: lying(row, name) for name in SEALED} == before


def test_without_a_key_nothing_is_read_and_nothing_written(settings):
    row = Notebook.objects.create(**FULL)
    before = lying(row)
    settings.FIELD_ENCRYPTION_KEY = None
    with pytest.raises(ConfigurationError):
        fresh(row).owner  # noqa: B018
    row.owner = "new"
    with refused(ConfigurationError):
        row.save()
    assert lying(row) == before


def test_an_older_key_opens_and_the_newest_seals(settings):
    row = Notebook.objects.create(**FULL)
    settings.FIELD_ENCRYPTION_KEY = [OTHER_KEY, settings.FIELD_ENCRYPTION_KEY]
    again = fresh(row)
    assert again.owner == FULL["owner"]
    again.save()
    assert key_id_of(lying(row, "owner")) == keyring().key_ids[0]
    assert key_id_of(lying(row, "email")) == keyring().key_ids[1]  # not looked at


def test_what_was_sealed_as_another_kind_of_value_is_an_error_that_does_not_quote_it():
    row = Notebook.objects.create(day=date(2000, 1, 1))
    plant(row, keyring().seal(Notebook._meta.get_field("day").owner(row.pk), b"not-a-secret-day"), "day")
    again = fresh(row)
    try:
        again.day  # noqa: B018
    except SealedValueError:
        shown = "".join(traceback.TracebackException(*sys.exc_info(), capture_locals=True).format())
    assert "secret-day" not in shown


def test_a_row_read_through_another_opens():
    row = Notebook.objects.create(**FULL)
    Page.objects.create(slug="first", notebook=row, text="Dear diary")
    Cover.objects.create(notebook=row, motto="Carpe")
    page = Page.objects.select_related("notebook__cover").get()
    assert (page.text, page.notebook.owner, page.notebook.cover.motto) == ("Dear diary", FULL["owner"], "Carpe")
    assert Notebook.objects.prefetch_related("pages").get().pages.all()[0].text == "Dear diary"


def test_values_are_handed_out_sealed():
    Notebook.objects.create(**FULL)
    assert repr(Notebook.objects.values_list("owner", flat=True)[0]) == "<sealed>"
    assert "Ada" not in repr(list(Notebook.objects.values()))


def test_deferred_values_open_when_they_are_asked_for():
    row = Notebook.objects.create(**FULL)
    assert Notebook.objects.defer("owner").get().owner == FULL["owner"]
    assert Notebook.objects.only("title").get().facts == FULL["facts"]
    assert row.pk == Notebook.objects.only("owner").get().pk


def test_a_refreshed_row_holds_what_lies_there_now():
    row = Notebook.objects.create(**FULL)
    other = fresh(row)
    other.owner = "changed"
    other.save()
    row.refresh_from_db()
    assert row.owner == "changed"
    other.owner = "again"
    other.save()
    row.refresh_from_db(fields=["owner"])
    assert row.owner == "again"


def test_a_secret_does_not_show_itself_neither_assigned_nor_read():
    row = Notebook(pin="4711")
    assert "4711" not in repr(row.pin)
    row.save()
    assert fresh(row).pin == "4711"
    assert "4711" not in repr(vars(row)) + repr(fresh(row).pin)


# Writing


def test_an_update_of_some_fields_leaves_the_others():
    row = Notebook.objects.create(**FULL)
    row.owner, row.email = "new", "new@example.test"
    before = lying(row, "email")
    row.save(update_fields=["owner"])
    assert lying(row, "email") == before
    assert fresh(row).owner == "new"


def test_a_deferred_field_that_is_named_in_an_update_is_kept():
    row = Notebook.objects.create(**FULL)
    part = Notebook.objects.only("title").get()
    part.save(update_fields=["owner", "owner_index", "facts"])
    assert fresh(row).owner == FULL["owner"]
    assert fresh(row).facts == FULL["facts"]
    assert Notebook.objects.filter(owner_index=FULL["owner"]).exists()


def test_a_row_with_deferred_fields_is_saved_without_them():
    row = Notebook.objects.create(**FULL)
    part = Notebook.objects.defer("owner", "email_index").get()
    part.email = "new@example.test"
    part.save()
    assert fresh(row).owner == FULL["owner"]
    assert Notebook.objects.filter(owner_index=FULL["owner"], email_index="new@example.test").exists()


@pytest.mark.parametrize(
    "value",
    [
        "text",
        F("email"),
        Upper("email"),
        Concat("email", Value("x")),
        Value("text"),
        Value(None, models.TextField()),
        Sealed("x"),
    ],
    ids=["text", "F", "function", "concat", "value", "null value", "sealed"],
)
def test_update_raises_and_stores_nothing(value):
    row = Notebook.objects.create(**FULL)
    before = lying(row)
    with refused(UnsealableWrite, match=r"notebook\.Notebook\.owner"):
        Notebook.objects.update(owner=value)
    assert lying(row) == before


def test_update_with_values_of_another_row_raises():
    row, other = Notebook.objects.create(**FULL), Notebook.objects.create(owner="other")
    before = lying(row)
    with refused(UnsealableWrite):
        Notebook.objects.filter(pk=row.pk).update(**Notebook.objects.filter(pk=other.pk).values("owner").get())
    assert lying(row) == before


def test_update_may_erase_and_may_write_what_was_sealed_for_the_row():
    row = Notebook.objects.create(**FULL)
    Notebook.objects.filter(pk=row.pk).update(owner=None)
    assert fresh(row).owner is None
    sealed = Notebook._meta.get_field("email").seal("new@example.test", row)
    Notebook.objects.filter(pk=row.pk).update(email=sealed)
    assert fresh(row).email == "new@example.test"


@pytest.mark.parametrize("value", ["new", F("email")], ids=["text", "F"])
def test_bulk_update_raises_and_stores_nothing(value):
    row = Notebook.objects.create(**FULL)
    before = lying(row)
    row.owner = value
    with refused(UnsealableWrite):
        Notebook.objects.bulk_update([row], ["owner"])
    assert lying(row) == before
    row.title = "new"
    Notebook.objects.bulk_update([row], ["title"])
    assert fresh(row).title == "new"


def test_bulk_create_seals_every_row_for_itself():
    Notebook.objects.bulk_create([Notebook(owner=f"owner {number}") for number in range(5)])
    rows = Notebook.objects.order_by("pk")
    assert sorted(row.owner for row in rows) == [f"owner {number}" for number in range(5)]
    assert Notebook.objects.filter(owner_index="OWNER  3").count() == 1


def test_an_upsert_that_would_write_onto_another_key_is_refused():
    row = Page.objects.create(slug="a", text="first")
    with refused(UnsealableWrite, match="update_or_create"):
        Page.objects.bulk_create(
            [Page(slug="b", notebook=None, text="x")],
            update_conflicts=True,
            unique_fields=["notebook"],
            update_fields=["text"],
        )
    Page.objects.bulk_create(
        [Page(slug="a", text="second")], update_conflicts=True, unique_fields=["slug"], update_fields=["text"]
    )
    assert fresh(row).text == "second"


def test_get_or_create_and_update_or_create_work_with_defaults_and_refuse_to_search():
    key = uuid.uuid4()
    row, made = Notebook.objects.get_or_create(pk=key, defaults={"owner": "first"})
    assert made
    Notebook.objects.update_or_create(pk=key, defaults={"owner": "second"})
    assert fresh(row).owner == "second"
    with pytest.raises(SealedLookupError):
        Notebook.objects.get_or_create(owner="second")
    assert Notebook.objects.count() == 1


@isolate_apps("tests.notebook")
def test_a_row_without_a_primary_key_is_not_sealed():
    class_ = declared("Numbered", id=models.BigAutoField(primary_key=True), a=SealedTextField(label="a.b"))
    with refused(UnsealableWrite, match="primary key"):
        class_(a="x").save()


# Copies


def test_a_copy_made_of_what_was_read_opens_under_its_own_key():
    row = fresh(Notebook.objects.create(**FULL))
    for name in SEALED:
        getattr(row, name)
    row.pk, row._state.adding = uuid.uuid4(), True
    row.save()
    assert {name: getattr(fresh(row), name) for name in SEALED} == FULL
    assert Notebook.objects.count() == 2


@pytest.mark.parametrize("adding", [True, False])
def test_a_copy_made_without_reading_is_refused_and_writes_over_nobody(adding):
    row, victim = Notebook.objects.create(**FULL), Notebook.objects.create(owner="victim")
    again = fresh(row)
    again.pk, again._state.adding = (uuid.uuid4(), True) if adding else (victim.pk, False)
    with refused(UnsealableWrite, match="read its sealed fields"):
        again.save()
    assert fresh(victim).owner == "victim"
    assert Notebook.objects.count() == 2


@pytest.mark.parametrize("key", ["same", "new"])
def test_a_value_that_does_not_open_is_not_written_into_a_new_row(key):
    row = Notebook.objects.create(**FULL)
    plant(row, "not sealed")
    again = fresh(row)
    Notebook.objects.all().delete()
    again.pk, again._state.adding = row.pk if key == "same" else uuid.uuid4(), True
    with refused(SealedValueError, match=r"notebook\.Notebook\.owner of row .* does not open"):
        again.save()
    assert not Notebook.objects.exists()


def test_a_pickle_holds_no_value_and_opens_again():
    row = fresh(Notebook.objects.create(**FULL))
    row.owner, row.facts  # noqa: B018 - now they are open
    row.email = "unsaved@example.test"
    data = pickle.dumps([row, *Notebook.objects.all(), *Notebook.objects.values()])
    for text in (b"Ada", b"4711", b"unsaved", b"\xc3\xbc", b"1988"):
        assert text not in data
    back = pickle.loads(data)[0]
    assert (back.owner, back.email, back.facts) == (FULL["owner"], "unsaved@example.test", FULL["facts"])
    back.save()
    assert fresh(row).email == "unsaved@example.test"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_a_copied_instance_opens_and_saves(duplicate):
    row = Notebook.objects.create(**FULL)
    twin = duplicate(row)
    assert twin.owner == FULL["owner"]
    twin.save()
    assert fresh(row).facts == FULL["facts"]


# Searching


@pytest.mark.parametrize(
    "lookup",
    [{"owner": "x"}, {"owner": None}, {"owner__exact": "x"}, {"owner__icontains": "gAAA"}, {"owner__in": ["x"]},
     {"owner__gt": ""}, {"owner__startswith": "1."}, {"owner__length": 3}, {"day__year": 1988},
     {"moment__date": date(2026, 3, 1)}, {"facts__list__0": 1}, {"pages__text": "x"}],
    ids=str,
)  # fmt: skip
def test_a_search_of_a_sealed_field_raises_instead_of_matching_nothing(lookup):
    Notebook.objects.create(**FULL)
    for query in (Notebook.objects.filter, Notebook.objects.exclude):
        with pytest.raises(SealedLookupError):
            query(**lookup)


def test_whether_there_is_a_value_can_be_asked():
    Notebook.objects.create(**FULL)
    Notebook.objects.create()
    assert Notebook.objects.filter(owner__isnull=True).count() == 1
    assert Notebook.objects.exclude(owner__isnull=True).count() == 1


# Forms


class NotebookForm(forms.ModelForm):
    class Meta:
        model = Notebook
        fields = ["title", "owner", "email", "day", "moment", "facts"]


def test_a_form_shows_takes_and_stores_values(settings):
    row = Notebook.objects.create(**FULL)
    html = NotebookForm(instance=fresh(row)).as_p()
    assert "Ada Example" in html
    assert "1988-02-29" in html
    form = NotebookForm(
        {"owner": "New", "email": "", "day": "2001-05-06", "moment": "2026-03-01 12:00:00"}, instance=fresh(row)
    )
    assert form.is_valid(), form.errors
    form.save()
    again = fresh(row)
    assert (again.owner, again.email, again.day) == ("New", "", date(2001, 5, 6))
    assert again.moment == datetime(2026, 3, 1, 18, tzinfo=UTC)  # typed in the site's zone, UTC-6
    assert again.facts == FULL["facts"]


def test_a_ciphertext_pasted_into_a_form_is_not_decrypted():
    row = Notebook.objects.create(**FULL)
    pasted = lying(row)
    form = NotebookForm(
        {"owner": pasted, "day": lying(row, "day"), "moment": lying(row, "moment")}, instance=fresh(row)
    )
    assert not form.is_valid()
    assert set(form.errors) == {"day", "moment"}
    assert form.cleaned_data["owner"] == pasted
    assert form.instance.owner == pasted


def test_a_mistyped_instant_is_an_error_and_not_the_absence_of_one():
    with pytest.raises(ValidationError):
        Notebook(moment="yesterday").full_clean()


def test_a_row_can_be_turned_into_a_dict_for_a_form():
    row = fresh(Notebook.objects.create(**FULL))
    assert model_to_dict(row, ["owner", "title"]) == {"owner": "Ada Example", "title": ""}


# Declaring


def declared(name, **members):
    meta = type("Meta", (), {"app_label": "notebook"})
    base = members.pop("base", models.Model)
    return type(name, (base,), {"__module__": __name__, "Meta": meta, **members})


def ids_of(model):
    return [message.id for message in model.check()]


@isolate_apps("tests.notebook")
def test_a_field_that_could_not_work_is_named_by_the_system_check():
    key = models.UUIDField(primary_key=True, default=uuid.uuid4)
    assert ids_of(declared("Label", id=copy.copy(key), a=SealedTextField(label="No Label"))) == ["eprospera.E101"]
    assert "eprospera.E102" in ids_of(
        declared("Unique", id=copy.copy(key), a=SealedTextField(label="a.b", unique=True))
    )
    assert "eprospera.E102" in ids_of(declared("Now", id=copy.copy(key), a=SealedDateField(label="a.b", auto_now=True)))
    assert ids_of(declared("Auto", id=models.BigAutoField(primary_key=True), a=SealedTextField(label="a.b"))) == [
        "eprospera.E103"
    ]
    assert ids_of(declared("Fine", id=copy.copy(key), a=SealedTextField(label="a.b"))) == []
    assert [*Notebook.check(), *Page.check(), *Cover.check()] == []


def test_a_field_is_named_in_migrations_by_its_public_place():
    for name in SEALED:
        field = Notebook._meta.get_field(name)
        _, path, args, kwargs = field.deconstruct()
        assert path == f"django_eprospera.fields.{type(field).__name__}"
        assert type(field)(*args, **kwargs).deconstruct()[1:] == field.deconstruct()[1:]
