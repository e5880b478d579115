"""Tests of the authorization endpoint: errors, response modes, prompts, consent."""

from __future__ import annotations

import json
import re
import time
from html import unescape
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import requests

from tests.sandbox_process import (
    ALL_SCOPES,
    KITES,
    LANTERNS,
    LUCIA,
    NADIA,
    REEF,
    SAMUEL,
    SandboxProcess,
    challenge,
    hidden_fields,
    new_browser,
)  # fmt: skip

AUTHORIZE = "/api/oauth/authorize"


def ask(sandbox, browser=None, **parameters):
    browser = browser or requests.Session()
    return browser.get(
        sandbox.url + AUTHORIZE, params=sandbox.authorize_parameters(**parameters), allow_redirects=False
    )


def parameters_of(response):
    """Return the parameters in a redirect."""
    parts = urlsplit(response.headers["Location"])
    return {name: values[-1] for name, values in parse_qs(parts.query or parts.fragment).items()}


@pytest.mark.parametrize("missing", ["response_type", "client_id", "redirect_uri", "scope", "state"])
def test_a_missing_parameter_is_reported_before_any_redirect(sandbox, missing):
    response = ask(sandbox, **{missing: None}) if missing != "scope" else sandbox.http.get(
        sandbox.url + AUTHORIZE, params=sandbox.authorize_parameters() | {"scope": ""}, allow_redirects=False
    )  # fmt: skip
    assert (response.status_code, response.json()["error"]) == (400, "missing_parameters")
    assert missing in response.json()["error_description"]


@pytest.mark.parametrize(
    ("parameters", "status", "error"),
    [
        ({"nonce": None}, 400, "invalid_request"),
        ({"nonce": ""}, 400, "invalid_request"),
        ({"response_mode": "telegram"}, 400, "invalid_request"),
        ({"client_id": "somebody-else"}, 401, "invalid_client"),
        ({"redirect_uri": "http://localhost:8000/complete/eprospera"}, 400, "invalid_request"),
        ({"redirect_uri": "http://localhost:8000/complete/eprospera/?x=1"}, 400, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:9999/back?from=eprospera&code=mine"}, 400, "invalid_request"),
        ({"redirect_uri": "https://evil.example/"}, 400, "invalid_request"),
        ({"redirect_uri": "javascript:alert(1)"}, 400, "invalid_request"),
    ],
)
def test_a_request_without_a_registered_client_is_not_redirected(sandbox, parameters, status, error):
    response = ask(sandbox, **parameters)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert "Location" not in response.headers


def test_a_repeated_parameter_is_refused(sandbox):
    parameters = [*sandbox.authorize_parameters().items(), ("scope", "openid")]
    response = sandbox.http.get(sandbox.url + AUTHORIZE, params=parameters, allow_redirects=False)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "accept", ["*/*", "text/html", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json"]
)
def test_errors_before_a_redirect_are_json_for_every_client_that_is_not_a_browser(sandbox, accept):
    parameters = sandbox.authorize_parameters(nonce=None)
    response = sandbox.http.get(sandbox.url + AUTHORIZE, params=parameters, headers={"Accept": accept})
    assert (response.status_code, response.headers["Content-Type"]) == (400, "application/json")
    assert response.json() == {"error": "invalid_request", "error_description": "The scope openid needs a nonce"}


def test_a_browser_gets_the_json_inside_a_page_unless_switched_off(sandbox):
    response = ask(sandbox, new_browser(), nonce=None)
    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("text/html")
    shown = json.loads(unescape(re.search(r"<pre>(\{.*?\})</pre>", response.text)[1]))
    sandbox.control("switches", authorize_errors="json")
    bare = ask(sandbox, new_browser(), nonce=None)
    assert (bare.status_code, bare.json()) == (400, shown)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (AUTHORIZE, "GET, HEAD"),
        ("/.well-known/openid-configuration", "GET, HEAD"),
        ("/api/oauth/.well-known/openid-configuration", "GET, HEAD"),
        ("/api/oauth/.well-known/jwks.json", "GET, HEAD"),
        ("/.well-known/jwks.json", "GET, HEAD"),
        ("/api/oauth/token", "POST"),
        ("/api/oauth/revoke", "POST"),
        ("/api/oauth/introspect", "POST"),
        ("/api/oauth/device_authorization", "POST"),
        ("/api/oauth/userinfo", "GET, POST, HEAD"),
        ("/api/v1/me/natural-person", "GET, HEAD"),
        ("/api/v1/me/legal-entities", "GET, HEAD"),
    ],
)
def test_other_methods_are_405_with_allow_and_the_error_envelope(sandbox, path, allowed):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        if method in allowed:
            continue
        response = sandbox.http.request(method, sandbox.url + path, params=sandbox.authorize_parameters())
        assert (response.status_code, response.headers["Allow"]) == (405, allowed)
        assert response.json() == {"error": "Method not allowed"}


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"scopes": "email eprospera:person.tax.read"}, "invalid_scope"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code id_token"}, "unsupported_response_type"),
        ({"code_challenge": "x" * 43, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": "x" * 43}, "invalid_request"),
        ({"code_challenge_method": "S256"}, "invalid_request"),
        ({"code_challenge": "short", "code_challenge_method": "S256"}, "invalid_request"),
        ({"prompt": "none"}, "login_required"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
    ],
)
def test_other_errors_are_sent_to_the_redirect_uri(sandbox, parameters, error):
    response = ask(sandbox, state="kept", **parameters)
    assert response.status_code == 303
    assert response.headers["Location"].startswith(sandbox.redirect_uri + "?")
    assert parameters_of(response)["error"] == error
    assert parameters_of(response)["state"] == "kept"


def test_pkce_is_optional_until_the_switch_requires_it(sandbox):
    assert ask(sandbox).status_code == 307
    sandbox.control("switches", require_pkce="yes")
    assert parameters_of(ask(sandbox))["error"] == "invalid_request"


def test_the_browser_is_sent_to_the_sign_in_page_with_307(sandbox):
    response = ask(sandbox)
    assert response.status_code == 307
    assert response.headers["Location"].startswith("/sign-in?")


def test_consent_redirects_with_code_and_state_and_status_303(sandbox):
    browser = new_browser()
    page = browser.get(sandbox.url + AUTHORIZE, params=sandbox.authorize_parameters(state="a b&c=d/ñ"))
    browser.post(page.url, data=[*hidden_fields(page.text), ("sub", LUCIA)], allow_redirects=False)
    page = browser.get(page.url.replace("/sign-in?", "/consent?"))
    response = browser.post(page.url, data=[*hidden_fields(page.text), ("answer", "allow")], allow_redirects=False)
    assert response.status_code == 303
    assert set(parameters_of(response)) == {"code", "state"}
    assert parameters_of(response)["state"] == "a b&c=d/ñ"


def test_the_redirect_status_can_be_the_older_one(sandbox):
    sandbox.control("switches", redirect_status=302)
    assert ask(sandbox, prompt="none").status_code == 302


def test_denied_consent_is_access_denied(sandbox):
    reached = sandbox.sign_in(answer="deny")
    assert reached["error"] == "access_denied"
    assert "code" not in reached


def test_a_redirect_uri_with_a_query_keeps_it(sandbox):
    reached = sandbox.walk(sandbox.authorize_parameters(redirect_uri=sandbox.redirect_uris[1]))
    assert reached["from"] == "eprospera"
    assert reached["code"] != "mine"
    form = {"grant_type": "authorization_code", "code": reached["code"], "redirect_uri": sandbox.redirect_uris[1]}
    assert sandbox.token(**form).status_code == 200


def test_fragment_mode_puts_the_response_into_the_fragment(sandbox):
    response = ask(sandbox, response_mode="fragment", prompt="none")
    parts = urlsplit(response.headers["Location"])
    assert parts.query == ""
    assert "error=login_required" in parts.fragment
    assert "access_token" in sandbox.sign_in(response_mode="fragment")


def test_form_post_mode_returns_200_with_a_form_that_needs_no_script(sandbox):
    response = ask(sandbox, response_mode="form_post", prompt="none", state='"><script>')
    assert response.status_code == 200
    assert f'action="{sandbox.redirect_uri}"' in response.text
    assert "<button" in response.text
    assert '"><script>' not in response.text
    assert dict(hidden_fields(response.text))["state"] == '"><script>'
    assert "access_token" in sandbox.sign_in(response_mode="form_post")


def test_the_iss_parameter_can_be_switched_on(sandbox):
    assert "iss" not in sandbox.sign_in(answer="deny")
    sandbox.control("switches", iss_parameter="yes")
    assert sandbox.sign_in(answer="deny")["iss"] == sandbox.url
    document = sandbox.get("/.well-known/openid-configuration").json()
    assert document["authorization_response_iss_parameter_supported"] is True


def test_a_signed_in_person_goes_straight_to_the_consent_page(sandbox):
    browser = new_browser()
    sandbox.sign_in(browser=browser)
    response = ask(sandbox, browser)
    assert response.headers["Location"].startswith("/consent?")


@pytest.mark.parametrize("prompt", ["login", "select_account", "login consent"])
def test_prompt_asks_a_signed_in_person_to_sign_in_again_once(sandbox, prompt):
    browser = new_browser()
    sandbox.sign_in(browser=browser)
    assert ask(sandbox, browser, prompt=prompt).headers["Location"].startswith("/sign-in?")
    tokens = sandbox.sign_in(SAMUEL, browser=browser, prompt=prompt)
    assert sandbox.get("/api/oauth/userinfo", tokens["access_token"]).json()["sub"] == SAMUEL


def test_max_age_asks_again_only_when_the_sign_in_is_too_old(sandbox):
    browser = new_browser()
    sandbox.sign_in(browser=browser)
    assert ask(sandbox, browser, max_age="3600").headers["Location"].startswith("/consent?")
    assert ask(sandbox, browser, max_age="0").headers["Location"].startswith("/sign-in?")
    before = int(time.time())
    claims = jwt.decode(sandbox.sign_in(browser=browser, max_age="0")["id_token"], options={"verify_signature": False})
    assert claims["auth_time"] >= before


def test_prompt_none_succeeds_only_with_remembered_consent(sandbox):
    browser = new_browser()
    sandbox.sign_in(scopes="openid email profile", browser=browser)
    assert parameters_of(ask(sandbox, browser, scopes="openid email", prompt="none"))["error"] == "consent_required"
    sandbox.control("switches", consent="remember")
    assert "code" in parameters_of(ask(sandbox, browser, scopes="openid email", prompt="none"))
    assert parameters_of(ask(sandbox, browser, scopes=ALL_SCOPES, prompt="none"))["error"] == "consent_required"


def test_remembered_consent_ends_with_the_grant(sandbox):
    sandbox.control("switches", consent="remember")
    browser = new_browser()
    sandbox.sign_in(scopes="openid", browser=browser)
    assert "code" in parameters_of(ask(sandbox, browser, scopes="openid"))
    assert ask(sandbox, browser, scopes="openid", prompt="consent").headers["Location"].startswith("/consent?")
    sandbox.control("revoke", sub=LUCIA)
    assert ask(sandbox, browser, scopes="openid").headers["Location"].startswith("/consent?")


def test_a_login_hint_puts_that_person_first(sandbox):
    parameters = sandbox.authorize_parameters(login_hint="nadia.newcomer@example.test")
    page = new_browser().get(sandbox.url + AUTHORIZE, params=parameters)
    assert page.text.index(NADIA) < page.text.index(LUCIA)
    page = new_browser().get(sandbox.url + AUTHORIZE, params=sandbox.authorize_parameters())
    assert page.text.index(LUCIA) < page.text.index(NADIA)


def test_a_login_hint_for_another_account_leads_to_the_sign_in_page(sandbox):
    browser = new_browser()
    sandbox.sign_in(LUCIA, browser=browser)
    assert ask(sandbox, browser, login_hint=SAMUEL).headers["Location"].startswith("/sign-in?")
    assert ask(sandbox, browser, login_hint=LUCIA).headers["Location"].startswith("/consent?")
    assert ask(sandbox, browser, login_hint="nobody@example.test").headers["Location"].startswith("/consent?")


def test_only_the_companies_that_were_ticked_are_shared(sandbox):
    tokens = sandbox.sign_in(entities=[KITES, LANTERNS])
    listed = sandbox.get("/api/v1/me/legal-entities", tokens["access_token"]).json()["data"]
    assert [company["id"] for company in listed] == [KITES, LANTERNS]
    assert sandbox.get(f"/api/v1/me/legal-entities/{REEF}", tokens["access_token"]).status_code == 404


def test_a_company_that_the_person_does_not_represent_cannot_be_shared(sandbox):
    tokens = sandbox.sign_in(SAMUEL, entities=[KITES, REEF])
    listed = sandbox.get("/api/v1/me/legal-entities", tokens["access_token"]).json()["data"]
    assert [company["id"] for company in listed] == [KITES]


def companies(sandbox, token):
    return [each["id"] for each in sandbox.get("/api/v1/me/legal-entities", token).json()["data"]]


def test_each_grant_keeps_the_companies_that_its_consent_shared(sandbox):
    first = sandbox.sign_in(entities=[KITES])
    assert companies(sandbox, sandbox.sign_in()["access_token"]) == [KITES, REEF, LANTERNS]
    assert companies(sandbox, sandbox.sign_in(entities=[])["access_token"]) == []
    sandbox.mint(entities=[REEF])
    sandbox.sign_in(scopes="openid")
    refreshed = sandbox.refresh(first["refresh_token"]).json()
    for token in (first["access_token"], refreshed["access_token"]):
        assert companies(sandbox, token) == [KITES]
        for entity in (REEF, LANTERNS):
            assert sandbox.get(f"/api/v1/me/legal-entities/{entity}", token).status_code == 404


def test_a_company_that_is_represented_again_is_shared_again_only_by_the_grants_that_shared_it(sandbox):
    first, second = sandbox.mint(entities=[KITES])[0]["access_token"], sandbox.mint(entities=[REEF])[0]["access_token"]
    sandbox.control("represent", sub=LUCIA, entity=KITES, active=False)
    assert companies(sandbox, first) == []
    sandbox.control("represent", sub=LUCIA, entity=KITES, active=True)
    assert (companies(sandbox, first), companies(sandbox, second)) == ([KITES], [REEF])


def test_remembered_consent_shares_what_the_newest_grant_that_covers_it_shared(sandbox):
    sandbox.control("switches", consent="remember")
    browser = new_browser()
    entity = "openid eprospera:entity.read"
    sandbox.sign_in(browser=browser, scopes=entity, entities=[KITES])
    sandbox.sign_in(browser=browser, scopes=entity, entities=[REEF, LANTERNS], prompt="consent")
    sandbox.sign_in(browser=browser, scopes="openid", prompt="consent")
    assert companies(sandbox, sandbox.sign_in(browser=browser, scopes=entity)["access_token"]) == [REEF, LANTERNS]


@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_consent_is_given_by_the_persona_that_the_page_shows(sandbox, answer):
    """With two tabs, the second can sign in another persona after the first has rendered its consent page."""
    browser = new_browser()
    sandbox.sign_in(LUCIA, browser=browser)
    first = browser.get(sandbox.url + AUTHORIZE, params=sandbox.authorize_parameters())
    assert "Lucía Ejemplo" in first.text
    sandbox.sign_in(SAMUEL, browser=browser, prompt="login")
    grants = sandbox.control("stats")["grants_alive"]
    form = [*hidden_fields(first.text), ("entity", KITES), ("answer", answer)]
    again = browser.post(first.url, data=form, allow_redirects=False)
    assert again.status_code == 200
    assert "Samuel Sample" in again.text
    assert "Another account has signed in" in again.text
    assert "Lucía" not in again.text
    assert sandbox.control("stats")["grants_alive"] == grants
    form = [*hidden_fields(again.text), ("answer", "allow")]
    assert "code" in parameters_of(browser.post(first.url, data=form, allow_redirects=False))


def test_a_consent_form_without_its_persona_is_shown_again(sandbox):
    browser = new_browser()
    sandbox.sign_in(browser=browser)
    page = browser.get(sandbox.url + AUTHORIZE, params=sandbox.authorize_parameters())
    form = [(name, value) for name, value in hidden_fields(page.text) if name != "account"]
    assert browser.post(page.url, data=[*form, ("answer", "allow")], allow_redirects=False).status_code == 200


def test_consent_cannot_be_given_from_another_site(sandbox):
    """A forged request has no CSRF token."""
    browser = new_browser()
    sandbox.sign_in(browser=browser)
    response = browser.post(f"{sandbox.url}/consent", params=sandbox.authorize_parameters(), data={"answer": "allow"})
    assert response.status_code == 403


def test_a_client_may_be_limited_to_some_scopes():
    with SandboxProcess(allowed_scope=["openid", "email"]) as sandbox:
        assert parameters_of(ask(sandbox, scopes="openid email profile"))["error"] == "invalid_scope"
        assert sandbox.sign_in(scopes="openid email")["scope"] == "openid email"


def test_the_verifier_of_the_challenge_is_accepted(sandbox):
    verifier = "v" * 43
    parameters = sandbox.authorize_parameters(code_challenge=challenge(verifier), code_challenge_method="S256")
    code = sandbox.walk(parameters)["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": sandbox.redirect_uri}
    assert sandbox.token(**form, code_verifier=verifier).status_code == 200
