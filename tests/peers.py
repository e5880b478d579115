"""Peers that misbehave on demand, on real sockets.

A behaviour is a function of a `Conversation`, run once per connection in a thread of its own:

    def hangs(talk): talk.request(); talk.wait()

    with Peer(hangs) as peer:
        call("GET", peer.url + "/x", ...)
    assert peer.connections == 1
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import ipaddress
import json
import socket
import ssl
import struct
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Request:
    method: str
    target: str
    headers: dict  # names in lower case
    body: bytes

    @property
    def form(self):
        return parse_qsl(self.body.decode(), keep_blank_values=True)


@dataclass
class Conversation:
    """One connection, from the peer's side."""

    connection: socket.socket
    stopping: threading.Event
    seen: list
    number: int  # of this connection at the peer, from 1
    _file: object = field(init=False, default=None)

    def request(self) -> Request | None:
        """Read one request; None when the client has closed."""
        if self._file is None:
            self._file = self.connection.makefile("rb")
        line = self._file.readline()
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = self._file.read(int(headers.get("content-length", 0)))
        request = Request(method, target, headers, body)
        self.seen.append(request)
        return request

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def drip(self, data: bytes, every: float = 0.2) -> None:
        """One byte at a time until the client or the test has had enough."""
        for byte in data:
            self.send(bytes([byte]))
            if self.stopping.wait(every):
                return

    def wait(self) -> None:
        """Say nothing more until the test is over."""
        self.stopping.wait()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self._file is not None:
            self._file.close()
        self.connection.close()


class Peer:
    """Listens on loopback and gives each connection to `behaviour`. `requests` and `connections` count what came."""

    def __init__(self, behaviour, *, certificate=None, host="127.0.0.1"):
        self.behaviour = behaviour
        self.requests = []
        self.connections = 0
        self.stopping = threading.Event()
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(certificate)
        self._listener = socket.create_server((host, 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://{host}:{self.port}"
        self._open = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self.stopping.set()
        for connection in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self):
        while not self.stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()

    def _serve(self, connection, number):
        with contextlib.suppress(OSError, ValueError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            talk = Conversation(connection, self.stopping, self.requests, number)
            try:
                self.behaviour(talk)
            finally:
                if talk._file is not None:
                    talk._file.close()
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
                connection.close()


def response(status=200, body=b"", content_type="application/json", **headers) -> bytes:
    """A well-formed answer. `body` that is not bytes is sent as JSON; `Retry_After=1` is the header Retry-After."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    named = {"Content-Type": content_type, "Content-Length": len(body)}
    named.update({name.replace("_", "-"): value for name, value in headers.items()})
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def answers(*responses):
    """One response after the other, over however many connections; the last is repeated."""
    waiting = list(responses)

    def behaviour(talk):
        while talk.request() is not None:
            talk.send(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return behaviour


def routes(table):
    """By path without query; values are responses, or functions of the request that make one. Others get a JSON 404."""

    def behaviour(talk):
        while (request := talk.request()) is not None:
            found = table.get(request.target.partition("?")[0], response(404, {"error": "Not found"}))
            talk.send(found(request) if callable(found) else found)

    return behaviour


def silent(talk):
    """Reads the request and says nothing."""
    talk.request()
    talk.wait()


def drips_headers(talk):
    """Headers that never end, one byte at a time."""
    talk.request()
    talk.drip(b"HTTP/1.1 200 OK\r\n" + b"X-Drip: " + b"a" * 60_000)


def drips_body(talk):
    """A body of the promised length, one byte at a time."""
    talk.request()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
    talk.drip(b" " * 10_000)


def drips_chunks(talk):
    """A chunked body, one byte at a time."""
    talk.request()
    talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    talk.drip(b"1\r\na\r\n" * 10_000)


def continues_for_ever(talk):
    """Interim answers (100) without end."""
    talk.request()
    while not talk.stopping.is_set():
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        talk.stopping.wait(0.01)


def closes_unanswered(talk):
    """Reads the request and closes."""
    talk.request()


def resets(talk):
    """Reads the request and resets the connection."""
    talk.request()
    talk.reset()


def resets_in_body(talk):
    """Half of the promised body, then a reset."""
    talk.request()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 500)
    talk.reset()


def truncates_body(talk):
    """Half of the promised body, then an orderly close."""
    talk.request()
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 500)


def _flood(talk, head, piece):
    talk.request()
    talk.send(head)
    while not talk.stopping.is_set():
        talk.send(piece)


def huge_unannounced(talk):
    """A body without end and without a length."""
    _flood(talk, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b" " * 65_536)


def huge_chunked(talk):
    """Chunks without end."""
    _flood(talk, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b" " * 65_536 + b"\r\n")


def huge_trailers(talk):
    """A small chunked body with trailers without end."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    _flood(talk, head, b"X-Trailer: " + b"a" * 60_000 + b"\r\n")


def huge_headers(talk):
    """Interim answers that carry headers without end."""
    _flood(talk, b"", b"HTTP/1.1 100 Continue\r\nX-Long: " + b"a" * 60_000 + b"\r\n\r\n")


def gzip_bomb(talk):
    """100 MB of blanks, small on the wire."""
    talk.request()
    talk.send(response(200, gzip.compress(b" " * 100_000_000), Content_Encoding="gzip"))


def not_http(talk):
    """Another protocol altogether."""
    talk.request()
    talk.send(b"SSH-2.0-OpenSSH_9.9\r\n")


html = answers(response(200, b"<html><title>Welcome</title></html>", "text/html"))


def free_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def make_certificate(path, name="127.0.0.1"):
    """Write a self-signed certificate and its key to the file `path`; it is its own root."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peer")])
    now = dt.datetime.now(dt.UTC)
    try:
        alternative = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)
