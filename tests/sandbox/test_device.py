"""Tests of the device flow (RFC 8628), as the provider's command line client uses it, and of its pages."""

from __future__ import annotations

import re
import time
from html import unescape

import jwt
import pytest
import requests

from tests.sandbox.contract import conforms
from tests.sandbox_process import ALL_SCOPES, KITES, LUCIA, REEF, SAMUEL, SandboxProcess, hidden_fields, new_browser

CLI = "eprospera-cli"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
# What the client requests by default.
CLI_SCOPES = f"{ALL_SCOPES} eprospera:person.tax.read eprospera:entity.tax.read"


class CommandLineClient:
    """The provider's command line client: public, sends its client_id in the form and nothing in the header."""

    def __init__(self, sandbox):
        self.url = sandbox.url
        self.metadata = requests.get(f"{sandbox.url}/.well-known/openid-configuration").json()

    def post(self, endpoint, **form):
        return requests.post(self.metadata[f"{endpoint}_endpoint"], data={"client_id": CLI, **form})

    def start(self, scope=CLI_SCOPES):
        response = self.post("device_authorization", scope=scope)
        assert response.status_code == 200, response.text
        return response.json()

    def poll(self, started):
        return self.post("token", grant_type=GRANT, device_code=started["device_code"])

    def refresh(self, token, **more):
        return self.post("token", grant_type="refresh_token", refresh_token=token, **more)

    def get(self, path, token):
        return requests.get(self.url + path, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def cli(sandbox):
    """The command line client; polls do not have to wait."""
    sandbox.control("switches", device_interval=0)
    return CommandLineClient(sandbox)


def press(browser, page, *fields):
    """Send the form of a page, whatever its action."""
    action = re.search(r'<form method="post" action="([^"]+)"', page.text)
    url = page.url if action is None else page.url.split("/device")[0] + unescape(action[1])
    return browser.post(url, data=[*hidden_fields(page.text), *fields])


def shown_code(page):
    return re.search(r'name="user_code" value="([^"]*)"', page.text)[1]


def approve(started, sub=LUCIA, *, entities=(), answer="allow", browser=None):
    """Do what the user does in a browser: compare the code, choose a persona, answer. Returns the last page."""
    browser = browser or new_browser()
    page = browser.get(started["verification_uri_complete"])
    assert shown_code(page) == started["user_code"]
    page = press(browser, page, ("user_code", started["user_code"]))
    if "/device/sign-in?" in page.url:
        page = press(browser, page, ("sub", sub))
    assert "/device/consent?" in page.url, page.text
    return press(browser, page, *(("entity", entity) for entity in entities), ("answer", answer))


def error(response, status=400):
    assert response.status_code == status, response.text
    assert response.headers["Cache-Control"] == "no-store"
    return response.json()["error"]


def test_the_command_line_client_signs_in_reads_refreshes_and_signs_out(cli):
    started = cli.start()
    assert set(started) == {
        "device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval",
    }  # fmt: skip
    assert started["verification_uri"] == f"{cli.url}/device"
    assert error(cli.poll(started)) == "authorization_pending"
    assert "Access allowed" in approve(started, entities=[KITES]).text
    tokens = cli.poll(started).json()
    assert conforms("TokenResponse", tokens)
    assert tokens["scope"].split() == CLI_SCOPES.split()

    assert cli.get("/api/v1/me/natural-person", tokens["access_token"]).json()["givenName"] == "Lucía"
    listed = cli.get("/api/v1/me/legal-entities", tokens["access_token"]).json()["data"]
    assert [company["id"] for company in listed] == [KITES]
    assert cli.get(f"/api/v1/me/legal-entities/{REEF}", tokens["access_token"]).status_code == 404
    assert cli.get("/api/oauth/userinfo", tokens["access_token"]).json()["sub"] == LUCIA

    refreshed = cli.refresh(tokens["refresh_token"]).json()
    assert refreshed["refresh_token"] != tokens["refresh_token"]
    assert refreshed["scope"].split() == CLI_SCOPES.split()

    for kind in ("refresh_token", "access_token"):
        response = cli.post("revocation", token=refreshed[kind], token_type_hint=kind)
        assert (response.status_code, response.content) == (200, b"")
    assert cli.get("/api/oauth/userinfo", refreshed["access_token"]).status_code == 401
    assert error(cli.refresh(refreshed["refresh_token"])) == "invalid_grant"


def test_the_id_token_of_a_device_can_be_verified(cli, sandbox):
    started = cli.start()
    approve(started)
    token = cli.poll(started).json()["id_token"]
    key = jwt.PyJWKSet.from_dict(requests.get(cli.metadata["jwks_uri"]).json())[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["RS256"], audience=CLI, issuer=sandbox.url)
    assert (claims["sub"], claims["email"]) == (LUCIA, "lucia.ejemplo@example.test")
    assert {"at_hash", "auth_time", "iat", "exp"} <= set(claims)
    assert "nonce" not in claims


def test_a_device_code_is_valid_once(cli):
    started = cli.start()
    approve(started)
    first = cli.poll(started).json()
    assert error(cli.poll(started)) == "invalid_grant"
    assert cli.get("/api/oauth/userinfo", first["access_token"]).status_code == 200


def test_without_offline_access_or_openid_their_tokens_are_absent(cli):
    started = cli.start("email")
    approve(started)
    tokens = cli.poll(started).json()
    assert tokens["scope"] == "email"
    assert not {"refresh_token", "id_token"} & set(tokens)


def test_denied_access_is_access_denied(cli):
    started = cli.start()
    assert "Access denied" in approve(started, answer="deny").text
    assert error(cli.poll(started)) == "access_denied"
    assert error(cli.poll(started)) == "access_denied"


def test_an_expired_code_is_an_expired_token_and_its_page_says_so(cli, sandbox):
    sandbox.control("switches", device_code_seconds=0)
    started = cli.start()
    assert started["expires_in"] == 0
    browser = new_browser()
    page = browser.get(started["verification_uri_complete"])
    page = press(browser, page, ("user_code", started["user_code"]))
    assert "This code has expired" in page.text
    assert error(cli.poll(started)) == "expired_token"


def test_polling_too_fast_is_slow_down_and_adds_five_seconds(cli, sandbox):
    sandbox.control("switches", device_interval=1)
    started = cli.start()
    assert started["interval"] == 1
    assert error(cli.poll(started)) == "authorization_pending"
    assert error(cli.poll(started)) == "slow_down"
    # Longer than the first interval, shorter than the new one.
    time.sleep(1.1)
    assert error(cli.poll(started)) == "slow_down"
    approve(started)
    assert cli.poll(started).status_code == 200


def test_another_client_cannot_take_the_code(cli, sandbox):
    started = cli.start()
    approve(started)
    form = {"grant_type": GRANT, "device_code": started["device_code"], "client_id": sandbox.client_id}
    url = cli.metadata["token_endpoint"]
    assert error(requests.post(url, data=form), 401) == "invalid_client"
    assert error(requests.post(url, data={**form, "client_secret": "wrong"}), 401) == "invalid_client"
    assert error(requests.post(url, data={**form, "client_secret": sandbox.client_secret})) == "invalid_grant"
    assert error(requests.post(url, data={**form, "client_id": "nobody"}), 401) == "invalid_client"
    assert cli.poll(started).status_code == 200


def test_tokens_of_one_client_are_unknown_to_the_other(cli, sandbox):
    started = cli.start()
    approve(started)
    tokens = cli.poll(started).json()
    other = sandbox.mint()[0]
    assert error(sandbox.refresh(tokens["refresh_token"])) == "invalid_grant"
    assert error(cli.refresh(other["refresh_token"])) == "invalid_grant"
    for kind in ("refresh_token", "access_token"):
        assert cli.post("revocation", token=other[kind]).status_code == 200
        assert cli.post("introspection", token=other[kind]).json() == {"active": False}
        assert sandbox.back_channel("introspect", token=tokens[kind]).json() == {"active": False}
        body = cli.post("introspection", token=tokens[kind]).json()
        assert (body["active"], body["client_id"]) == (True, CLI)
        assert conforms("Introspection", body)
    assert sandbox.refresh(other["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    ("form", "expected", "status"),
    [
        ({"client_id": "nobody", "scope": "openid"}, "invalid_client", 401),
        ({"scope": "openid"}, "invalid_client", 401),
        ({"client_id": "test-client", "scope": "openid"}, "unauthorized_client", 400),
        ({"client_id": CLI, "scope": "openid root"}, "invalid_scope", 400),
        ({"client_id": CLI, "scope": "eprospera:person.documents.read"}, "invalid_scope", 400),
        ({"client_id": CLI}, "invalid_scope", 400),
        ({"client_id": [CLI, CLI], "scope": "openid"}, "invalid_request", 400),
    ],
)
def test_a_device_authorization_that_is_refused(cli, form, expected, status):
    assert error(requests.post(cli.metadata["device_authorization_endpoint"], data=form), status) == expected


def test_a_form_with_a_charset_is_a_form(cli):
    headers = {"Content-Type": "application/x-www-form-urlencoded;charset=UTF-8"}
    body = f"client_id={CLI}&scope=openid"
    url = cli.metadata["device_authorization_endpoint"]
    assert requests.post(url, data=body, headers=headers).status_code == 200
    assert error(requests.post(url, json={"client_id": CLI})) == "invalid_request"


@pytest.mark.parametrize("missing", ["device_code", "client_id"])
def test_a_poll_names_its_missing_field(cli, missing):
    form = {"grant_type": GRANT, "device_code": "x", "client_id": CLI}
    del form[missing]
    response = requests.post(cli.metadata["token_endpoint"], data=form)
    assert error(response) == "invalid_request"
    assert missing in response.json()["error_description"]


def test_the_tax_scopes_are_for_this_client_only(cli, sandbox):
    reached = sandbox.sign_in(scopes="openid eprospera:person.tax.read")
    assert reached["error"] == "invalid_scope"
    assert "eprospera:person.tax.read" not in cli.metadata["scopes_supported"]
    assert GRANT in cli.metadata["grant_types_supported"]


def test_the_client_has_no_redirect_uri(sandbox):
    parameters = sandbox.authorize_parameters(client_id=CLI)
    assert error_of(sandbox.http.get(f"{sandbox.url}/api/oauth/authorize", params=parameters)) == "invalid_request"


def error_of(response):
    return response.json()["error"]


def test_a_grant_that_is_revoked_before_the_poll_gives_no_tokens(cli, sandbox):
    started = cli.start()
    approve(started)
    assert sandbox.control("revoke", sub=LUCIA) == {"ended": 1}
    assert error(cli.poll(started)) == "invalid_grant"


def test_a_reset_forgets_pending_codes(cli, sandbox):
    started = cli.start()
    sandbox.control("reset")
    assert error(cli.poll(started)) == "invalid_grant"


def test_the_client_id_of_the_command_line_client_is_taken():
    with pytest.raises(RuntimeError, match="eprospera-cli is registered already"):
        SandboxProcess(client_id=CLI).start()


# Pages


@pytest.mark.parametrize("typed", ["lower", "dashed"])
def test_a_code_may_be_typed_in_lower_case_or_with_a_dash(cli, typed):
    started = cli.start()
    code = started["user_code"]
    code = code.lower() if typed == "lower" else f" {code[:4]}-{code[4:]} "
    browser = new_browser()
    page = press(browser, browser.get(started["verification_uri"]), ("user_code", code))
    assert "/device/sign-in?" in page.url


@pytest.mark.parametrize("code", ["", "WRONG", "<script>alert(1)</script>"])
def test_an_unknown_code_shows_the_page_again(cli, code):
    browser = new_browser()
    page = press(browser, browser.get(f"{cli.url}/device"), ("user_code", code))
    assert "There is no such code" in page.text
    assert "<script>alert" not in page.text
    for path in ("sign-in", "consent"):
        page = browser.get(f"{cli.url}/device/{path}", params={"user_code": code})
        assert "There is no such code" in page.text


@pytest.mark.parametrize("answer", ["allow", "deny"])
def test_a_code_can_be_answered_once(cli, answer):
    started, browser = cli.start(), new_browser()
    page = browser.get(started["verification_uri_complete"])
    page = press(browser, page, ("user_code", started["user_code"]))
    consent = press(browser, page, ("sub", LUCIA))
    press(browser, consent, ("answer", answer))
    again = press(browser, consent, ("answer", "allow"))
    assert "This code has been used already" in again.text
    assert (cli.poll(started).status_code == 200) is (answer == "allow")


def test_consent_is_given_by_the_persona_that_the_page_shows(cli):
    started, browser = cli.start(), new_browser()
    page = press(browser, browser.get(started["verification_uri_complete"]), ("user_code", started["user_code"]))
    sign_in = page
    consent = press(browser, page, ("sub", LUCIA))
    press(browser, sign_in, ("sub", SAMUEL))
    again = press(browser, consent, ("answer", "allow"))
    assert "Another account has signed in" in again.text
    assert "Samuel Sample" in again.text
    assert error(cli.poll(started)) == "authorization_pending"
    press(browser, again, ("answer", "allow"))
    assert cli.get("/api/oauth/userinfo", cli.poll(started).json()["access_token"]).json()["sub"] == SAMUEL


def test_opening_the_prefilled_page_approves_nothing(cli):
    started, browser = cli.start(), new_browser()
    approve(started, browser=browser)
    second = cli.start()
    browser.get(second["verification_uri_complete"])
    assert error(cli.poll(second)) == "authorization_pending"


def test_the_pages_need_no_script_and_speak_spanish(cli):
    started, browser = cli.start(), new_browser("es")
    first = browser.get(started["verification_uri_complete"])
    sign_in = press(browser, first, ("user_code", started["user_code"]))
    consent = press(browser, sign_in, ("sub", LUCIA))
    done = press(browser, consent, ("answer", "allow"))
    for page, words in (
        (first, "Conectar un dispositivo"),
        (consent, "Ver sus datos fiscales"),
        (done, "Acceso permitido"),
    ):
        assert words in page.text
        assert "<script" not in page.text
        assert '<html lang="es">' in page.text


def test_the_forms_cannot_be_sent_from_another_site(cli):
    started, browser = cli.start(), new_browser()
    approve(started, browser=browser)
    second = cli.start()
    url = f"{cli.url}/device/consent?user_code={second['user_code']}"
    assert browser.post(url, data={"answer": "allow", "account": LUCIA}).status_code == 403
