"""The edges of ID token verification. Forged tokens through the front door are in tests/sign_in/test_forged_tokens.py."""

import base64
import hashlib

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import rsa

from django_eprospera.errors import SignInRefused
from django_eprospera.provider import id_token

NOW = 1_790_000_000
SKEW, MAX_AGE = 60, 600
ACCESS = "access-token"


@pytest.fixture(scope="module")
def private_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def verified(private_key):
    """Sign claims (None leaves one out), and verify them as of NOW."""
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private_key.public_key(), as_dict=True)

    def verify(headers=None, keys=None, **claims):
        given = {"iss": "https://p.example", "aud": "client", "sub": "person", "exp": NOW + 300, "iat": NOW} | claims
        token = jwt.encode(
            {name: value for name, value in given.items() if value is not None},
            private_key, "RS256", headers={"kid": "k", **(headers or {})},
        )  # fmt: skip
        found, all_claims = id_token.verify(
            token, id_token.signing_keys(keys or [{**jwk, "kid": "k"}]), issuer="https://p.example", client_id="client",
            access_token=ACCESS, now=NOW, skew=SKEW, max_age=MAX_AGE,
        )  # fmt: skip
        assert all_claims["iss"] == found.issuer == "https://p.example"
        return found

    return verify


@pytest.mark.parametrize("sub", ["s", "s" * 255, "a b~"])
def test_a_subject_is_printable_ascii_of_up_to_255_characters(verified, sub):
    assert verified(sub=sub).sub == sub


@pytest.mark.parametrize("sub", ["", "s" * 256, "Lucía", "a\nb", "a\x7f"])
def test_another_subject_is_refused(verified, sub):
    with pytest.raises(SignInRefused) as refused:
        verified(sub=sub)
    assert (refused.value.reason, refused.value.stage) == ("sub", "id_token")


@pytest.mark.parametrize(
    "claims",
    [
        {"iat": NOW + SKEW},
        {"iat": NOW - MAX_AGE - SKEW},
        {"iat": NOW - MAX_AGE - SKEW + 0.5},
        {"nbf": 0},
        {"auth_time": 0},
        {"auth_time": NOW + SKEW},
        {"exp": 253_402_300_799},
    ],
    ids=str,
)
def test_times_at_the_edge_are_accepted(verified, claims):
    found = verified(**claims)
    assert found.issued_at == claims.get("iat", NOW)
    assert found.auth_time == claims.get("auth_time")


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iat": NOW + SKEW + 1}, "iat_future"),
        ({"iat": NOW - MAX_AGE - SKEW - 1}, "iat_past"),
        ({"auth_time": NOW + SKEW + 1}, "auth_time"),
        ({"auth_time": -1}, "auth_time"),
        ({"auth_time": "1"}, "auth_time"),
        ({"exp": 253_402_300_800}, "exp"),
        ({"nbf": True}, "nbf"),
        ({"at_hash": "x"}, "at_hash"),
        ({"at_hash": ""}, "at_hash"),
        ({"azp": "another"}, "azp"),
    ],
    ids=str,
)
def test_times_and_bindings_beyond_it_are_refused_by_name(verified, claims, reason):
    with pytest.raises(SignInRefused) as refused:
        verified(**claims)
    assert (refused.value.reason, refused.value.stage) == (reason, "id_token")


def test_an_expiry_is_judged_as_of_the_arrival(verified):
    with time_machine.travel(NOW + 10_000, tick=False):
        assert verified(exp=NOW + 1).sub == "person"
        with pytest.raises(SignInRefused, match="exp"):
            verified(exp=NOW - SKEW - 1)
    with time_machine.travel(NOW - 10_000, tick=False), pytest.raises(SignInRefused, match="iat_future"):
        verified()  # the clock was set back meanwhile


@pytest.mark.parametrize("extra", [{"crit": ["b64"]}, {"crit": []}], ids=str)
def test_a_header_that_changes_what_is_signed_is_refused(verified, extra):
    with pytest.raises(SignInRefused) as refused:
        verified(headers=extra)
    # Recent releases of PyJWT refuse such a header themselves.
    assert refused.value.reason in {"crit", "not_a_jwt"}
    assert refused.value.stage == "id_token"


def test_an_access_token_hash_without_padding_is_accepted(verified):
    half = hashlib.sha256(ACCESS.encode()).digest()[:16]
    assert verified(at_hash=base64.urlsafe_b64encode(half).decode().rstrip("="))


def test_a_claim_jti_of_any_type_is_none_of_our_business(verified):
    assert verified(jti="a", nonce="b").sub == "person"


def test_unusable_keys_before_a_usable_one_are_left_out(verified, private_key):
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(private_key.public_key(), as_dict=True)
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()
    unusable = [
        {"kty": "EC", "kid": "k"},
        {**jwk, "key_ops": ["encrypt"], "kid": "k"},
        {"kty": "RSA", "n": 1, "e": "AQAB", "kid": "k"},
        {**jwt.algorithms.RSAAlgorithm.to_jwk(short, as_dict=True), "kid": "k"},
    ]
    assert verified(keys=[*unusable, {**jwk, "kid": "k"}]).sub == "person"


@pytest.mark.parametrize("token", ["", "a.b.c", "not a token"])
def test_text_that_is_no_token_is_refused(token):
    with pytest.raises(SignInRefused) as refused:
        id_token.verify(
            token, (), issuer="i", client_id="c", access_token="a", now=NOW, skew=SKEW, max_age=MAX_AGE
        )  # fmt: skip
    assert (refused.value.reason, refused.value.stage) == ("not_a_jwt", "id_token")
