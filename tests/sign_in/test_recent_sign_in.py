"""The gate for sensitive actions: through `prompt=login`, back with an `auth_time` that proves it, and not otherwise."""

import time
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.models import Session

from django_eprospera.models import Connection
from tests.sign_in.refusal import changed, log_in, without
from tests.visitor import Visitor, query_of, text_of


def confirm_page(target):
    return f"/eprospera/confirm-sign-in/?{urlencode({'next': target})}"


def age_session(visitor, seconds):
    """As if the session's sign-in had been earlier."""
    session = Session.objects.get(session_key=visitor.session_key)
    store = session.get_session_store_class()(session.session_key)
    store["eprospera_auth_time"] -= seconds
    store.save()


def long_ago(provider, seconds=3600):
    """The provider knows the person from an earlier sign-in: single sign-on."""
    provider.claims = lambda claims: claims | {"auth_time": claims["auth_time"] - seconds}


def confirm(visitor, page):
    """Press the button of the page."""
    assert page.status_code == 200
    return visitor.begin(next=query_of(page.url)["next"], prompt="login", max_age="300")


def test_who_has_just_signed_in_passes(visitor, provider):
    visitor.sign_in()
    assert visitor.get("/guarded/").text == "guarded GET"
    assert visitor.post("/guarded/").text == "guarded POST"
    assert visitor.get("/guarded-class/").text == "guarded class"


@pytest.mark.parametrize("path", ["/guarded/?a=1&b=%2F", "/guarded-class/?a=1"])
def test_who_signed_in_long_ago_is_asked_and_comes_back(visitor, provider, path):
    long_ago(provider)
    visitor.sign_in()
    answer = visitor.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (302, confirm_page(path))
    page = visitor.get(answer.headers["Location"])
    assert "Please confirm that it is you" in text_of(page)
    for field in ('name="prompt" value="login"', 'name="max_age" value="300"'):
        assert field in page.text
    provider.claims = lambda claims: claims
    begun = confirm(visitor, page)
    asked = query_of(begun.headers["Location"])
    assert (asked["prompt"], asked["max_age"]) == ("login", "300")
    session = visitor.session_key
    done = visitor.get(visitor.visit_provider(begun))
    assert done.headers["Location"] == path
    assert visitor.session_key != session
    assert visitor.get(path).status_code == 200


def test_a_sign_in_grows_old(visitor, provider):
    visitor.sign_in()
    age_session(visitor, 31)
    assert visitor.get("/closely-guarded/").status_code == 302
    assert visitor.get("/guarded/").status_code == 200
    age_session(visitor, 300)
    assert visitor.get("/guarded/").status_code == 302


def test_a_sign_in_in_the_future_counts_for_nothing(visitor, provider):
    visitor.sign_in()
    age_session(visitor, -100)
    assert visitor.get("/guarded/").status_code == 302


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(lambda claims: claims | {"auth_time": claims["auth_time"] - 400}, id="older-than-asked"),
        pytest.param(lambda claims: claims | {"auth_time": claims["auth_time"] - 100}, id="from-before-the-question"),
        pytest.param(without("auth_time"), id="not-said"),
        pytest.param(changed(auth_time=None), id="null"),
    ],
)
def test_an_answer_that_does_not_prove_a_fresh_sign_in_is_refused(visitor, provider, caplog, claims):
    visitor.sign_in()
    name = visitor.whoami()
    age_session(visitor, 3600)
    provider.claims = claims
    page = visitor.sign_in(prompt="login", max_age="300", next="/guarded/")
    assert page.status_code == 403
    assert "reason=not_fresh" in caplog.text
    assert 'name="prompt" value="login"' in page.text
    assert visitor.whoami() == name
    assert visitor.get("/guarded/").status_code == 302


def test_a_maximum_age_alone_is_checked_too(visitor, provider, caplog):
    long_ago(provider, 1000)
    assert visitor.sign_in(max_age="2000").status_code == 302
    assert visitor.sign_in(max_age="500").status_code == 403


def test_a_provider_that_never_says_when_opens_no_gate(visitor, provider):
    provider.claims = without("auth_time")
    assert visitor.sign_in().status_code == 302
    assert Connection.objects.get().auth_time is not None
    assert visitor.get("/guarded/").status_code == 302


def test_another_person_does_not_confirm(visitor, provider, site):
    long_ago(provider)
    visitor.sign_in()
    provider.claims = lambda claims: claims
    provider.person["sub"] = "another-person"
    assert visitor.sign_in(prompt="login", max_age="300").status_code == 409
    assert visitor.get("/guarded/").status_code == 302


def test_a_password_sign_in_is_no_sign_in_at_the_provider(visitor, provider):
    log_in(visitor, "local")
    assert visitor.get("/guarded/").status_code == 302


def test_what_one_user_proved_is_not_the_next_ones(visitor, provider):
    visitor.sign_in()
    assert visitor.get("/guarded/").status_code == 200
    log_in(visitor, "local")
    assert visitor.whoami() == "local"
    assert visitor.get("/guarded/").status_code == 302


def test_a_password_sign_in_of_the_same_user_is_none_either(visitor, provider):
    visitor.sign_in()
    user = Connection.objects.get().user
    user.is_staff = True
    user.set_password("pw")
    user.save()
    visitor = Visitor(visitor.site)
    visitor.sign_in()
    assert visitor.get("/guarded/").status_code == 200
    visitor.post("/admin/login/", {"username": user.username, "password": "pw"})
    assert visitor.whoami() == user.username
    assert visitor.get("/guarded/").status_code == 302


def test_a_later_sign_in_that_proves_less_takes_the_place_of_the_earlier(visitor, provider):
    visitor.sign_in()
    provider.claims = without("auth_time")
    visitor.sign_in()
    assert visitor.get("/guarded/").status_code == 302


def test_who_is_not_signed_in_is_sent_to_the_sign_in(visitor, provider):
    answer = visitor.get("/guarded/?a=1")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/?next=/guarded/%3Fa%3D1")


def test_a_post_comes_back_to_the_page_that_it_was_sent_from(visitor, provider):
    long_ago(provider)
    visitor.sign_in()
    answer = visitor.post("/guarded/", headers={"Referer": f"{visitor.site}/button/?x=1"})
    assert (answer.status_code, answer.headers["Location"]) == (303, confirm_page("/button/?x=1"))


@pytest.mark.parametrize("referer", [None, "https://evil.example/", "{site}/guarded/", "//evil.example", "nonsense"])
def test_a_post_from_nowhere_comes_back_to_the_account(visitor, provider, referer):
    long_ago(provider)
    visitor.sign_in()
    headers = {} if referer is None else {"Referer": referer.format(site=visitor.site)}
    answer = visitor.post("/guarded/", headers=headers)
    assert (answer.status_code, answer.headers["Location"]) == (303, confirm_page("/account/"))


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_the_page_leads_nowhere_but_into_this_site(visitor, provider, target):
    page = visitor.get(confirm_page(target))
    assert 'name="next" value="/account/"' in page.text
    assert "evil" not in page.text


def test_the_page_needs_no_script_and_is_not_kept(visitor, provider):
    page = visitor.get(confirm_page("/guarded/"))
    assert "no-store" in page.headers["Cache-Control"]
    assert "<script" not in page.text
    assert " style=" not in page.text


def test_an_anonymous_visitor_can_use_the_page_as_a_sign_in(site, provider):
    visitor = Visitor(site)
    begun = confirm(visitor, visitor.get(confirm_page("/guarded/")))
    assert visitor.get(visitor.visit_provider(begun)).headers["Location"] == "/guarded/"
    assert visitor.get("/guarded/").status_code == 200
    assert time.time() - Connection.objects.get().auth_time.timestamp() < 300
