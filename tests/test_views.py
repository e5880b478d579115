"""A person's own pages, over HTTP: refresh, disconnect, pictures, documents."""

import json
import uuid
from datetime import timedelta

import pytest
import requests
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from django_eprospera import documents, scopes
from django_eprospera.models import AuditEntry, Connection, LegalEntity, NaturalPerson, PendingRevocation, Residency
from django_eprospera.testing import factories
from tests.sandbox_process import LUCIA, OTTO

pytestmark = pytest.mark.usefixtures("transactional_db", "media", "messages_in_the_session")
CSRF = "c" * 32


@pytest.fixture
def messages_in_the_session(settings):
    """So that a test can read what a person would be told."""
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"


@pytest.fixture
def enter(live_server):
    """Open a browser, signed in as `user` if one is given. Addresses are paths of the site."""
    opened = []

    class Browser(requests.Session):
        def __init__(self, user=None):
            super().__init__()
            self.trust_env = False
            self.cookies.set("csrftoken", CSRF)
            if user is not None:
                client = Client()
                client.force_login(user, "django.contrib.auth.backends.ModelBackend")
                self.session_key = client.cookies["sessionid"].value
                self.cookies.set("sessionid", self.session_key)
            opened.append(self)

        def request(self, method, url, **more):
            more["allow_redirects"] = False
            return super().request(method, live_server.url + url, timeout=60, **more)

        def press(self, path, **fields):
            return self.post(path, data={"csrfmiddlewaretoken": CSRF, **fields})

        def told(self):
            session = Session.objects.get(session_key=self.session_key).get_decoded()
            return [text[3] for text in json.loads(session.get("_messages", "[]"))]

    yield Browser
    for each in opened:
        each.close()


# Refresh


def test_refresh_fetches_the_data_and_goes_back(sandbox, enter):
    connection = factories.sandbox_connection(sandbox, OTTO)
    visitor = enter(connection.user)

    answer = visitor.press("/eprospera/refresh/", next="/account/?tab=data")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/account/?tab=data")
    assert "no-store" in answer.headers["Cache-Control"]
    assert Residency.objects.filter(connection=connection).exists()
    assert visitor.told() == ["Your data is on its way."]


def test_impatient_clicks_cost_the_provider_one_sync(sandbox, enter):
    connection = factories.sandbox_connection(sandbox, OTTO)
    visitor = enter(connection.user)
    visitor.press("/eprospera/refresh/")
    sandbox.control("stats", "DELETE")

    answer = visitor.press("/eprospera/refresh/")

    assert answer.status_code == 302
    assert sandbox.control("stats")["counters"] == {}
    assert visitor.told()[-1] == "Your data was asked for a moment ago."

    Connection.objects.update(sync_requested_at=timezone.now() - timedelta(minutes=2))
    visitor.press("/eprospera/refresh/")
    assert sandbox.control("stats")["counters"] != {}


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_no_button_sends_anybody_to_another_site(enter, target):
    visitor = enter(factories.user())

    assert visitor.press("/eprospera/refresh/", next=target).headers["Location"] == "/account/"
    assert visitor.press("/eprospera/disconnect/", next=target).headers["Location"] == "/account/"


def test_refresh_says_so_when_there_is_nothing_to_refresh_or_no_access_left(enter):
    nobody = enter(factories.user())
    nobody.press("/eprospera/refresh/")
    assert nobody.told() == ["This account is not connected with e-Próspera."]

    ended = enter(factories.connection(state="reauthorize", state_cause="invalid_grant").user)
    ended.press("/eprospera/refresh/")
    assert ended.told() == ["Sign in with e-Próspera again to renew your data."]


def test_a_queue_that_is_down_costs_a_message_and_may_be_tried_again(enter, settings, caplog):
    connection = factories.connection()
    settings.TASKS = {"default": {"BACKEND": "tests.broken_queue.BrokenQueue"}}
    visitor = enter(connection.user)

    answer = visitor.press("/eprospera/refresh/")

    assert answer.status_code == 302
    assert visitor.told() == ["Your data cannot be renewed right now. Try again later."]
    assert "could not be enqueued" in caplog.text
    assert Connection.objects.get().sync_requested_at is None


# Disconnect


def test_disconnect_erases_what_was_fetched_and_revokes_the_tokens(sandbox, enter, media):
    connection = factories.sandbox_connection(sandbox, LUCIA)
    visitor = enter(connection.user)
    visitor.press("/eprospera/refresh/")
    assert list(media.iterdir())
    tokens = connection.access_token, connection.refresh_token

    answer = visitor.press("/eprospera/disconnect/", next="/")

    assert (answer.status_code, answer.headers["Location"]) == (302, "/")
    for model in (Connection, NaturalPerson, Residency, LegalEntity):
        assert not model.objects.exists()
    assert list(media.iterdir()) == []
    assert "Disconnected" in visitor.told()[-1]
    assert AuditEntry.objects.filter(action="disconnected", actor=connection.user).count() == 1
    assert not PendingRevocation.objects.exists()
    assert sandbox.get("/api/v1/me/natural-person", tokens[0]).status_code == 401
    assert sandbox.refresh(tokens[1]).status_code == 400


def test_disconnect_asks_first_and_says_what_is_erased(enter):
    connection = factories.connection()
    visitor = enter(connection.user)

    page = visitor.get("/eprospera/disconnect/?next=/account/")

    assert page.status_code == 200
    assert Connection.objects.filter(pk=connection.pk).exists()
    for erased in ("personal details", "residency", "pictures", "companies that only you share", "permission to fetch"):
        assert erased in page.text
    assert 'name="next" value="/account/"' in page.text
    assert '<a href="/account/">Keep the connection</a>' in page.text
    assert "evil" not in visitor.get("/eprospera/disconnect/?next=https://evil.example/").text


def test_disconnect_says_so_when_there_is_nothing_to_disconnect(enter):
    page = enter(factories.user()).get("/eprospera/disconnect/")
    assert "not connected" in page.text
    assert "<form" not in page.text


def test_disconnect_does_not_wait_for_a_provider_that_is_down(enter, settings):
    settings.EPROSPERA_BASE_URL = "http://127.0.0.1:1"
    connection = factories.connection()

    answer = enter(connection.user).press("/eprospera/disconnect/")

    assert answer.status_code == 302
    assert not Connection.objects.exists()
    assert PendingRevocation.objects.count() == 2, "kept until the provider has confirmed it"


def test_disconnect_needs_no_queue(enter, settings):
    settings.TASKS = {"default": {"BACKEND": "tests.broken_queue.BrokenQueue"}}
    connection = factories.connection()

    assert enter(connection.user).press("/eprospera/disconnect/").status_code == 302
    assert not Connection.objects.exists()
    assert PendingRevocation.objects.count() == 2


def test_a_company_that_somebody_else_still_shares_stays(enter):
    company = factories.legal_entity()
    one, other = factories.connection(), factories.connection()
    factories.consent(one, company)
    factories.consent(other, company)

    enter(one.user).press("/eprospera/disconnect/")
    assert LegalEntity.objects.exists()

    enter(other.user).press("/eprospera/disconnect/")
    assert not LegalEntity.objects.exists()


# Pictures and documents


def picture_of(connection):
    return factories.id_verification(connection, pictures=["face"]).images.get()


def test_a_person_sees_their_own_picture(enter):
    connection = factories.connection()
    picture = picture_of(connection)

    answer = enter(connection.user).get(f"/eprospera/image/{picture.pk}/")

    assert (answer.status_code, answer.content) == (200, factories.png("face"))
    assert answer.headers["Content-Type"] == "image/png"
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert not AuditEntry.objects.exists(), "one's own look is nobody's business"


def test_a_person_sees_a_small_copy_of_their_own_picture(enter):
    connection = factories.connection()
    picture = picture_of(connection)

    answer = enter(connection.user).get(f"/eprospera/image/{picture.pk}/small/")

    assert (answer.status_code, answer.content) == (200, documents.thumbnail(picture))
    assert answer.headers["Content-Type"] == "image/webp"
    assert answer.headers["Content-Disposition"] == 'inline; filename="face.webp"'
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert not AuditEntry.objects.exists()


def test_a_person_gets_the_documents_of_companies_they_share(enter):
    connection = factories.connection()
    paper = factories.document(factories.consent(connection).entity, name="Acta")

    answer = enter(connection.user).get(f"/eprospera/document/{paper.pk}/")

    assert (answer.status_code, answer.content) == (200, factories.pdf())
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Acta.pdf"'


@pytest.mark.parametrize("address", ["image/{}/", "image/{}/small/", "document/{}/"])
def test_what_is_not_theirs_does_not_exist_for_them(enter, address):
    owner = factories.connection()
    row = picture_of(owner) if "image" in address else factories.document(factories.consent(owner).entity)
    staff = factories.user(is_staff=True, is_superuser=True)

    for other in (factories.connection().user, factories.user(), staff):
        answer = enter(other).get(f"/eprospera/{address.format(row.pk)}")
        nothing = enter(other).get(f"/eprospera/{address.format(uuid.uuid4())}")
        assert answer.status_code == nothing.status_code == 404
        assert len(answer.content) == len(nothing.content), "the page tells that there is something"


@pytest.mark.parametrize("address", ["image/{}/", "image/{}/small/", "document/{}/"])
def test_unauthenticated_users_are_asked_to_sign_in(enter, address):
    owner = factories.connection()
    row = picture_of(owner) if "image" in address else factories.document(factories.consent(owner).entity)

    answer = enter().get(f"/eprospera/{address.format(row.pk)}")

    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/?next=")


@pytest.mark.parametrize(
    "change",
    [
        {"scope": f"openid {scopes.PERSON_DETAILS_READ}"},
        {"state": "reauthorize", "state_cause": "invalid_grant"},
    ],
    ids=["scope gone", "grant ended"],
)
def test_withdrawn_consent_closes_pictures_and_documents_at_once(enter, change):
    connection = factories.connection()
    picture, paper = picture_of(connection), factories.document(factories.consent(connection).entity)
    Connection.objects.update(**change)
    visitor = enter(connection.user)

    assert visitor.get(f"/eprospera/image/{picture.pk}/").status_code == 404
    assert visitor.get(f"/eprospera/image/{picture.pk}/small/").status_code == 404
    assert visitor.get(f"/eprospera/document/{paper.pk}/").status_code == 404


def test_documents_of_a_company_no_longer_shared_are_closed(enter):
    connection = factories.connection()
    consent = factories.consent(connection)
    paper = factories.document(consent.entity)
    consent.withdrawn_at = timezone.now()
    consent.save()

    assert enter(connection.user).get(f"/eprospera/document/{paper.pk}/").status_code == 404


def test_sharing_a_company_without_its_documents_does_not_open_them(enter):
    connection = factories.connection(scopes=f"openid {scopes.ENTITY_READ}")
    paper = factories.document(factories.consent(connection).entity)

    assert enter(connection.user).get(f"/eprospera/document/{paper.pk}/").status_code == 404


def test_a_file_that_was_never_fetched_is_not_there(enter):
    connection = factories.connection()
    picture = factories.picture(factories.id_verification(connection, pictures=()), content=b"")

    assert enter(connection.user).get(f"/eprospera/image/{picture.pk}/").status_code == 404


@pytest.mark.parametrize("harm", ["tampered", "lost"])
def test_a_file_that_does_not_open_is_a_clear_page_and_not_half_a_file(enter, media, caplog, harm):
    connection = factories.connection()
    paper = factories.document(factories.consent(connection).entity, content=b"%PDF-" + b"x" * 300_000)
    file = next(media.iterdir())
    if harm == "lost":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"\0")

    answer = enter(connection.user).get(f"/eprospera/document/{paper.pk}/")

    assert answer.status_code == 503
    assert "This file cannot be shown" in answer.text
    assert "xxxx" not in answer.text
    assert str(paper.pk) in caplog.text


def test_the_page_is_there_in_spanish_too(enter, media):
    connection = factories.connection()
    paper = factories.document(factories.consent(connection).entity)
    next(media.iterdir()).unlink()

    answer = enter(connection.user).get(f"/eprospera/document/{paper.pk}/", headers={"Accept-Language": "es"})

    assert 'lang="es"' in answer.text


@pytest.mark.parametrize(("path", "status"), [("refresh", 405), ("disconnect", 200)])
def test_what_changes_something_is_no_link_and_not_for_others_to_press(enter, path, status):
    connection = factories.connection()
    visitor = enter(connection.user)

    assert visitor.get(f"/eprospera/{path}/").status_code == status
    assert visitor.post(f"/eprospera/{path}/").status_code == 403, "without the CSRF token"
    assert enter().press(f"/eprospera/{path}/").headers["Location"].startswith("/?next=")
    assert Connection.objects.get().sync_requested_at is None


# Sign-in pages


def test_a_get_of_the_begin_address_shows_the_button(enter):
    page = enter().get("/login/eprospera/?next=/members/")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "no-store" in page.headers["Cache-Control"]
    assert '<form class="eprospera-sign-in" method="post" action="/login/eprospera/">' in page.text
    assert 'name="next" value="/members/"' in page.text
    assert "evil" not in enter().get("/login/eprospera/?next=https://evil.example/").text


def test_switching_accounts_signs_out_and_asks_for_other_credentials(enter):
    visitor = enter(factories.user())
    assert visitor.get("/eprospera/switch-account/").status_code == 405
    answer = visitor.press("/eprospera/switch-account/", next="/members/")
    assert answer.headers["Location"] == "/login/eprospera/?prompt=login&next=%2Fmembers%2F"
    assert not Session.objects.filter(session_key=visitor.session_key).exists()
    page = visitor.get(answer.headers["Location"])
    assert 'name="prompt" value="login"' in page.text
    assert 'name="next" value="/members/"' in page.text


def test_a_site_gives_every_page_its_own_design_with_one_template(enter, settings, tmp_path, caplog):
    caplog.set_level("DEBUG", "django.template")
    (tmp_path / "django_eprospera").mkdir()
    (tmp_path / "site.html").write_text(
        "<title>{% block head %}{% endblock %}</title>OUR HEADER {% block body %}{% endblock %}"
    )
    (tmp_path / "django_eprospera/base.html").write_text(
        "{% extends 'site.html' %}{% block head %}{% block title %}{% endblock %}{% endblock %}"
        "{% block body %}{% block content %}{% endblock %}{% endblock %}"
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    settings.ROOT_URLCONF = "tests.gated_urls"
    connection = factories.connection()
    paper = factories.document(factories.consent(connection).entity)
    documents.storage().delete(paper.storage_name)
    visitor = enter(connection.user)
    paths = ["/login/eprospera/", "/eprospera/disconnect/", "/eprospera/confirm-sign-in/", "/members/", "/complete/eprospera/",
             f"/eprospera/document/{paper.pk}/"]  # fmt: skip
    for path in paths:
        page = visitor.get(path)
        assert page.text.startswith("<title>"), path
        assert "OUR HEADER" in page.text
        assert "<h1>" in page.text
        assert page.text.count("<main") == 0
    # Django logs the whole context of a template that misses a variable.
    assert "Exception while resolving variable" not in caplog.text


@pytest.mark.parametrize("path", ["/login/eprospera/", "/eprospera/confirm-sign-in/"])
def test_sign_in_pages_are_open_on_a_site_that_is_not(enter, settings, path):
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert enter().get(path).status_code == 200
