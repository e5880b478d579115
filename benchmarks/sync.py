"""One sync ÷ `requests.Session` calls of the same URLs, and its time ÷ the provider's latency."""

import statistics
import time

import requests

from benchmarks.measure import Row, queries, sandbox
from django_eprospera.models import (
    Connection,
    EntityConsent,
    IdVerification,
    LegalEntity,
    NaturalPerson,
    Residency,
    ResourceState,
    Review,
)
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.sandbox_process import KITES, LUCIA, REEF, WULANDARI

ME = "/api/v1/me"


def rows(bench):
    with sandbox("benchmarks.provider") as provider:
        for companies, person, chosen in ((2, LUCIA, [KITES, REEF]), (50, WULANDARI, None)):
            connection = factories.sandbox_connection(provider, person, entities=chosen)
            entities, files = listed(provider, connection)
            assert len(entities) == companies

            def again(connection=connection):
                report = sync(connection)
                assert (report.changed, report.failed) == ([], {})

            bare = get(connection, provider, entities)
            if companies == 2:
                yield bench.ratio(
                    "First sync, 2 companies: CPU ÷ bare calls", lambda connection=connection: sync(connection),
                    get(connection, provider, entities, files), before=forget, times=3, goal=5,
                )  # fmt: skip
            sync(connection)
            what = f"Sync in which nothing changed, {companies} companies"
            yield Row(f"{what}: SQL", queries(again), "queries", 8 if companies == 2 else 20)
            yield bench.ratio(f"{what}: CPU ÷ bare calls", again, bare, times=5, goal=2 if companies == 2 else None)
        Connection.objects.filter(sub=LUCIA).delete()
        connection = factories.sandbox_connection(provider, LUCIA)
        sync(connection)
        for latency in (0.05, 0.1, 0.2):
            provider.control("faults", "DELETE")
            provider.fault(f"{ME}/*", delay=latency)
            yield Row(
                f"Sync, 3 companies: time ÷ the provider's latency of {1_000 * latency:.0f} ms",
                statistics.median(seconds(lambda: sync(connection)) for _ in range(bench.rounds)) / latency, goal=3,
            )  # fmt: skip


def listed(provider, connection):
    """The connection's companies, and the addresses of their documents and of the person's pictures."""

    def answer(path):
        response = provider.get(f"{ME}/{path}", connection.access_token)
        response.raise_for_status()
        return response.json()

    entities = [each["id"] for each in answer("legal-entities")["data"]]
    documents = [each for entity in entities for each in answer(f"legal-entities/{entity}/documents")["data"]]
    pictures = answer("natural-person/id-verification")["documents"].values()
    return entities, [url for url in (*(each["fileUrl"] for each in documents), *pictures) if url]


def get(connection, provider, entities, files=()):
    """Return a function that gets what a sync gets."""
    paths = [f"{ME}/natural-person{path}" for path in ("", "/residency", "/id-verification")] + [f"{ME}/legal-entities"]
    paths += [f"{ME}/legal-entities/{entity}{path}" for entity in entities for path in ("", "/documents")]
    session, token = requests.Session(), connection.access_token

    def calls():
        for path in paths:
            response = session.get(provider.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=60)
            assert response.status_code == 200, response.text
        for url in files:
            assert session.get(url, timeout=60).status_code == 200

    return calls


def forget():
    """Delete everything that a sync has stored."""
    for model in (Review, NaturalPerson, Residency, IdVerification, EntityConsent, LegalEntity, ResourceState):
        model.objects.all().delete()


def seconds(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began
