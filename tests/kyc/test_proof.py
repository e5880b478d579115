"""What shows that a decision is as it was taken."""

import pytest
from django.core.management import call_command
from django.db import connection as database

from django_eprospera import audit, kyc
from django_eprospera.errors import AuditError, SealedValueError
from django_eprospera.models import AuditEntry, Decision
from tests.kyc.steps import REJECTED, decide, person


@pytest.mark.django_db
@pytest.mark.parametrize(
    "column", ["outcome = 'rejected'", "decided_at = '2020-01-01 00:00:00+00:00'", f"digest = '{'0' * 64}'"]
)
def test_an_edited_decision_does_not_verify(reviewer, column):
    decision = decide(kyc.evaluate(person()), reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute(f"UPDATE django_eprospera_decision SET {column}")
    assert not kyc.verify_decision(Decision.objects.get(pk=decision.pk))


@pytest.mark.django_db
def test_a_decision_that_the_chain_does_not_hold_does_not_verify(reviewer):
    decision = decide(kyc.evaluate(person()), reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM django_eprospera_auditentry")
    assert not kyc.verify_decision(Decision.objects.get(pk=decision.pk))


@pytest.mark.django_db
@pytest.mark.parametrize("column", ["reason", "reviewer_name", "evidence"])
def test_a_decision_edited_by_somebody_with_the_key_does_not_verify(reviewer, column):
    decision = decide(kyc.evaluate(person()), reviewer, reason="Agrees.")
    value = decision.evidence | {"checks": []} if column == "evidence" else "Somebody else"
    sealed = Decision._meta.get_field(column).seal(value, decision).text
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute(f"UPDATE django_eprospera_decision SET {column} = %s", [sealed])
    edited = Decision.objects.get(pk=decision.pk)
    assert getattr(edited, column) == value
    assert not kyc.verify_decision(edited)


@pytest.mark.django_db
@pytest.mark.parametrize("entry", ["another action", "another review", "another decision"])
def test_an_entry_about_something_else_does_not_prove_a_decision(reviewer, entry):
    review, other = kyc.evaluate(person()), kyc.evaluate(person())
    decision = decide(review, reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute("DELETE FROM django_eprospera_auditentry")
    detail = {"decision": str(decision.pk), "outcome": "approved", "digest": decision.digest}
    if entry == "another action":
        audit.record(AuditEntry.Action.REOPENED, review, actor=reviewer, detail=detail)
    elif entry == "another review":
        audit.record(AuditEntry.Action.DECIDED, other, actor=reviewer, detail=detail)
    else:
        assert kyc.verify_decision(decide(review, reviewer, REJECTED, "Forged."))
    assert not kyc.verify_decision(Decision.objects.get(pk=decision.pk))


@pytest.mark.django_db
def test_evidence_moved_from_another_decision_does_not_open(reviewer):
    for _ in range(2):
        decide(kyc.evaluate(person()), reviewer)
    call_command("eprospera_audit", "--drop-triggers")  # as somebody with a database shell can
    with database.cursor() as cursor:
        cursor.execute("SELECT id, evidence FROM django_eprospera_decision")
        (_, evidence), (other, _) = cursor.fetchall()
        cursor.execute("UPDATE django_eprospera_decision SET evidence = %s WHERE id = %s", [evidence, other])
    with pytest.raises(SealedValueError):
        kyc.verify_decision(Decision.objects.get(pk=other))


@pytest.mark.django_db
def test_decisions_are_never_edited_or_deleted(reviewer):
    decision = decide(kyc.evaluate(person()), reviewer)
    for change in (decision.save, decision.delete, Decision.objects.all().delete, Decision.objects.all().update):
        with pytest.raises(AuditError):
            change()


@pytest.mark.django_db
def test_deleting_reviewer_and_person_keeps_the_decision_and_its_proof(reviewer):
    connection = person()
    decision = decide(kyc.evaluate(connection), reviewer)
    key, name = reviewer.pk, reviewer.username
    reviewer.delete()
    connection.user.delete()
    kept = Decision.objects.get(pk=decision.pk)
    assert (kept.reviewer_id, kept.reviewer_name) == (key, name)
    assert kyc.verify_decision(kept)
