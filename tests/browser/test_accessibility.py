"""axe finds nothing on any page: English and Spanish, light and dark, on a phone and on a desk."""

from pathlib import Path
from urllib.parse import urlencode

import axe_playwright_python
import pytest

from tests.browser.steps import choose, sign_in, sign_in_reviewer, wait_for_data
from tests.demo_process import ROOT
from tests.sandbox_process import LUCIA, NADIA, WULANDARI, SandboxProcess
from tests.site_process import SiteProcess, free_port

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
# Only what is found comes back: the rest is much more.
VIOLATIONS = "axe.run(document, {resultTypes: ['violations']}).then(found => found.violations)"
CUT_OFF = "[...document.querySelectorAll('.results')].some(list => list.scrollWidth > list.clientWidth)"
LANGUAGES = pytest.mark.parametrize("language", ["en", pytest.param("es", marks=pytest.mark.thorough)])
ADMIN = "/admin/django_eprospera"


def look(page, name, found):
    """Run axe on the page as it is, on a phone and on a desk; add what it finds to `found`.

    In English the phone is light and the desk dark, in Spanish the other way round: colours do not depend on the language.
    """
    page.evaluate(AXE)
    schemes = ("light", "dark") if page.evaluate("navigator.language") == "en" else ("dark", "light")
    for width, scheme in zip((360, 1280), schemes, strict=True):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        page.evaluate("document.getAnimations().forEach(each => each.finish())")  # no colour half-way between two
        violations = page.evaluate(VIOLATIONS)
        found += [
            f"{name} {scheme} {width}: {violation['id']}: {node['html'][:150]} {node['failureSummary'][:300]}"
            for violation in violations
            for node in violation["nodes"]
        ]
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append(f"{name} {scheme} {width}: wider than the screen")
        if width == 1280 and page.evaluate(CUT_OFF):
            found.append(f"{name}: columns of the list are cut off")


@LANGUAGES
def test_pages_of_the_package_and_of_the_example_site(visitor, demo, language):
    found = []
    page = visitor(locale=language)
    for name, path in (
        ("home", "/"),
        ("sign in", "/login/eprospera/?next=/members/"),
        ("sign-in error", "/complete/eprospera/?state=x&error=access_denied"),
    ):
        page.goto(path)
        look(page, name, found)
    sign_in(page, LUCIA)
    wait_for_data(page)
    for name, path in (
        ("account", "/account/"), ("members", "/members/"), ("refused: pending", "/vault/"),
        ("disconnect", "/eprospera/disconnect/"), ("confirm sign-in", "/eprospera/confirm-sign-in/"),
        ("confirm identity", "/eprospera/confirm-identity/"), ("other sessions", "/eprospera/other-sessions/"),
        ("delete account", "/account/delete/"),
    ):  # fmt: skip
        page.goto(path)
        look(page, name, found)
    other = visitor(locale=language)
    sign_in(other, NADIA)
    wait_for_data(other)
    other.goto("/members/")
    look(other, "refused: never resident", found)
    assert not found, "\n".join(found)


@LANGUAGES
def test_pages_of_the_package_without_a_design_of_the_site(chromium, tmp_path, language):
    found, port = [], free_port()
    own = f"TEMPLATES[0]['DIRS'] = [{str(ROOT / 'django_eprospera/templates')!r}]"
    with (
        SandboxProcess(redirect_uris=[f"http://localhost:{port}/complete/eprospera/"]) as provider,
        SiteProcess(tmp_path, provider, port, own) as site,
    ):
        context = chromium.new_context(base_url=site.url, locale=language)
        page = context.new_page()
        for name, path in (("sign in", "/login/eprospera/"), ("sign-in error", "/complete/eprospera/?state=x&code=y")):
            page.goto(path)
            look(page, name, found)
        sign_in(page, NADIA)
        wait_for_data(page)
        for name, path in (
            ("refused", "/members/"), ("disconnect", "/eprospera/disconnect/"),
            ("confirm sign-in", "/eprospera/confirm-sign-in/"), ("confirm identity", "/eprospera/confirm-identity/"),
            ("other sessions", "/eprospera/other-sessions/"),
        ):  # fmt: skip
            page.goto(path)
            assert page.locator("body.eprospera-page").count() == 1
            look(page, name, found)
        context.close()
    assert not found, "\n".join(found)


@LANGUAGES
def test_pages_of_the_sandbox(visitor, demo, language):
    found = []
    page = visitor(locale=language)
    page.goto(demo.sandbox_url)
    look(page, "sandbox", found)
    page.goto("/")
    page.locator('form[action*="/login/eprospera/"] button').first.click()
    page.locator('[name="sub"]').first.wait_for()
    look(page, "sandbox: sign in", found)
    choose(page, WULANDARI)
    page.locator('[name="answer"]').first.wait_for()
    look(page, "sandbox: consent", found)
    wrong = urlencode({"response_type": "code", "client_id": "example-site", "redirect_uri": "http://127.0.0.1:1/",
                       "scope": "openid", "state": "s", "nonce": "n"})  # fmt: skip
    page.goto(f"{demo.sandbox_url}/api/oauth/authorize?{wrong}")
    look(page, "sandbox: error", found)
    assert not found, "\n".join(found)


def follow(page, link):
    with page.expect_navigation():
        link.click()


@LANGUAGES
def test_pages_of_the_admin(visitor, demo, language):
    found = []
    person = visitor()
    sign_in(person, LUCIA)
    wait_for_data(person)
    page = visitor(locale=language)
    sign_in_reviewer(page, demo)
    for name, query in (("queue", ""), ("all reviews", "?status=all")):
        page.goto(f"{ADMIN}/review/{query}")
        look(page, name, found)
    for name, path in (("status", "/connection/status/"), ("models", "/")):
        page.goto(f"{ADMIN}{path}")
        look(page, name, found)
    page.goto(f"{ADMIN}/review/?subject_kind__exact=person")
    follow(page, page.locator("#result_list tbody th a").first)
    look(page, "review of a person", found)
    page.locator('[name="outcome"]').last.check()
    follow(page, page.locator(".eprospera-decide button"))
    look(page, "review with errors", found)
    page.goto(f"{ADMIN}/review/?status=all&subject_kind__exact=entity")
    follow(page, page.locator("#result_list tbody th a").first)
    look(page, "review of a company", found)
    for model in ("connection", "naturalperson", "residency", "idverification", "legalentity", "pendingrevocation",
                  "auditentry", "decision"):  # fmt: skip
        page.goto(f"{ADMIN}/{model}/")
        look(page, f"list of {model}", found)
        links = page.locator("#result_list tbody th a")
        if links.count():
            follow(page, links.first)
            look(page, model, found)
            show = page.locator("form.eprospera-note button")
            if show.count():
                follow(page, show)
                look(page, f"{model}, unmasked", found)
    assert not found, "\n".join(found)
