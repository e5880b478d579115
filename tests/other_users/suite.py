"""From the sign-in to the decision and the end of the account, over HTTP, with a user model that has no names."""

from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.urls import reverse

from django_eprospera import kyc
from django_eprospera.errors import DecisionRefused
from django_eprospera.models import AuditEntry, Connection, Decision, Review
from tests.sandbox_process import LUCIA, OTTO, SandboxProcess
from tests.sign_in import steps
from tests.visitor import Visitor, query_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sandbox(live_server, settings):
    with SandboxProcess(redirect_uris=[f"{live_server.url}/complete/eprospera/"]) as process:
        settings.EPROSPERA_BASE_URL = process.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY = process.client_id
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = process.client_secret
        yield process


@pytest.fixture
def person(live_server, sandbox, media):
    """Somebody who has signed in and whose facts are cached; returns the connection."""
    visitor = Visitor(live_server.url)
    reached = sandbox.walk(query_of(visitor.begin().headers["Location"]), LUCIA)
    assert visitor.get("/complete/eprospera/", params=reached).status_code == 302
    connection = Connection.objects.get()
    assert visitor.get("/whoami/").text == connection.user.email
    return connection


def sign_in(live_server, sandbox, persona):
    visitor = Visitor(live_server.url)
    reached = sandbox.walk(query_of(visitor.begin().headers["Location"]), persona)
    return visitor, visitor.get("/complete/eprospera/", params=reached)


def test_who_shares_no_email_address_reads_that_this_site_needs_one(live_server, sandbox, settings, caplog):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = ["openid", "profile"]
    for persona in (LUCIA, OTTO):  # the first one, too, and not the second alone
        visitor, page = sign_in(live_server, sandbox, persona)
        assert page.status_code == 403
        assert "This site needs your e-mail address" in page.text
        assert visitor.get("/whoami/").text == ""
    assert caplog.text.count("sign-in refused: reason=email_missing stage=pipeline") == 2
    assert not get_user_model().objects.exists()


def test_a_step_of_the_site_decides_what_to_store_instead(live_server, sandbox, settings):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = ["openid", "profile"]
    settings.SOCIAL_AUTH_PIPELINE = [*steps.DEFAULT[:5], "tests.sign_in.steps.make_up_an_address", *steps.DEFAULT[5:]]
    for persona in (LUCIA, OTTO):
        visitor, _ = sign_in(live_server, sandbox, persona)
        assert visitor.get("/whoami/").text.endswith("@users.invalid")
    assert get_user_model().objects.count() == 2


@pytest.fixture
def reviewer(client):
    user = get_user_model().objects.create_user("reviewer@example.test", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="django_eprospera"))
    client.force_login(user)
    return user


def test_a_sync_opens_the_review_and_notes_no_failure(person):
    review = Review.objects.get(user=person.user)
    assert review.status == Review.Status.PENDING
    assert "account_name" not in {check["code"] for check in review.checks}


def test_a_reviewer_without_a_name_decides(client, person, reviewer):
    review = Review.objects.get(user=person.user)
    page = reverse("admin:django_eprospera_review_change", args=[review.pk])
    seen = client.get(page).context["seen"]
    assert client.post(page, {"outcome": "approved", "reason": "", "seen": seen}).status_code == 302
    decision = Decision.objects.get()
    assert (decision.reviewer_name, decision.reviewer) == ("reviewer@example.test", reviewer)
    assert kyc.verify_decision(decision)
    assert kyc.status_for(person.user).status == Review.Status.APPROVED
    assert {entry.actor_id for entry in AuditEntry.objects.filter(action="decided")} == {reviewer.pk}
    assert "reviewer@example.test" in client.get(page).content.decode()


def test_every_admin_page_opens(client, person, reviewer):
    for model in ("auditentry", "connection", "decision", "idverification", "legalentity", "naturalperson", "review"):
        assert client.get(reverse(f"admin:django_eprospera_{model}_changelist")).status_code == 200, model
    for row in (person, person.natural_person, person.id_verification, Review.objects.get(user=person.user)):
        page = reverse(f"admin:django_eprospera_{row._meta.model_name}_change", args=[row.pk])
        assert person.user.email in client.get(page).content.decode(), row
    found = client.post(reverse("admin:django_eprospera_review_find"), {"sought": person.user.email.upper()})
    assert found["Location"] == reverse(
        "admin:django_eprospera_review_change", args=[Review.objects.get(user=person.user).pk]
    )


def test_the_command_finds_the_user_by_the_name_that_the_model_has(person):
    out = StringIO()
    call_command("eprospera_sync", user=person.user.email, stdout=out)
    assert out.getvalue().startswith("1 connection synced")


def test_nobody_decides_on_themselves_after_their_account_is_gone(person, reviewer):
    review = Review.objects.get(user=person.user)
    person.user.delete()
    Connection.objects.create(user=reviewer, issuer=person.issuer, sub=person.sub, signed_in_at=person.signed_in_at)
    with pytest.raises(DecisionRefused) as refused:
        kyc.decide(Review.objects.get(pk=review.pk), reviewer=reviewer, outcome="rejected", reason="x", seen="")
    assert refused.value.code == "own_review"
