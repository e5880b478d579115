"""An ID token that is forged, stale, meant for others, or signed with a key that is not the provider's: nobody is signed in."""

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization

from tests.hostile_provider import Reply, key, public_jwk
from tests.sign_in.refusal import HUGE, assert_nothing_happened, changed, moved, without


def sign(claims, private, algorithm="RS256", **headers):
    return jwt.encode(claims, private, algorithm, headers={"kid": "key-1", **headers})


def segments(header, claims, signature=b""):
    """A JWT by hand: libraries refuse to make some of these."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def hmac_token(secret):
    def make(claims):
        signed = jwt.api_jws.PyJWS()
        body = segments({"alg": "HS256", "kid": "key-1"}, claims).rsplit(".", 1)[0]
        signature = signed.get_algorithm_by_name("HS256").sign(body.encode(), secret)
        return f"{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

    return make


def public_pem():
    return key(1).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def without_signature(claims):
    return sign(claims, key(1)).rsplit(".", 1)[0] + "."


def changed_after_signing(claims):
    header, _, signature = sign(claims, key(1)).split(".")
    other = segments({}, {**claims, "sub": "somebody-else"}).split(".")[1]
    return f"{header}.{other}.{signature}"


DETACHED = {"alg": "RS256", "kid": "key-1", "b64": False, "crit": ["b64"]}
FORGED = {
    "signed-with-another-key": (lambda claims: sign(claims, key(2)), "signature"),
    "signature-taken-off": (without_signature, "signature"),
    "changed-after-signing": (changed_after_signing, "signature"),
    "alg-none": (lambda claims: segments({"alg": "none", "kid": "key-1"}, claims), "alg"),
    "alg-None": (lambda claims: segments({"alg": "None", "kid": "key-1"}, claims), "alg"),
    "alg-missing": (lambda claims: segments({"kid": "key-1"}, claims), "alg"),
    "alg-a-list": (lambda claims: segments({"alg": ["RS256"], "kid": "key-1"}, claims), "alg"),
    "hmac-with-the-public-key": (hmac_token(public_pem()), "alg"),
    "hmac-with-the-client-secret": (hmac_token(b"canary-client-secret"), "alg"),
    "alg-RS512": (lambda claims: sign(claims, key(1), "RS512"), "alg"),
    "kid-unknown": (lambda claims: sign(claims, key(1), kid="key-9"), "unknown_key"),
    "kid-a-number": (lambda claims: segments({"alg": "RS256", "kid": 1}, claims), "not_a_jwt"),
    "key-in-the-header": (lambda claims: sign(claims, key(2), jwk=public_jwk(key(2), "key-1")), "signature"),
    "key-at-an-address-in-the-header": (
        lambda claims: sign(claims, key(2), kid="key-2", jku="https://elsewhere.example/jwks"), "unknown_key",
    ),
    "critical-extension": (lambda claims: sign(claims, key(1), crit=["exp"], exp=1), "not_a_jwt"),
    "payload-left-out": (lambda claims: segments(DETACHED, 0).split(".")[0] + "..eA", "crit"),
    "claims-a-list": (lambda claims: jwt.PyJWS().encode(b"[1]", key(1), "RS256", {"kid": "key-1"}), "not_claims"),
    "claims-not-json": (lambda claims: jwt.PyJWS().encode(b"{oops", key(1), "RS256", {"kid": "key-1"}), "not_claims"),
    "claims-nested-deep": (
        lambda claims: jwt.PyJWS().encode(b"[" * 5000, key(1), "RS256", {"kid": "key-1"}), "not_claims",
    ),
    "not-a-jwt": (lambda claims: "nonsense", "not_a_jwt"),
    "four-parts": (lambda claims: sign(claims, key(1)) + ".x", "not_a_jwt"),
    "header-not-json": (lambda claims: "e30x.e30.e30", "not_a_jwt"),
    "too-long": (lambda claims: sign(claims | {"more": "x" * 20_000}, key(1)), "too_long"),
    "missing": (lambda claims: None, "no_id_token"),
    "a-number": (lambda claims: 7, "wrong_type"),
    "a-list": (lambda claims: ["x"], "wrong_type"),
    "with-a-newline": (lambda claims: sign(claims, key(1)) + "\n", "wrong_format"),
    "an-access-token": (
        lambda claims: sign({**claims, "aud": "eprospera-api", "nonce": None}, key(1), typ="at+jwt"), "aud",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "reason"), FORGED.values(), ids=FORGED)
def test_a_forged_id_token_signs_nobody_in(visitor, provider, caplog, forge, reason):
    provider.sign = forge
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), reason)


CLAIMS = {
    "iss-of-somebody-else": (changed(iss="https://portal.example"), "iss"),
    "iss-with-a-slash-more": (lambda claims: claims | {"iss": claims["iss"] + "/"}, "iss"),
    "iss-missing": (without("iss"), "iss"),
    "iss-a-list": (lambda claims: claims | {"iss": [claims["iss"]]}, "iss"),
    "aud-of-another-client": (changed(aud="another-client"), "aud"),
    "aud-without-us": (changed(aud=["another-client", "third-client"]), "aud"),
    "aud-missing": (without("aud"), "aud"),
    "aud-empty": (changed(aud=[]), "aud"),
    "aud-an-object": (changed(aud={"hostile-client": True}), "aud"),
    "aud-of-several-and-no-azp": (changed(aud=["hostile-client", "another-client"]), "azp"),
    "azp-another-client": (changed(azp="another-client"), "azp"),
    "azp-another-client-of-several": (changed(aud=["hostile-client", "x"], azp="x"), "azp"),
    "azp-null": (changed(azp=None), "azp"),
    "sub-missing": (without("sub"), "sub"),
    "sub-empty": (changed(sub=""), "sub"),
    "sub-a-number": (changed(sub=1), "sub"),
    "sub-too-long": (changed(sub="s" * 256), "sub"),
    "sub-with-a-nul": (changed(sub="a\0b"), "sub"),
    "sub-not-ascii": (changed(sub="ñ"), "sub"),
    "exp-past": (moved("exp", -120), "exp"),
    "exp-missing": (without("exp"), "exp"),
    "exp-null": (changed(exp=None), "exp"),
    "exp-text": (changed(exp="9999999999"), "exp"),
    "exp-true": (changed(exp=True), "exp"),
    "exp-infinite": (changed(exp=float("inf")), "exp"),
    "exp-not-a-number": (changed(exp=float("nan")), "exp"),
    "exp-beyond-every-calendar": (changed(exp=10**30), "exp"),
    "exp-with-five-thousand-digits": (changed(exp=10**4200), "exp"),
    "exp-negative": (changed(exp=-1), "exp"),
    "iat-an-hour-ago": (moved("iat", -3600), "iat_past"),
    "iat-in-an-hour": (moved("iat", 3600), "iat_future"),
    "iat-missing": (without("iat"), "iat"),
    "iat-text": (changed(iat="now"), "iat"),
    "iat-a-list": (changed(iat=[1]), "iat"),
    "nbf-in-an-hour": (moved("nbf", 3600), "nbf"),
    "nbf-true": (changed(nbf=True), "nbf"),
    "nbf-text": (changed(nbf="x"), "nbf"),
    "nbf-null": (changed(nbf=None), "nbf"),
    "auth_time-in-an-hour": (moved("auth_time", 3600), "auth_time"),
    "auth_time-text": (changed(auth_time="x"), "auth_time"),
    "nonce-missing": (without("nonce"), "nonce"),
    "nonce-wrong": (changed(nonce="another"), "nonce"),
    "nonce-empty": (changed(nonce=""), "nonce"),
    "nonce-a-number": (changed(nonce=1), "nonce"),
    "nonce-not-ascii": (changed(nonce="ñ\ud800"), "nonce"),
    "at_hash-of-another-token": (changed(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "at_hash"),
    "at_hash-a-number": (changed(at_hash=1), "at_hash"),
    "at_hash-empty": (changed(at_hash=""), "at_hash"),
}


@pytest.mark.parametrize(("lie", "reason"), CLAIMS.values(), ids=CLAIMS)
def test_a_claim_that_does_not_hold_signs_nobody_in(visitor, provider, caplog, lie, reason):
    provider.claims = lie
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), reason)


def test_a_nonce_of_an_earlier_sign_in_is_refused(visitor, provider, caplog, site):
    earlier = []
    provider.claims = lambda claims: earlier.append(claims["nonce"]) or claims | {"nonce": "other"}
    visitor.sign_in()
    provider.claims = lambda claims: claims | {"nonce": earlier[0]}
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), "nonce")


def keys_of(*jwks):
    return lambda answer: {"keys": list(jwks)}


SHARED_SECRET = base64.urlsafe_b64encode(b"s" * 32).decode()
KEY_SETS = {
    "answers-500": (lambda answer: Reply(500, "oops"), "not_a_key_set"),
    "answers-404": (lambda answer: Reply(404, "{}"), "not_a_key_set"),
    "html": (lambda answer: Reply(200, "<html>", "text/html"), "not_json"),
    "a-list": (lambda answer: [], "not_a_key_set"),
    "keys-missing": (lambda answer: {}, "not_a_key_set"),
    "keys-a-text": (lambda answer: {"keys": "abc"}, "not_a_key_set"),
    "keys-of-numbers": (lambda answer: {"keys": [1]}, "not_a_key_set"),
    "no-keys": (keys_of(), "unknown_key"),
    "too-many-keys": (lambda answer: {"keys": [{}] * 1000}, "not_a_key_set"),
    "huge": (lambda answer: Reply(200, HUGE), "too_large"),
    "redirected": (lambda answer: Reply(302, headers={"Location": "http://127.0.0.1:1/"}), "redirect"),
    "a-shared-secret-under-our-kid": (keys_of({"kty": "oct", "kid": "key-1", "k": SHARED_SECRET}), "unknown_key"),
    "for-encryption-only": (keys_of(public_jwk(key(1), "key-1", use="enc")), "unknown_key"),
    "for-another-algorithm": (keys_of(public_jwk(key(1), "key-1", alg="HS256")), "unknown_key"),
    "for-other-operations": (keys_of(public_jwk(key(1), "key-1", key_ops=["wrapKey"])), "unknown_key"),
    "modulus-a-number": (keys_of({"kty": "RSA", "kid": "key-1", "n": 5, "e": "AQAB"}), "unknown_key"),
    "modulus-too-short": (keys_of({"kty": "RSA", "kid": "key-1", "n": "AQAB", "e": "AQAB"}), "unknown_key"),
    "kid-a-list": (keys_of({**public_jwk(key(1), "key-1"), "kid": ["key-1"]}), "unknown_key"),
}


@pytest.mark.parametrize(("answer", "reason"), KEY_SETS.values(), ids=KEY_SETS)
def test_a_broken_key_set_signs_nobody_in(visitor, provider, caplog, answer, reason):
    provider.jwks = answer
    assert_nothing_happened(visitor, caplog, provider, visitor.sign_in(), reason)


def test_made_up_key_names_do_not_make_us_hammer_the_key_set(visitor, provider):
    provider.sign = lambda claims: sign(claims, key(2), kid="key-made-up")
    for _ in range(12):
        assert visitor.sign_in().status_code == 502
    assert provider.calls.count("/jwks") <= 7
