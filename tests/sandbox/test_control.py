"""Tests of the control API: faults, tampering, changes and counters."""

from __future__ import annotations

import socket
import threading
import time

import jwt
import pytest
import requests

from tests.sandbox_process import ALL_SCOPES, KITES, LUCIA, NADIA, ORCHARD, REEF, SAMUEL, SandboxProcess
from tests.visitor import query_of

PERSON = "/api/v1/me/natural-person"


def post(sandbox, path, **more):
    return requests.post(f"{sandbox.url}/_sandbox/{path}", **more)


def test_health(sandbox):
    assert sandbox.control("health") == {"status": "ok", "issuer": sandbox.url}


def test_counters_by_path_status_and_grant(sandbox):
    tokens = sandbox.sign_in()
    sandbox.refresh(tokens["refresh_token"])
    sandbox.refresh("rt_unknown")
    sandbox.get(PERSON, tokens["access_token"])
    sandbox.get(PERSON)
    stats = sandbox.control("stats")
    assert (stats["refresh_requests"], stats["refreshes"], stats["refresh_token_reuse"]) == (2, 1, 0)
    assert stats["counters"][f"GET {PERSON} 200"] == 1
    assert stats["counters"][f"GET {PERSON} 401"] == 1
    assert stats["counters"]["grant authorization_code 200"] == 1
    assert stats["grants_alive"] == 1
    sandbox.control("stats", "DELETE")
    assert sandbox.control("stats")["counters"] == {}


def test_a_fault_replaces_the_given_number_of_responses(sandbox):
    token = sandbox.mint()[0]["access_token"]
    sandbox.fault(PERSON, status=429, body='{"error": "Rate limit exceeded"}', headers={"X-Kind": "fault"}, times=2)
    answers = [sandbox.get(PERSON, token) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert (answers[0].json(), answers[0].headers["X-Kind"]) == ({"error": "Rate limit exceeded"}, "fault")
    assert "Retry-After" not in answers[0].headers


def test_a_fault_lasts_until_it_is_removed_and_can_match_many_paths(sandbox):
    sandbox.fault("/api/v1/me/*", status=500)
    token = sandbox.mint()[0]["access_token"]
    for path in (PERSON, f"{PERSON}/residency", "/api/v1/me/legal-entities"):
        assert sandbox.get(path, token).status_code == 500
    assert sandbox.get("/api/oauth/userinfo", token).status_code == 200
    sandbox.control("faults", "DELETE")
    assert sandbox.get(PERSON, token).status_code == 200


def test_a_fault_can_match_method_and_form(sandbox):
    sandbox.fault("/api/oauth/token", method="POST", form={"grant_type": "refresh_token"}, status=503)
    tokens = sandbox.sign_in()
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 503
    sandbox.control("faults", "DELETE")
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


def test_a_response_can_be_lost_after_the_request_was_processed(sandbox):
    tokens = sandbox.mint()[0]
    sandbox.fault("/api/oauth/token", drop=True, after=True, times=1)
    with pytest.raises(requests.ConnectionError):
        sandbox.refresh(tokens["refresh_token"])
    assert sandbox.control("stats")["refreshes"] == 1
    assert sandbox.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_a_connection_can_be_closed_before_the_request_is_processed(sandbox):
    tokens = sandbox.mint()[0]
    sandbox.fault("/api/oauth/token", drop=True, times=1)
    with pytest.raises(requests.ConnectionError):
        sandbox.refresh(tokens["refresh_token"])
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


def test_a_response_can_be_delayed(sandbox):
    sandbox.fault(PERSON, delay=0.3, times=1)
    before = time.monotonic()
    assert sandbox.get(PERSON, sandbox.mint()[0]["access_token"]).status_code == 200
    assert time.monotonic() - before >= 0.3


def test_a_response_can_be_sent_byte_by_byte(sandbox):
    sandbox.fault(PERSON, status=200, body="0123456789", drip=0.05, times=1)
    with requests.get(sandbox.url + PERSON, stream=True) as response:
        before = time.monotonic()
        assert b"".join(response.iter_content(1)) == b"0123456789"
    assert time.monotonic() - before >= 0.3


def test_a_response_can_be_large(sandbox):
    sandbox.fault(PERSON, status=200, body="x" * 1000, repeat=3000, times=1)
    assert len(sandbox.get(PERSON).content) == 3_000_000


@pytest.mark.parametrize("body", [{"status": 500}, {"path": "x"}, {"path": "/x", "colour": "red"}])
def test_an_invalid_fault_is_refused(sandbox, body):
    response = post(sandbox, "faults", json=body)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize(
    "switches", [{"colour": "red"}, {"missing_scope_status": 402}, {"consent": True}, {"access_token_seconds": "9"}]
)
def test_an_invalid_switch_is_refused(sandbox, switches):
    before = sandbox.control("switches")
    assert post(sandbox, "switches", json=switches).status_code == 400
    assert sandbox.control("switches") == before


def test_switches_can_be_reset(sandbox):
    assert sandbox.control("switches", access_token_seconds=7)["access_token_seconds"] == 7
    assert sandbox.sign_in()["expires_in"] == 7
    assert sandbox.control("switches", "DELETE")["access_token_seconds"] == 3600


def test_a_persona_can_be_changed_and_changed_back(sandbox):
    token = sandbox.mint()[0]["access_token"]
    sandbox.control(
        f"personas/{LUCIA}",
        "POST",
        person={"surname": "Otra", "address": {"city": "Otra"}},
        claims={"email": "otra@example.test"},
    )
    person = sandbox.get(PERSON, token).json()
    assert (person["surname"], person["givenName"]) == ("Otra", "Lucía")
    assert (person["address"]["city"], person["address"]["country"]) == ("Otra", "Honduras")
    assert sandbox.get("/api/oauth/userinfo", token).json()["email"] == "otra@example.test"
    sandbox.control(f"personas/{LUCIA}", "POST", person=None, check=None)
    assert sandbox.get(PERSON, token).json() is None
    assert sandbox.get(f"{PERSON}/id-verification", token).json()["id"] is None
    sandbox.control(f"personas/{LUCIA}", "POST")
    assert sandbox.get(PERSON, token).json()["surname"] == "Ejemplo"


def test_a_persona_can_become_a_resident(sandbox):
    active = {
        "effectiveDate": "2026-11-01T00:00:00.000Z",
        "terminationDate": None,
        "residencyType": "Resident",
        "version": "v1",
    }
    sandbox.control(f"personas/{NADIA}", "POST", residency={"wasEverResident": True, "activeResidency": active})
    token = sandbox.mint(NADIA)[0]["access_token"]
    assert sandbox.get(f"{PERSON}/residency", token).json()["activeResidency"] == active


def test_minted_grants_work_like_those_of_a_sign_in(sandbox):
    minted = sandbox.mint(SAMUEL, count=40, access_token_expires_in=120)
    assert len({grant["access_token"] for grant in minted}) == len({grant["refresh_token"] for grant in minted}) == 40
    assert sandbox.get("/api/oauth/userinfo", minted[7]["access_token"]).json()["sub"] == SAMUEL
    assert "id_token" in sandbox.refresh(minted[7]["refresh_token"]).json()
    assert sandbox.control("stats")["grants_alive"] == 40


@pytest.mark.parametrize(
    "body",
    [
        {"sub": "nobody"},
        {},
        {"sub": LUCIA, "scopes": "root"},
        {"sub": LUCIA, "count": 0},
        {"sub": LUCIA, "count": "many"},
        {"sub": LUCIA, "entities": ORCHARD},
        {"sub": LUCIA, "entities": [ORCHARD]},
    ],
)
def test_invalid_grants_are_refused(sandbox, body):
    assert post(sandbox, "grants", json=body).status_code == 400


def test_reset_deletes_all_but_the_keys(sandbox):
    keys = sandbox.get("/.well-known/jwks.json").json()
    tokens = sandbox.sign_in()
    sandbox.control(f"personas/{LUCIA}", "POST", person=None)
    sandbox.control("represent", sub=LUCIA, entity=KITES, active=False)
    sandbox.fault(PERSON, status=500)
    sandbox.control("tamper", "POST", userinfo={"sub": "x"})
    sandbox.control("reset")
    assert sandbox.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
    assert sandbox.get(PERSON, sandbox.mint()[0]["access_token"]).json()["surname"] == "Ejemplo"
    assert sandbox.get("/.well-known/jwks.json").json() == keys


# Tampering


@pytest.mark.parametrize(
    ("key", "algorithm"), [("own", "RS256"), ("foreign", "RS256"), ("none", "none"), ("public", "HS256")]
)
def test_id_tokens_can_be_signed_with_a_wrong_key(sandbox, key, algorithm):
    sandbox.control("tamper", "POST", id_token={"key": key})
    token = sandbox.sign_in()["id_token"]
    assert jwt.get_unverified_header(token)["alg"] == algorithm
    published = jwt.PyJWKSet.from_dict(sandbox.get("/.well-known/jwks.json").json()).keys[0]
    try:
        jwt.decode(token, published, algorithms=["RS256"], audience=sandbox.client_id)
        verified = True
    except jwt.InvalidTokenError:
        verified = False
    assert verified is (key == "own")


def test_claims_and_headers_can_be_changed_and_removed(sandbox):
    changes = {"claims": {"aud": "somebody-else", "nonce": None, "exp": 1}, "header": {"kid": None}}
    sandbox.control(
        "tamper",
        "POST",
        id_token=changes,
        token={"token_type": "MAC"},
        userinfo={"sub": SAMUEL},
        discovery={"issuer": "http://x"},
    )
    tokens = sandbox.sign_in()
    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert (claims["aud"], claims["exp"], "nonce" in claims) == ("somebody-else", 1, False)
    assert "kid" not in jwt.get_unverified_header(tokens["id_token"])
    assert tokens["token_type"] == "MAC"
    assert sandbox.get("/api/oauth/userinfo", tokens["access_token"]).json()["sub"] == SAMUEL
    assert sandbox.get("/.well-known/openid-configuration").json()["issuer"] == "http://x"
    sandbox.control("tamper", "DELETE")
    assert sandbox.get("/.well-known/openid-configuration").json()["issuer"] == sandbox.url


# Access


def test_a_web_page_cannot_control_the_sandbox(sandbox):
    """A page of another origin can send forms and text without a CORS preflight."""
    assert post(sandbox, "reset", data={"a": "b"}).status_code == 415
    assert post(sandbox, "reset", data="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert requests.options(f"{sandbox.url}/_sandbox/reset").headers.get("Access-Control-Allow-Origin") is None


def test_a_foreign_host_name_is_refused(sandbox):
    assert requests.get(f"{sandbox.url}/_sandbox/stats", headers={"Host": "evil.example"}).status_code == 400
    assert requests.get(f"{sandbox.url}/", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("data", ["", "[]", "nonsense", '"text"'])
def test_a_body_that_is_no_object_is_refused(sandbox, data):
    response = post(sandbox, "switches", data=data, headers={"Content-Type": "application/json"})
    assert response.status_code == (200 if data == "" else 400)


def test_many_clients_at_once_are_served(sandbox):
    minted = sandbox.mint(count=60)
    statuses = []

    def use(token):
        statuses.append(sandbox.refresh(token).status_code)

    threads = [threading.Thread(target=use, args=(grant["refresh_token"],)) for grant in minted]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert statuses == [200] * 60
    assert sandbox.control("stats")["refreshes"] == 60


def test_idle_connections_do_not_block_others(sandbox):
    port = int(sandbox.url.rpartition(":")[2])
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        assert sandbox.control("health")["status"] == "ok"
    finally:
        [each.close() for each in silent]


def test_scopes_of_minted_grants_default_to_all(sandbox):
    grant = sandbox.control("grants", "POST", sub=LUCIA)["grants"][0]
    assert set(grant["scope"].split()) == set(ALL_SCOPES.split())


def test_a_fault_of_a_share_applies_to_that_part_of_the_requests(sandbox):
    sandbox.fault("/.well-known/openid-configuration", status=500, share=0.5)
    answers = {sandbox.get("/.well-known/openid-configuration").status_code for _ in range(60)}
    assert answers == {200, 500}


def test_a_persona_signs_in_without_a_browser(sandbox):
    parameters = sandbox.authorize_parameters()
    url = requests.Request("GET", f"{sandbox.url}/api/oauth/authorize", params=parameters).prepare().url
    answer = sandbox.control("sign-in", url=url, sub="lucia", entities=["reef"])
    reached = query_of(answer["location"])
    assert (answer["location"].partition("?")[0], reached["state"]) == (sandbox.redirect_uri, parameters["state"])
    tokens = sandbox.token(
        grant_type="authorization_code", code=reached["code"], redirect_uri=sandbox.redirect_uri
    ).json()
    assert jwt.decode(tokens["access_token"], options={"verify_signature": False})["sub"] == LUCIA
    listed = sandbox.get("/api/v1/me/legal-entities", tokens["access_token"]).json()
    assert [each["id"] for each in listed["data"]] == [REEF]


def test_a_sign_in_without_a_browser_is_checked_like_any_other(sandbox):
    def answer(sub="lucia", **parameters):
        query = sandbox.authorize_parameters(**parameters)
        url = requests.Request("GET", f"{sandbox.url}/api/oauth/authorize", params=query).prepare().url
        return post(sandbox, "sign-in", json={"sub": sub, "url": url})

    assert query_of(answer(scopes="email eprospera:tax").json()["location"])["error"] == "invalid_scope"
    for refused, why in (
        (answer(redirect_uri="http://other.test/"), "redirect_uri"),
        (answer(response_mode="form_post"), "form_post"),
        (answer(sub="nobody"), "lucia"),
    ):
        assert refused.status_code == 400
        assert why in refused.json()["error"]


def test_a_redirect_uri_can_be_registered_while_the_sandbox_runs():
    uri = "http://testserver/complete/eprospera/"
    with SandboxProcess() as sandbox:
        assert sandbox.control("redirect-uris", uri=uri)["redirect_uris"] == [sandbox.redirect_uri, uri]
        sandbox.control("reset")
        assert "http://testserver" in requests.get(sandbox.url).headers["Content-Security-Policy"]
        query = sandbox.authorize_parameters(redirect_uri=uri)
        url = requests.Request("GET", f"{sandbox.url}/", params=query).prepare().url
        assert sandbox.control("sign-in", url=url, sub="ana")["location"].startswith(uri)
        assert post(sandbox, "redirect-uris", json={"uri": "testserver"}).status_code == 400
