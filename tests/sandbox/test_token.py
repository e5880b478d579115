"""Tests of token, revoke and introspect: client authentication, codes, rotation, reuse, token claims."""

from __future__ import annotations

import base64
import hashlib
import threading
import time

import jwt
import pytest
import requests

from tests.sandbox_process import ALL_SCOPES, LUCIA, basic, challenge


def get_code(sandbox, **more):
    return sandbox.walk(sandbox.authorize_parameters(**more))["code"]


def code_form(sandbox, code, **more):
    return {"grant_type": "authorization_code", "code": code, "redirect_uri": sandbox.redirect_uri} | more


def refused(response, error, status=400):
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert response.headers["Cache-Control"] == "no-store"
    return True


def alive(sandbox, access_token):
    return sandbox.get("/api/oauth/userinfo", access_token).status_code == 200


# Client authentication


@pytest.mark.parametrize("auth", ["basic", "post"])
def test_either_method_authenticates_the_client(sandbox, auth):
    response = sandbox.token(auth=auth, **code_form(sandbox, get_code(sandbox)))
    assert response.status_code == 200
    assert (response.headers["Cache-Control"], response.headers["Pragma"]) == ("no-store", "no-cache")
    assert sandbox.refresh(response.json()["refresh_token"], auth=auth).status_code == 200


@pytest.mark.parametrize(
    "extra", [{"client_id": "test-client"}, {"client_secret": "x"}, {"client_id": "a", "client_secret": "b"}]
)
def test_both_methods_at_once_are_refused(sandbox, extra):
    refresh_token = sandbox.mint()[0]["refresh_token"]
    assert refused(sandbox.refresh(refresh_token, **extra), "invalid_request")
    assert sandbox.refresh(refresh_token).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    [basic("test-client", "wrong"), basic("nobody", "wrong"), "Basic", "Basic !!!",
     "Basic " + base64.b64encode(b"no-colon").decode(),
     "Bearer test-client"],
)  # fmt: skip
def test_wrong_credentials_are_invalid_client(sandbox, authorization):
    for endpoint, form in [
        ("token", {"grant_type": "refresh_token", "refresh_token": "rt_x"}), ("revoke", {"token": "x"}),
        ("introspect", {"token": "x"}),
    ]:  # fmt: skip
        response = requests.post(
            f"{sandbox.url}/api/oauth/{endpoint}", data=form, headers={"Authorization": authorization}
        )
        assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
        assert response.headers["WWW-Authenticate"].startswith("Basic")


def test_no_credentials_are_invalid_client(sandbox):
    assert refused(sandbox.refresh("rt_x", auth="none"), "invalid_client", 401)
    assert refused(sandbox.refresh("rt_x", auth="none", client_id=sandbox.client_id), "invalid_client", 401)


def test_a_repeated_parameter_is_refused(sandbox):
    refresh_token = sandbox.mint()[0]["refresh_token"]
    form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token), ("refresh_token", refresh_token)]
    headers = {"Authorization": basic(sandbox.client_id, sandbox.client_secret)}
    assert refused(requests.post(f"{sandbox.url}/api/oauth/token", data=form, headers=headers), "invalid_request")


def test_a_json_body_is_not_understood(sandbox):
    body = {"grant_type": "refresh_token", "refresh_token": sandbox.mint()[0]["refresh_token"]}
    headers = {"Authorization": basic(sandbox.client_id, sandbox.client_secret)}
    assert refused(requests.post(f"{sandbox.url}/api/oauth/token", json=body, headers=headers), "invalid_request")


def test_parameters_in_the_url_are_refused(sandbox):
    headers = {"Authorization": basic(sandbox.client_id, sandbox.client_secret)}
    url = f"{sandbox.url}/api/oauth/token?grant_type=refresh_token"
    assert refused(requests.post(url, data={"refresh_token": "rt_x"}, headers=headers), "invalid_request")


@pytest.mark.parametrize("grant_type", ["password", "client_credentials", "?"])
def test_other_grants_are_unsupported(sandbox, grant_type):
    assert refused(sandbox.token(grant_type=grant_type), "unsupported_grant_type")


@pytest.mark.parametrize(
    "form", [{}, {"grant_type": "authorization_code", "code": "x"}, {"grant_type": "refresh_token"}]
)
def test_missing_fields_are_named(sandbox, form):
    assert refused(sandbox.token(**form), "invalid_request")


# Codes


def test_a_code_returns_tokens_for_the_requested_scopes(sandbox):
    tokens = sandbox.token(**code_form(sandbox, get_code(sandbox))).json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 3600
    assert tokens["scope"].split() == ALL_SCOPES.split()
    assert tokens["refresh_token"].startswith("rt_")


def test_without_offline_access_there_is_no_refresh_token(sandbox):
    tokens = sandbox.sign_in(scopes="openid email")
    assert "refresh_token" not in tokens
    assert tokens["scope"] == "openid email"


def test_without_openid_there_is_no_id_token(sandbox):
    assert "id_token" not in sandbox.sign_in(scopes="email offline_access")


def test_reuse_of_a_code_ends_the_grant(sandbox):
    form = code_form(sandbox, get_code(sandbox))
    tokens = sandbox.token(**form).json()
    assert alive(sandbox, tokens["access_token"])
    assert refused(sandbox.token(**form), "invalid_grant")
    assert not alive(sandbox, tokens["access_token"])
    assert refused(sandbox.refresh(tokens["refresh_token"]), "invalid_grant")
    assert sandbox.control("stats")["code_reuse"] == 1


def test_a_code_expires(sandbox):
    sandbox.control("switches", code_seconds=0)
    assert refused(sandbox.token(**code_form(sandbox, get_code(sandbox))), "invalid_grant")


def test_a_code_belongs_to_its_redirect_uri(sandbox):
    form = code_form(sandbox, get_code(sandbox), redirect_uri=sandbox.redirect_uris[1])
    assert refused(sandbox.token(**form), "invalid_grant")


@pytest.mark.parametrize("verifier", [None, "w" * 43, ""])
def test_a_wrong_or_missing_verifier_is_an_invalid_grant(sandbox, verifier):
    code = get_code(sandbox, code_challenge=challenge("v" * 43), code_challenge_method="S256")
    form = code_form(sandbox, code, **({} if verifier is None else {"code_verifier": verifier}))
    assert refused(sandbox.token(**form), "invalid_grant")


def test_a_verifier_without_a_challenge_is_an_invalid_grant(sandbox):
    assert refused(sandbox.token(**code_form(sandbox, get_code(sandbox), code_verifier="v" * 43)), "invalid_grant")


# Refresh


def test_each_refresh_rotates_the_refresh_token(sandbox):
    tokens = sandbox.sign_in()
    seen = {tokens["refresh_token"]}
    for _ in range(3):
        answer = sandbox.refresh(tokens["refresh_token"])
        assert answer.status_code == 200
        tokens = answer.json()
        assert tokens["refresh_token"] not in seen
        assert alive(sandbox, tokens["access_token"])
        seen.add(tokens["refresh_token"])


def test_the_access_token_before_a_refresh_stays_valid(sandbox):
    tokens = sandbox.sign_in()
    sandbox.refresh(tokens["refresh_token"])
    assert alive(sandbox, tokens["access_token"])


def test_reuse_of_a_refresh_token_ends_the_grant(sandbox):
    first = sandbox.sign_in()
    second = sandbox.refresh(first["refresh_token"]).json()
    assert refused(sandbox.refresh(first["refresh_token"]), "invalid_grant")
    assert refused(sandbox.refresh(second["refresh_token"]), "invalid_grant")
    assert not alive(sandbox, second["access_token"])
    assert sandbox.control("stats")["refresh_token_reuse"] == 1


def test_reuse_can_be_refused_without_further_harm(sandbox):
    sandbox.control("switches", refresh_reuse="reject")
    first = sandbox.sign_in()
    second = sandbox.refresh(first["refresh_token"]).json()
    assert refused(sandbox.refresh(first["refresh_token"]), "invalid_grant")
    assert sandbox.refresh(second["refresh_token"]).status_code == 200


@pytest.mark.parametrize("reuse", ["revoke", "reject"])
def test_of_many_simultaneous_uses_exactly_one_succeeds(sandbox, reuse):
    sandbox.control("switches", refresh_reuse=reuse)
    for minted in sandbox.mint(count=5):
        barrier, answers = threading.Barrier(8), []

        def use(token=minted["refresh_token"], barrier=barrier, answers=answers):
            with requests.Session() as session:
                session.get(f"{sandbox.url}/_sandbox/health")
                barrier.wait()
                headers = {"Authorization": basic(sandbox.client_id, sandbox.client_secret)}
                form = {"grant_type": "refresh_token", "refresh_token": token}
                answers.append(session.post(f"{sandbox.url}/api/oauth/token", data=form, headers=headers))

        threads = [threading.Thread(target=use) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        won = [answer for answer in answers if answer.status_code == 200]
        assert len(won) == 1
        assert all(answer.json()["error"] == "invalid_grant" for answer in answers if answer not in won)
        # Reuse by the others has ended the grant, or has not.
        after = sandbox.refresh(won[0].json()["refresh_token"])
        assert after.status_code == (400 if reuse == "revoke" else 200)


def test_of_many_simultaneous_uses_of_a_code_exactly_one_succeeds(sandbox):
    form, answers, barrier = code_form(sandbox, get_code(sandbox)), [], threading.Barrier(6)

    def use():
        headers = {"Authorization": basic(sandbox.client_id, sandbox.client_secret)}
        barrier.wait()
        answers.append(requests.post(f"{sandbox.url}/api/oauth/token", data=form, headers=headers).status_code)

    threads = [threading.Thread(target=use) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(answers) == [200, 400, 400, 400, 400, 400]


def test_a_narrower_refresh_does_not_narrow_the_grant(sandbox):
    tokens = sandbox.sign_in()
    narrow = sandbox.refresh(tokens["refresh_token"], scope="openid email").json()
    assert narrow["scope"] == "openid email"
    assert sandbox.get("/api/v1/me/natural-person", narrow["access_token"]).status_code == 403
    wide = sandbox.refresh(narrow["refresh_token"]).json()
    assert wide["scope"].split() == ALL_SCOPES.split()


def test_a_refresh_cannot_widen_the_grant(sandbox):
    tokens = sandbox.sign_in(scopes="openid offline_access")
    assert refused(sandbox.refresh(tokens["refresh_token"], scope="openid email"), "invalid_scope")
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


def test_an_expired_refresh_token_is_an_invalid_grant(sandbox):
    sandbox.control("switches", refresh_token_days=0)
    assert refused(sandbox.refresh(sandbox.mint()[0]["refresh_token"]), "invalid_grant")


@pytest.mark.parametrize(("lifetime", "kept"), [("sliding", False), ("fixed", True)])
def test_the_days_of_a_refresh_token_slide_or_do_not(sandbox, lifetime, kept):
    def end(token):
        return sandbox.back_channel("introspect", token=token).json()["exp"]

    sandbox.control("switches", refresh_token_days=10, refresh_lifetime=lifetime)
    first = sandbox.mint()[0]["refresh_token"]
    before = end(first)
    sandbox.control("switches", refresh_token_days=180)
    after = end(sandbox.refresh(first).json()["refresh_token"])
    assert (after == before) is kept


def test_grants_revoked_at_the_portal_are_gone(sandbox):
    tokens = sandbox.sign_in()
    assert sandbox.control("revoke", sub=LUCIA) == {"ended": 1}
    assert refused(sandbox.refresh(tokens["refresh_token"]), "invalid_grant")
    assert not alive(sandbox, tokens["access_token"])


# Token claims


def verified(sandbox, token, audience):
    keys = jwt.PyJWKSet.from_dict(sandbox.get("/api/oauth/.well-known/jwks.json").json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    return jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=sandbox.url)


def test_the_id_token_can_be_verified_and_has_its_claims(sandbox):
    before = int(time.time())
    tokens = sandbox.sign_in()
    claims = verified(sandbox, tokens["id_token"], sandbox.client_id)
    half = hashlib.sha256(tokens["access_token"].encode()).digest()[:16]
    assert claims["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert claims["nonce"] == tokens["nonce"]
    assert (claims["sub"], claims["aud"]) == (LUCIA, sandbox.client_id)
    assert before <= claims["auth_time"] <= claims["iat"] <= time.time()
    assert claims["exp"] - claims["iat"] == 3600


CLAIMS = {"profile": {"name", "given_name", "family_name", "picture"}, "email": {"email", "email_verified"}}


@pytest.mark.parametrize("scopes", ["openid", "openid email", "openid profile", "openid email profile offline_access"])
def test_an_id_token_has_the_claims_of_its_scopes_as_userinfo_has_them(sandbox, scopes):
    tokens = sandbox.sign_in(scopes=scopes)
    claims = verified(sandbox, tokens["id_token"], sandbox.client_id)
    expected = set().union(*(CLAIMS.get(scope, set()) for scope in scopes.split()))
    assert set(claims) & set().union(*CLAIMS.values()) == expected
    userinfo = sandbox.get("/api/oauth/userinfo", tokens["access_token"]).json()
    assert {name: claims[name] for name in userinfo} == userinfo


def test_a_refresh_for_fewer_scopes_returns_an_id_token_with_fewer_claims(sandbox):
    answer = sandbox.refresh(sandbox.sign_in()["refresh_token"], scope="openid email").json()
    claims = verified(sandbox, answer["id_token"], sandbox.client_id)
    assert claims["email"] == "lucia.ejemplo@example.test"
    assert "name" not in claims


def test_a_refreshed_id_token_keeps_its_auth_time_and_has_no_nonce(sandbox):
    tokens = sandbox.sign_in()
    first = verified(sandbox, tokens["id_token"], sandbox.client_id)
    second = verified(sandbox, sandbox.refresh(tokens["refresh_token"]).json()["id_token"], sandbox.client_id)
    assert "nonce" not in second
    assert [first[name] for name in ("sub", "aud", "iss", "auth_time")] == [
        second[n] for n in ("sub", "aud", "iss", "auth_time")
    ]


def test_id_tokens_can_be_without_profile_claims_or_absent_at_a_refresh(sandbox):
    sandbox.control("switches", id_token_profile="none", id_token_on_refresh="no")
    tokens = sandbox.sign_in()
    claims = verified(sandbox, tokens["id_token"], sandbox.client_id)
    assert not (CLAIMS["profile"] | CLAIMS["email"]) & set(claims)
    assert "id_token" not in sandbox.refresh(tokens["refresh_token"]).json()


def test_the_access_token_is_for_the_api_and_not_an_id_token(sandbox):
    claims = verified(sandbox, sandbox.sign_in()["access_token"], "eprospera-api")
    assert claims["client_id"] == sandbox.client_id
    assert claims["scope"].split() == ALL_SCOPES.split()
    assert claims["exp"] - claims["iat"] == 3600
    assert claims["sub"] == LUCIA


def test_a_new_key_signs_and_the_older_one_is_still_published(sandbox):
    old = sandbox.sign_in()["id_token"]
    kid = sandbox.control("rotate-key")["kid"]
    new = sandbox.sign_in()["id_token"]
    assert jwt.get_unverified_header(new)["kid"] == kid != jwt.get_unverified_header(old)["kid"]
    assert verified(sandbox, old, sandbox.client_id)["sub"] == verified(sandbox, new, sandbox.client_id)["sub"] == LUCIA


def test_a_forgotten_key_is_no_longer_published(sandbox):
    old = sandbox.sign_in()["id_token"]
    sandbox.control("rotate-key", forget=True)
    kids = [key["kid"] for key in sandbox.get("/.well-known/jwks.json").json()["keys"]]
    assert len(kids) == 1
    assert jwt.get_unverified_header(old)["kid"] not in kids


# Revoke and introspect


def test_revoking_a_refresh_token_ends_the_grant(sandbox):
    tokens = sandbox.sign_in()
    response = sandbox.back_channel("revoke", token=tokens["refresh_token"])
    assert (response.status_code, response.content) == (200, b"")
    assert refused(sandbox.refresh(tokens["refresh_token"]), "invalid_grant")
    assert not alive(sandbox, tokens["access_token"])
    assert sandbox.control("stats")["refresh_token_reuse"] == 0


@pytest.mark.parametrize(
    "hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "refresh_token"}, {"token_type_hint": "?"}]
)
def test_revoking_an_access_token_leaves_the_refresh_token(sandbox, hint):
    tokens = sandbox.sign_in()
    assert sandbox.back_channel("revoke", token=tokens["access_token"], **hint).status_code == 200
    assert not alive(sandbox, tokens["access_token"])
    assert sandbox.refresh(tokens["refresh_token"]).status_code == 200


def test_revoking_an_unknown_token_succeeds_and_a_missing_token_is_an_error(sandbox):
    assert sandbox.back_channel("revoke", token="nonsense").status_code == 200
    assert refused(sandbox.back_channel("revoke"), "invalid_request")


def test_introspection_of_an_access_token(sandbox):
    token = sandbox.sign_in()["access_token"]
    body = sandbox.back_channel("introspect", token=token).json()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert body == {
        "active": True, "scope": ALL_SCOPES, "client_id": sandbox.client_id, "username": LUCIA, "sub": LUCIA,
        "token_type": "Bearer", "exp": claims["exp"], "iat": claims["iat"], "jti": claims["jti"],
        "aud": "eprospera-api", "iss": sandbox.url,
    }  # fmt: skip


def test_introspection_of_a_refresh_token(sandbox):
    body = sandbox.back_channel("introspect", token=sandbox.sign_in()["refresh_token"]).json()
    assert body["token_type"] == "refresh_token"
    assert body["exp"] - body["iat"] == pytest.approx(180 * 86400, abs=5)
    assert set(body) == {"active", "scope", "client_id", "username", "sub", "token_type", "exp", "iat"}


def test_introspection_of_an_inactive_token_has_no_other_member(sandbox):
    tokens = sandbox.sign_in()
    used = tokens["refresh_token"]
    sandbox.refresh(used)
    sandbox.back_channel("revoke", token=tokens["access_token"])
    expired = sandbox.mint(access_token_expires_in=0)[0]["access_token"]
    for token in (used, tokens["access_token"], expired, "rt_nonsense", "nonsense", tokens["id_token"]):
        response = sandbox.back_channel("introspect", token=token)
        assert (response.status_code, response.json()) == (200, {"active": False})
        assert response.headers["Cache-Control"] == "no-store"
