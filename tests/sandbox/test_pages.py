"""Tests of the pages: forms, banner, languages, escaping."""

from __future__ import annotations

import re
import shlex
from html import escape

import pytest

from tests.sandbox_process import KITES, LUCIA, ROBIN, TEO, hidden_fields, new_browser


@pytest.fixture
def pages(sandbox):
    """The index, sign-in, consent, error and form_post pages, as a browser gets them."""
    return lambda language="en", persona=LUCIA: every_page(sandbox, language, persona)


def every_page(sandbox, language, persona):
    browser = new_browser(language)
    index = browser.get(sandbox.url + "/")
    sign_in = browser.get(f"{sandbox.url}/api/oauth/authorize", params=sandbox.authorize_parameters())
    consent = browser.post(sign_in.url, data=[*hidden_fields(sign_in.text), ("sub", persona)])
    refusal = browser.get(f"{sandbox.url}/api/oauth/authorize", params=sandbox.authorize_parameters(client_id="nobody"))
    answer = browser.get(
        f"{sandbox.url}/api/oauth/authorize",
        params=sandbox.authorize_parameters(response_mode="form_post", max_age="x"),
    )
    assert "/consent?" in consent.url
    return {"index": index, "sign_in": sign_in, "consent": consent, "refusal": refusal, "form_post": answer}


def test_every_page_has_the_banner_in_the_language_of_the_browser(pages):
    for language, banner in {
        "en": "This is a sandbox for tests.",
        "es-HN,es;q=0.9": "Esto es un entorno de pruebas.",
    }.items():
        for name, page in pages(language).items():
            assert banner in page.text, name
            assert f'<html lang="{language[:2]}">' in page.text


def test_scopes_are_explained_in_spanish_too(pages):
    assert "See the companies that you choose to share" in pages()["consent"].text
    spanish = pages("es")["consent"].text
    assert "Ver las empresas que usted decida compartir" in spanish
    assert "See " not in spanish
    assert "Permitir" in spanish


def test_pages_carry_no_script_and_forbid_it(pages):
    for name, page in pages().items():
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"\son\w+=|style=|<style", page.text), name
        assert ("<script" in page.text) is (name == "form_post")
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Cache-Control"] == "no-store"


def test_markup_in_names_is_escaped(pages):
    for name, page in pages(persona=ROBIN).items():
        assert "<script>alert" not in page.text, name
        assert "Script <b>" not in page.text, name
    consent = pages(persona=ROBIN)["consent"].text
    assert "Orchard &lt;script&gt;" in consent


def test_every_company_has_a_checked_checkbox(pages):
    consent = pages()["consent"].text
    boxes = re.findall(r'<input type="checkbox" name="entity" value="[^"]+" checked>', consent)
    assert len(boxes) == 3
    assert KITES in boxes[0]
    assert consent.count("<label") == 3


def test_without_an_entity_scope_nothing_is_offered_to_share(sandbox):
    browser = new_browser()
    sandbox.sign_in(scopes="openid", browser=browser)
    page = browser.get(f"{sandbox.url}/api/oauth/authorize", params=sandbox.authorize_parameters("openid"))
    assert "/consent?" in page.url
    assert 'name="entity"' not in page.text


def test_the_consent_page_needs_a_signed_in_user(sandbox):
    response = new_browser().get(f"{sandbox.url}/consent", params=sandbox.authorize_parameters())
    assert "/sign-in?" in response.url


@pytest.mark.parametrize("sub", ["", "nobody", "00000000-0000-4000-8000-000000000000"])
def test_an_unknown_persona_shows_the_page_again(sandbox, sub):
    browser = new_browser()
    page = browser.get(f"{sandbox.url}/api/oauth/authorize", params=sandbox.authorize_parameters())
    page = browser.post(page.url, data=[*hidden_fields(page.text), ("sub", sub)])
    assert "Choose one of these people." in page.text


def test_cookies_have_their_own_names(sandbox):
    browser = new_browser()
    sandbox.sign_in(browser=browser)
    assert {cookie.name for cookie in browser.cookies} == {"eprospera_sandbox_session", "eprospera_sandbox_csrf"}
    assert all(cookie.has_nonstandard_attr("HttpOnly") for cookie in browser.cookies)


def test_the_index_page_documents_the_sandbox(sandbox):
    text = new_browser().get(sandbox.url + "/").text
    for words in (
        "/_sandbox/faults",
        "/api/v1/me/natural-person",
        sandbox.client_id,
        sandbox.redirect_uri,
        TEO,
        "missing_scope_status",
    ):
        assert words in text
    assert sandbox.client_secret not in text


def test_a_file_that_the_browser_has_is_not_sent_again(sandbox):
    known = sandbox.get("/static/style.css").headers["Last-Modified"]
    answer = sandbox.http.get(f"{sandbox.url}/static/style.css", headers={"If-Modified-Since": known})
    assert (answer.status_code, answer.content) == (304, b"")


def test_style_and_mark_are_served_and_nothing_else(sandbox):
    assert sandbox.get("/static/style.css").headers["Content-Type"].startswith("text/css")
    assert sandbox.get("/static/mark.svg").status_code == 200
    for name in ("../settings.py", "..%2Fsettings.py", "other.css"):
        assert sandbox.get(f"/static/{name}").status_code == 404


def test_the_error_page_lists_the_registered_uris_and_how_to_add_one(sandbox):
    asked = "http://127.0.0.1:9000/complete/eprospera/?<b>;$(reboot)"
    page = new_browser().get(
        f"{sandbox.url}/api/oauth/authorize", params=sandbox.authorize_parameters(redirect_uri=asked), timeout=60
    )
    assert page.status_code == 400
    for uri in sandbox.redirect_uris:
        assert f"<code>{escape(uri)}</code>" in page.text
    assert f"eprospera-sandbox --redirect-uri {escape(shlex.quote(asked))}" in page.text
