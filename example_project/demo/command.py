"""The command behind `make demo`: starts the processes, prints their addresses, and stops them at Ctrl-C."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from example_project.demo.home import CLIENT_ID, REVIEWER, Home
from example_project.demo.processes import Ended, Processes

__all__ = ["main"]

_ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str]) -> int:
    """Run the demo until Ctrl-C or SIGTERM. Returns the exit code: 0 then, 2 for a taken port, 1 when something ended."""
    parser = argparse.ArgumentParser(prog="python -m example_project.demo", description=__doc__)
    parser.add_argument("--port", type=_port, default=8000, help="of the example site (default: %(default)s)")
    parser.add_argument("--sandbox-port", type=_port, default=8001, help="of the sandbox (default: %(default)s)")
    parser.add_argument("--home", type=Path, default=_ROOT / ".demo", help="where it keeps its data (default: .demo)")
    given = parser.parse_args(arguments)
    if given.port == given.sandbox_port:
        parser.error(f"--port and --sandbox-port must differ, and both are {given.port}.")
    for port, name in ((given.sandbox_port, "SANDBOX_PORT"), (given.port, "PORT")):
        if obstacle := _obstacle(port):
            _say(f"Port {port} cannot be used: {obstacle}. Choose another one: make demo {name}=…", error=True)
            return 2

    stop = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: stop.set())
    try:
        _run(given.port, given.sandbox_port, Home(given.home, sandbox_port=given.sandbox_port), stop)
    except Ended as problem:
        _say(f"{problem}\nThe demo has stopped.", error=True)
        return 1
    _say("Stopped. Your data is kept for the next `make demo`. `make demo-reset` deletes it.")
    return 0


def _run(port: int, sandbox_port: int, home: Home, stop: threading.Event) -> None:
    site, sandbox = f"http://localhost:{port}", home.provider
    environment = home.environment(os.environ)
    python, manage = sys.executable, str(_ROOT / "manage.py")
    if home.is_new:
        _say("First run: creating keys, a database and a reviewer …")
    with Processes() as children:

        def start(name: str, *command: str) -> None:
            children.start(name, [python, *command], log=home.log(name.replace(" ", "-")), environment=environment)

        def do(*command: str, **more: str) -> None:
            # After Ctrl-C nothing more is started, and a command that Ctrl-C interrupted has not failed.
            if not stop.is_set():
                done = subprocess.run(  # noqa: S603 - our own commands
                    [python, manage, *command], env=environment | more, capture_output=True, text=True, check=False
                )
                if done.returncode and not stop.is_set():
                    raise Ended(f"manage.py {command[0]} failed:\n{done.stderr or done.stdout}")

        start(
            "sandbox", "-m", "django_eprospera.sandbox", "--port", str(sandbox_port), "--data-dir", str(home.data / "sandbox"),
            "--client-id", CLIENT_ID, f"--client-secret={home.secrets['client_secret']}",
            "--redirect-uri", f"{site}/complete/eprospera/",
            "--redirect-uri", f"http://127.0.0.1:{port}/complete/eprospera/",
        )  # fmt: skip
        do("migrate", "--verbosity", "0")
        do("demo_reviewer", REVIEWER, REVIEWER_PASSWORD=home.secrets["reviewer_password"])
        if not stop.is_set():
            start("site", manage, "runserver", "--noreload", f"127.0.0.1:{port}")
            start("task worker", manage, "db_worker", "--interval", "0.3", "--no-reload")
        children.wait_until_healthy(f"{sandbox}/.well-known/openid-configuration", seconds=60, stop=stop)
        children.wait_until_healthy(f"{site}/", seconds=60, stop=stop)
        if not stop.is_set():
            _say(_welcome(site, sandbox, home))
        while not stop.wait(0.5):
            children.check()
        _say("\nStopping …")


def _welcome(site: str, sandbox: str, home: Home) -> str:
    return f"""
  Example site   {site}
  Sandbox        {sandbox}   (stands in for e-Próspera: nothing in it is real)
  Review queue   {site}/admin/   user: {REVIEWER}   password: {home.secrets["reviewer_password"]}

  Try this
  1. Open {site} and sign in. Choose Lucía: she has everything on file.
  2. Allow what is asked, and look at what the site now knows, and for how long.
  3. /members/ is open to residents. /vault/ waits for a review.
  4. Sign in to the review queue in a private window, approve her, then reload /vault/.
  5. Disconnect, and sign in as somebody else: each persona shows another case.

  Data and logs: {home.data}
  Ctrl-C stops everything.
"""


def _obstacle(port: int) -> str:
    """Return why nothing can listen on `port`, in the system's words; empty if something can."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                # As servers do: a port with connections in TIME_WAIT is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as problem:
            # A machine without IPv6 has no ::1, which is fine.
            if family is socket.AF_INET or problem.errno == errno.EADDRINUSE:
                return (problem.strerror or str(problem)).lower()
    return ""


def _port(text: str) -> int:
    port = int(text) if text.isdigit() else 0
    if not 0 < port < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number (1 to 65535).")
    return port


def _say(text: str, *, error: bool = False) -> None:
    print(text, file=sys.stderr if error else sys.stdout, flush=True)
