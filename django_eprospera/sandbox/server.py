"""Threaded HTTP server for many simultaneous clients, whose log has no secrets and whose connections faults can close."""

from __future__ import annotations

import sys
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

__all__ = ["Handler", "QuietHandler", "Server"]


class Server(ThreadedWSGIServer):
    """Django's threaded server with a longer queue of new connections."""

    request_queue_size = 512
    # A second sandbox on the same port must fail, not share the port.
    allow_reuse_port = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors, except those of connections that the client closed."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(WSGIRequestHandler):
    """Request handler that prints method, path and status, but not the query, which has codes, states and signatures."""

    timeout = 120
    # Head and body are written separately; with Nagle's algorithm each response would take 40 ms longer.
    disable_nagle_algorithm = True

    def get_environ(self) -> Any:
        """Return the WSGI environment, with the socket added so that a fault can close the connection."""
        return super().get_environ() | {"eprospera_sandbox.connection": self.connection}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the parent's names
        """Print one line per request."""
        if len(args) == 3:
            words = str(args[0]).split(" ")
            path = words[1].partition("?")[0] if len(words) > 1 else ""
            print(f"{self.log_date_time_string()}  {words[0]:7} {path}  {args[1]}", file=sys.stderr, flush=True)  # noqa: T201


class QuietHandler(Handler):
    """Request handler that prints nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's names
        """Print nothing."""
