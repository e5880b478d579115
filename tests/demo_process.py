"""The real demo for tests: `python -m example_project.demo` on free ports with a home of its own, spoken to over HTTP only."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Newest first, as the example site reads them.
KEYS = "cUqDoJ9ZB4ReeBRH2nVGZ1mCnwRN1qyKyrePGSIKhNk=,ob7Vs2xq9O5q7Sj4sQv5w1m0k6kq7B4v0lJ4mQ1h8vE="


class DemoProcess:
    """`with DemoProcess(home) as demo:` — `demo.url`, `demo.sandbox_url`, `demo.reviewer`, `demo.password`."""

    def __init__(self, home, *, port=None, sandbox_port=None):
        self.home = Path(home)
        free = free_ports(2)
        self.port, self.sandbox_port = port or free[0], sandbox_port or free[1]
        self.url, self.sandbox_url = f"http://localhost:{self.port}", f"http://localhost:{self.sandbox_port}"
        self.reviewer = self.password = ""
        self.output = []
        self.process = None

    def launch(self, **environment):
        """Start without waiting."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "example_project.demo", "--home", str(self.home),
             "--port", str(self.port), "--sandbox-port", str(self.sandbox_port)],
            cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        )  # fmt: skip
        return self

    def start(self):
        self.launch()
        # Ends the wait below should the demo hang instead of starting or failing.
        alarm = threading.Timer(120, self.process.kill)
        alarm.start()
        try:
            for line in self.process.stdout:
                self.output.append(line)
                if login := re.search(r"user: (\S+)\s+password: (\S+)", line):
                    self.reviewer, self.password = login.groups()
                if "Ctrl-C stops everything" in line:
                    return self
        finally:
            alarm.cancel()
        raise RuntimeError(
            f"The demo did not start (exit code {self.process.wait()}):\n{''.join(self.output)}{self.logs()}"
        )

    def stop(self, how=signal.SIGINT):
        """Stop it as Ctrl-C does; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        rest, _ = self.process.communicate(timeout=60)
        self.output.append(rest)
        return self.process.returncode

    def logs(self):
        return "".join(f"\n--- {log.name}\n{log.read_text()}" for log in sorted(self.home.glob("*/logs/*.log")))

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


def free_ports(count):
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def bare_environment():
    """What a process needs of ours, and nothing that could reach the site's settings by accident."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
