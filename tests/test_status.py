"""The status: numbers of a site, on the terminal, as JSON, and as a page for staff who may see it."""

import json
import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.urls import reverse
from django.utils import timezone

from django_eprospera import status
from django_eprospera.models import Connection, EntityDocument, Pace, Review, VerificationImage
from django_eprospera.testing import factories

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("media")]
PAGE = "admin:django_eprospera_status"


def written(*arguments):
    out = StringIO()
    call_command("eprospera_status", *arguments, stdout=out)
    return out.getvalue()


def numbers():
    return json.loads(written("--json"))


def exact(number):
    return {"number": number, "precision": "exact"}


def life():
    """Two people of whom nothing is due, one who has to sign in again, and a queue."""
    now = timezone.now()
    for _ in range(2):
        factories.synced(factories.connection())
    ended = factories.connection()
    Connection.objects.filter(pk=ended.pk).update(
        state="reauthorize", state_cause="invalid_grant", state_changed_at=now, access_token_expires_at=now
    )
    factories.synced(ended)
    factories.id_verification(ended, pictures=["face", "document_front"])
    factories.picture(ended.id_verification, kind="document_back", content=b"")
    factories.document(factories.consent(ended).entity)
    for days in (0, 3, 5, 30):
        Review.objects.create(
            subject=f"person:x:{days}", subject_kind="person", status="pending", queued_at=now - timedelta(days=days)
        )
    return ended


def test_a_pause_of_the_site_is_shown_until_it_is_over():
    assert numbers()["sync"]["paused_until"] is None
    until = timezone.now() + timedelta(minutes=5)
    Pace.objects.update(paused_until=until.timestamp())
    assert numbers()["sync"]["paused_until"][:16] == until.isoformat()[:16]
    assert re.search(r"requests pause until +\S+ \S+( [ap]\.m\.)?$", written(), re.MULTILINE | re.IGNORECASE)


def test_numbers_of_everything():
    ended = life()
    factories.connection().delete()

    found = numbers()

    assert found["connections"] == {
        "active": exact(2), "reauthorize": exact(1), "invalid_grant": exact(1), "answer_lost": exact(0),
        "no_refresh_token": exact(0), "other_subject": exact(0),
    }  # fmt: skip
    assert found["sync"] == {
        "due": exact(0), "oldest": None, "receivers_failed": exact(0), "paused_until": None,
    }  # fmt: skip
    assert found["failures"] == {}
    assert found["refreshes"] == {"valid": exact(2), "ending": exact(0), "ended": exact(1)}
    revocations = found["revocations"]
    assert revocations.pop("oldest") is not None
    assert revocations == {"due": exact(2), "later": exact(0), "held": exact(0), "foreign": exact(0)}
    queue = found["queue"]
    assert queue.pop("oldest") == Review.objects.earliest("queued_at").queued_at.isoformat()
    assert queue == {"day": exact(1), "week": exact(2), "older": exact(1)}
    storage = found["storage"]
    size = sum(VerificationImage.objects.values_list("size", flat=True))
    assert (storage["pictures"], storage["documents"]) == (exact(2), exact(1))
    assert storage["pictures_size"] == {"number": size, "precision": "exact", "unit": "bytes"}
    assert storage["documents_size"]["number"] == EntityDocument.objects.get().size
    assert storage["database_size"]["number"] > 100_000
    assert found["attention"] == []
    assert not any(secret in json.dumps(found) for secret in (ended.sub, str(ended.pk), ended.user.username))


def test_failures_by_code():
    for error in ("unavailable", "unavailable", "scope_missing"):
        factories.synced(factories.connection(), residency=error)

    assert numbers()["failures"] == {"scope_missing": exact(1), "unavailable": exact(2)}
    assert re.search(r"unavailable: e-Próspera did not answer\. +2\n", written())
    assert "attention" not in written("--check"), "the provider's outage needs nobody here"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"next_sync_at": timezone.now() - timedelta(hours=2)}, "sync_late"),
        ({"sync_error": "receiver: ValueError"}, "receivers_failed"),
        ({}, "site_errors"),
    ],
)
def test_what_needs_somebody_fails_the_check(changed, code):
    row = factories.connection()
    factories.synced(row, **({} if changed else {"residency": "client_rejected"}))
    Connection.objects.filter(pk=row.pk).update(**changed)

    assert numbers()["attention"] == [code]
    for arguments in (["--check"], ["--check", "--json"]):
        with pytest.raises(CommandError, match=f"^{code}$"):
            written(*arguments)


def test_more_than_is_counted_is_estimated_or_said_to_be_more(monkeypatch):
    monkeypatch.setattr(status, "_COUNTED", 3)
    for _ in range(24):
        factories.picture(factories.id_verification(factories.connection(), pictures=[]))
    with database.cursor() as cursor:
        cursor.execute("ANALYZE")

    found = numbers()

    if database.vendor == "postgresql":
        assert found["connections"]["active"] == {"number": 24, "precision": "about"}
        assert found["storage"]["pictures"] == {"number": 24, "precision": "about"}
        size = VerificationImage.objects.first().size * 24
        assert found["storage"]["pictures_size"]["number"] == pytest.approx(size, rel=0.1)
        assert re.search(r"active +about 24\n", written())
    else:
        assert found["connections"]["active"] == {"number": 3, "precision": "more_than"}
        assert found["storage"]["pictures"]["precision"] == "more_than"
        assert re.search(r"active +more than 3\n", written())


def test_the_terminal_shows_a_table():
    life()
    lines = written().splitlines()

    assert lines[0] == "Connections"
    assert {len(line) for line in lines if line.startswith("  ")} == {max(map(len, lines))}
    assert any(re.fullmatch(r"  more than 7 days +1", line) for line in lines)


def test_the_page_is_for_those_with_its_permission(client):
    life()
    user = factories.user(is_staff=True)
    client.force_login(user)
    for codenames, allowed in (
        ([], False),
        (["view_connection", "view_personal_data"], False),
        (["view_status"], True),
    ):
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(get_user_model().objects.get(pk=user.pk))
        answer = client.get(reverse(PAGE))
        assert answer.status_code == (200 if allowed else 403)
    assert client.post(reverse(PAGE)).status_code == 405
    assert "max-age=0" in answer["Cache-Control"]
    text = re.sub(r"\s+", " ", answer.content.decode())
    assert "<dt>1 to 7 days</dt><dd>2</dd>" in text
    assert "<script" not in re.sub(r'<script [^>]*src="[^"]+"[^>]*></script>', "", text)
    client.cookies["django_language"] = "es"
    assert "Cola de revisiones" in client.get(reverse(PAGE)).content.decode()


@pytest.mark.parametrize("codenames", [["view_connection"], ["view_connection", "view_status"]])
def test_lists_link_to_it_for_those_who_may_see_it(client, codenames):
    user = factories.user(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client.force_login(user)
    for address in ("admin:django_eprospera_connection_changelist", "admin:app_list"):
        page = client.get(reverse(address, args=["django_eprospera"] if address == "admin:app_list" else []))
        assert (f'href="{reverse(PAGE)}"' in page.content.decode()) == ("view_status" in codenames)


def test_it_says_what_needs_somebody(client):
    Connection.objects.filter(pk=factories.connection().pk).update(sync_error="receiver: ValueError")
    client.force_login(factories.user(is_staff=True, is_superuser=True))

    assert "reviews may not be up to date" in client.get(reverse(PAGE)).content.decode()
    assert "reviews may not be up to date" in written()
