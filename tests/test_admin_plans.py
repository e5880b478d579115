"""Every admin page reads as many rows at 100,000 people as it shows: PostgreSQL's plans of all its queries."""

import re
from html import unescape

import pytest
from django.apps import apps
from django.contrib import admin as site
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType
from django.db import connection as database
from django.urls import reverse

from django_eprospera import kyc
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
from tests import factories

PEOPLE = 100_000
LARGE = 10_000
# A page shows 100 rows, and reads a few others for each of them. A node of a plan reads at most this many.
READ = 2_000

NOW = "now() - n * interval '1 minute'"
# What differs between the copies of one row that opens; `n` counts them. Sealed values are copied, and do not open.
COPIES = {
    get_user_model(): {"id": "1000000 + n", "username": "'copy-' || n", "email": "'copy-' || n || '@example.test'"},
    Connection: {
        "id": "md5('connection' || n)::uuid",
        "user_id": "1000000 + n",
        "sub": "'sub-' || n",
        "signed_in_at": NOW,
        "created_at": NOW,
        "state": "CASE WHEN n % 500 = 0 THEN 'reauthorize' ELSE 'active' END",
        "state_cause": "CASE WHEN n % 1000 = 0 THEN 'invalid_grant' WHEN n % 500 = 0 THEN 'answer_lost' ELSE '' END",
        "sync_error": "CASE WHEN n % 5000 = 1 THEN 'receiver: ValueError' ELSE '' END",
    },
    ResourceState: {"connection_id": "md5('connection' || n)::uuid"},
    NaturalPerson: {
        "id": "md5('person' || n)::uuid", "connection_id": "md5('connection' || n)::uuid", "rpn_index": "'1.' || n",
    },
    Residency: {"id": "md5('residency' || n)::uuid", "connection_id": "md5('connection' || n)::uuid"},
    IdVerification: {"id": "md5('check' || n)::uuid", "connection_id": "md5('connection' || n)::uuid"},
    VerificationImage: {"id": "md5('image' || n)::uuid", "verification_id": "md5('check' || n)::uuid"},
    LegalEntity: {
        "id": "md5('entity' || n)::uuid", "entity_id": "md5('entity at the provider' || n)::uuid",
        "type": "CASE WHEN n % 5000 = 2 THEN 'Cooperative' ELSE 'Limited Liability Company' END",
        "rpn_index": "'2.' || n", "updated_at": NOW,
    },
    EntityConsent: {"connection_id": "md5('connection' || n)::uuid", "entity_id": "md5('entity' || n)::uuid"},
    EntityDocument: {
        "id": "md5('document' || n)::uuid", "entity_id": "md5('entity' || n)::uuid",
        "document_id": "md5('document at the provider' || n)::uuid",
    },
    Review: {
        "id": "md5('review' || n)::uuid", "subject": "'person:issuer:sub-' || n",
        "subject_kind": "CASE WHEN n % 10 = 3 THEN 'entity' ELSE 'person' END",
        "user_id": "CASE WHEN n % 10 = 3 THEN NULL ELSE 1000000 + n END",
        "entity_id": "CASE WHEN n % 10 = 3 THEN md5('entity' || n)::uuid END",
        "status": "CASE WHEN n % 5000 = 3 THEN 'rejected' WHEN n % 20 = 0 THEN 'approved' WHEN n % 9 = 0 THEN 'pending' "
        "ELSE 'waiting' END",
        "opened_at": NOW,
        "queued_at": "CASE WHEN n % 9 = 0 AND n % 20 <> 0 AND n % 5000 <> 3 THEN now() - n * interval '1 minute' END",
    },
    Affiliation: {"subject": "'person:issuer:sub-' || n", "person": "'person:issuer:sub-' || n", "user_ref": "1000000 + n"},
    Decision: {
        "id": "md5('decision' || n)::uuid", "review_id": "md5('review' || n)::uuid", "decided_at": NOW,
        "outcome": "CASE WHEN n % 5000 = 4 THEN 'reopened' WHEN n % 3 = 0 THEN 'rejected' ELSE 'approved' END",
    },
    AuditEntry: {
        "position": "1000000 + n", "at": f"now() - ({PEOPLE} - n) * interval '1 minute'", "actor_id": "1000000 + n % 500",
        "subject": "'django_eprospera.review:' || md5('review' || n)::uuid",
        "action": "CASE WHEN n % 5000 = 5 THEN 'exported' ELSE 'viewed' END",
    },
    PendingRevocation: {
        "id": "md5('revocation' || n)::uuid", "created_at": NOW,
        "held": "n % 5000 <> 6", "sub": "'sub-' || n",
    },
    LogEntry: {"object_id": "md5('review' || n)::uuid"},
}  # fmt: skip


def multiply(model, changed):
    """Copy the newest row of a table PEOPLE times."""
    columns = [field.column for field in model._meta.concrete_fields if field.name != "id" or field.name in changed]
    quoted = ", ".join(f'"{column}"' for column in columns)
    chosen = ", ".join(changed.get(column, f'"row"."{column}"') for column in columns)
    table = model._meta.db_table
    with database.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{table}" ({quoted}) SELECT {chosen} FROM (SELECT * FROM "{table}" LIMIT 1) AS "row", '
            f"generate_series(1, {PEOPLE}) AS n"
        )
        cursor.execute(f'ANALYZE "{table}"')


@pytest.fixture
def admin(client):
    """A superuser's client, on a database of PEOPLE people, among them one whose rows open."""
    user = factories.user(username="superuser", is_staff=True, is_superuser=True)
    connection = factories.connection()
    factories.natural_person(connection)
    factories.residency(connection)
    factories.id_verification(connection)
    factories.document(factories.consent(connection).entity)
    factories.synced(connection)
    kyc.evaluate(connection)
    for review in Review.objects.all():
        facts = facts_of(review)
        seen = facts_version(review, facts, results_of(review, facts))
        kyc.decide(review, reviewer=user, outcome="rejected", reason="No.", seen=seen)
    kyc.evaluate(connection)
    factories.connection().delete()  # leaves pending revocations
    LogEntry.objects.create(
        user=user, content_type=ContentType.objects.get_for_model(Review), object_id="x", action_flag=2
    )
    for model, changed in COPIES.items():
        multiply(model, changed)
    client.force_login(user)
    client.user, client.connection = user, connection
    with database.cursor() as cursor:
        # docs/operations.md#large-sites
        cursor.execute("CREATE INDEX auth_user_email_upper ON auth_user (UPPER(email))")
        cursor.execute("ANALYZE auth_user")
    yield client
    with database.cursor() as cursor:
        cursor.execute("DROP INDEX auth_user_email_upper")


def nodes_of(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


class Plans:
    """What is wrong with the plans of the queries of the pages that were opened, with one page each."""

    def __init__(self):
        self.seen = set()
        self.opened = set()
        self.wrong = {}
        with database.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > %s", [LARGE])
            self.large = {name for (name,) in cursor.fetchall()}

    def of(self, name, opened):
        queries = []

        def record(execute, sql, params, many, context):
            if sql.startswith("SELECT") and (sql, str(params)) not in self.seen:
                self.seen.add((sql, str(params)))
                queries.append((sql, params))
            return execute(sql, params, many, context)

        self.opened.add(name)
        with database.execute_wrapper(record):
            response = opened()
        assert response.status_code in (200, 302), (name, response.status_code)
        for sql, params in queries:
            complaints = list(self.expected(explain(sql, params))) or list(read(explain(sql, params, "ANALYZE")))
            for complaint in complaints:
                self.wrong.setdefault((complaint, re.sub(r"%s(, %s)+", "…", sql)[-240:]), name)
        return response

    def expected(self, plan):
        """Yield the whole tables that the plan would scan, sort or count."""
        for node in nodes_of(plan):
            kind, table = node["Node Type"], node.get("Relation Name", "")
            if kind == "Seq Scan" and table in self.large:
                yield f"sequential scan of {table}"
            if kind == "Sort" or "Aggregate" in kind:
                rows = max(child["Plan Rows"] for child in node["Plans"])
                if rows > LARGE:
                    yield f"{kind} of {rows} rows"


def read(plan):
    """Yield what reads more rows than a page needs, in a plan that was run."""
    for node in nodes_of(plan):
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        if "Scan" in node["Node Type"] and (node["Actual Rows"] + removed) * node["Actual Loops"] > READ:
            yield f"{node['Node Type']} of {node.get('Relation Name', node.get('Index Name'))} reads more than {READ} rows"


def explain(sql, params, *options):
    with database.cursor() as cursor:
        cursor.execute(f"EXPLAIN ({', '.join([*options, 'FORMAT JSON'])}) {sql}", params)
        return cursor.fetchone()[0][0]["Plan"]


def links_of(response):
    """The links of a list to itself: filters, orders, other pages."""
    return {unescape(link) for link in re.findall(r'href="(\?[^"]*)"', response.content.decode())}


def url(model, page, *args):
    return reverse(f"admin:django_eprospera_{model}_{page}", args=args)


def lists(client, plans):
    """Open every list, with every two links one after another; of pages, the second and the one before it."""
    models = [model for model in site.site._registry if model._meta.app_label == "django_eprospera"]
    for model in models:
        base, seen = url(model._meta.model_name, "changelist"), {""}
        found = links_of(plans.of(base, lambda base=base: client.get(base)))
        for _ in range(2):
            further = set()
            for link in sorted(found - seen):
                seen.add(link)
                response = plans.of(base + link, lambda page=base + link: client.get(page))
                further |= {each for each in links_of(response) if "p=" not in link or "p=" not in each}
            found = further
    searched = [AuditEntry.objects.get(position=1000010).subject, "copy-7", "nobody"]
    for text in searched:
        page = url("auditentry", "changelist")
        plans.of(f"{page}?q={text}", lambda text=text, page=page: client.get(page, {"q": text}))
    return models


def details(client, plans, models):
    """Open every page of a row, of rows that open."""
    connection = client.connection
    entity = connection.entity_consents.get().entity
    shown = {
        Connection: connection, NaturalPerson: connection.natural_person, Residency: connection.residency,
        IdVerification: connection.id_verification, LegalEntity: entity,
        Review: Review.objects.get(user=connection.user_id),
        Decision: Decision.objects.get(review__user=connection.user_id),
        AuditEntry: AuditEntry.objects.get(position=3),
        PendingRevocation: PendingRevocation.objects.exclude(sub__startswith="sub-")[0],
    }  # fmt: skip
    assert set(shown) == set(models)
    for model, row in shown.items():
        for page in ("change", "history"):
            address = url(model._meta.model_name, page, row.pk)
            plans.of(address, lambda address=address: client.get(address))
        if model not in (Review, AuditEntry, PendingRevocation):
            address = url(model._meta.model_name, "show", row.pk)
            plans.of(address, lambda address=address: client.post(address))
    company = url("review", "change", Review.objects.get(entity=entity).pk)
    plans.of(company, lambda: client.get(company))
    for name, row in (("picture", connection.id_verification.images.first()), ("document", entity.documents.first())):
        address = reverse(f"admin:django_eprospera_{name}", args=[row.pk])
        plans.of(address, lambda address=address: client.get(address))
    asked = {"action": "disconnect", "_selected_action": [str(connection.pk)]}
    plans.of("disconnect", lambda: client.post(url("connection", "changelist"), asked))


def search_and_queue(client, plans):
    find, following = reverse("admin:django_eprospera_review_find"), reverse("admin:django_eprospera_review_next")
    for sought in ("90000000004217", "80000000001234", "COPY-77@example.test", "copy-78", "9", "nobody"):
        plans.of(f"find {sought}", lambda sought=sought: client.post(find, {"sought": sought}))
    plans.of(following, lambda: client.get(following))
    waiting = url("review", "change", Review.objects.filter(status="pending").order_by("queued_at")[9].pk)
    plans.of(waiting, lambda: client.get(waiting))


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(database.vendor != "postgresql", reason="Plans are PostgreSQL's.")
def test_no_page_reads_sorts_or_counts_a_whole_table(admin):
    assert {model for model in apps.get_app_config("django_eprospera").get_models() if model not in COPIES} == set()
    plans = Plans()
    models = lists(admin, plans)
    assert {
        f"{url('review', 'changelist')}?status=rejected&subject_kind__exact=entity",
        f"{url('auditentry', 'changelist')}?action__exact=exported&o=1",
    } <= plans.opened
    details(admin, plans, models)
    search_and_queue(admin, plans)
    assert not plans.wrong, "\n".join(f"{page}: {what}\n    {sql}" for (what, sql), page in plans.wrong.items())
