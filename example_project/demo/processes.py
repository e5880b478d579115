"""A group of child processes: when one ends or fails to start, all are stopped. No Django."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["Ended", "Processes"]

_PATIENCE = 15.0  # seconds from SIGTERM to SIGKILL


class Ended(Exception):
    """A process ended by itself, or did not become healthy; the text says which and where its log is."""


@dataclass
class _Child:
    name: str
    log: Path
    process: subprocess.Popen[bytes]


class Processes:
    """Context manager that stops all its processes when the block ends."""

    def __init__(self) -> None:
        self.children: list[_Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # In reverse order: the worker before the site, the site before its provider.
        for child in reversed(self.children):
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        for child in reversed(self.children):
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()

    def start(self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> None:
        """Start a process that writes to `log`, in a session of its own: the terminal's Ctrl-C does not reach it."""
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - our own commands
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
            )
        self.children.append(_Child(name, log, process))

    def wait_until_healthy(self, url: str, *, seconds: float, stop: threading.Event) -> None:
        """Wait until `url` answers. Raises Ended when a process ends, or after `seconds`."""
        deadline = time.monotonic() + seconds
        while not stop.is_set() and not _answers(url):
            self.check()
            if time.monotonic() > deadline:
                raise Ended(f"{url} did not answer within {seconds:.0f} seconds. Look into {self.children[-1].log}.")
            stop.wait(0.1)

    def check(self) -> None:
        """Raise Ended if one of the processes has ended."""
        for child in self.children:
            code = child.process.poll()
            if code is not None:
                raise Ended(
                    f"The {child.name} ended by itself (exit code {code}). Its log: {child.log}{_tail(child.log)}"
                )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback http, made by us
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-8:]
    return "".join(f"\n  | {line}" for line in lines)
