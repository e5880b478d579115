"""An OpenID provider on a real port that misbehaves on demand.

It is honest until told otherwise. What it says can be changed at each place where it says something:

    provider.claims = lambda claims: claims | {"iss": "https://elsewhere.example"}
    provider.userinfo = lambda answer: Reply(500, "oops")

A hook gets the honest answer and returns another one, or a `Reply`. Everything secret or personal that it ever hands out is
kept in `provider.canaries`, for tests that search logs and pages.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

PERSON = {
    "sub": "5f0c7c2e-0000-4000-8000-canarysub001",
    "name": "Canaria Ficticia",
    "given_name": "Canaria",
    "family_name": "Ficticia",
    "email": "canaria.ficticia@example.test",
    "email_verified": True,
    "picture": "https://pictures.example.test/canaria.png",
}


@dataclass
class Reply:
    """A raw answer. `drip`: seconds between two bytes of a body that never ends."""

    status: int = 200
    body: str | bytes = ""
    content_type: str = "application/json"
    headers: dict = field(default_factory=dict)
    drip: float = 0.0


def honest(answer):
    return answer


@lru_cache(maxsize=8)
def key(number):
    """One of a few RSA keys: making them is slow."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(private, kid, **more):
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    jwk.pop("key_ops", None)
    return {**jwk, "use": "sig", "alg": "RS256", **({"kid": kid} if kid is not None else {}), **more}


class HostileProvider:
    def __init__(self, client_id="hostile-client", client_secret="canary-client-secret"):
        self.client_id, self.client_secret = client_id, client_secret
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.behave()

    def behave(self):
        """Honest again, with one key and nothing in memory."""
        self.discovery = self.claims = self.token = self.userinfo = self.jwks = self.redirect = honest
        self.sign = self.sign_honestly
        self.person = dict(PERSON)
        self.signing = (key(1), "key-1")
        self.published = [public_jwk(key(1), "key-1")]
        self.codes, self.calls = {}, []
        self.checks_pkce = True
        self.canaries = {self.client_secret, *(value for value in PERSON.values() if isinstance(value, str))}

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    # What it says

    def document(self):
        url = self.url
        return {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "userinfo_endpoint": f"{url}/userinfo",
            "jwks_uri": f"{url}/jwks",
            "revocation_endpoint": f"{url}/revoke",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def honest_claims(self, request, access_token):
        now = int(time.time())
        digest = hashlib.sha256(access_token.encode()).digest()[:16]
        return {
            "iss": self.url,
            "sub": self.person["sub"],
            "aud": self.client_id,
            "exp": now + 300,
            "iat": now,
            "auth_time": now,
            "nonce": request["nonce"],
            "at_hash": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        }

    def sign_honestly(self, claims):
        """Whatever the claims are: `jwt.encode` would refuse the strangest."""
        private, kid = self.signing
        return jwt.PyJWS().encode(json.dumps(claims).encode(), private, "RS256", {} if kid is None else {"kid": kid})

    def secret(self, prefix):
        value = f"{prefix}-canary-{secrets.token_urlsafe(24)}"
        self.canaries.add(value)
        return value

    # Its endpoints

    def authorize(self, query):
        """The person signs in and consents at once."""
        code = self.secret("code")
        self.codes[code] = query
        answer = self.redirect({"code": code, "state": query["state"]})
        return Reply(303, headers={"Location": f"{query['redirect_uri']}?{urlencode(answer, doseq=True)}"})

    def exchange(self, form):
        request = self.codes.pop(form.get("code"), None)
        if request is None or (self.checks_pkce and not _pkce_holds(request, form)):
            return Reply(400, json.dumps({"error": "invalid_grant"}))
        access_token = self.secret("at")
        id_token = self.sign(self.claims(self.honest_claims(request, access_token)))
        if isinstance(id_token, str):
            self.canaries.add(id_token)
        return self.token({
            "access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "scope": request["scope"],
            "refresh_token": self.secret("rt"), "id_token": id_token,
        })  # fmt: skip

    def answer(self, method, path, query, form):
        self.calls.append(path)
        if path == "/.well-known/openid-configuration":
            return self.discovery(self.document())
        if path == "/jwks":
            return self.jwks({"keys": list(self.published)})
        if path == "/authorize":
            return self.authorize(query)
        if path == "/token" and method == "POST":
            return self.exchange(form)
        if path == "/userinfo":
            return self.userinfo(dict(self.person))
        if path == "/revoke":
            return Reply(200)
        return Reply(404, "{}")


def _pkce_holds(request, form):
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == request["code_challenge"]


def _single(query):
    return {name: values[0] for name, values in parse_qs(query).items()}


def _handler(provider):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are written apart: else each answer waits 40 ms

        def log_message(self, *_):
            pass

        def do_GET(self):
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            reply = provider.answer(self.command, parts.path, _single(parts.query), _single(body))
            if not isinstance(reply, Reply):
                reply = Reply(body=json.dumps(reply))
            try:
                self._send(reply)
            except OSError:  # the client has had enough
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the server looks for this name

        def _send(self, reply):
            body = reply.body.encode() if isinstance(reply.body, str) else reply.body
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if not reply.drip:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if not reply.drip:
                self.wfile.write(body)
                return
            self.close_connection = True
            while not provider.stopping.wait(reply.drip):
                self.wfile.write(b" ")
                self.wfile.flush()

    return Handler
