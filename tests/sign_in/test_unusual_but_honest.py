"""What looks unusual and is honest gets in: other clocks, other keys, other claims, nulls wherever they may be."""

import pytest

from django_eprospera.models import Connection
from tests.hostile_provider import key, public_jwk
from tests.sign_in.refusal import changed, without
from tests.visitor import Visitor


def honest_rotation(provider):
    provider.signing, provider.published = (key(2), "key-2"), [public_jwk(key(2), "key-2")]


def no_kid(provider):
    provider.signing, provider.published = (key(1), None), [public_jwk(key(1), "key-1")]


def no_kid_anywhere(provider):
    provider.signing, provider.published = (key(1), None), [public_jwk(key(1), None)]


def no_kid_and_several_keys(provider):
    provider.signing, provider.published = (key(2), None), [public_jwk(key(1), "key-1"), public_jwk(key(2), "key-2")]


def two_keys_of_one_name(provider):
    provider.published = [public_jwk(key(2), "key-1"), public_jwk(key(1), "key-1")]


def keys_of_other_kinds_beside(provider):
    odd = [{"kty": "EC", "kid": "e", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": "oct", "k": "AA"}, {"kty": "?"}, {}]
    provider.published = [*odd, *provider.published]


def bare_key(provider):
    provider.published = [{name: public_jwk(key(1), "key-1")[name] for name in ("kty", "kid", "n", "e")}]


def clock(seconds):
    def shift(provider):
        provider.claims = lambda claims: (
            claims
            | {name: claims[name] + seconds for name in ("iat", "exp", "auth_time")}
            | {"nbf": claims["iat"] + seconds}
        )

    return shift


def claims_that(change):
    def set_claims(provider):
        provider.claims = change

    return set_claims


def userinfo_that(change):
    def set_userinfo(provider):
        provider.userinfo = change

    return set_userinfo


def token_that(change):
    def set_token(provider):
        provider.token = change

    return set_token


def names_its_issuer(provider):
    provider.redirect = lambda answer: answer | {"iss": provider.url}


HONEST = {
    "plain": lambda provider: None,
    "kid-absent-and-one-key": no_kid,
    "kid-absent-everywhere": no_kid_anywhere,
    "kid-absent-and-several-keys": no_kid_and_several_keys,
    "two-keys-of-one-name": two_keys_of_one_name,
    "keys-of-other-kinds-beside": keys_of_other_kinds_beside,
    "key-without-use-and-alg": bare_key,
    "clock-30-s-ahead": clock(30),
    "clock-30-s-behind": clock(-30),
    "times-with-fractions": claims_that(
        lambda claims: claims | {"iat": claims["iat"] + 0.25, "exp": claims["exp"] + 0.5}
    ),
    "aud-a-list-of-us": claims_that(lambda claims: claims | {"aud": [claims["aud"]]}),
    "aud-of-several-with-our-azp": claims_that(
        lambda claims: claims | {"aud": [claims["aud"], "x"], "azp": claims["aud"]}
    ),
    "no-at_hash": claims_that(without("at_hash")),
    "no-auth_time": claims_that(without("auth_time")),
    "unknown-claims": claims_that(changed(amr=["pwd"], address={"country": "HN"}, events=None)),
    "names-its-issuer": names_its_issuer,
    "userinfo-of-nulls": userinfo_that(
        lambda answer: {"sub": answer["sub"], "email": None, "name": None, "given_name": None}
    ),
    "userinfo-of-sub-alone": userinfo_that(lambda answer: {"sub": answer["sub"]}),
    "userinfo-with-a-nonsense-email": userinfo_that(changed(email="not an address")),
    "userinfo-with-long-names": userinfo_that(changed(given_name="ñ" * 900, family_name="x" * 900)),
    "token-type-in-lower-case": token_that(changed(token_type="bearer")),
    "no-refresh-token": token_that(without("refresh_token")),
    "no-scope": token_that(without("scope")),
    "no-expires_in": token_that(without("expires_in")),
    "expires_in-nonsense": token_that(changed(expires_in="soon")),
}


@pytest.mark.parametrize("arrange", HONEST.values(), ids=HONEST)
def test_an_honest_sign_in_of_an_unusual_kind_succeeds(visitor, provider, arrange):
    arrange(provider)
    answer = visitor.sign_in(next="/button/?a=1&b=2")
    assert (answer.status_code, answer.headers.get("Location")) == (302, "/button/?a=1&b=2"), answer.text
    assert visitor.whoami() == Connection.objects.get().user.get_username()


def test_names_that_are_too_long_for_the_user_model_are_cut(visitor, provider):
    provider.person |= {"given_name": "ñ" * 900, "family_name": "x" * 900}
    visitor.sign_in()
    user = Connection.objects.get().user
    assert (user.first_name, user.last_name) == ("ñ" * 150, "x" * 150)


def test_keys_that_rotate_between_two_sign_ins_are_accepted(visitor, provider, site):
    visitor.sign_in()
    honest_rotation(provider)
    other = Visitor(site)
    assert other.sign_in().status_code == 302
    assert other.whoami() == visitor.whoami()
    assert provider.calls.count("/jwks") == 2


def test_keys_that_rotate_during_a_sign_in_are_accepted(visitor, provider, site):
    Visitor(site).sign_in()  # the old key set is known from here
    address = visitor.visit_provider(visitor.begin())
    honest_rotation(provider)
    assert visitor.get(address).status_code == 302
    assert visitor.whoami() != ""


def test_keys_that_rotate_often_are_accepted(visitor, provider):
    for number in range(3):
        name = f"rotated-{number}"
        provider.signing, provider.published = (key(number), name), [public_jwk(key(number), name)]
        assert visitor.sign_in().status_code == 302


def test_a_known_key_is_not_fetched_again(visitor, provider, site):
    for _ in range(3):
        assert Visitor(site).sign_in().status_code == 302
    assert provider.calls.count("/jwks") == 1
    assert provider.calls.count("/.well-known/openid-configuration") == 1


def test_the_page_speaks_spanish_to_who_reads_spanish(site, provider, caplog):
    visitor = Visitor(site, language="es")
    provider.redirect = lambda answer: {"state": answer["state"], "error": "access_denied"}
    page = visitor.sign_in()
    assert page.headers["Content-Language"] == "es"
    assert '<html lang="es"' in page.text


def test_after_a_refusal_the_button_on_the_page_leads_to_the_end(visitor, provider):
    provider.claims = changed(nonce="wrong")
    page = visitor.sign_in(next="/button/")
    assert 'action="/login/eprospera/"' in page.text
    provider.claims = lambda claims: claims
    answer = visitor.sign_in(next="/button/")
    assert answer.headers["Location"] == "/button/"
    assert visitor.whoami() != ""
