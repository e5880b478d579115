"""What the benchmarks ran on, and how busy it was."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from benchmarks.measure import SERVER

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "Django",
    "social-auth-core",
    "social-auth-app-django",
    "requests",
    "urllib3",
    "PyJWT",
    "cryptography",
    "psycopg",
)


class Machine:
    """The machine from now on."""

    def __init__(self):
        self._load, self._ticks = os.getloadavg()[0], _ticks()

    def describe(self):
        """Say how busy the machine was since then."""
        busy, total = (now - then for now, then in zip(_ticks(), self._ticks, strict=True))
        return (
            f"{os.cpu_count()} processors, {_model()}. Busy for {busy / max(total, 1):.0%} of the run, load {self._load:.1f} "
            f"at its beginning and {os.getloadavg()[0]:.1f} at its end; the run itself keeps one processor busy."
        )

    def versions(self):
        """Say which versions ran."""
        with psycopg.connect(SERVER) as server:
            postgres = server.execute("SHOW server_version").fetchone()[0].split()[0]
        packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        return (
            f"{datetime.now(UTC):%Y-%m-%d}, commit {_commit()}. Python {platform.python_version()}, PostgreSQL {postgres}, "
            f"{packages}."
        )


def _ticks():
    """Ticks in which the processors were busy, and all ticks, since the machine was started."""
    user, nice, system, idle, waiting, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9])
    busy = user + nice + system + sum(others)
    return busy, busy + idle + waiting


def _model():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


def _commit():
    try:
        return subprocess.check_output(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
        ).strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
