"""Somebody with a browser, before the front door of the site: real requests, a cookie jar, no redirect followed unasked."""

import re
from urllib.parse import parse_qs, urlsplit

import requests


class Visitor:
    def __init__(self, site, language="en"):
        self.site = site.rstrip("/")
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers.update({"Accept": "text/html", "Accept-Language": language})

    def get(self, path, **more):
        return self.http.get(self.absolute(path), allow_redirects=False, timeout=60, **more)

    def post(self, path, data=None, **more):
        """POST with the CSRF token of this browser."""
        headers = {"X-CSRFToken": self.csrf_token(), **more.pop("headers", {})}
        return self.http.post(
            self.absolute(path), data=data or {}, headers=headers, allow_redirects=False, timeout=60, **more
        )

    def absolute(self, path):
        return path if "://" in path else self.site + path

    def csrf_token(self):
        if "csrftoken" not in self.http.cookies:
            self.get("/eprospera/confirm-sign-in/")
        return self.http.cookies["csrftoken"]

    @property
    def session_key(self):
        return self.http.cookies.get("sessionid")

    def begin(self, **fields):
        """Press the button; the answer sends the browser to the provider."""
        return self.post("/login/eprospera/", fields)

    def visit_provider(self, begun):
        """Follow to a provider that asks nothing; returns the address that it sends the browser back to."""
        assert begun.status_code == 302, begun.text
        answer = self.http.get(begun.headers["Location"], allow_redirects=False, timeout=60)
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def sign_in(self, **fields):
        """The whole way; returns the answer at the callback."""
        return self.get(self.visit_provider(self.begin(**fields)))

    def whoami(self):
        """The username that the site knows this browser by; empty for nobody."""
        answer = self.get("/whoami/")
        assert answer.status_code == 200, answer.text
        return answer.text


def query_of(address):
    """The parameters of an address, as a dict."""
    return {name: values[-1] for name, values in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}


def text_of(page):
    """What a person reads on a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)).strip()
