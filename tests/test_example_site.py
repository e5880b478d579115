"""`manage.py migrate` and `runserver` with the documented variables alone are enough: no worker, no demo, another provider."""

import re
import time
from urllib.parse import parse_qsl, urlsplit

import django
import pytest
import requests

from tests.sandbox_process import ANA, LUCIA, OTTO, SandboxProcess, hidden_fields
from tests.site_process import SiteProcess, free_port


@pytest.fixture(params=["", "1"], ids=["debug off", "debug on"], scope="module")
def site(request, tmp_path_factory):
    """The example site's address, its provider, and its output."""
    port = free_port()
    scopes = "openid profile email offline_access eprospera:person.residency.read eprospera:entity.read"
    with SandboxProcess(redirect_uris=[f"http://localhost:{port}/complete/eprospera/"]) as provider:
        directory = tmp_path_factory.mktemp("site")
        with SiteProcess(directory, provider, port, EPROSPERA_SCOPE=scopes, DEBUG=request.param) as process:
            yield process.url, provider, process.output


def browser_signed_in(site, persona, answer="allow"):
    url, provider, _ = site
    browser = requests.Session()
    browser.trust_env = False
    home = browser.get(f"{url}/", timeout=60)
    begun = browser.post(
        f"{url}/login/eprospera/", data=dict(hidden_fields(home.text)), allow_redirects=False, timeout=60
    )
    reached = provider.walk(dict(parse_qsl(urlsplit(begun.headers["Location"]).query)), persona, answer=answer)
    return browser, browser.get(f"{url}/complete/eprospera/", params=reached, timeout=60)


def wait_for_data(browser, url):
    give_up = time.monotonic() + 30
    while 'http-equiv="refresh"' in (page := browser.get(f"{url}/account/", timeout=60)).text:
        assert time.monotonic() < give_up
        time.sleep(0.1)
    return page


def test_account_shows_who_is_signed_in_and_their_data_without_a_worker(site):
    url, *_ = site
    browser, landed = browser_signed_in(site, LUCIA)
    assert (landed.url, landed.status_code) == (f"{url}/account/", 200)
    assert "lucia.ejemplo@example.test" in landed.text
    page = wait_for_data(browser, url)
    assert "Invented Kites LLC" in page.text
    assert "0000000" not in page.text, "a permit number is not masked"
    assert browser.get(f"{url}/members/", timeout=60).status_code == 200
    assert browser.get(f"{url}/vault/", timeout=60).status_code == 403


def test_account_says_that_data_is_on_its_way_until_the_first_sync(tmp_path):
    port, home = free_port(), "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
    with (
        SandboxProcess(redirect_uris=[f"http://localhost:{port}/complete/eprospera/"]) as provider,
        SiteProcess(tmp_path, provider, port, TASK_BACKEND=f"{home}.backends.dummy.DummyBackend") as process,
    ):
        _, landed = browser_signed_in((process.url, provider, process.output), LUCIA)
    assert landed.text.count("On its way from e-Próspera.") == 4
    assert "Nothing is on file" not in landed.text


def test_directional_controls_in_names_are_shown_as_code_points(site):
    url, provider, _ = site
    evil = "Mallory\u202eyrollaM\u2066"
    provider.control(
        f"personas/{ANA}", claims={"given_name": evil}, residency={"activeResidency": {"residencyType": evil}}
    )
    browser, landed = browser_signed_in(site, ANA)
    page = wait_for_data(browser, url)
    assert "\u202e" not in landed.text + page.text
    assert page.text.count("Mallory[U+202E]yrollaM[U+2066]") >= 2, page.text


def test_account_redirects_unauthenticated_users(site):
    url, *_ = site
    answer = requests.get(f"{url}/account/", allow_redirects=False, timeout=60)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


def test_pages_carry_the_policy_and_find_their_files(site):
    url, provider, _ = site
    page = requests.get(f"{url}/", timeout=60)
    policy = page.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in policy
    assert f"form-action 'self' {provider.url}" in policy.split("; ")
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
    assert len(files) >= 3
    for file in files:
        assert requests.get(url + file, timeout=60).status_code == 200


def test_denied_consent_signs_nobody_in(site):
    url, *_ = site
    browser, landed = browser_signed_in(site, OTTO, answer="deny")
    assert 400 <= landed.status_code < 500
    assert "login/eprospera" in landed.text, "no way to try again"
    assert browser.get(f"{url}/account/", timeout=60).url == f"{url}/"


def test_callback_does_not_leave_its_code_in_the_log(site):
    _, _, output = site
    browser_signed_in(site, OTTO)
    said = "".join(output)
    assert '"GET /complete/eprospera/?… HTTP/1.1" 302' in said
    assert "code=" not in said
    assert "&state=" not in said
