"""Faults that are applied to matching requests. Kept in memory. Imports no models."""

from __future__ import annotations

import random
import socket
import threading
import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fault", "Faults", "apply"]


@dataclass
class Fault:
    """A fault for requests whose path is `path`, or begins with it if it ends in `*`."""

    path: str
    # The response that is sent; without a status the real response is sent.
    status: int | None = None
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    # How many times the body is repeated.
    repeat: int = 1
    # Seconds before the response, and between two bytes of its body.
    delay: float = 0
    drip: float = 0
    # The connection is closed instead of a response.
    drop: bool = False
    # The request is processed before the fault: only its response is lost.
    after: bool = False
    method: str = ""
    # Values that the request's form must contain, for example {"grant_type": "refresh_token"}.
    form: dict[str, str] = field(default_factory=dict)
    # How many requests it applies to; 0 for all until it is removed.
    times: int = 0
    # Part of the matching requests that it applies to, at random: from 0 to 1.
    share: float = 1

    def matches(self, request: HttpRequest) -> bool:
        """Return whether the fault applies to this request."""
        path = request.path
        return (
            (path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path)
            and self.method in ("", request.method)
            and all(request.POST.get(name) == value for name, value in self.form.items())
            and random.random() < self.share  # noqa: S311 - a fault is no secret
        )


class Faults:
    """The pending faults of one sandbox, oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, given: dict[str, Any]) -> None:
        """Add a fault. Raises ValueError for an unknown field or an invalid path."""
        known = {each.name for each in fields(Fault)}
        if unknown := set(given) - known:
            raise ValueError(
                f"Unknown fields of a fault: {', '.join(sorted(unknown))}. Fields: {', '.join(sorted(known))}."
            )
        if not str(given.get("path", "")).startswith("/"):
            raise ValueError(f"path must begin with a slash, not be {given.get('path')!r}.")
        with self._lock:
            self._faults.append(Fault(**given))

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> list[dict[str, Any]]:
        """Return the pending faults."""
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def take(self, request: HttpRequest) -> Fault | None:
        """Return the first fault that matches this request, or None. Removes the fault after its last use."""
        with self._lock:
            for fault in self._faults:
                if fault.matches(request):
                    if fault.times == 1:
                        self._faults.remove(fault)
                    fault.times = max(fault.times - 1, 0) if fault.times else 0
                    return fault
        return None


def apply(fault: Fault, request: HttpRequest, real: HttpResponse | None) -> HttpResponseBase | None:
    """Return the response to send instead of the real one, or None to send the real one."""
    if fault.delay:
        time.sleep(fault.delay)
    if fault.drop:
        connection: socket.socket = request.META["eprospera_sandbox.connection"]
        connection.shutdown(socket.SHUT_RDWR)
        return HttpResponse(status=503)
    if fault.status is not None:
        response = HttpResponse(
            fault.body * fault.repeat, status=fault.status, content_type=fault.content_type, headers=fault.headers
        )
    elif real is not None:
        response = real
    else:
        return None
    return _slow(response, fault.drip) if fault.drip else response


def _slow(whole: HttpResponse, pause: float) -> StreamingHttpResponse:
    def single_bytes() -> Iterator[bytes]:
        for byte in whole.content:
            time.sleep(pause)
            yield bytes([byte])

    headers = {name: value for name, value in whole.items() if name != "Content-Length"}
    return StreamingHttpResponse(single_bytes(), status=whole.status_code, headers=headers)
