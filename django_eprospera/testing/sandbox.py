"""The sandbox in a process of its own, on a free port, spoken to over HTTP only."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, Self

import requests

from django_eprospera.scopes import LABELS

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Sandbox"]

# Seconds. They end a hang.
_START: Final = 60
_ANSWER: Final = 60
_END: Final = 20


class Sandbox:
    """A running sandbox: `with Sandbox(missing_scope_status=401) as sandbox:`, where options become arguments of the command.

    `url` is its address and issuer. It ends with the process that started it.
    """

    def __init__(
        self, *, port: int = 0, client_id: str = "test-client", client_secret: str = "test-secret %+&=/ñ",  # noqa: S107
        redirect_uris: Iterable[str] = ("http://localhost:8000/complete/eprospera/",), **options: Any,
    ) -> None:  # fmt: skip
        self.client_id, self.client_secret, self.redirect_uris = client_id, client_secret, list(redirect_uris)
        self.command = [
            sys.executable,
            "-m",
            "django_eprospera.sandbox",
            "--quiet",
            "--with-stdin",
            "--port",
            str(port),
        ]
        self.command += [f"--client-id={client_id}", f"--client-secret={client_secret}"]
        for name, value in {"redirect_uri": self.redirect_uris, **options}.items():
            for each in value if isinstance(value, (list, tuple)) else [value]:
                self.command += [f"--{name.replace('_', '-')}", str(each)]
        self.process: subprocess.Popen[str] | None = None
        self.url, self.output = "", list[str]()
        self.http = requests.Session()
        self.http.trust_env = False

    def start(self) -> Self:
        """Start the process and wait until it listens. Raises RuntimeError, with its output, if it does not."""
        self.process = subprocess.Popen(  # noqa: S603 - this Python, with arguments of the test
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )
        alarm = threading.Timer(_START, self.process.kill)
        alarm.start()
        try:
            for line in self.process.stdout or ():
                self.output.append(line)
                if ready := re.match(r"e-Próspera sandbox on (\S+)", line):
                    self.url = ready[1]
                    # Nobody reads the rest otherwise, and a full pipe would stop the server.
                    threading.Thread(target=self.output.extend, args=(self.process.stdout,), daemon=True).start()
                    return self
        finally:
            alarm.cancel()
        code = self.process.wait()
        raise RuntimeError(
            f"The sandbox did not start (exit code {code}). Is django-eprospera[testing] installed? Its output:\n"
            + "".join(self.output)
        )

    def stop(self) -> None:
        """End the process."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_END)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        self.http.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def control(self, path: str, method: str | None = None, /, **body: Any) -> Any:
        """Call the control API (docs/sandbox.md#simulate-errors) and return its answer.

        `control("stats")` reads, `control("revoke", sub="lucia")` posts, `control("faults", "DELETE")` deletes. Raises
        AssertionError, with what the sandbox answered, for any status but 200.
        """
        method = method or ("POST" if body or path in {"reset", "rotate-key"} else "GET")
        try:
            answer = self.http.request(
                method, f"{self.url}/_sandbox/{path}", json=body if method == "POST" else None, timeout=_ANSWER
            )
        except requests.ConnectionError as error:
            code = self.process.poll() if self.process is not None else None
            raise AssertionError(f"The sandbox ended (exit code {code}):\n{''.join(self.output[-50:])}") from error
        if answer.status_code != 200:
            raise AssertionError(f"{method} /_sandbox/{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def fault(self, path: str, **what: Any) -> Any:
        """From now on requests for `path` fail: `fault("/api/v1/me/natural-person", status=500, body="oops", times=1)`."""
        return self.control("faults", "POST", path=path, **what)

    def mint(
        self, sub: str = "lucia", scopes: str | Iterable[str] = tuple(LABELS), **more: Any
    ) -> list[dict[str, Any]]:
        """Create grants with tokens without a sign-in, and return the token answers."""
        chosen = scopes if isinstance(scopes, str) else list(scopes)
        minted: list[dict[str, Any]] = self.control("grants", "POST", sub=sub, scopes=chosen, **more)["grants"]
        return minted

    def register(self, redirect_uri: str) -> None:
        """Let the client be called back at `redirect_uri` too."""
        if redirect_uri not in self.redirect_uris:
            self.control("redirect-uris", uri=redirect_uri)
            self.redirect_uris.append(redirect_uri)
