"""The sandbox of the test kit with a client and a browser, which walk through its front door."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from urllib.parse import parse_qs, urlsplit

import requests

from django_eprospera.scopes import LABELS
from django_eprospera.testing import Sandbox

LUCIA = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b01"  # Resident, three companies, everything on file
SAMUEL = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b02"  # e-Resident, shares KITES with Lucía, e-mail not verified
MIRJAM = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b03"  # Limited e-Resident until 2035
OTTO = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b04"  # residency ended
NADIA = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b05"  # never a resident: natural-person is null
TEO = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b06"  # nulls, no identity check, no e-mail
ANA = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b07"  # passport without a back
JOSE = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b08"  # accents
WULANDARI = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b09"  # a name of one word
ROBIN = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b10"  # markup in harmless fields
LARS = "6b2f7d1e-3c40-4d0f-9a57-1f2c8e5a9b11"  # residency listed although its last day has passed
# Whom benchmarks connect in numbers.
PEOPLE = (LUCIA, SAMUEL, MIRJAM, OTTO, NADIA, TEO, ANA, JOSE, WULANDARI, LARS)
KITES = "3e1b5c77-91d0-4a3b-8f8e-2a6c0d9e4f10"
REEF = "5a90d1e2-7c34-4b58-9e61-0b7f3a2c8d21"
LANTERNS = "8c4f2b16-0d9a-4e73-a5b8-61d3e7f09c32"
ORCHARD = "b27e6d03-f518-4c9d-8a42-9f0c5b1d7e43"
PAPER = "d6038fa9-42e7-4b1c-9d5f-c81a7e240b54"

ALL_SCOPES = " ".join(LABELS)


class SandboxProcess(Sandbox):
    """The sandbox with a client that walks through its front door."""

    @property
    def redirect_uri(self):
        return self.redirect_uris[0]

    # The front door

    def authorize_parameters(self, scopes=ALL_SCOPES, **more):
        parameters = {
            "response_type": "code", "client_id": self.client_id, "redirect_uri": self.redirect_uri, "scope": scopes,
            "state": secrets.token_urlsafe(16),
        } | ({"nonce": secrets.token_urlsafe(16)} if "openid" in scopes.split() else {})  # fmt: skip
        return {name: value for name, value in (parameters | more).items() if value is not None}

    def sign_in(self, persona=LUCIA, scopes=ALL_SCOPES, entities=None, *, answer="allow", browser=None, **more):
        """Walks sign-in and consent as a browser would, with PKCE. `entities=None` leaves every company ticked.

        Returns the token answer, with `nonce` and `verifier` added. With `answer="deny"`, or where the provider refuses,
        returns what reached the client instead: {"error": …, "state": …}.
        """
        verifier = secrets.token_urlsafe(48)
        parameters = self.authorize_parameters(
            scopes, code_challenge=challenge(verifier), code_challenge_method="S256", **more
        )
        reached = self.walk(parameters, persona, entities, answer=answer, browser=browser)
        if "code" not in reached:
            return reached
        assert reached["state"] == parameters["state"]
        tokens = self.token(grant_type="authorization_code", code=reached["code"], redirect_uri=parameters["redirect_uri"],
                            code_verifier=verifier)  # fmt: skip
        assert tokens.status_code == 200, tokens.text
        return tokens.json() | {"nonce": parameters.get("nonce"), "verifier": verifier}

    def walk(self, parameters, persona=LUCIA, entities=None, *, answer="allow", browser=None):
        """Follows redirects and presses buttons until the browser is sent to the client; returns what it carries there."""
        browser = browser or new_browser()
        page = browser.get(f"{self.url}/api/oauth/authorize", params=parameters, allow_redirects=False, timeout=60)
        for _ in range(12):
            if page.is_redirect or page.status_code == 303:
                target = page.headers["Location"]
                if target.startswith(tuple(self.redirect_uris)):
                    parts = urlsplit(target)
                    return {name: values[-1] for name, values in parse_qs(parts.query or parts.fragment).items()}
                page = browser.get(self._absolute(target), allow_redirects=False, timeout=60)
            elif "/sign-in?" in page.url and page.ok:
                page = self._press(browser, page, [("sub", persona)])
            elif "/consent?" in page.url and page.ok:
                offered = re.findall(r'name="entity"\s+value="([^"]+)"', page.text)
                picked = [("entity", entity) for entity in (offered if entities is None else entities)]
                response = self._press(browser, page, [*picked, ("answer", answer)])
                if response.status_code == 200:  # form_post
                    return dict(hidden_fields(response.text))
                page = response
            else:
                raise AssertionError(f"{page.url}: {page.status_code}\n{page.text}")
        raise AssertionError(f"No end of redirects, last {page.url}")

    def _absolute(self, target):
        return target if "://" in target else self.url + target

    def _press(self, browser, page, fields):
        fields = [*((name, value) for name, value in hidden_fields(page.text)), *fields]
        return browser.post(page.url, data=fields, allow_redirects=False, timeout=60)

    # The back channel

    def token(self, *, auth="basic", **form):
        """POST to the token endpoint; `auth` is basic, post or none."""
        return self.back_channel("token", auth=auth, **form)

    def refresh(self, refresh_token, **more):
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **more)

    def back_channel(self, endpoint, *, auth="basic", **form):
        credentials = {"client_id": self.client_id, "client_secret": self.client_secret} if auth == "post" else {}
        headers = {"Authorization": basic(self.client_id, self.client_secret)} if auth == "basic" else {}
        return self.http.post(f"{self.url}/api/oauth/{endpoint}", data=credentials | form, headers=headers, timeout=60)

    def get(self, path, access_token=None):
        """GET with a Bearer token: `sandbox.get("/api/v1/me/natural-person", token)`."""
        headers = {"Authorization": f"Bearer {access_token}"} if access_token else {}
        return self.http.get(self.url + path, headers=headers, timeout=60)


def new_browser(language="en"):
    """A session with a cookie jar and the headers of a browser that navigates."""
    browser = requests.Session()
    browser.trust_env = False
    browser.headers.update({"Accept": "text/html", "Accept-Language": language, "Sec-Fetch-Mode": "navigate"})
    return browser


def challenge(verifier):
    """The S256 challenge of a PKCE verifier (RFC 7636)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def basic(client_id, client_secret):
    """HTTP Basic as RFC 6749 section 2.3.1 wants it: both halves form-encoded first."""
    pair = f"{requests.utils.quote(client_id, safe='')}:{requests.utils.quote(client_secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def hidden_fields(page):
    """The hidden fields of the forms on a page, as (name, value)."""
    for tag in re.findall(r'<input[^>]*type="hidden"[^>]*>', page):
        name, value = re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)
        yield html.unescape(name[1]), html.unescape(value[1])
