"""The Merkle tree over the audit entries."""

import io
import json
import threading

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection as database
from django.db import connections

from django_eprospera import audit
from django_eprospera.audit import tree
from django_eprospera.audit.chain import COLUMNS, hash_of
from django_eprospera.casefile import Purpose, export
from django_eprospera.errors import AuditError
from django_eprospera.models import AuditEntry, Review
from django_eprospera.models.audit import AuditBlock
from django_eprospera.verify import entry_hash, leaf_hash, node_hash, root_of
from tests.casefile.steps import checked, members
from tests.kyc.steps import APPROVED, REJECTED, decide, make_reviewer

pytestmark = pytest.mark.django_db(transaction=True)


def hashes(*positions):
    rows = AuditEntry.objects.filter(position__in=positions).values(*COLUMNS)
    return {row["position"]: hash_of(row) for row in rows}


def reference(leaves):
    """MTH of RFC 9162, 2.1.1, as it is written there."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(reference(leaves[:split]), reference(leaves[split:]))


def test_roots_and_proofs_are_those_of_the_standard_at_every_size(monkeypatch):
    monkeypatch.setattr(tree, "BLOCK", 4)
    entries = [audit.record("viewed", f"thing:{number}") for number in range(21)]
    leaves = [leaf_hash(hash_of({name: getattr(entry, name) for name in COLUMNS})) for entry in entries]
    for size in range(1, 22):
        root, proofs = tree.prove(hashes(*range(1, size + 1)), size)
        assert root == reference(leaves[:size]).hex()
        for position, proof in proofs.items():
            nodes = [bytes.fromhex(each) for each in proof]
            assert root_of(leaves[position - 1], position - 1, size, nodes).hex() == root
            for other in range(size):
                found = root_of(leaves[position - 1], other, size, nodes)
                assert other == position - 1 or found is None or found.hex() != root
            assert root_of(leaves[position - 1], position - 1, size, [*nodes, nodes[0] if nodes else b"x" * 32]) is None
    assert AuditBlock.objects.count() == 5


def test_a_block_is_computed_once_and_by_verify_too(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(tree, "BLOCK", 4)
    for number in range(18):
        audit.record("viewed", f"thing:{number}")
    fifth = hashes(5)
    before = tree.prove(fifth, 18)
    with django_assert_num_queries(4):  # blocks, tail, its newest entry, block of the entry
        assert tree.prove(fifth, 18) == before
    stored = list(AuditBlock.objects.order_by("number").values_list("number", "root"))
    AuditBlock.objects.all().delete()
    assert audit.verify().ok
    assert list(AuditBlock.objects.order_by("number").values_list("number", "root")) == stored


def test_a_block_that_was_changed_is_computed_again(monkeypatch):
    monkeypatch.setattr(tree, "BLOCK", 4)
    for number in range(9):
        audit.record("viewed", f"thing:{number}")
    before = tree.prove(hashes(2), 9)
    AuditBlock.objects.filter(number=1).update(root="0" * 64)
    assert tree.prove(hashes(2), 9) == before
    assert AuditBlock.objects.filter(root="0" * 64).count() == 0


def tamper(sql):
    call_command("eprospera_audit", "--drop-triggers")
    with database.cursor() as cursor:
        cursor.execute(sql)


def test_a_chain_that_was_rewritten_after_its_blocks_is_reported_until_it_is_accepted(monkeypatch):
    monkeypatch.setattr(tree, "BLOCK", 4)
    for number in range(9):
        audit.record("viewed", f"thing:{number}")
    tree.prove(hashes(2), 9)
    tamper(f"UPDATE django_eprospera_auditentry SET previous = '{'0' * 64}' WHERE position = 3")
    with pytest.raises(AuditError, match="from 1 to 4 are not those of the stored block"):
        tree.prove(hashes(2), 9)
    tamper("DELETE FROM django_eprospera_auditentry")
    for number in range(9):
        audit.record("searched", f"thing:{number}")
    assert any("from 1 to 4 are not those" in problem for problem in audit.verify().problems)
    call_command("eprospera_audit", "--accept-head", stdout=io.StringIO())
    assert audit.verify().ok


def test_an_entry_names_the_one_before_it_about_the_same_row():
    subjects = ["thing:1", "thing:2", "thing:1", "thing:", "thing:", "thing:1"]
    assert [audit.record("viewed", subject).before for subject in subjects] == [0, 0, 1, 0, 0, 3]


@pytest.mark.parametrize(
    "attack",
    [
        "DELETE FROM {} WHERE action = 'viewed'",
        "UPDATE {} SET detail = '{{}}' WHERE action = 'viewed'",
        "UPDATE {} SET previous = 'eeeeeeee' || SUBSTR(previous, 9) WHERE action = 'searched'",
    ],
)
def test_a_log_that_was_changed_is_not_exported(review, attack):
    tamper(attack.format("django_eprospera_auditentry"))
    with pytest.raises(AuditError):
        export(review, purpose=Purpose.AUDIT)


def test_an_entry_of_a_removed_key_is_proved_by_the_tree(review, settings, tmp_path):
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode(), settings.FIELD_ENCRYPTION_KEY]
    call_command("eprospera_rotate_keys", stdout=io.StringIO())
    settings.FIELD_ENCRYPTION_KEY = settings.FIELD_ENCRYPTION_KEY[:1]
    case = export(review, purpose=Purpose.AUDIT)
    assert checked(tmp_path, b"".join(case.chunks())).ok


def test_an_entry_hashes_to_what_the_next_one_contains(exported):
    entries = {
        each["entry"]["position"]: each["entry"] for each in json.loads(members(exported)["audit.json"])["entries"]
    }
    for position, entry in entries.items():
        following = AuditEntry.objects.filter(position=position + 1).first()
        assert following is None or following.previous == entry_hash(entry)


def test_case_files_verify_while_others_look_and_decide(review, monkeypatch, tmp_path):
    monkeypatch.setattr(tree, "BLOCK", 4)
    reviewer = make_reviewer()
    made, errors = [], []

    def run(work, times):
        try:
            for number in range(times):
                work(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            errors.append(error)
        finally:
            connections.close_all()

    def make(_):
        made.append(b"".join(export(Review.objects.get(pk=review.pk), purpose=Purpose.AUDIT).chunks()))

    def look(number):
        audit.record("viewed", review if number % 2 else "thing:1")

    def change(number):
        decide(Review.objects.get(pk=review.pk), reviewer, REJECTED if number % 2 == 0 else APPROVED, "Again.")

    threads = [
        threading.Thread(target=run, args=each) for each in ((make, 4), (make, 4), (look, 20), (look, 20), (change, 6))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(made) == 8
    for content in made:
        assert not checked(tmp_path, content).problems
    # Those are rows of the factories.
    assert not [problem for problem in audit.verify().problems if not problem.endswith("is in no entry")]
