"""Whatever was changed in a case file is found and named."""

import contextlib
import json
import random

import pytest

from django_eprospera import audit
from django_eprospera.audit import tree
from django_eprospera.audit.chain import COLUMNS, hash_of
from django_eprospera.keys import signing_keys
from django_eprospera.models import AuditEntry
from django_eprospera.verify import Unusable, canonical, read_keys
from tests.casefile.steps import KEY, OTHER_KEY, changed, checked, members, resigned, zipped

pytestmark = pytest.mark.django_db


def test_a_thousand_changes_are_found_and_named(exported, tmp_path, keys):
    """600 of a byte at any place of the file, 400 of a value with everything else made to agree but the signature."""
    chance = random.Random(9)
    assert checked(tmp_path, exported, keys).ok
    files = members(exported)
    for _ in range(600):
        place = chance.randrange(len(exported))
        content = bytearray(exported)
        content[place] ^= chance.randrange(1, 256)
        problems = checked(tmp_path, bytes(content), keys).problems
        assert problems, place
        name = member_at(exported, files, place)
        assert name in " ".join(problems), (place, problems)
    for _ in range(400):
        name = chance.choice(["review.json", "decisions.json", "audit.json", "manifest.json"])
        content = changed(exported, name, lambda value: change_one(value, chance))
        assert checked(tmp_path, content, keys).problems, name


def member_at(content, files, place):
    """The name of the file whose contents this byte is of; empty for the container."""
    for name, text in files.items():
        start = content.index(text)
        if start <= place < start + len(text):
            return name
    return ""


def places_in(value):
    """Every value within a JSON value, as what holds it and its key there."""
    places, waiting = [], [value]
    while waiting:
        current = waiting.pop()
        for key in current if isinstance(current, dict) else range(len(current)):
            places.append((current, key))
            if isinstance(current[key], (dict, list)):
                waiting.append(current[key])
    return places


def is_leaf(holder, key):
    return not (isinstance(holder[key], (dict, list)) and holder[key])


def change_one(value, chance):
    """Change one leaf of a JSON value in place."""
    holder, key = chance.choice([place for place in places_in(value) if is_leaf(*place)])
    former = holder[key]
    holder[key] = former + 1 if type(former) is int else f"{former}x" if isinstance(former, str) else "x"


def test_values_of_other_types_end_in_no_traceback(exported, tmp_path, keys):
    chance = random.Random(4)
    others = [[], {}, [[1]], {"a": {}}, -1, 2**70, None, True, 1.5, "", "0" * 64, "\ud800"]
    for number in range(300):
        name = chance.choice(["review.json", "decisions.json", "audit.json", "manifest.json"])
        make = resigned if number % 2 else changed

        def change(value):
            holder, key = chance.choice(places_in(value))
            holder[key] = chance.choice(others)

        with contextlib.suppress(Unusable):
            checked(tmp_path, make(exported, name, change), keys)


def drop(position):
    return lambda value: {"entries": [each for each in value["entries"] if each["entry"]["position"] != position]}


def test_an_entry_that_is_left_out_is_named_even_if_the_site_signs_it(exported, review, tmp_path):
    viewed = AuditEntry.objects.get(action="viewed")
    decided = AuditEntry.objects.filter(action="decided", subject__endswith=str(review.pk)).order_by("position").last()
    for make in (changed, resigned):
        problems = " ".join(checked(tmp_path, make(exported, "audit.json", drop(viewed.position))).problems)
        if make is resigned:
            assert f"entry {viewed.position} about django_eprospera.review:{review.pk} was left out" in problems
            assert f"entry {decided.position} (decided" in problems, "which names it"
        else:
            assert "manifest.json is not signed" in problems
    # As somebody does who edits the ZIP and nothing else.
    files = members(exported)
    files["audit.json"] = canonical(drop(viewed.position)(json.loads(files["audit.json"])))
    problems = " ".join(checked(tmp_path, zipped(files)).problems)
    assert "audit.json was changed" in problems
    assert f"entry {viewed.position} about" in problems


def test_the_last_entries_cannot_be_left_out(exported, tmp_path):
    last = AuditEntry.objects.get(action="exported").position
    problems = " ".join(checked(tmp_path, resigned(exported, "audit.json", drop(last))).problems)
    assert f"entry {last} about" in problems
    assert "the last entry of the log is not the export of this case" in problems


def test_a_changed_entry_and_one_of_another_site_are_named(exported, tmp_path):
    viewed = AuditEntry.objects.get(action="viewed").position

    def another_actor(value):
        next(each for each in value["entries"] if each["entry"]["position"] == viewed)["entry"]["actor_id"] = "7"

    def of_another_site(value):
        item = next(each for each in value["entries"] if each["entry"]["position"] == viewed)
        item["entry"] = {**item["entry"], "digest": "1.00000000.elsewhere", "previous": "e" * 64}

    for change in (another_actor, of_another_site):
        problems = checked(tmp_path, resigned(exported, "audit.json", change)).problems
        assert [problem.partition(" (")[0] for problem in problems] == [f"entry {viewed}"]
        assert "not in the log whose head is signed" in problems[0]


def test_an_entry_of_another_case_is_named(exported, tmp_path):
    other = AuditEntry.objects.filter(action="decided").order_by("position").first()
    row = AuditEntry.objects.filter(pk=other.pk).values(*COLUMNS).get()
    size = AuditEntry.objects.get(action="exported").position
    _root, proofs = tree.prove({other.pk: hash_of(row)}, size)

    def add(value):
        value["entries"].append({"entry": audit.chain.plain(row), "proof": proofs[other.pk]})

    problems = " ".join(checked(tmp_path, resigned(exported, "audit.json", add)).problems)
    assert f"entry {other.pk} (decided" in problems
    assert "which is not of this case" in problems


def test_a_decision_that_is_changed_added_or_left_out_is_named_even_if_the_site_signs_it(exported, review, tmp_path):
    first, second = review.decisions.order_by("decided_at")
    for change, said in (
        (lambda value: value[0].update(reason="Somebody else's reason."), f"decision {first.pk} was changed"),
        (lambda value: value[:1], f"decision {second.pk} was left out"),
        (lambda value: [*value, {**value[0], "id": "x"}], "decision 3 of decisions.json is in no audit entry"),
    ):
        problems = checked(tmp_path, resigned(exported, "decisions.json", change)).problems
        assert any(said in problem for problem in problems), problems


def test_a_file_of_another_site_or_key_is_not_accepted(exported, tmp_path, settings):
    settings.EPROSPERA_SIGNING_KEY = OTHER_KEY
    result = checked(tmp_path, exported)
    assert not result.proved
    assert "is not signed with the key given" in result.problems[0]
    settings.EPROSPERA_SIGNING_KEY = [OTHER_KEY, KEY]
    both = {"keys": [key.public for key in signing_keys()]}
    (tmp_path / "keys.json").write_text(json.dumps(both))
    assert checked(tmp_path, exported, read_keys(str(tmp_path / "keys.json"))).ok, "an older key stays published"
