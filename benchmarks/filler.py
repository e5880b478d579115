"""Rows of any number of people: one person whose rows the package wrote, and copies of them.

With `sealed`, each copy's sealed values are made for it with the package's own keyring, in one process per processor, and reach
the database by COPY, so that every row opens; only the reviews' checks, the digests of decisions and the chain of audit entries
are the first person's. Without it the sealed values are copied as they are, which is quicker, and do not open.

    DATABASE_URL=… python -m benchmarks.filler prototype
    DATABASE_URL=… python -m benchmarks.filler copies 100000
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import uuid
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()

import psycopg
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection as database
from django.db import transaction

from django_eprospera import kyc
from django_eprospera.fields.blind_index import BlindIndexField
from django_eprospera.fields.sealed import SealedField
from django_eprospera.keys import keyring
from django_eprospera.kyc.checks import results_of
from django_eprospera.kyc.decisions import facts_version
from django_eprospera.kyc.facts import facts_of
from django_eprospera.models import (
    Affiliation,
    AuditEntry,
    Connection,
    Decision,
    EntityConsent,
    EntityDocument,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    PendingRevocation,
    Residency,
    ResourceState,
    Review,
    VerificationImage,
)
from django_eprospera.models.audit import AuditBlock
from django_eprospera.testing import factories

CHUNK = 5_000
_NOW = "now() - n * interval '1 minute'"


# One decision for so many people: its evidence is long.
_SHARES = {Decision: 5}


def _prefix(noun):
    return hashlib.md5(noun.encode()).hexdigest()[:20]


def _id(noun):
    """SQL of the primary key of a copy."""
    return f"('{_prefix(noun)}' || lpad(n::text, 12, '0'))::uuid"


def copies(people):
    """What differs between the copies of one row, by model and column; `n` counts them.

    What is rare there are ten of, however many people: so a list shows as many rows, and its index has to be the better.
    """
    rare = people // 10
    return {
        get_user_model(): {"id": "1000000 + n", "username": "'copy-' || n", "email": "'copy-' || n || '@example.test'"},
        Connection: {
            "id": _id("connection"),
            "user_id": "1000000 + n",
            "sub": "'sub-' || n",
            "signed_in_at": _NOW,
            "created_at": _NOW,
            "state": "CASE WHEN n % 5 = 0 THEN 'reauthorize' ELSE 'active' END",
            "state_cause": "CASE WHEN n % 10 = 0 THEN 'invalid_grant' WHEN n % 5 = 0 THEN 'answer_lost' ELSE '' END",
            "state_changed_at": _NOW,
            "sync_error": f"CASE WHEN n % {rare} = 1 THEN 'receiver: ValueError' ELSE '' END",
            # Within a day all, the first of them in the last five minutes.
            "next_sync_at": f"now() - interval '5 minutes' + interval '1 day' * n / {people}",
        },
        ResourceState: {
            "connection_id": _id("connection"),
            "error": f"CASE WHEN n % {rare} = 7 THEN 'scope_missing' WHEN n % 3 = 0 THEN 'unavailable' ELSE '' END",
        },
        NaturalPerson: {
            "id": _id("person"), "connection_id": _id("connection"), "rpn_index": "'1.' || n",
        },
        Residency: {"id": _id("residency"), "connection_id": _id("connection")},
        IdVerification: {"id": _id("check"), "connection_id": _id("connection")},
        VerificationImage: {"id": _id("image"), "verification_id": _id("check")},
        LegalEntity: {
            "id": _id("entity"), "entity_id": _id("entity at the provider"),
            "type": f"CASE WHEN n % {rare} = 2 THEN 'Cooperative' ELSE 'Limited Liability Company' END",
            "rpn_index": "'2.' || n", "updated_at": _NOW,
        },
        EntityConsent: {"connection_id": _id("connection"), "entity_id": _id("entity")},
        EntityDocument: {
            "id": _id("document"), "entity_id": _id("entity"),
            "document_id": _id("document at the provider"),
        },
        Review: {
            "id": _id("review"), "subject": "'person:issuer:sub-' || n",
            "subject_kind": "CASE WHEN n % 2 = 1 THEN 'entity' ELSE 'person' END",
            "user_id": "CASE WHEN n % 2 = 0 THEN 1000000 + n END",
            "entity_id": f"CASE WHEN n % 2 = 1 THEN {_id('entity')} END",
            "status": f"CASE WHEN n % {rare} = 3 THEN 'rejected' WHEN n % 5 = 0 THEN 'approved' WHEN n % 3 = 0 THEN 'pending' "
            "ELSE 'waiting' END",
            "opened_at": _NOW,
            "queued_at": f"CASE WHEN n % 3 = 0 AND n % 5 <> 0 AND n % {rare} <> 3 THEN {_NOW} END",
        },
        Affiliation: {
            "subject": "'person:issuer:sub-' || n", "person": "'person:issuer:sub-' || n", "user_ref": "1000000 + n",
        },
        Decision: {
            "id": _id("decision"), "review_id": _id("review"), "decided_at": _NOW,
            "outcome": f"CASE WHEN n % {rare} = 4 THEN 'reopened' WHEN n % 2 = 0 THEN 'rejected' ELSE 'approved' END",
        },
        AuditEntry: {
            "position": "1000000 + n", "at": f"now() - ({people} - n) * interval '1 minute'", "actor_id": "1000000 + n % 10",
            "subject": f"'django_eprospera.review:' || {_id('review')}",
            "action": f"CASE WHEN n % {rare} = 5 THEN 'exported' ELSE 'viewed' END",
        },
        AuditBlock: {"number": "n"},
        PendingRevocation: {
            "id": _id("revocation"), "created_at": _NOW,
            "held": f"n % {rare} <> 6", "sub": "'sub-' || n",
        },
        LogEntry: {"object_id": _id("review")},
    }  # fmt: skip


def make_prototype():
    """Write the rows of one person, whose company, documents and reviews are decided on. Returns a superuser and the person."""
    reviewer = factories.user(username="superuser", is_staff=True, is_superuser=True)
    connection = factories.connection(factories.user(username="prototype"))
    factories.natural_person(connection)
    factories.residency(connection)
    factories.id_verification(connection)
    factories.document(factories.consent(connection).entity)
    factories.synced(connection)
    kyc.evaluate(connection)
    for review in Review.objects.all():
        facts = facts_of(review)
        seen = facts_version(review, facts, results_of(review, facts))
        kyc.decide(review, reviewer=reviewer, outcome="rejected", reason="No.", seen=seen)
    kyc.evaluate(connection)
    factories.connection().delete()  # leaves pending revocations
    LogEntry.objects.create(
        user=reviewer, content_type=ContentType.objects.get_for_model(Review), object_id="x", action_flag=2
    )
    return reviewer, connection


def fill(people, *, sealed):
    """Copy every row of the prototype so many times, and make the site's index of e-mail addresses."""
    for model, changed in copies(people).items():
        _multiply(model, changed, people // _SHARES.get(model, 1), sealed=sealed)
    with database.cursor() as cursor:
        # docs/operations.md#large-sites
        cursor.execute("CREATE INDEX auth_user_email_upper ON auth_user (UPPER(email))")
        cursor.execute("ANALYZE auth_user")


def _multiply(model, changed, people, *, sealed):
    table, source = model._meta.db_table, f"generate_series(1, {people}) AS n"
    own = [field for field in model._meta.concrete_fields if isinstance(field, (SealedField, BlindIndexField))]
    if sealed and own:
        _seal_copies(model, own, re.match(r"\('(\w+)'", changed["id"])[1], people)
        changed = changed | {field.column: f'sealed."{field.column}"' for field in own}
        source = "eprospera_bench_sealed AS sealed"
    columns = [field.column for field in model._meta.concrete_fields if field.name != "id" or field.name in changed]
    quoted = ", ".join(f'"{column}"' for column in columns)
    chosen = ", ".join(changed.get(column, f'"row"."{column}"') for column in columns)
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # foreign keys are right as they are
        cursor.execute(
            f'INSERT INTO "{table}" ({quoted}) SELECT {chosen} FROM (SELECT * FROM "{table}" LIMIT 1) AS "row", {source}'
        )
        cursor.execute("DROP TABLE IF EXISTS eprospera_bench_sealed")
        cursor.execute(f'ANALYZE "{table}"')


def _seal_copies(model, fields, prefix, people):
    """Make a table of the sealed values of so many rows of a model."""
    row = model.objects.first()
    texts = {
        field: None if (value := getattr(row, field.attname)) is None else field.to_text(value)
        for field in fields
        if isinstance(field, SealedField)
    }
    columns = ", ".join(f'"{field.column}" text' for field in fields)
    with database.cursor() as cursor:
        cursor.execute(f"CREATE UNLOGGED TABLE eprospera_bench_sealed (n integer, {columns})")
    dsn = database.connection.info.dsn  # without a password, which .pgpass may have
    jobs = [
        (dsn, fields, texts, prefix, range(start, min(start + CHUNK, people + 1)))
        for start in range(1, people + 1, CHUNK)
    ]
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork")) as pool:
        for done in [pool.submit(_copy_sealed, *job) for job in jobs]:
            done.result()


def _copy_sealed(dsn, fields, texts, prefix, numbers):
    indexed = {index.source for index in fields if isinstance(index, BlindIndexField)}
    with psycopg.connect(dsn) as own, own.cursor().copy("COPY eprospera_bench_sealed FROM STDIN") as copy:
        for n in numbers:
            key = uuid.UUID(f"{prefix}{n:012}")
            permit = f"{n:014}"
            values = [str(n)]
            for field in fields:
                if isinstance(field, BlindIndexField):
                    values.append(field.index_of(permit))
                    continue
                text = permit if field.name in indexed else texts[field]
                values.append("\\N" if text is None else keyring().seal(field.owner(key), text.encode()))
            copy.write("\t".join(values) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "prototype":
        call_command("migrate", verbosity=0)
        make_prototype()
    else:
        fill(int(sys.argv[2]), sealed=True)
        with database.cursor() as everything:
            everything.execute("VACUUM ANALYZE")
