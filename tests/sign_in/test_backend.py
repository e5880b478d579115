"""The honest sign-in, against the sandbox: what is asked for, what is stored, what a second one changes, how it ends."""

import json
import time
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import connection as database
from django.utils import timezone
from social_django.models import Association, Nonce, Partial, UserSocialAuth

from django_eprospera.models import Connection
from django_eprospera.prune import prune_sign_ins
from tests.sandbox_process import LUCIA
from tests.sign_in.refusal import log_in, logged
from tests.visitor import Visitor, query_of, text_of


@pytest.fixture
def visitor(site, sandbox):
    return Visitor(site)


def return_of(visitor, sandbox, persona=LUCIA, answer="allow", **fields):
    """Begin, sign in and consent at the sandbox; the answer at the callback."""
    begun = visitor.begin(**fields)
    assert begun.status_code == 302, begun.text
    reached = sandbox.walk(query_of(begun.headers["Location"]), persona, answer=answer)
    return visitor.get("/complete/eprospera/", params=reached)


def session_of(visitor):
    return Session.objects.get(session_key=visitor.session_key).get_decoded()


def everything_in(model):
    """All rows of a table as they lie there."""
    with database.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {model._meta.db_table}")
        return str(cursor.fetchall())


def test_the_request_carries_state_nonce_and_pkce(visitor, sandbox):
    query = query_of(visitor.begin().headers["Location"])
    assert query.keys() == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method",
    }  # fmt: skip
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == f"{visitor.site}/complete/eprospera/"
    other = query_of(visitor.begin().headers["Location"])
    assert not {query[name] for name in ("state", "nonce", "code_challenge")} & set(other.values())


@pytest.mark.parametrize(
    ("setting", "asked"),
    [
        ("profile email", "openid profile email"),
        ("email openid  profile email", "openid email profile"),
        (["profile", "openid"], "openid profile"),
        (("profile email", "offline_access"), "openid profile email offline_access"),
        ("", "openid"),
    ],
)
def test_the_scope_is_the_setting_and_always_openid(visitor, sandbox, settings, setting, asked):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = setting
    assert query_of(visitor.begin().headers["Location"])["scope"] == asked


def test_a_site_can_add_parameters_but_not_change_ours(visitor, sandbox, settings):
    settings.SOCIAL_AUTH_EPROSPERA_AUTH_EXTRA_ARGUMENTS = {"login_hint": "a&b=c", "state": "planted", "prompt": "none"}
    query = query_of(visitor.begin(prompt="consent").headers["Location"])
    assert query["login_hint"] == "a&b=c"
    assert query["state"] != "planted"
    assert query["prompt"] == "consent"


@pytest.mark.parametrize("prompt", ["none", "select_account", "login consent", "<script>"])
def test_only_known_prompts_are_passed_on(visitor, sandbox, prompt):
    assert "prompt" not in query_of(visitor.begin(prompt=prompt).headers["Location"])


@pytest.mark.parametrize("max_age", ["-1", "x", "1.5", "9" * 20, "٣"])
def test_only_a_number_of_seconds_is_passed_on(visitor, sandbox, max_age):
    assert "max_age" not in query_of(visitor.begin(max_age=max_age).headers["Location"])


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_the_client_authenticates_by_one_method(visitor, sandbox, settings, method):
    """The secret has characters that each method encodes in its own way; the sandbox refuses two methods at once."""
    settings.EPROSPERA_TOKEN_AUTH_METHOD = method
    assert return_of(visitor, sandbox).status_code == 302
    assert visitor.whoami() != ""


def test_the_tables_of_python_social_auth_hold_issuer_and_sub_and_nothing_else(visitor, sandbox):
    return_of(visitor, sandbox)
    kept = UserSocialAuth.objects.values_list("provider", "uid", "extra_data")
    assert list(kept) == [("eprospera", f"{sandbox.url} {LUCIA}", {"proof": "sign_up"})]
    assert not Nonce.objects.exists()
    assert not Association.objects.exists()
    assert not Partial.objects.exists()


def test_the_tokens_lie_sealed_and_nowhere_else(visitor, sandbox):
    return_of(visitor, sandbox)
    row = Connection.objects.get()
    assert (row.user.get_username(), row.sub, row.issuer) == (visitor.whoami(), LUCIA, sandbox.url)
    assert row.scopes == {"openid", "profile", "email", "offline_access"}
    assert sandbox.get("/api/oauth/userinfo", row.access_token).json()["sub"] == LUCIA
    for model in (Connection, UserSocialAuth, get_user_model()):
        assert str(row.access_token) not in everything_in(model)
        assert str(row.refresh_token) not in everything_in(model)
    session = json.dumps(session_of(visitor))
    for secret in (row.access_token, row.refresh_token, "Lucía", "Luc\\u00eda", "lucia.ejemplo@example.test", LUCIA):
        assert str(secret) not in session


def test_a_pending_sign_in_lies_sealed_in_the_session(visitor, sandbox):
    query = query_of(visitor.begin(next="/button/?canary").headers["Location"])
    session = json.dumps(session_of(visitor))
    assert query["state"] in session
    assert query["nonce"] not in session
    assert "canary" not in session


def test_the_user_is_made_of_what_the_setting_names(visitor, sandbox, settings):
    return_of(visitor, sandbox)
    user = get_user_model().objects.get()
    assert (user.first_name, user.last_name, user.email) == ("Lucía", "Ejemplo", "lucia.ejemplo@example.test")
    assert not user.has_usable_password()
    for datum in ("luc", "ejemplo", LUCIA[:8]):
        assert datum not in user.username.lower()


@pytest.mark.parametrize("fields", [(), ("email",), ("first_name",), ("last_name", "email")])
def test_what_the_setting_does_not_name_is_not_copied(visitor, sandbox, settings, fields):
    settings.EPROSPERA_USER_FIELDS = fields
    return_of(visitor, sandbox)
    user = get_user_model().objects.get()
    copied = {name for name in ("email", "first_name", "last_name") if getattr(user, name)}
    assert copied == set(fields)


def test_a_second_sign_in_is_the_same_user_with_the_names_of_today_and_the_email_of_then(visitor, sandbox, site):
    return_of(visitor, sandbox)
    get_user_model().objects.update(first_name="Old", email="old@example.test")
    other = Visitor(site)
    return_of(other, sandbox)
    user = get_user_model().objects.get()
    assert other.whoami() == visitor.whoami() == user.username
    assert (user.first_name, user.email) == ("Lucía", "old@example.test")


def test_a_sign_in_heals_a_connection_whose_grant_was_gone(visitor, sandbox, site):
    return_of(visitor, sandbox)
    Connection.objects.update(state=Connection.State.REAUTHORIZE, state_cause="invalid_grant")
    before = Connection.objects.get()
    return_of(Visitor(site), sandbox)
    after = Connection.objects.get()
    assert (after.pk, after.state, after.state_cause) == (before.pk, "active", "")
    assert after.refresh_token != before.refresh_token


def test_whoever_is_signed_in_can_consent_again(visitor, sandbox, settings):
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = "openid"
    return_of(visitor, sandbox)
    name, session = visitor.whoami(), visitor.session_key
    settings.SOCIAL_AUTH_EPROSPERA_SCOPE = "openid eprospera:entity.read"
    answer = return_of(visitor, sandbox, prompt="consent", next="/button/")
    assert answer.headers["Location"] == "/button/"
    assert visitor.whoami() == name
    assert visitor.session_key != session
    assert Connection.objects.get().scopes == {"openid", "eprospera:entity.read"}


def test_a_local_user_can_connect(visitor, sandbox):
    log_in(visitor, "local")
    return_of(visitor, sandbox)
    assert visitor.whoami() == "local"
    assert Connection.objects.get().user.username == "local"


def test_each_of_two_tabs_leads_where_it_was_begun(visitor, sandbox):
    first = visitor.begin(next="/button/?first")
    second = visitor.begin(next="/button/?second")
    for begun, target in ((second, "/button/?second"), (first, "/button/?first")):
        reached = sandbox.walk(query_of(begun.headers["Location"]), LUCIA)
        assert visitor.get("/complete/eprospera/", params=reached).headers["Location"] == target


def test_the_target_of_an_earlier_sign_in_is_forgotten(visitor, sandbox):
    return_of(visitor, sandbox, next="/button/?first")
    assert return_of(visitor, sandbox).headers["Location"] == "/account/"


def test_a_person_who_denies_leaves_nothing_behind(visitor, sandbox):
    page = return_of(visitor, sandbox, answer="deny", next="/button/")
    assert page.status_code == 403
    assert "You did not allow the sign-in" in text_of(page)
    assert not get_user_model().objects.exists()
    assert not Nonce.objects.exists()
    assert visitor.whoami() == ""


def test_a_wrong_secret_is_a_page_that_says_whose_fault_it_is(visitor, sandbox, settings, caplog):
    settings.SOCIAL_AUTH_EPROSPERA_SECRET = "canary-wrong-secret"
    page = return_of(visitor, sandbox)
    assert page.status_code == 500
    assert "not set up correctly" in text_of(page)
    assert "reason=invalid_client" in caplog.text
    assert "canary-wrong-secret" not in page.text + caplog.text
    assert not get_user_model().objects.exists()


def test_a_list_of_addresses_admits_verified_ones_only(site, provider, settings, caplog):
    """Here the person's word for an address would be enough to get in."""
    settings.SOCIAL_AUTH_WHITELISTED_DOMAINS = ["example.test"]
    visitor = Visitor(site)
    provider.person["email_verified"] = False
    assert visitor.sign_in().status_code == 403
    assert "reason=authentication_disallowed" in caplog.text
    assert not get_user_model().objects.exists()
    provider.person["email_verified"] = True
    assert visitor.sign_in().status_code == 302


def test_what_a_site_chose_for_other_providers_does_not_loosen_ours(site, provider, settings):
    settings.SOCIAL_AUTH_ID_KEY = "email"
    settings.SOCIAL_AUTH_LEGACY_ID_KEYS = ["email"]
    settings.SOCIAL_AUTH_USE_PKCE = False
    settings.SOCIAL_AUTH_PKCE_CODE_CHALLENGE_METHOD = "plain"
    settings.SOCIAL_AUTH_GET_ALL_EXTRA_DATA = True
    settings.SOCIAL_AUTH_EXTRA_DATA = ["access_token", "email"]
    settings.SOCIAL_AUTH_SCOPE = ["everything"]
    settings.SOCIAL_AUTH_JWT_ALGORITHMS = ["HS256"]
    visitor = Visitor(site)
    begun = visitor.begin()
    query = query_of(begun.headers["Location"])
    assert (query["code_challenge_method"], "everything" in query["scope"]) == ("S256", False)
    assert visitor.get(visitor.visit_provider(begun)).status_code == 302
    assert list(UserSocialAuth.objects.values_list("uid", "extra_data")) == [
        (f"{provider.url} {provider.person['sub']}", {"proof": "sign_up"})
    ]


def test_a_site_with_a_transaction_around_each_request_signs_in_too(visitor, sandbox, monkeypatch):
    monkeypatch.setitem(database.settings_dict, "ATOMIC_REQUESTS", True)
    assert return_of(visitor, sandbox).status_code == 302
    assert visitor.whoami() == Connection.objects.get().user.username


# Abandoned sign-ins


def test_one_browser_has_five_pending_sign_ins_at_most(visitor, sandbox):
    begun = [visitor.begin() for _ in range(8)]
    states = [query_of(answer.headers["Location"])["state"] for answer in begun]
    assert set(Nonce.objects.values_list("salt", flat=True)) == set(states[-5:])
    assert sum(name.startswith("eprospera_oauth2_state_") for name in session_of(visitor)) == 5
    reached = sandbox.walk(query_of(begun[3].headers["Location"]), LUCIA)
    assert visitor.get("/complete/eprospera/", params=reached).status_code == 302


def abandoned(count):
    old = int(time.time()) - 1801
    scope = "social_core.oauth2.eprospera"
    Nonce.objects.bulk_create(Nonce(server_url=scope, timestamp=old, salt=f"old-{n}") for n in range(count))


def test_pruning_clears_all_that_is_too_old_and_nothing_else(visitor, sandbox):
    visitor.begin()
    abandoned(250)
    Nonce.objects.create(server_url="another provider", timestamp=1, salt="x")
    Partial.objects.create(token="1", backend="eprospera", data={})
    Partial.objects.create(token="2", backend="eprospera", data={})
    Partial.objects.create(token="3", backend="another", data={})
    Partial.objects.exclude(token="1").update(timestamp=timezone.now() - timedelta(days=2))
    assert prune_sign_ins() == 251
    assert Nonce.objects.count() == 2
    assert set(Partial.objects.values_list("token", flat=True)) == {"1", "3"}
    assert prune_sign_ins() == 0


def put_back(visitor, seconds, **more):
    """As if this browser's session had been saved earlier; adds to it what a site might."""
    row = Session.objects.get(session_key=visitor.session_key)
    store = Session.get_session_store_class()()
    row.session_data = store.encode(row.get_decoded() | more)
    row.expire_date -= timedelta(seconds=seconds)
    row.save()


def test_pruning_clears_the_sessions_of_sign_ins_that_were_only_begun(site, sandbox):
    """500 anonymous clicks on the button leave 500 sessions: until the next run, and not for two weeks."""
    abandoned, with_a_cart, under_way, signed_in = (Visitor(site) for _ in range(4))
    for visitor in (abandoned, with_a_cart, under_way, signed_in):
        visitor.begin(next="/button/")
    return_of(signed_in, sandbox)
    signed_in.begin()
    put_back(abandoned, 1801)
    put_back(with_a_cart, 1801, cart=[1])
    put_back(signed_in, 1801)
    kept = {visitor.session_key for visitor in (with_a_cart, under_way, signed_in)}
    prune_sign_ins()
    assert set(Session.objects.values_list("session_key", flat=True)) == kept


@pytest.mark.parametrize("engine", ["cached_db", "cache", "file", "signed_cookies"])
def test_pruning_works_whatever_keeps_the_sessions(db, settings, engine):
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert prune_sign_ins() == 0


# Disconnecting through python-social-auth


def test_disconnecting_ends_the_connection_and_gives_the_tokens_back(visitor, sandbox):
    log_in(visitor, "local")
    return_of(visitor, sandbox)
    token = Connection.objects.get().access_token
    assert visitor.post("/disconnect/eprospera/").status_code == 302
    assert not UserSocialAuth.objects.exists()
    assert not Connection.objects.exists()
    assert sandbox.get("/api/oauth/userinfo", token).status_code == 401
    assert visitor.whoami() == "local"


def test_the_only_way_to_sign_in_is_not_disconnected(visitor, sandbox, caplog):
    return_of(visitor, sandbox)
    page = visitor.post("/disconnect/eprospera/")
    assert page.status_code == 403
    assert "your only way to sign in" in text_of(page)
    assert "reason=disconnect_disallowed stage=disconnect" in logged(caplog)
    assert "<button" not in page.text
    assert Connection.objects.exists()


def test_disconnecting_another_users_association_ends_nothing(visitor, sandbox, site):
    return_of(visitor, sandbox)
    theirs = UserSocialAuth.objects.get()
    stranger = Visitor(site)
    log_in(stranger, "stranger")
    stranger.post(f"/disconnect/eprospera/{theirs.pk}/")
    assert Connection.objects.exists()
    assert UserSocialAuth.objects.exists()
