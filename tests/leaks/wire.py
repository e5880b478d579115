"""A proxy before the sandbox that notes each secret of the traffic, and can break answers.

The issuer is the proxy's address, so nobody gets past it. Every token, code, signed URL and file that is handed out becomes a
canary at the moment in which it leaves.
"""

import contextlib
import http.client
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_SECRET_FIELDS = {"code": "authorization code", "code_verifier": "PKCE verifier", "refresh_token": "refresh token",
                  "token": "revoked token", "client_secret": "client secret"}  # fmt: skip


@dataclass
class Request:
    method: str
    target: str
    headers: object
    body: bytes

    @property
    def path(self):
        return urlsplit(self.target).path

    @property
    def form(self):
        return {name: values[0] for name, values in parse_qs(self.body.decode("latin-1")).items()}

    def echo(self):
        """Everything that the client said, as a careless server's error page repeats it."""
        lines = [f"{self.method} {self.target}", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\n".join([*lines, "", self.body.decode("utf-8", "replace")])


@dataclass
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    stall: float = 0.0  # seconds before a byte is sent, after which the connection is cut


class Wire:
    """`misbehave(request)` may return a Reply of its own; `arriving(request, reply)` is called before a true one is sent."""

    def __init__(self, canaries, aliases):
        self.canaries, self.aliases = canaries, aliases
        self.upstream = None  # host and port of the sandbox
        self.misbehave = self.arriving = lambda *_: None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.stopping = threading.Event()
        self.seen = []
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.stopping.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        self.seen.append(f"{request.method} {request.path}")
        self._note_request(request)
        if reply := self.misbehave(request):
            return reply, []
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        connection.request(request.method, request.target, request.body or None, dict(request.headers.items()))
        answer = connection.getresponse()
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
        reply = Reply(answer.status, answer.read(), answer.getheader("Content-Type", ""))
        connection.close()
        if request.path.startswith("/api/"):
            for given, canary in self.aliases.items():
                reply.body = reply.body.replace(given, canary)
        self._note_reply(request, reply, dict(headers))
        self.arriving(request, reply)
        return reply, [pair for pair in headers if pair[0].lower() != "content-type"]

    def _note_request(self, request):
        add, authorization = self.canaries.add, request.headers.get("Authorization", "")
        if authorization.startswith("Basic "):
            add("client credentials", authorization.removeprefix("Basic "))
        if request.path.startswith("/api/oauth/") and request.method == "POST":
            for name, value in request.form.items():
                if name in _SECRET_FIELDS:
                    add(_SECRET_FIELDS[name], value)
        if request.path == "/api/oauth/authorize":
            query = parse_qs(urlsplit(request.target).query)
            add("nonce", query["nonce"][0])
            add("state", query["state"][0])

    def _note_reply(self, request, reply, headers):
        add = self.canaries.add
        if code := parse_qs(urlsplit(headers.get("Location", "")).query).get("code"):
            add("authorization code", code[0])
        if request.path.startswith("/files/") and reply.status == 200:
            self.canaries.file("document" if reply.body.startswith(b"%PDF") else "picture", reply.body)
        if not reply.content_type.startswith("application/json") or reply.status != 200:
            return
        body = json.loads(reply.body)
        if request.path == "/api/oauth/token":
            add("access token", body["access_token"])
            if "refresh_token" in body:
                add("refresh token", body["refresh_token"])
            if "id_token" in body:
                for part in (body["id_token"], *body["id_token"].split(".")[1:]):
                    add("ID token", part)
        elif request.path.startswith("/api/v1/"):
            for text in _texts(body):
                if signature := parse_qs(urlsplit(text).query).get("signature"):
                    add("signature of a file's URL", signature[0])


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _handler(wire):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            reply, headers = wire.answer(Request(self.command, self.path, self.headers, body))
            if reply.stall:
                wire.stopping.wait(reply.stall)
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in headers:
                self.send_header(name, value)
            if reply.content_type:
                self.send_header("Content-Type", reply.content_type)
            if reply.status >= 500:
                self.send_header("Retry-After", "0")  # the client tries again as often as ever, and need not pause
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def handle(self):
            with contextlib.suppress(OSError):  # the client has had enough
                super().handle()

        do_POST = do_GET  # noqa: N815 - the library's names
        do_DELETE = do_GET  # noqa: N815

    return Handler


def until(condition, what, seconds=60):
    """Wait for something that happens in another process."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"waited in vain for {what}"
        time.sleep(0.05)
    return found
