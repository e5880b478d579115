"""How can a sandbox be made to fail on demand? Faults wait in memory until a request meets them.

A fault names a path and says what happens instead of the answer, or to it. Knows no models.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, StreamingHttpResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Fault", "add", "answer_instead", "clear", "pending", "take"]


@dataclass
class Fault:
    """One thing that goes wrong. Applies to requests whose path is `path`, or begins with it where it ends in `*`."""

    path: str
    # The answer that is sent; without a status the real one is.
    status: int | None = None
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    # The body is sent so many times over.
    repeat: int = 1
    # Seconds before anything is sent, and between two bytes of the body.
    delay: float = 0
    drip: float = 0
    # The connection is cut instead of an answer.
    drop: bool = False
    # The request is carried out before it goes wrong: an answer lost on its way.
    after: bool = False
    method: str = ""
    # What the request's form must contain, e.g. {"grant_type": "refresh_token"}.
    form: dict[str, str] = field(default_factory=dict)
    # How many requests it meets; 0 for all until it is cleared.
    times: int = 0

    def meets(self, request: HttpRequest) -> bool:
        """Whether this request is meant."""
        path = request.path
        right_path = path.startswith(self.path[:-1]) if self.path.endswith("*") else path == self.path
        return (
            right_path
            and self.method in ("", request.method)
            and all(request.POST.get(name) == value for name, value in self.form.items())
        )


_lock = threading.Lock()
_faults: list[Fault] = []


def add(given: dict[str, Any]) -> None:
    """Adds a fault. Raises ValueError for an unknown or malformed field."""
    known = {each.name for each in fields(Fault)}
    if unknown := set(given) - known:
        raise ValueError(f"A fault has no {', '.join(sorted(unknown))}. Known: {', '.join(sorted(known))}.")
    if not str(given.get("path", "")).startswith("/"):
        raise ValueError("A fault needs a path that begins with a slash.")
    with _lock:
        _faults.append(Fault(**given))


def clear() -> None:
    """Forgets all faults."""
    with _lock:
        _faults.clear()


def pending() -> list[dict[str, Any]]:
    """The faults that still wait."""
    with _lock:
        return [asdict(fault) for fault in _faults]


def take(request: HttpRequest) -> Fault | None:
    """The first fault that this request meets; one that is used up is forgotten."""
    with _lock:
        for fault in _faults:
            if fault.meets(request):
                if fault.times == 1:
                    _faults.remove(fault)
                fault.times = max(fault.times - 1, 0) if fault.times else 0
                return fault
    return None


def answer_instead(fault: Fault, request: HttpRequest, real: HttpResponse | None) -> HttpResponseBase | None:
    """What goes out in place of the real answer; None means that the real one does."""
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
    return _dripping(response, fault.drip) if fault.drip else response


def _dripping(whole: HttpResponse, pause: float) -> StreamingHttpResponse:
    def slowly() -> Iterator[bytes]:
        for byte in whole.content:
            time.sleep(pause)
            yield bytes([byte])

    headers = {name: value for name, value in whole.items() if name != "Content-Length"}
    return StreamingHttpResponse(slowly(), status=whole.status_code, headers=headers)
