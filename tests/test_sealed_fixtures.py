"""dumpdata and loaddata: ciphertext goes out, and comes back into its own row only."""

import json
from datetime import UTC, date, datetime

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import connection

from django_eprospera.errors import SealedValueError
from tests.notebook.models import Notebook

pytestmark = pytest.mark.django_db

FULL = {
    "owner": "Ada Canary",
    "email": "canary@example.test",
    "pin": "canary-4711",
    "day": date(1988, 2, 29),
    "moment": datetime(2026, 3, 1, 23, 30, tzinfo=UTC),
    "facts": True,
}
FORMATS = ["json", "xml", "jsonl", "python"]


def dump(path, format_):
    call_command("dumpdata", "notebook", format=format_, output=str(path))
    return path.read_text()


@pytest.mark.parametrize("format_", ["json", "xml", "jsonl"])
def test_a_dump_holds_no_value_and_loads_back(tmp_path, format_):
    row = Notebook.objects.create(**FULL)
    Notebook.objects.create()
    text = dump(tmp_path / f"rows.{format_}", format_)
    for value in ("anary", "1988", "2026-03", "23:30", "true", "True"):
        assert value not in text.replace(str(row.pk), "")
    Notebook.objects.all().delete()
    call_command("loaddata", str(tmp_path / f"rows.{format_}"), verbosity=0)
    back = Notebook.objects.get(pk=row.pk)
    assert {name: getattr(back, name) for name in FULL} == FULL
    assert Notebook.objects.get(owner_index="ada canary") == back
    assert Notebook.objects.filter(owner__isnull=True).count() == 1


@pytest.mark.parametrize("value", [True, 5, 1.5, "text", [1], {"a": None}, False, 0])
def test_json_of_every_kind_is_dumped_sealed(value):
    row = Notebook.objects.create(facts=value)
    (dumped,) = serializers.serialize("python", [row])
    assert str(dumped["fields"]["facts"]).startswith("1.")


def test_loading_over_a_row_that_is_there_keeps_it_open(tmp_path):
    row = Notebook.objects.create(**FULL)
    dump(tmp_path / "rows.json", "json")
    row.owner = "Changed"
    row.save()
    call_command("loaddata", str(tmp_path / "rows.json"), verbosity=0)
    assert Notebook.objects.get().owner == "Ada Canary"


def test_another_rows_ciphertext_in_a_fixture_is_refused_with_its_place(tmp_path):
    row, other = Notebook.objects.create(**FULL), Notebook.objects.create(owner="other")
    path = tmp_path / "rows.json"
    rows = json.loads(dump(path, "json"))
    texts = {entry["pk"]: entry["fields"]["owner"] for entry in rows}
    for entry in rows:
        entry["fields"]["owner"] = texts[str(row.pk)]
    path.write_text(json.dumps(rows))
    with pytest.raises(SealedValueError, match=str(other.pk)):
        call_command("loaddata", str(path), verbosity=0)


def test_a_fixture_written_by_hand_is_sealed_and_indexed(tmp_path):
    fields = {"owner": "Ada Canary", "day": "1988-02-29", "moment": "2026-03-01T23:30:00Z", "facts": [1, None]}
    key = "6b0f3a0e-35d1-4b39-8f0e-2f1c0a1b2c3d"
    (tmp_path / "rows.json").write_text(json.dumps([{"model": "notebook.notebook", "pk": key, "fields": fields}]))
    call_command("loaddata", str(tmp_path / "rows.json"), verbosity=0)
    row = Notebook.objects.get(owner_index="ADA canary")
    assert (row.owner, row.day, row.moment, row.facts) == ("Ada Canary", FULL["day"], FULL["moment"], [1, None])
    with connection.cursor() as cursor:
        cursor.execute("SELECT owner, facts FROM notebook_notebook")
        assert all(text.startswith("1.") for text in cursor.fetchone())


def test_a_row_that_was_loaded_opens_at_once():
    row = Notebook.objects.create(**FULL)
    (loaded,) = serializers.deserialize("json", serializers.serialize("json", [row]))
    loaded.save()
    assert loaded.object.owner == "Ada Canary"
