"""The sandbox's own pages in a real Chromium: with the keyboard alone, and without JavaScript."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.sandbox_process import LANTERNS, REEF, SandboxProcess


class Client(BaseHTTPRequestHandler):
    """A site that only remembers how browsers came back to it: (path with query, body)."""

    reached: list[tuple[str, str]] = []

    def do_GET(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.reached.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def client_site():
    with ThreadingHTTPServer(("127.0.0.1", 0), Client) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        Client.reached.clear()
        yield f"http://localhost:{server.server_address[1]}/back"
        server.shutdown()


# Only form_post has a script, which presses the button for the person.
@pytest.mark.parametrize(("mode", "script"), [("query", False), ("form_post", False), ("form_post", True)])
def test_the_keyboard_alone_leads_through_sign_in_and_consent(chromium, client_site, mode, script):
    """Chromium sends an Origin, honours the content security policy, and follows redirects after forms as browsers do."""
    with SandboxProcess(redirect_uris=[client_site]) as sandbox:
        context = chromium.new_context(java_script_enabled=script)
        page, parameters = context.new_page(), sandbox.authorize_parameters(response_mode=mode)
        page.goto(f"{sandbox.url}/api/oauth/authorize?{urlencode(parameters)}")
        page.get_by_role("button", name=re.compile("Lucía Ejemplo")).focus()
        page.keyboard.press("Enter")
        box = page.get_by_label(re.compile("Invented Kites"))
        box.focus()
        page.keyboard.press("Space")
        assert not box.is_checked()
        page.get_by_role("button", name="Allow").focus()
        page.keyboard.press("Enter")
        if mode == "form_post" and not script:
            page.get_by_role("button", name="Continue").focus()
            page.keyboard.press("Enter")
        page.wait_for_url(f"{client_site}**")
        context.close()
        path, body = next(each for each in Client.reached if each[0].startswith("/back"))
        carried = parse_qs(body if mode == "form_post" else urlsplit(path).query)
        assert carried["state"] == [parameters["state"]]
        code = {"grant_type": "authorization_code", "code": carried["code"][0], "redirect_uri": client_site}
        tokens = sandbox.token(**code).json()
        listed = sandbox.get("/api/v1/me/legal-entities", tokens["access_token"]).json()["data"]
        assert [company["id"] for company in listed] == [REEF, LANTERNS]
