"""CPU of this process and of the PostgreSQL backends that serve it, A and B in turns, medians of several rounds.

A subject is a module of this folder with `rows(bench)`, which yields `Row`s. It runs in a process of its own:

    DATABASE_URL=… python -m benchmarks.measure SUBJECT OPTIONS

prints each row as a line of JSON; `python -m benchmarks` starts it and makes the databases. CPU is compared, not time, because
other work on the machine makes both slower, and CPU much less.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg

# Of the names of the databases.
PREFIX = os.environ.get("BENCH_PREFIX", "eprospera_bench_")
SERVER = (
    os.environ.get("BENCH_SERVER") or os.environ.get("DATABASE_URL") or "postgres://postgres@127.0.0.1:5432/postgres"
)


@dataclass(frozen=True)
class Row:
    """One row of the table: a figure, and the goal that it should not exceed (with `at_least`: not stay below)."""

    what: str
    figure: float
    unit: str = "×"
    goal: float | None = None
    at_least: bool = False
    # Of the rounds.
    low: float | None = None
    high: float | None = None

    @property
    def shown(self):
        """The figure with its unit."""
        number = f"{self.figure:,.0f}" if float(self.figure).is_integer() else f"{self.figure:,.2f}"
        return f"{number} {self.unit}".strip()

    @property
    def met(self):
        """Whether the goal is met. None: there is no goal."""
        if self.goal is None:
            return None
        return self.figure >= self.goal if self.at_least else self.figure <= self.goal


@dataclass
class Bench:
    """What a subject is given: how many rounds, and the databases by their number of people."""

    rounds: int
    databases: dict[int, str] = field(default_factory=dict)
    _wrappers: dict = field(default_factory=dict)

    @property
    def sizes(self):
        return sorted(self.databases)

    def use(self, size):
        """Have Django's default connection be the one to the database of so many people."""
        import dj_database_url
        from django.db import connections, utils

        if size not in self._wrappers:
            parsed = connections.settings["default"] | dj_database_url.parse(self.databases[size])
            self._wrappers[size] = utils.load_backend(parsed["ENGINE"]).DatabaseWrapper(parsed, "default")
        connections["default"] = self._wrappers[size]

    def ratio(self, what, ours, theirs, *, goal=None, at_least=False, before=None, times=1):
        """A row: the CPU of `ours` ÷ that of `theirs`, called in turns, in each round so many times.

        `before` is called before each call, and not measured.
        """

        def once(action):
            if before:
                before()
            return spent(action)

        pairs = []
        for number in range(self.rounds + 1):
            pair = [sum(each) for each in zip(*((once(ours), once(theirs)) for _ in range(times)), strict=True)]
            if number:  # the first round warms up
                pairs.append(pair)
        return compared(what, pairs, goal=goal, at_least=at_least)

    def median(self, action):
        """The median of the CPU seconds of an action, after it was called once."""
        action()
        return statistics.median(spent(action) for _ in range(self.rounds))


def compared(what, pairs, *, goal=None, at_least=False):
    """A row: the median of the first numbers of the pairs ÷ that of the second ones. There is a pair for each round."""
    figure = statistics.median(a for a, _ in pairs) / statistics.median(b for _, b in pairs)
    each = [a / b for a, b in pairs]
    return Row(what, figure, goal=goal, at_least=at_least, low=min(each), high=max(each))


def spent(action):
    """The CPU seconds that an action takes in this process, in children that it waits for, and in the backends."""
    before = _backends()
    own = _own()
    action()
    own = _own() - own
    return own + sum(after - before.get(pid, 0.0) for pid, after in _backends().items())


def queries(action):
    """How many statements an action sends to the database, those that begin and end transactions and savepoints left out."""
    from django.db import connection

    found = []

    def count(execute, sql, params, many, context):
        if not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            found.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        action()
    return len(found)


def _own():
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


_monitor = None


def _backends():
    """CPU seconds of each backend of the benchmarks' databases."""
    global _monitor  # noqa: PLW0603 - one connection, opened when it is first needed
    if _monitor is None:
        _monitor = psycopg.connect(SERVER, autocommit=True)
    found = {}
    pids = "SELECT pid FROM pg_stat_activity WHERE starts_with(datname, %s)"
    for (pid,) in _monitor.execute(pids, [PREFIX]).fetchall():
        try:
            # Nanoseconds. /proc/PID/stat has them in ticks of 10 ms, and says the same in the long run.
            found[pid] = int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:
            continue  # it has just ended
    return found


@contextmanager
def sandbox(command="django_eprospera.sandbox", **options):
    """A sandbox in a process of its own, whose CPU is not measured, as the provider of the settings."""
    from django.conf import settings

    from tests.sandbox_process import SandboxProcess

    process = SandboxProcess(**options)
    process.command[2] = command
    with process:
        settings.EPROSPERA_BASE_URL = process.url
        settings.SOCIAL_AUTH_EPROSPERA_KEY = process.client_id
        settings.SOCIAL_AUTH_EPROSPERA_SECRET = process.client_secret
        yield process


def main(subject, options):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import logging

    import django

    django.setup()
    from django.core.management import call_command

    logging.disable(logging.CRITICAL)
    call_command("migrate", verbosity=0)
    given = json.loads(options)
    bench = Bench(given["rounds"], {int(size): url for size, url in given["databases"].items()})
    for row in importlib.import_module(f"benchmarks.{subject}").rows(bench):
        print(json.dumps(asdict(row)), flush=True)


if __name__ == "__main__":
    # Under its own name, which the subjects import.
    from benchmarks import measure

    measure.main(*sys.argv[1:])
