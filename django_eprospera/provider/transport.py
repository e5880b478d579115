"""Sockets and connections for requests that keep each exchange within one deadline and one size. No models, no Django.

The timeouts of requests and urllib3 bound a single read: a peer that sends one byte a second never exceeds them, in the
headers as in the body. Here every send, read and handshake gets what is left of one deadline, and every byte read is
counted. urllib3's connection pool is used unchanged above it. DNS is not bounded: the resolver's own timeouts apply.

urllib3 logs the target of each request at level DEBUG and puts it into its exceptions. It gets the path template instead;
the real target, which may carry a signature, is inserted when the request line is written.

No other module uses parts of urllib3 and requests that their manuals do not promise. tests/test_dependencies.py reports
one that moved.
"""

from __future__ import annotations

import http.cookiejar
import ipaddress
import os
import re
import socket
import ssl
import time
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import requests.adapters
import requests.cookies
import requests.utils
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Exchange", "Limits", "TooLarge", "current", "open_session", "shared_session"]

# What status line, headers and the framing of chunks may weigh beside the body.
_OVERHEAD = 128 * 1024
# Up to which size an answer is kept as it arrives: more than any tokens and their headers.
_MOST_KEPT = 64 * 1024
_OK = re.compile(rb"HTTP/1\.[01] 200\b.*?\r\n\r\n.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one exchange: seconds to connect, between bytes, and in total; bytes of the answer's body."""

    connect_timeout: float = 5.0
    read_timeout: float = 10.0
    deadline: float = 20.0
    max_bytes: int = 1_048_576


class TooLarge(OSError):
    """The peer sent more than the limits allow."""


class Exchange:
    """One request and its answer, as the sockets see it."""

    __slots__ = (
        "arrived", "ends", "fresh", "keep", "limits", "path", "public_only", "received", "reused", "sent", "target", "tls",
    )  # fmt: skip

    def __init__(
        self,
        url: str,
        target: str,
        path: str,
        limits: Limits,
        *,
        fresh: bool,
        public_only: bool,
        keep: Callable[[bytes], None] | None = None,
    ) -> None:
        self.target = target  # what goes into the request line
        self.path = path  # what may be logged
        self.limits = limits
        self.tls = url.startswith("https:")
        self.fresh = fresh  # never on a connection that was used before
        self.public_only = public_only
        self.keep = keep  # gets an answer with status 200 as far as it has arrived, whenever more of its body arrives
        self.arrived = bytearray()
        self.ends = time.monotonic() + limits.deadline
        self.sent = False  # some byte of the request may have reached the peer
        self.reused = False
        self.received = 0

    def left(self) -> float:
        """Return the seconds until the deadline. Raises TimeoutError when there are none."""
        left = self.ends - time.monotonic()
        if left <= 0:
            msg = "deadline"
            raise TimeoutError(msg)
        return left

    def receive(self, piece: memoryview) -> None:
        """Pass on what has arrived, and count it. Raises TooLarge for more than body, headers and framing may weigh."""
        # First of all: a process that is killed now loses an answer that the peer does not repeat.
        if self.keep is not None and self.sent and self.received + len(piece) <= _MOST_KEPT:
            self.arrived += piece
            if _OK.match(self.arrived):
                self.keep(bytes(self.arrived))
        self.received += len(piece)
        if self.received > self.limits.max_bytes + _OVERHEAD:
            raise TooLarge

    def connect(self, host: str, port: int, *, direct: bool) -> PlainSocket:
        """Return a connection to the first address of `host` that accepts one. Raises OSError, at the deadline TimeoutError."""
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            msg = "not a host name"
            raise OSError(msg) from None
        refused = OSError("no address")
        for family, kind, protocol, _, address in addresses:
            if direct and self.public_only and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_global:
                refused = OSError("not a public address")
                continue
            connection = PlainSocket(family, kind, protocol)
            try:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(min(self.limits.connect_timeout, self.left()))
                connection.connect(address)
            except OSError as error:
                connection.close()
                refused = error
            else:
                return connection
        raise refused


# The exchange of this thread or greenlet, for the sockets that are deep inside urllib3.
current: ContextVar[Exchange | None] = ContextVar("eprospera_exchange", default=None)


def _arm(connection: socket.socket) -> Exchange | None:
    exchange = current.get()
    if exchange is not None:
        connection.settimeout(min(exchange.limits.read_timeout, exchange.left()))
    return exchange


class PlainSocket(socket.socket):
    """A TCP socket that keeps to the deadline of the current exchange."""

    def recv_into(self, buffer: Any, *args: Any) -> int:
        exchange = _arm(self)
        size = super().recv_into(buffer, *args)
        if exchange is not None:
            exchange.receive(memoryview(buffer)[:size])
        return size

    def sendall(self, *args: Any) -> None:
        exchange = _arm(self)
        if exchange is not None and not exchange.tls:  # under TLS this is a proxy being asked for a tunnel
            exchange.sent = True
        super().sendall(*args)


class TlsSocket(ssl.SSLSocket):
    """A TLS socket that keeps to the deadline of the current exchange, the handshake included."""

    def do_handshake(self, *args: Any, **kwargs: Any) -> None:
        _arm(self)
        super().do_handshake(*args, **kwargs)

    def recv_into(self, buffer: Any, *args: Any) -> int:
        exchange = _arm(self)
        size = super().recv_into(buffer, *args)
        if exchange is not None:
            exchange.receive(memoryview(buffer)[:size])
        return size

    def send(self, *args: Any) -> int:
        exchange = _arm(self)  # `sendall` is a loop of `send`
        if exchange is not None:
            exchange.sent = True
        return super().send(*args)


def _is_usable(*, alive: bool) -> bool:
    exchange = current.get()
    if exchange is None:
        return alive
    exchange.reused = alive and not exchange.fresh
    return exchange.reused


def _connect(connection: HTTPConnection) -> socket.socket:
    exchange = current.get()
    if exchange is None:
        msg = "A connection is opened within an exchange only."
        raise RuntimeError(msg)
    return exchange.connect(connection.host, connection.port or 443, direct=connection.proxy is None)


def _target(url: str) -> str:
    exchange = current.get()
    return url if exchange is None else exchange.target


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)

    @property
    def is_connected(self) -> bool:
        return _is_usable(alive=super().is_connected)

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        super().putrequest(method, _target(url), *args, **kwargs)


class _TlsConnection(_PlainConnection, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        if not isinstance(self.sock, TlsSocket):  # someone replaced the TLS of urllib3, or a proxy wants TLS within TLS
            self.close()
            msg = "no deadline can be kept on this kind of socket"
            raise ssl.SSLError(msg)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _PlainPool, "https": _TlsPool}


class _Adapter(requests.adapters.HTTPAdapter):
    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_connections=8, pool_maxsize=32)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the context always verifies, and holds its roots already (loading them costs 20 ms a connection)."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:  # noqa: ARG002
        exchange = current.get()
        return "/" if exchange is None else exchange.path


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """Return None: requests would read a redirect's whole body, without a limit, even when it does not follow it."""
        return None


def open_session(ca_bundle: str | None = None) -> requests.Session:
    """Return a session that verifies certificates, keeps no cookies and reads no `.netrc`.

    Root certificates: `ca_bundle` (a file or a directory), else REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE, else certifi's.
    """
    roots = (
        ca_bundle
        or os.environ.get("REQUESTS_CA_BUNDLE")
        or os.environ.get("CURL_CA_BUNDLE")
        or requests.utils.DEFAULT_CA_BUNDLE_PATH
    )
    context = create_urllib3_context()
    context.load_verify_locations(**{"capath" if Path(roots).is_dir() else "cafile": roots})
    context.sslsocket_class = TlsSocket
    session = _Session()
    session.trust_env = False
    session.cookies = requests.cookies.RequestsCookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    session.mount("https://", _Adapter(context))
    session.mount("http://", _Adapter(context))
    return session


def shared_session() -> requests.Session:
    """Return the session of this process. A forked child gets its own: on a shared connection it would read its parent's
    answers."""
    return _session_of(os.getpid())


@lru_cache(maxsize=1)
def _session_of(pid: int) -> requests.Session:  # noqa: ARG001
    return open_session()
