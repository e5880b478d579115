"""Tests of switches for behaviour that the provider has not confirmed, of keys and of the permit number lookup."""

from __future__ import annotations

import pytest
import requests

from tests.sandbox_process import ALL_SCOPES, KITES, LARS, LUCIA, NADIA, OTTO, SAMUEL, new_browser

PERSON = "/api/v1/me/natural-person"
DOCUMENTS = f"/api/v1/me/legal-entities/{KITES}/documents"
ALIASES = ["/api/oauth/.well-known/openid-configuration", "/.well-known/jwks.json", f"{PERSON}/id_verification"]


@pytest.mark.parametrize("text", ["insufficient_scope", "Forbidden"])
def test_the_error_for_a_missing_scope_can_have_another_text(sandbox, text):
    sandbox.control("switches", missing_scope_error=text)
    response = sandbox.get(PERSON, sandbox.mint(scopes="email")[0]["access_token"])
    assert (response.status_code, response.json()) == (403, {"error": text})
    assert "eprospera:person.details.read" in response.headers["WWW-Authenticate"]


def test_documents_of_an_entity_can_need_two_scopes(sandbox):
    alone = sandbox.mint(scopes="eprospera:entity.documents.read")[0]["access_token"]
    both = sandbox.mint(scopes="eprospera:entity.documents.read eprospera:entity.read")[0]["access_token"]
    assert sandbox.get(DOCUMENTS, alone).status_code == 200
    sandbox.control("switches", entity_documents="both")
    response = sandbox.get(DOCUMENTS, alone)
    assert (response.status_code, response.json()) == (403, {"error": "missing_scopes: eprospera:entity.read"})
    assert sandbox.get(DOCUMENTS, both).status_code == 200


def test_scripts_of_other_origins_may_read_responses_only_when_switched_on(sandbox):
    url, token = sandbox.url + PERSON, sandbox.mint()[0]["access_token"]
    headers = {"Origin": "https://app.example", "Authorization": f"Bearer {token}"}
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    assert "Access-Control-Allow-Origin" not in requests.get(url, headers=headers).headers
    assert requests.options(url, headers=preflight).status_code == 405
    sandbox.control("switches", cors="yes")
    assert requests.get(url, headers=headers).headers["Access-Control-Allow-Origin"] == "*"
    # A refusal can be read too.
    assert requests.get(url, headers={"Origin": "https://app.example"}).headers["Access-Control-Allow-Origin"] == "*"
    answer = requests.options(url, headers=preflight)
    assert answer.status_code == 204
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for path in ("/", "/device", "/_sandbox/health"):
        assert "Access-Control-Allow-Origin" not in requests.get(sandbox.url + path, headers=preflight).headers


@pytest.mark.parametrize("header", ["no", "yes"])
def test_requests_are_limited_per_credential_with_or_without_retry_after(sandbox, header):
    one, other = (grant["access_token"] for grant in sandbox.mint(count=2))
    sandbox.control("switches", requests_per_minute=2, retry_after=header)
    answers = [sandbox.get(PERSON, one) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json() == {"error": "Rate limit exceeded"}
    assert ("Retry-After" in answers[2].headers) is (header == "yes")
    if header == "yes":
        assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    assert sandbox.get(PERSON, other).status_code == 200
    for _ in range(2):
        assert sandbox.back_channel("introspect", token="x").status_code == 200
    refused = sandbox.back_channel("introspect", token="x")
    assert (refused.status_code, refused.json()) == (429, {"error": "invalid_request"})
    assert sandbox.get("/.well-known/openid-configuration").status_code == 200


def test_authorize_can_ignore_prompt_max_age_and_login_hint(sandbox):
    browser = new_browser()
    sandbox.sign_in(browser=browser)
    sandbox.control("switches", prompts="ignore")
    for more in ({"prompt": "login"}, {"prompt": "none"}, {"max_age": "0"}, {"login_hint": NADIA}):
        response = browser.get(
            f"{sandbox.url}/api/oauth/authorize", params=sandbox.authorize_parameters(**more), allow_redirects=False
        )
        assert response.headers["Location"].startswith("/consent?"), more


def test_the_error_for_a_scope_that_is_not_allowed_can_come_before_any_redirect(sandbox):
    sandbox.control("switches", scope_error="json")
    parameters = sandbox.authorize_parameters("email root")
    response = sandbox.http.get(f"{sandbox.url}/api/oauth/authorize", params=parameters, allow_redirects=False)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")


def test_reuse_of_a_code_can_be_refused_without_ending_the_grant(sandbox):
    sandbox.control("switches", code_reuse="reject")
    code = sandbox.walk(sandbox.authorize_parameters())["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": sandbox.redirect_uri}
    tokens = sandbox.token(**form).json()
    assert sandbox.token(**form).json() == {"error": "invalid_grant"}
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


def test_a_rotated_refresh_token_can_work_for_a_while(sandbox):
    sandbox.control("switches", refresh_reuse="grace")
    first = sandbox.sign_in()["refresh_token"]
    second, again = (sandbox.refresh(first).json()["refresh_token"] for _ in range(2))
    assert len({first, second, again}) == 3
    assert sandbox.refresh(second).status_code == 200
    assert sandbox.refresh(again).status_code == 200
    # After its grace, reuse ends the grant with all its tokens.
    sandbox.control("switches", refresh_grace_seconds=0)
    other = sandbox.mint()[0]
    newest = sandbox.sign_in()
    rotated = sandbox.refresh(newest["refresh_token"]).json()
    assert sandbox.refresh(newest["refresh_token"]).json() == {"error": "invalid_grant"}
    assert sandbox.refresh(rotated["refresh_token"]).json() == {"error": "invalid_grant"}
    assert sandbox.refresh(other["refresh_token"]).status_code == 200


def test_a_refresh_token_that_expired_has_no_grace(sandbox):
    sandbox.control("switches", refresh_reuse="grace", refresh_token_days=0)
    assert sandbox.refresh(sandbox.mint()[0]["refresh_token"]).json() == {"error": "invalid_grant"}


def test_revoking_a_refresh_token_can_leave_access_tokens(sandbox):
    sandbox.control("switches", revoke_refresh_token="token", refresh_reuse="grace")
    first = sandbox.sign_in()
    second = sandbox.refresh(first["refresh_token"]).json()
    sandbox.back_channel("revoke", token=second["refresh_token"])
    for tokens in (first, second):
        assert sandbox.refresh(tokens["refresh_token"]).json() == {"error": "invalid_grant"}
        assert sandbox.get(PERSON, tokens["access_token"]).status_code == 200


def test_revoking_a_refresh_token_can_end_all_grants_of_the_person(sandbox):
    sandbox.control("switches", revoke_refresh_token="person")
    first, second, others = sandbox.mint()[0], sandbox.mint()[0], sandbox.mint(SAMUEL)[0]
    sandbox.back_channel("revoke", token=first["refresh_token"])
    assert sandbox.refresh(second["refresh_token"]).json() == {"error": "invalid_grant"}
    assert sandbox.refresh(others["refresh_token"]).status_code == 200


@pytest.mark.parametrize("path", ALIASES)
def test_deprecated_aliases_can_be_switched_off(sandbox, path):
    token = sandbox.mint()[0]["access_token"]
    assert sandbox.get(path, token).status_code == 200
    sandbox.control("switches", aliases="no")
    assert sandbox.get(path, token).status_code == 404
    assert sandbox.get("/.well-known/openid-configuration").status_code == 200
    assert sandbox.get(f"{PERSON}/id-verification", token).status_code == 200


# Keys


def test_an_agent_key_opens_the_natural_person_and_nothing_else(sandbox):
    key = f"ak-{LUCIA}"
    token = sandbox.mint()[0]["access_token"]
    for path in (PERSON, f"{PERSON}/residency"):
        assert sandbox.get(path, key).json() == sandbox.get(path, token).json()
    assert sandbox.get(f"{PERSON}/id-verification", key).json()["status"] == "approved"
    for path in ("/api/oauth/userinfo", "/api/v1/me/legal-entities", DOCUMENTS):
        response = sandbox.get(path, key)
        assert (response.status_code, response.json()) == (
            403, {"error": "Agent Keys are not supported on this endpoint"},
        )  # fmt: skip
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert sandbox.get(PERSON, "ak-nobody").status_code == 401
    sandbox.control("switches", agent_keys="no")
    assert sandbox.get(PERSON, key).status_code == 403


# Permit number lookup


def lookup(sandbox, rpn, key="sk-sandbox", **more):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.post(f"{sandbox.url}/api/v1/verify_rpn", headers=headers, **({"json": {"rpn": rpn}} | more))


@pytest.mark.parametrize("key", ["sk-sandbox", f"ak-{OTTO}"])
@pytest.mark.parametrize(
    ("rpn", "result", "active"),
    [
        ("90000000004217", "found_natural_person", True),
        ("90000000004231", "found_natural_person", True),
        ("90000000004248", "found_natural_person", False),
        ("90000000004316", "found_natural_person", False),
        ("80000000007731", "found_legal_entity", True),
        ("80000000007762", "found_legal_entity", False),
        ("90000000000000", "not_found", False),
    ],
)
def test_a_permit_number_is_looked_up(sandbox, key, rpn, result, active):
    response = lookup(sandbox, rpn, key)
    assert (response.status_code, response.json()) == (200, {"result": result, "active": active})


@pytest.mark.parametrize(
    ("key", "status"), [(None, 401), ("sk-other", 401), ("ak-other", 401), ("token", 403), ("rt_x", 403)]
)
def test_a_lookup_needs_a_key(sandbox, key, status):
    key = sandbox.mint(scopes=ALL_SCOPES)[0]["access_token"] if key == "token" else key
    assert lookup(sandbox, "90000000004217", key).status_code == status


@pytest.mark.parametrize(
    "body", [{"data": ""}, {"data": "[]"}, {"json": {}}, {"json": {"rpn": 9}}, {"json": {"rpn": "9000000000421"}}]
)
def test_a_lookup_needs_a_permit_number_of_14_digits(sandbox, body):
    response = lookup(sandbox, "", **({"json": None} | body))
    assert (response.status_code, response.json()) == (400, {"error": "invalid_request"})


def test_a_key_has_fifty_lookups_a_minute(sandbox):
    assert [lookup(sandbox, "90000000004217").status_code for _ in range(51)] == [200] * 50 + [429]
    assert lookup(sandbox, "90000000004217", f"ak-{LARS}").status_code == 200


def test_a_changed_persona_changes_the_lookup(sandbox):
    sandbox.control(f"personas/{LUCIA}", "POST", residency={"activeResidency": None})
    assert lookup(sandbox, "90000000004217").json() == {"result": "found_natural_person", "active": False}
