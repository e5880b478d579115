"""A thief with a stolen session: no identity of theirs is linked, no connection of the owner is ended, no gate opens."""

import django
import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from social_django.models import UserSocialAuth

from django_eprospera import signals
from django_eprospera.models import Connection
from tests.sign_in import steps
from tests.sign_in.refusal import log_in
from tests.visitor import Visitor, query_of, text_of

PROVE = "/eprospera/confirm-identity/"
DISCONNECTS = ["/eprospera/disconnect/", "/disconnect/eprospera/"]


def whoami(client):
    return client.get("/whoami/").content.decode()


def store_of(visitor):
    return Session.get_session_store_class()(visitor.session_key)


def age(visitor, seconds=301):
    """As if everything that the session proved had been proved earlier."""
    store = store_of(visitor)
    for name in ("eprospera_auth_time", "eprospera_authenticated_at"):
        if name in store:
            store[name] -= seconds
    store.save()


def steal(visitor):
    """Another browser with the same session."""
    thief = Visitor(visitor.site)
    thief.http.cookies.set("sessionid", visitor.session_key)
    return thief


@pytest.fixture
def owner(visitor, provider):
    """Signed in by password a while ago, not connected."""
    log_in(visitor, "owner")
    age(visitor)
    return visitor


@pytest.fixture
def connected(visitor, provider):
    """Has a password, linked their identity properly, a while ago."""
    log_in(visitor, "owner")
    visitor.sign_in()
    assert UserSocialAuth.objects.get().user.username == "owner"
    age(visitor)
    return visitor


@pytest.fixture
def heard():
    """What a site hears of identities that are linked and connections that end."""
    found = []

    def linked(connection, **_):
        found.append(("linked", connection.user.get_username()))

    def ended(user, actor, **_):
        found.append(("ended", user.get_username(), actor.get_username()))

    signals.identity_linked.connect(linked)
    signals.connection_ended.connect(ended)
    yield found
    signals.identity_linked.disconnect(linked)
    signals.connection_ended.disconnect(ended)


def assert_asks_for_proof(answer, target):
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"].startswith(PROVE)
    assert query_of(answer.headers["Location"]) == {"next": target}


class TestLinking:
    def test_in_an_old_session_the_owner_proves_who_they_are_and_comes_back(self, owner, heard):
        answer = owner.post("/login/eprospera/", headers={"Referer": f"{owner.site}/button/?x=1"})
        assert_asks_for_proof(answer, "/button/?x=1")
        page = owner.get(answer.headers["Location"])
        assert "Please confirm that it is you" in text_of(page)
        assert 'href="/?next=/button/%3Fx%3D1"' in page.text  # LOGIN_URL
        assert "/login/eprospera/" not in page.text  # there is no identity yet that could prove it
        owner.post("/admin/login/", {"username": "owner", "password": "pw"})
        assert owner.sign_in(next="/button/").headers["Location"] == "/button/"
        assert Connection.objects.get().user.username == "owner"
        assert heard == [("linked", "owner")]

    def test_a_thief_gets_no_identity_linked(self, owner, provider, heard):
        thief = steal(owner)
        assert_asks_for_proof(thief.begin(), "/account/")
        assert not provider.calls.count("/token")
        assert not UserSocialAuth.objects.exists()
        assert heard == []

    def test_a_session_from_before_an_upgrade_is_old(self, owner):
        store = store_of(owner)
        del store["eprospera_authenticated_at"]
        store.save()
        assert_asks_for_proof(owner.begin(), "/account/")

    def test_a_sign_in_begun_in_a_fresh_session_and_finished_in_an_old_one_links_nothing(
        self, visitor, provider, caplog
    ):
        log_in(visitor, "owner")
        begun = visitor.begin()
        age(visitor, 3600)
        page = visitor.get(visitor.visit_provider(begun))
        assert page.status_code == 403
        assert "reason=not_proven" in caplog.text
        assert "Please confirm that it is you" in text_of(page)
        assert not UserSocialAuth.objects.exists()
        assert not Connection.objects.exists()

    def test_a_pipeline_that_paused_links_nothing_in_a_session_that_grew_old(self, visitor, provider, settings, caplog):
        ask = "tests.sign_in.steps.ask_for_terms"
        settings.SOCIAL_AUTH_PIPELINE = [*steps.DEFAULT[:5], ask, *steps.DEFAULT[5:]]
        log_in(visitor, "owner")
        assert visitor.sign_in().text == "Do you agree?"
        age(visitor)
        assert visitor.get("/complete/eprospera/?agreed=1").status_code == 403
        assert "reason=not_proven" in caplog.text
        assert not UserSocialAuth.objects.exists()

    def test_nobody_is_told_of_an_account_that_was_made_by_its_identity(self, visitor, provider, heard):
        visitor.sign_in()
        assert heard == []

    def test_an_old_session_signs_in_again_with_the_identity_that_it_has(self, connected):
        assert connected.sign_in(next="/button/").headers["Location"] == "/button/"


class TestDisconnecting:
    @pytest.mark.parametrize("path", DISCONNECTS)
    def test_in_an_old_session_nothing_ends_before_the_owner_proves_who_they_are(
        self, connected, provider, path, heard
    ):
        answer = steal(connected).post(path, headers={"Referer": f"{connected.site}/button/"})
        assert_asks_for_proof(answer, "/button/")
        assert Connection.objects.exists()
        assert UserSocialAuth.objects.exists()
        connected.post("/admin/login/", {"username": "owner", "password": "pw"})
        assert connected.post(path).status_code == 302
        assert not Connection.objects.exists()
        assert heard == [("ended", "owner", "owner")]

    def test_who_signs_in_with_the_provider_alone_proves_it_there(self, visitor, provider):
        visitor.sign_in()
        age(visitor)
        answer = visitor.post("/eprospera/disconnect/")
        assert_asks_for_proof(answer, "/account/")
        page = visitor.get(answer.headers["Location"])
        for field in ('name="prompt" value="login"', 'name="max_age" value="300"', 'name="next" value="/account/"'):
            assert field in page.text
        done = visitor.sign_in(prompt="login", max_age="300", next="/account/")
        assert done.headers["Location"] == "/account/"
        assert visitor.post("/eprospera/disconnect/").headers["Location"] == "/account/"
        assert not Connection.objects.exists()

    def test_single_sign_on_from_long_ago_proves_nothing_now(self, visitor, provider):
        provider.claims = lambda claims: claims | {"auth_time": claims["auth_time"] - 3600}
        visitor.sign_in()
        assert_asks_for_proof(visitor.post("/eprospera/disconnect/"), "/account/")

    @pytest.mark.parametrize("path", DISCONNECTS)
    def test_a_thief_does_not_take_the_owners_place(self, connected, provider, path):
        """The whole attack: end the owner's connection, link an identity, sign in with it, pass the gate."""
        thief = steal(connected)
        provider.person["sub"] = "thief"
        thief.post(path)
        thief.sign_in(prompt="login", max_age="300")
        assert thief.get("/guarded/").status_code == 302
        assert not UserSocialAuth.objects.filter(uid__endswith=" thief").exists()
        elsewhere = Visitor(connected.site)
        elsewhere.sign_in()
        assert elsewhere.whoami() not in {"", "owner"}


class TestTheGate:
    def test_an_identity_that_a_sites_own_step_linked_opens_no_gate(self, visitor, provider, settings):
        get_user_model().objects.create_user("owner", provider.person["email"], "pw")
        join = "tests.sign_in.steps.join_by_email"
        settings.SOCIAL_AUTH_PIPELINE = [*steps.DEFAULT[:5], join, *steps.DEFAULT[5:]]
        visitor.sign_in()
        assert visitor.whoami() == "owner"
        assert visitor.get("/guarded/").status_code == 302
        visitor.sign_in(prompt="login", max_age="300")
        assert visitor.get("/guarded/").status_code == 302

    def test_an_identity_that_was_linked_with_proof_opens_it_at_its_next_sign_in(self, connected):
        connected.sign_in()
        assert connected.get("/guarded/").status_code == 200


class TestTheOwnerIsTold:
    def test_nobody_by_default(self, connected, mailoutbox):
        assert mailoutbox == []

    @pytest.mark.parametrize(
        ("language", "linked", "ended"),
        [
            (
                "en",
                "An e-Próspera identity was linked to your account",
                "Your account was disconnected from e-Próspera",
            ),
            ("es", "Se vinculó una identidad de e-Próspera a su cuenta", "Su cuenta se desconectó de e-Próspera"),
        ],
    )
    def test_by_email_where_the_site_asks_for_it(self, site, provider, settings, mailoutbox, language, linked, ended):
        settings.EPROSPERA_NOTIFY_OWNER = True
        visitor = Visitor(site, language)
        log_in(visitor, "owner")
        visitor.sign_in()
        visitor.post("/eprospera/disconnect/")
        assert [(message.subject, message.to) for message in mailoutbox] == [
            (linked, ["owner@example.test"]), (ended, ["owner@example.test"]),
        ]  # fmt: skip
        assert all("owner" in message.body for message in mailoutbox)
        assert not any(provider.person["sub"] in message.body for message in mailoutbox)

    def test_a_mail_server_that_is_down_costs_a_line_in_the_log(self, visitor, provider, settings, caplog):
        settings.EPROSPERA_NOTIFY_OWNER = True
        smtp, nobody_listens = "django.core.mail.backends.smtp.EmailBackend", 1
        if django.VERSION >= (6, 1):
            settings.MAILERS = {"default": {"BACKEND": smtp, "OPTIONS": {"host": "127.0.0.1", "port": nobody_listens}}}
        else:
            settings.EMAIL_BACKEND, settings.EMAIL_PORT = smtp, nobody_listens
        log_in(visitor, "owner")
        assert visitor.sign_in().status_code == 302
        assert "could not be sent" in caplog.text
        assert Connection.objects.exists()
        assert not hasattr(mail, "outbox") or mail.outbox == []


class TestOtherSessions:
    URL = "/eprospera/other-sessions/"

    def second_browser(self, visitor):
        other = Visitor(visitor.site)
        other.post("/admin/login/", {"username": "owner", "password": "pw"})
        assert other.whoami() == "owner"
        return other

    def test_end_from_the_page_that_asked_for_proof(self, connected):
        other = self.second_browser(connected)
        assert self.URL in connected.get(PROVE).text
        assert_asks_for_proof(connected.post(self.URL), "/account/")
        assert connected.get(self.URL).headers["Location"].startswith(PROVE)
        connected.post("/admin/login/", {"username": "owner", "password": "pw"})
        assert "End all other sessions" in text_of(connected.get(self.URL))
        assert connected.post(self.URL).status_code == 302
        assert (connected.whoami(), other.whoami()) == ("owner", "")

    def test_of_other_users_go_on(self, connected, provider):
        provider.person["sub"] = "somebody-else"
        stranger = Visitor(connected.site)
        stranger.sign_in()
        connected.post("/admin/login/", {"username": "owner", "password": "pw"})
        connected.post(self.URL)
        assert stranger.whoami() != ""

    @pytest.mark.parametrize("engine", ["db", "cached_db", "cache", "file", "signed_cookies"])
    @pytest.mark.parametrize("password", ["pw", None])
    def test_end_or_the_page_says_why_not_whatever_keeps_them(self, db, settings, tmp_path, engine, password):
        settings.ROOT_URLCONF = "tests.sign_in.urls"
        settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
        settings.SESSION_FILE_PATH = tmp_path
        user = get_user_model().objects.create_user("owner", password=password)
        mine, other = Client(), Client()  # the site on the port has its engine already
        for client in (mine, other):
            client.force_login(user)
        page = mine.post(self.URL)
        assert whoami(mine) == "owner"
        if password is None or "db" in engine:
            assert (page.status_code, whoami(other)) == (302, "")
        else:
            assert (page.status_code, whoami(other)) == (409, "owner")
            assert "Change your password" in page.content.decode()
