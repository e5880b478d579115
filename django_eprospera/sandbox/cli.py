"""Command `eprospera-sandbox`. It configures Django, so imports that need settings are inside functions."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import django
from django.conf import settings

from django_eprospera.sandbox.keys import KeyRing
from django_eprospera.sandbox.options import Options, parse
from django_eprospera.sandbox.server import Handler, QuietHandler, Server
from django_eprospera.sandbox.settings import settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

__all__ = ["main"]


class _StartError(Exception):
    """The sandbox cannot start. The message gives the reason and the fix."""


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.contextmanager
def _directory(options: Options) -> Iterator[Path]:
    if options.data_dir is None:
        with tempfile.TemporaryDirectory(prefix="eprospera-sandbox-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    path = Path(options.data_dir)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise _StartError(
            f"--data-dir {path} cannot be used: {problem.strerror}. Choose another directory."
        ) from problem
    yield path


def _secret_key(directory: Path) -> str:
    path = directory / "secret-key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _end_with_stdin() -> None:
    """Wait until the process that started this one closes its end of the pipe, or dies."""
    # Not sys.stdin: its lock, held by a daemon thread, would abort the interpreter when it ends.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(options: Options, directory: Path) -> None:
    try:
        server = Server(
            (options.host, options.port), QuietHandler if options.quiet else Handler, ipv6=":" in options.host
        )
    except OSError as problem:
        address = f"{options.host}:{options.port}"
        raise _StartError(
            f"Cannot listen on {address}: {problem.strerror}. Choose another --port, or stop the process that uses this one."
        ) from problem
    with server:
        port = server.server_address[1]
        _run(server, replace(options, port=port, issuer=options.issuer or f"http://localhost:{port}"), directory)


def _run(server: Server, options: Options, directory: Path) -> None:
    settings.configure(**settings_for(options, directory, _secret_key(directory), KeyRing(directory / "keys.json")))
    django.setup()

    # Models can be imported only after django.setup().
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    from django_eprospera.sandbox.grants import ensure_rows
    from django_eprospera.sandbox.models import schema
    from django_eprospera.sandbox.personas import PERSONAS

    # There are no migrations: a database with other tables is refused.
    tables = directory / "schema.sql"
    if not tables.exists() and not (directory / "sandbox.sqlite3").exists():
        tables.write_text(schema())
    if not tables.exists() or tables.read_text() != schema():
        raise _StartError(
            f"--data-dir {directory} was written by another version of the sandbox. Delete it, or choose another directory."
        )
    call_command("migrate", run_syncdb=True, verbosity=0)
    ensure_rows(PERSONAS)
    server.set_app(get_wsgi_application())
    if not _is_loopback(options.host):
        _print(
            f"Warning: listening on {options.host}, which other machines may reach. Their users can sign in as any persona."
        )
    _print(f"client id      {options.client_id}")
    _print(
        "client secret  " + ("as given" if options.secret_given else f"{options.client_secret} (the published default)")
    )
    for uri in options.redirect_uris:
        _print(f"redirect URI   {uri}")
    _print(f"state          {'kept in ' + str(options.data_dir) if options.data_dir else 'deleted at exit'}")
    _print(f"listening on   {options.host}:{options.port}")
    _print(f"e-Próspera sandbox on {options.issuer}")
    server.serve_forever()


def main(arguments: list[str] | None = None) -> int:
    """Run a sandbox until SIGTERM or SIGINT. Return the exit code: 0 after a signal, 2 if it cannot start."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    # SIGINT explicitly: it is ignored in processes that a shell starts in the background.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    if options.with_stdin:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        with _directory(options) as directory:
            _serve(options, directory)
    except _StartError as problem:
        print(f"eprospera-sandbox: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        return 0
    return 0
