"""A provider that refuses, breaks, stalls or talks nonsense, at each of its endpoints: a page, and nothing stored."""

import time

import pytest
from social_django.models import Nonce

from tests.sign_in.refusal import HUGE, assert_nothing_happened, changed, replied, without

TOKEN = {
    "invalid-grant": (replied(400, '{"error": "invalid_grant"}'), "invalid_grant", 403),
    "invalid-client": (replied(401, '{"error": "invalid_client"}'), "invalid_client", 500),
    "invalid-request": (replied(400, '{"error": "invalid_request"}'), "invalid_request", 500),
    "error-that-quotes-a-secret": (replied(400, '{"error": "canary-client-secret"}'), "not_an_oauth_error", 502),
    "400-html": (replied(400, "<html>", "text/html"), "not_an_oauth_error", 502),
    "403": (replied(403, "{}"), "not_an_oauth_error", 502),
    "429": (replied(429, '{"error": "invalid_request"}'), "rate_limited", 503),
    "500": (replied(500, "oops"), "http_500", 503),
    "503-html": (replied(503, "<html>", "text/html"), "http_503", 503),
    "200-html": (replied(200, "<html>", "text/html"), "not_json", 502),
    "204": (replied(204, ""), "unexpected_status", 502),
    "empty": (replied(200, ""), "not_json", 502),
    "null": (lambda answer: None, "wrong_type", 502),
    "a-list": (lambda answer: [answer], "wrong_type", 502),
    "a-number": (lambda answer: 3, "wrong_type", 502),
    "nested-deep": (replied(200, "[" * 100_000), "not_json", 502),
    "huge": (replied(200, HUGE), "too_large", 502),
    "huge-and-an-error": (replied(500, HUGE), "too_large", 502),
    "redirected": (replied(307, headers={"Location": "http://127.0.0.1:1/"}), "redirect", 502),
    "compressed": (replied(200, b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "encoded", 502),
    "endless": (replied(200, drip=0.05), "timeout", 504),
    "no-access-token": (without("access_token"), "missing", 502),
    "access-token-a-number": (changed(access_token=5), "wrong_type", 502),
    "access-token-with-a-line-break": (changed(access_token="a\r\nX-Evil: 1"), "wrong_format", 502),
    "access-token-too-long": (changed(access_token="a" * 20_000), "too_long", 502),
    "token-type-of-another-kind": (changed(token_type="mac"), "wrong_format", 502),
    "token-type-missing": (without("token_type"), "missing", 502),
    "refresh-token-a-list": (changed(refresh_token=["x"]), "wrong_type", 502),
    "scope-a-number": (changed(scope=4), "wrong_type", 502),
}


@pytest.mark.parametrize(("answer", "reason", "status"), TOKEN.values(), ids=TOKEN)
def test_a_broken_token_endpoint_signs_nobody_in(visitor, provider, caplog, settings, answer, reason, status):
    settings.EPROSPERA_DEADLINE = 1.5
    provider.token = answer
    page = visitor.sign_in()
    assert_nothing_happened(visitor, caplog, provider, page, reason)
    assert page.status_code == status


USERINFO = {
    "of-another-person": (changed(sub="somebody-else"), "sub", 502),
    "without-a-person": (without("sub"), "missing", 502),
    "sub-null": (changed(sub=None), "missing", 502),
    "sub-a-number": (changed(sub=1), "wrong_type", 502),
    "a-list": (lambda answer: [answer], "wrong_type", 502),
    "null": (lambda answer: None, "wrong_type", 502),
    "html": (replied(200, "<html>", "text/html"), "not_json", 502),
    "a-jwt": (replied(200, "e30.e30.e30", "application/jwt"), "not_json", 502),
    "401": (replied(401, '{"error": "invalid_token"}'), "invalid_token", 502),
    "403": (replied(403, '{"error": "insufficient_scope"}'), "insufficient_scope", 502),
    "404": (replied(404, '{"error": "user_not_found"}'), "user_not_found", 502),
    "429": (replied(429, "{}"), "rate_limited", 503),
    "500": (replied(500, "oops"), "http_500", 503),
    "huge": (replied(200, HUGE), "too_large", 502),
    "redirected": (replied(302, headers={"Location": "http://127.0.0.1:1/"}), "redirect", 502),
    "endless": (replied(200, drip=0.05), "timeout", 504),
    "name-a-list": (changed(name=["x"]), "wrong_type", 502),
    "name-of-a-megabyte": (changed(name="x" * 900_000), "too_long", 502),
    "name-with-a-nul": (changed(given_name="a\0b"), "wrong_format", 502),
    "name-with-half-a-character": (replied(200, '{"sub": "x", "name": "\\ud800"}'), "wrong_format", 502),
    "email-an-object": (changed(email={}), "wrong_type", 502),
    "email-verified-a-text": (changed(email_verified="true"), "wrong_type", 502),
}


@pytest.mark.parametrize(("answer", "reason", "status"), USERINFO.values(), ids=USERINFO)
def test_a_broken_userinfo_signs_nobody_in(visitor, provider, caplog, settings, answer, reason, status):
    settings.EPROSPERA_DEADLINE = 1.5
    provider.userinfo = answer
    page = visitor.sign_in()
    assert_nothing_happened(visitor, caplog, provider, page, reason)
    assert page.status_code == status


DISCOVERY = {
    "of-another-issuer": (changed(issuer="https://portal.example"), "wrong_issuer", 502),
    "issuer-with-a-slash-more": (lambda answer: answer | {"issuer": answer["issuer"] + "/"}, "wrong_issuer", 502),
    "issuer-missing": (without("issuer"), "missing", 502),
    "token-endpoint-in-clear": (changed(token_endpoint="http://portal.example/token"), "bad_url", 502),
    "authorize-endpoint-a-script": (changed(authorization_endpoint="javascript:alert(1)"), "bad_url", 502),
    "authorize-endpoint-missing": (without("authorization_endpoint"), "missing", 502),
    "keys-in-a-file": (changed(jwks_uri="file:///etc/passwd"), "bad_url", 502),
    "endpoint-with-a-password": (changed(userinfo_endpoint="https://a:b@portal.example/"), "bad_url", 502),
    "endpoint-a-number": (changed(token_endpoint=1), "wrong_type", 502),
    "html": (replied(200, "<html>", "text/html"), "not_json", 502),
    "a-list": (lambda answer: [answer], "wrong_type", 502),
    "404": (replied(404, "nothing"), "http_404", 502),
    "500": (replied(500, "oops"), "http_500", 502),
    "huge": (replied(200, HUGE), "too_large", 502),
    "redirected": (replied(302, headers={"Location": "http://127.0.0.1:1/"}), "redirect", 502),
    "endless": (replied(200, drip=0.05), "timeout", 504),
}


@pytest.mark.parametrize(("answer", "reason", "status"), DISCOVERY.values(), ids=DISCOVERY)
def test_a_broken_discovery_begins_no_sign_in(visitor, provider, caplog, settings, answer, reason, status):
    settings.EPROSPERA_DEADLINE = 1.5
    provider.discovery = answer
    page = visitor.begin()
    assert_nothing_happened(visitor, caplog, provider, page, reason)
    assert page.status_code == status
    assert not Nonce.objects.exists()


@pytest.mark.parametrize("status", [503, 422])
def test_a_site_behind_a_proxy_chooses_the_status_of_the_providers_faults(visitor, provider, settings, status):
    """Some proxies replace the pages of 502, 503 and 504 by their own."""
    settings.EPROSPERA_PROVIDER_ERROR_STATUS = status
    provider.userinfo = replied(200, "<html>")
    page = visitor.sign_in()
    assert page.status_code == status
    assert "answered something unexpected" in page.text


def test_a_provider_that_is_down_begins_no_sign_in(visitor, provider, caplog, settings):
    settings.EPROSPERA_BASE_URL = "http://127.0.0.1:1"
    page = visitor.begin(next="/button/")
    assert_nothing_happened(visitor, caplog, provider, page, "connect_failed")
    assert page.status_code == 503
    assert 'name="next" value="/button/"' in page.text


def test_an_endless_answer_does_not_hold_a_worker_and_one_deadline_covers_the_whole_return(
    visitor, provider, caplog, settings
):
    """Each exchange alone would be within the deadline: together they are not."""
    settings.EPROSPERA_DEADLINE = 2
    settings.EPROSPERA_TIMEOUT = 30
    provider.token = lambda answer: time.sleep(1.2) or answer
    provider.jwks = lambda answer: time.sleep(1.2) or answer
    page = visitor.sign_in()
    assert_nothing_happened(visitor, caplog, provider, page, "timeout")
