"""Every admin page reads as many rows at 100,000 people as it shows: PostgreSQL's plans of all its queries."""

import re
from html import unescape

import pytest
from django.apps import apps
from django.contrib import admin as site
from django.db import connection as database
from django.urls import reverse

from benchmarks import filler
from django_eprospera.models import (
    AuditEntry,
    Connection,
    Decision,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Pace,
    PendingRevocation,
    Residency,
    Review,
    VerificationImage,
)

PEOPLE = 100_000
LARGE = 10_000
# A page shows 100 rows, and reads a few others for each of them. A node of a plan reads at most this many.
READ = 2_000


@pytest.fixture
def admin(client):
    """A superuser's client, on a database of PEOPLE people, among them one whose rows open."""
    client.user, client.connection = filler.make_prototype()
    filler.fill(PEOPLE, sealed=False)
    client.force_login(client.user)
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


def lists(client, plans, depth=2):
    """Open every list, with every two links one after another; of pages, the second and the one before it."""
    models = [model for model in site.site._registry if model._meta.app_label == "django_eprospera"]
    for model in models:
        base, seen = url(model._meta.model_name, "changelist"), {""}
        found = links_of(plans.of(base, lambda base=base: client.get(base)))
        for _ in range(depth):
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
    picture = connection.id_verification.images.first()
    for name, row in (("picture", picture), ("thumbnail", picture), ("document", entity.documents.first())):
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


def numbers(client, plans):
    """Open the status."""
    return plans.of("status", lambda: client.get(reverse("admin:django_eprospera_status")))


def open_all(client, plans, depth=2):
    """Open every page of the admin once; `benchmarks/admin.py` measures them."""
    details(client, plans, lists(client, plans, depth))
    search_and_queue(client, plans)
    numbers(client, plans)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(database.vendor != "postgresql", reason="Plans are PostgreSQL's.")
def test_no_page_reads_sorts_or_counts_a_whole_table(admin):
    small = {Pace}  # one row per provider
    assert set(apps.get_app_config("django_eprospera").get_models()) - small <= set(filler.copies(PEOPLE))
    plans = Plans()
    open_all(admin, plans)
    assert {
        f"{url('review', 'changelist')}?status=rejected&subject_kind__exact=entity",
        f"{url('auditentry', 'changelist')}?action__exact=exported&o=1",
    } <= plans.opened
    assert not plans.wrong, "\n".join(f"{page}: {what}\n    {sql}" for (what, sql), page in plans.wrong.items())
    compare(numbers(admin, plans).context["status"].as_json())


def compare(found):
    """Compare the estimates of the status with what there is."""
    for section, name, number in (
        ("connections", "active", PEOPLE * 4 // 5), ("connections", "invalid_grant", PEOPLE // 10),
        ("failures", "unavailable", PEOPLE // 3), ("storage", "pictures", VerificationImage.objects.count()),
    ):  # fmt: skip
        assert found[section][name] == {"number": pytest.approx(number, rel=0.2), "precision": "about"}, (section, name)
    assert found["sync"]["due"] == {"number": pytest.approx(280, rel=0.5), "precision": "exact"}
    assert found["failures"]["scope_missing"] == {"number": 10, "precision": "exact"}
    assert found["revocations"]["held"] == {"number": 1_000, "precision": "more_than"}
