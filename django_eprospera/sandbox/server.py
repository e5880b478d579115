"""A threaded HTTP server for a sandbox: many clients at once, no secrets in its log, connections that can be cut on demand."""

from __future__ import annotations

import sys
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

__all__ = ["Handler", "QuietHandler", "Server"]


class Server(ThreadedWSGIServer):
    """Django's threaded server with room for a crowd knocking at once."""

    request_queue_size = 512
    # A second sandbox on the same port must fail loudly, not share it.
    allow_reuse_port = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is its own affair; anything else is printed."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(WSGIRequestHandler):
    """Prints one line per request: method, path, status. Never the query, which carries codes, states and signatures."""

    timeout = 120
    # Head and body are written one after the other; held back, each answer would take 40 ms longer.
    disable_nagle_algorithm = True

    def get_environ(self) -> Any:
        """The WSGI environment, with the socket in it so that a fault can cut the connection."""
        return super().get_environ() | {"eprospera_sandbox.connection": self.connection}

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ARG002 - the parent's names
        """One line per answered request."""
        if len(args) == 3:
            words = str(args[0]).split(" ")
            path = words[1].partition("?")[0] if len(words) > 1 else ""
            print(f"{self.log_date_time_string()}  {words[0]:7} {path}  {args[1]}", file=sys.stderr, flush=True)  # noqa: T201


class QuietHandler(Handler):
    """Prints nothing."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's names
        """Nothing."""
