"""A browser that does not play along: states and codes of others, links, forms and targets that somebody made up."""

import time
from urllib.parse import urlsplit

import pytest
from django.contrib.sessions.models import Session
from social_django.models import Nonce

from django_eprospera.models import Connection
from tests.sign_in.refusal import assert_nothing_happened, changed, logged
from tests.visitor import Visitor, query_of, text_of


def test_a_return_without_state_is_refused(visitor, provider, caplog):
    address = visitor.visit_provider(visitor.begin())
    page = visitor.get("/complete/eprospera/", params={"code": query_of(address)["code"]})
    assert_nothing_happened(visitor, caplog, provider, page, "missing_parameter")
    assert page.status_code == 400


@pytest.mark.parametrize("state", ["wrong", "x" * 200, "x" * 20_000, "ñ", "a b", "../..", "%ff"])
def test_a_return_with_a_state_that_was_never_given_is_refused(visitor, provider, caplog, state):
    address = visitor.visit_provider(visitor.begin())
    page = visitor.get("/complete/eprospera/", params=query_of(address) | {"state": state})
    reason = "session_context_missing" if len(state) < 128 else "state_mismatch"
    assert_nothing_happened(visitor, caplog, provider, page, reason)
    assert "/token" not in provider.calls


def test_a_return_that_is_opened_twice_counts_once(visitor, provider, caplog):
    address = visitor.visit_provider(visitor.begin())
    assert visitor.get(address).status_code == 302
    name = visitor.whoami()
    again = visitor.get(address)
    assert again.status_code == 403
    assert "reason=session_context_missing stage=callback" in caplog.text
    assert "You are still signed in here." in text_of(again)
    assert visitor.whoami() == name
    assert provider.calls.count("/token") == 1
    assert Connection.objects.count() == 1


def test_a_state_serves_once_even_when_the_session_still_holds_it(visitor, provider, caplog):
    """Two returns at the same instant read the same session; the row in the database decides."""
    address = visitor.visit_provider(visitor.begin())
    Nonce.objects.all().delete()
    assert_nothing_happened(visitor, caplog, provider, visitor.get(address), "state_mismatch")
    assert "/token" not in provider.calls


def test_the_state_of_another_browser_is_refused(visitor, provider, caplog, site):
    """Login CSRF: the victim's browser is sent to the attacker's return address."""
    attacker = Visitor(site)
    address = attacker.visit_provider(attacker.begin())
    visitor.begin()
    assert_nothing_happened(visitor, caplog, provider, visitor.get(address), "session_context_missing")
    assert attacker.get(address).status_code == 302  # it was not spent by the victim's browser either


def test_a_return_without_any_session_is_refused(visitor, provider, caplog, site):
    address = visitor.visit_provider(visitor.begin())
    stranger = Visitor(site)
    assert_nothing_happened(stranger, caplog, provider, stranger.get(address), "session_context_missing")


@pytest.mark.parametrize("checks_pkce", [True, False], ids=["pkce-holds", "nonce-holds"])
def test_the_code_of_another_browser_is_refused(visitor, provider, caplog, site, checks_pkce):
    """Code injection: a stolen code with the attacker's own state. PKCE ends it, and without PKCE the nonce does."""
    provider.checks_pkce = checks_pkce
    victim = Visitor(site)
    stolen = query_of(victim.visit_provider(victim.begin()))["code"]
    state = query_of(visitor.visit_provider(visitor.begin()))["state"]
    page = visitor.get("/complete/eprospera/", params={"code": stolen, "state": state})
    assert_nothing_happened(visitor, caplog, provider, page, "invalid_grant" if checks_pkce else "nonce")
    assert page.status_code == (403 if checks_pkce else 400)


def test_a_sign_in_that_took_too_long_is_refused(visitor, provider, caplog):
    address = visitor.visit_provider(visitor.begin())
    session = Session.objects.get(session_key=visitor.session_key)
    store = session.get_session_store_class()(session.session_key)
    name = next(name for name in store.load() if name.startswith("eprospera_oauth2_state_"))
    store[name] = store[name] | {"timestamp": int(time.time()) - 1801}
    store.save()
    assert_nothing_happened(visitor, caplog, provider, visitor.get(address), "state_mismatch")


@pytest.mark.parametrize("name", ["state", "code", "error", "iss"])
def test_a_parameter_that_comes_twice_is_refused_and_spends_nothing(visitor, provider, caplog, name):
    address = visitor.visit_provider(visitor.begin())
    page = visitor.get(f"{address}&{name}=one&{name}=two")
    assert_nothing_happened(visitor, caplog, provider, page, "duplicate_parameter")
    assert visitor.get(address).status_code == 302


CODES = {
    "missing": (lambda query: {"state": query["state"]}, "missing_parameter"),
    "empty": (lambda query: query | {"code": ""}, "missing_parameter"),
    "very-long": (lambda query: query | {"code": "x" * 3000}, "invalid_parameter"),
    "with-a-line-break": (lambda query: query | {"code": "a\r\nb"}, "invalid_parameter"),
    "not-ascii": (lambda query: query | {"code": "ñ"}, "invalid_parameter"),
    "made-up": (lambda query: query | {"code": "made-up"}, "invalid_grant"),
}


@pytest.mark.parametrize(("change", "reason"), CODES.values(), ids=CODES)
def test_a_code_that_cannot_be_one_is_refused(visitor, provider, caplog, change, reason):
    query = query_of(visitor.visit_provider(visitor.begin()))
    page = visitor.get("/complete/eprospera/", params=change(query))
    assert_nothing_happened(visitor, caplog, provider, page, reason)
    assert ("/token" in provider.calls) == (reason == "invalid_grant")


ERRORS = {
    "access_denied": ("access_denied", 403),
    "invalid_scope": ("client_refused", 400),
    "unauthorized_client": ("client_refused", 400),
    "server_error": ("provider_unavailable", 400),
    "temporarily_unavailable": ("provider_unavailable", 400),
    "login_required": ("provider_error", 400),
    "<script>alert(1)</script>": ("provider_error", 400),
    "x" * 5000: ("provider_error", 400),
}


@pytest.mark.parametrize(("error", "reason", "status"), [(e, *r) for e, r in ERRORS.items()], ids=lambda v: str(v)[:20])
def test_an_error_that_the_browser_brings_is_a_page_and_no_fault_of_ours(
    visitor, provider, caplog, settings, error, reason, status
):
    """It has a valid state, and may be the visitor's own: nobody is called out of bed for it."""
    settings.EPROSPERA_PROVIDER_ERROR_STATUS = 422  # for the provider's own faults
    provider.redirect = lambda answer: {
        "state": answer["state"],
        "error": error,
        "error_description": "canary-description",
    }
    page = visitor.sign_in(next="/button/")
    assert_nothing_happened(visitor, caplog, provider, page, reason)
    assert page.status_code == status
    assert {record.levelname for record in caplog.records if record.name == "django_eprospera.sign_in"} == {"WARNING"}
    assert "canary-description" not in page.text + logged(caplog)
    assert "<script>" not in page.text
    assert error not in logged(caplog) or error == reason
    assert 'name="next" value="/button/"' in page.text


def test_an_error_without_a_state_is_nobodys(visitor, provider, caplog):
    address = visitor.visit_provider(visitor.begin())
    page = visitor.get("/complete/eprospera/", params={"error": "access_denied"})
    assert_nothing_happened(visitor, caplog, provider, page, "missing_parameter")
    assert visitor.get(address).status_code == 302


def test_an_error_with_a_foreign_state_ends_nobodys_sign_in(visitor, provider, caplog, site):
    address = visitor.visit_provider(visitor.begin())
    other = Visitor(site)
    foreign = {"error": "access_denied", "state": query_of(address)["state"]}
    page = other.get("/complete/eprospera/", params=foreign)
    assert_nothing_happened(other, caplog, provider, page, "session_context_missing")
    assert visitor.get(address).status_code == 302


def test_a_return_in_the_name_of_another_issuer_is_refused(visitor, provider, caplog):
    provider.redirect = lambda answer: answer | {"iss": "https://elsewhere.example"}
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), "iss")
    assert "/token" not in provider.calls


def test_a_return_in_nobodys_name_is_refused_where_the_provider_promises_one(visitor, provider, caplog):
    provider.discovery = changed(authorization_response_iss_parameter_supported=True)
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), "iss")


def test_a_return_by_post_is_refused(visitor, provider, caplog):
    """We ask for `query`; a form from elsewhere is not it."""
    query = query_of(visitor.visit_provider(visitor.begin()))
    page = visitor.post("/complete/eprospera/", query)
    assert_nothing_happened(visitor, caplog, provider, page, "missing_parameter")


@pytest.mark.parametrize("parameter", ["partial_token", "state", "code", "next", "sub"])
def test_a_nul_character_is_a_bad_request(visitor, provider, caplog, parameter):
    assert visitor.get("/complete/eprospera/", params={parameter: "a\0b"}).status_code == 400
    assert visitor.whoami() == ""


def test_a_made_up_partial_token_resumes_nothing(visitor, provider, caplog):
    answer = visitor.get("/complete/eprospera/", params={"partial_token": "0" * 32, "state": "x", "code": "y"})
    assert answer.status_code == 302
    assert visitor.whoami() == ""


def test_a_sign_in_cannot_be_begun_by_a_link(visitor, provider):
    page = visitor.get("/login/eprospera/")
    assert (page.status_code, "Location" in page.headers) == (200, False), "the page with the button"
    assert not Nonce.objects.exists()


def test_a_sign_in_cannot_be_begun_from_another_site(visitor, provider):
    visitor.csrf_token()
    answer = visitor.http.post(visitor.absolute("/login/eprospera/"), allow_redirects=False, timeout=60)
    assert answer.status_code == 403
    assert not Nonce.objects.exists()


ELSEWHERE = [
    "https://evil.example/", "//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\\\evil.example",
    "\\/evil.example", "http:evil.example", "https:/evil.example", "https:///evil.example", "http:///\\evil.example",
    "javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "data:text/html,x", "ftp://evil.example",
    "/\t/evil.example", "\t//evil.example", "/\n/evil.example", "http://127.0.0.1@evil.example/", "evil.example",
    "https://evil.example\\@127.0.0.1/", "//evil.example:80\\@127.0.0.1", "/x\r\nSet-Cookie: a=b", "\u2028//evil.example",
    "/" + "x" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("target", ELSEWHERE, ids=lambda target: target[:30].encode("unicode_escape").decode())
def test_next_leads_nowhere_but_into_this_site(visitor, provider, target):
    answer = visitor.sign_in(next=target)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("/account/")
    assert "evil" not in urlsplit(answer.headers["Location"]).netloc
    assert "Set-Cookie: a=b" not in str(answer.headers)


@pytest.mark.parametrize("target", ELSEWHERE[:12], ids=lambda target: target[:30])
def test_a_next_that_the_provider_adds_leads_nowhere_but_into_this_site(visitor, provider, target):
    provider.redirect = lambda answer: answer | {"next": target}
    answer = visitor.sign_in()
    assert answer.status_code == 302
    assert urlsplit(answer.headers["Location"]).netloc == ""
    assert answer.headers["Location"].startswith("/account/")


def test_the_session_is_a_new_one_after_the_sign_in(visitor, provider, site):
    """Session fixation: what the attacker had planted is worth nothing."""
    visitor.begin()
    planted = visitor.session_key
    visitor.sign_in()
    assert visitor.whoami() != ""
    assert visitor.session_key != planted
    attacker = Visitor(site)
    attacker.http.cookies.set("sessionid", planted)
    assert attacker.whoami() == ""
