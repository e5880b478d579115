"""A receiver of `facts_synced` that fails: an operator sees it in the admin, in the exit code and in a task's result."""

import logging
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from django_eprospera import kyc, signals, tasks
from django_eprospera.models import Connection, Review
from django_eprospera.sync import sync
from django_eprospera.testing import factories
from tests.sandbox_process import LUCIA

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def broken():
    """A site's receiver that fails while it is connected; returns a function that mends it."""

    def receiver_of_a_site(**_):
        raise RuntimeError("Canary Zanahoria")

    signals.facts_synced.connect(receiver_of_a_site)
    yield lambda: signals.facts_synced.disconnect(receiver_of_a_site)
    signals.facts_synced.disconnect(receiver_of_a_site)


@pytest.fixture
def admin(client):
    client.force_login(factories.user(is_staff=True, is_superuser=True))
    return client


def pages(admin, connection):
    """What the admin shows of the connection: in the list, on its page, and on the page of its review."""
    review = Review.objects.get(user=connection.user)
    return [
        admin.get(url).content.decode()
        for url in (
            reverse("admin:django_eprospera_connection_changelist"),
            reverse("admin:django_eprospera_connection_change", args=[connection.pk]),
            reverse("admin:django_eprospera_review_change", args=[review.pk]),
        )
    ]


def test_it_fails_the_command_shows_in_the_admin_and_is_forgotten_once_it_works(provider, broken, admin):
    connection = factories.sandbox_connection(provider, LUCIA)
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError, match="receiver"):
        call_command("eprospera_sync", connection=connection.pk, stdout=out, stderr=err)
    assert f"{connection.pk}  receiver_of_a_site: RuntimeError" in err.getvalue()
    assert kyc.status_for(connection.user).status == Review.Status.PENDING, "the others are called all the same"
    for page in pages(admin, connection):
        assert "receiver_of_a_site: RuntimeError" in page
        assert "Canary" not in page
    listed = admin.get(reverse("admin:django_eprospera_connection_changelist"), {"show": "sync_error"})
    assert [row.pk for row in listed.context["cl"].result_list] == [connection.pk]

    broken()
    call_command("eprospera_sync", connection=connection.pk, stdout=out, stderr=err)
    assert Connection.objects.get().sync_error == ""
    assert not any("receiver_of_a_site" in page for page in pages(admin, connection))


def test_a_task_says_it_in_its_result(provider, broken):
    connection = factories.sandbox_connection(provider, LUCIA)
    result = tasks.sync_connection.enqueue(str(connection.pk))
    assert result.return_value["receiver_errors"] == ["receiver_of_a_site: RuntimeError"]
    assert result.return_value["failed"] == {}


def test_an_evaluation_that_fails_is_one_of_them(provider, monkeypatch):
    connection = factories.sandbox_connection(provider, LUCIA)
    monkeypatch.setattr(kyc, "evaluate", lambda connection: 1 / 0)
    report = sync(connection)
    assert report.receiver_errors == ["evaluate_reviews: ZeroDivisionError"]
    assert Connection.objects.get().sync_error == "evaluate_reviews: ZeroDivisionError"


def test_a_connection_that_ended_meanwhile_is_no_error(provider, caplog):
    connection = factories.sandbox_connection(provider, LUCIA)

    def disconnect(connection, **_):
        Connection.objects.all().delete()
        raise RuntimeError

    signals.facts_synced.connect(disconnect)
    try:
        with caplog.at_level(logging.INFO):
            assert sync(connection).receiver_errors == ["disconnect: RuntimeError"]
    finally:
        signals.facts_synced.disconnect(disconnect)
    assert not Connection.objects.exists()
