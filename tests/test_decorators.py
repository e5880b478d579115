"""Restricted views over HTTP: access, redirect to the sign-in page, or a 403 page with the reason."""

import pytest
from django.test import AsyncClient, override_settings

from django_eprospera.decorators import residency_required
from django_eprospera.models import Connection, Review
from django_eprospera.testing import factories
from tests.gated_urls import Members, page

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.gated_urls")]

MEMBERS = ["/members/", "/members/7/", "/members/full/", "/members/async/", "/members/class/", "/members/class/full/"]
VAULT = ["/vault/", "/vault/parentheses/", "/vault/async/", "/vault/class/", "/vault/class/async/"]


@pytest.fixture
def resident(client):
    connection = factories.connection()
    factories.residency(connection)
    client.force_login(connection.user)
    return connection


def review(connection, status):
    factories.natural_person(connection)
    subject = f"person:{connection.issuer}:{connection.sub}"
    Review.objects.create(subject=subject, subject_kind="person", user=connection.user, status=status)


@pytest.mark.parametrize("path", MEMBERS + VAULT)
def test_anonymous_people_are_sent_to_sign_in_and_back(client, path):
    response = client.get(f"{path}?page=2")
    assert response.status_code == 302
    assert response["Location"] == f"/?next={path}%3Fpage%3D2"


def test_kinds_of_residents_may_be_named_where_the_view_is_mounted(rf, resident):
    resident.residency.residency_type = "e-Resident"
    resident.residency.save()
    for types, status in ((["Resident"], 403), (["e-Resident"], 200)):
        request = rf.get("/")
        request.user = resident.user
        assert Members.as_view(residency_types=types)(request).status_code == status


@pytest.mark.parametrize("path", MEMBERS)
def test_residents_pass(client, resident, path):
    response = client.get(path)
    assert response.status_code == 200
    assert b"behind the gate" in response.content


def test_the_view_gets_its_arguments(client, resident):
    assert client.get("/members/7/").content == b"behind the gate 7"


@pytest.mark.parametrize("path", MEMBERS)
def test_refused_users_get_the_reason(client, path):
    connection = factories.connection()
    factories.residency(connection, residency_type=None, was_ever_resident=False)
    client.force_login(connection.user)
    response = client.get(path)
    assert response.status_code == 403
    assert b"behind the gate" not in response.content
    assert b"has no record of a residency of yours" in response.content
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/members/full/", "/members/class/full/"])
def test_a_visitor_pass_opens_only_what_asks_for_no_kind(client, path):
    connection = factories.connection()
    factories.residency(connection, residency_type="Limited e-Resident")
    client.force_login(connection.user)
    assert client.get("/members/").status_code == 200
    assert client.get(path).status_code == 403


@pytest.mark.parametrize("path", VAULT)
@pytest.mark.parametrize(
    ("status", "text"),
    [("waiting", "cannot be reviewed yet"), ("pending", "is being reviewed"), ("rejected", "not approved")],
)
def test_the_vault_says_where_the_review_stands(client, resident, path, status, text):
    review(resident, status)
    response = client.get(path)
    assert response.status_code == 403
    assert text in response.content.decode()
    assert "eprospera-sign-in" not in response.content.decode()  # a new sign-in would change nothing


@pytest.mark.parametrize("path", VAULT)
def test_the_vault_opens_to_the_approved(client, resident, path):
    review(resident, "approved")
    assert client.get(path).content.startswith(b"behind the gate")


@pytest.mark.parametrize("method", ["post", "put", "delete", "head", "options"])
def test_every_method_is_behind_the_gate(client, method):
    client.force_login(factories.connection().user)
    assert getattr(client, method)("/vault/").status_code == 403


def test_a_refusal_that_a_sign_in_can_fix_offers_it(client):
    connection = factories.connection(state=Connection.State.REAUTHORIZE, state_cause=Connection.Cause.INVALID_GRANT)
    client.force_login(connection.user)
    text = client.get("/vault/?page=2").content.decode()
    assert 'method="post"' in text
    assert "/login/eprospera/" in text
    assert 'value="/vault/?page=2"' in text


@pytest.mark.parametrize("path", [*MEMBERS, *VAULT])
@pytest.mark.parametrize(
    ("setting", "value"),
    [("EPROSPERA_BASE_URL", "https://other.example"), ("SOCIAL_AUTH_EPROSPERA_KEY", "another-client")],
)
def test_facts_of_another_provider_or_client_open_nothing(client, resident, settings, path, setting, value):
    review(resident, "approved")
    assert client.get(path).status_code == 200
    setattr(settings, setting, value)
    response = client.get(path)
    assert response.status_code == 403
    assert b"behind the gate" not in response.content
    text = response.content.decode()
    assert "another e-Próspera environment" in text
    assert "/login/eprospera/" in text, "the next step"


STEPS = {
    "not_connected": ("Connect with e-Próspera", "/login/eprospera/"),
    "reauthorize": ("Sign in with e-Próspera", "/login/eprospera/"),
    "not_shared": ("Share what is missing", 'name="prompt" value="consent"'),
    "on_its_way": ("Try again", 'href="/members/"'),
    "never_resident": ("Go to e-Próspera", 'href="https://portal.eprospera.com"'),
}


@pytest.mark.parametrize("code", STEPS)
def test_the_page_of_a_refused_gate_offers_the_next_step(client, settings, code):
    settings.EPROSPERA_BASE_URL = "https://portal.eprospera.com"
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = factories.ALL_SCOPES
    user = factories.user()
    if code != "not_connected":
        connection = factories.connection(user, **({"scopes": "openid"} if code == "not_shared" else {}))
        if code == "never_resident":
            factories.residency(connection, residency_type=None, was_ever_resident=False)
        if code == "reauthorize":
            Connection.objects.update(state="reauthorize", state_cause="invalid_grant")
    client.force_login(user)
    page = client.get("/members/")
    text = page.content.decode()
    assert page.status_code == 403
    label, leads = STEPS[code]
    assert label in text
    assert leads in text
    assert ("Sign out, and sign in as somebody else" in text) is (code == "never_resident")


def test_the_page_tells_when_the_site_does_not_ask(client, settings):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = ["openid", "profile", "email"]
    connection = factories.connection(scopes="openid profile email")
    review(connection, "waiting")
    client.force_login(connection.user)
    for path in ("/members/", "/vault/"):
        text = client.get(path).content.decode()
        assert "this site does not request from e-Próspera" in text
        assert "Complete your profile" not in text
        assert "eprospera-sign-in" not in text, "signing in again changes nothing"


def test_the_page_speaks_the_browsers_language(client, resident):
    text = client.get("/vault/", headers={"Accept-Language": "es"}).content.decode()
    assert '<html lang="es"' in text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/members/async/", "/vault/class/async/"])
def test_async_views_are_gated_under_asgi(path):
    from asgiref.sync import async_to_sync

    connection = factories.connection()
    factories.residency(connection)
    browser = AsyncClient()
    assert async_to_sync(browser.get)(path).status_code == 302
    browser.force_login(connection.user)
    assert async_to_sync(browser.get)(path).status_code == (200 if path.startswith("/members") else 403)
    review(connection, "approved")
    assert async_to_sync(browser.get)(path).status_code == 200


def test_kinds_given_as_one_text_are_a_mistake_seen_at_once():
    with pytest.raises(TypeError, match="list"):
        residency_required(types="Resident")(page)


@override_settings(LOGIN_URL="/elsewhere/")
def test_the_way_to_sign_in_is_the_sites(client):
    assert client.get("/vault/")["Location"] == "/elsewhere/?next=/vault/"
