"""`make bench`: a table of what this package costs, beside the goals.

    make bench                                          every subject, at 1,000 and 100,000 people
    make bench ARGS=--quick                             fewer rounds, at 1,000 and 20,000 people: two minutes
    make bench ARGS="admin due --sizes 1000,1000000"    those that are named
    make bench ARGS="tokens"                            a longer script of this folder, which runs only when it is named

DATABASE_URL names the PostgreSQL server, on this machine (default: postgres://postgres@127.0.0.1:5432/postgres). Each subject
has a database of its own, named `eprospera_bench_…`, which is made and dropped here. `--keep` leaves those of many people for
the next call; drop them when the models have changed. `--write` writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from benchmarks.machine import Machine
from benchmarks.measure import PREFIX, SERVER, Row
from benchmarks.table import table, write

HERE = Path(__file__).parent
SUBJECTS = ("sync", "due", "admin", "gates", "sign_in", "refresh", "prune", "rotation", "setup", "peers")
OF_MANY_PEOPLE = {"due", "admin", "prune"}
SCRIPTS = ("faults", "tampering", "tokens", "workers")
# Files of the people of kept databases.
SCRATCH = HERE.parent / ".bench" / PREFIX


def main(arguments):
    parser = argparse.ArgumentParser(
        prog="make bench", formatter_class=argparse.RawTextHelpFormatter, description=__doc__
    )
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], *SUBJECTS, *SCRIPTS],
        metavar="NAME",
        help=f"{', '.join(SUBJECTS)};\n{', '.join(SCRIPTS)}",
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sizes", type=lambda text: sorted({1_000, *map(int, text.split(","))}), metavar="N,N")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args(arguments)
    names = options.names or SUBJECTS
    if options.write and options.names:
        parser.error("--write needs all subjects. Name none.")
    if scripts := [name for name in names if name in SCRIPTS]:
        with alone():
            return max(run_script(name) for name in scripts)
    sizes = options.sizes or [1_000, 20_000 if options.quick else 100_000]
    machine, rows = Machine(), []
    with ExitStack() as stack:
        stack.enter_context(alone())
        if OF_MANY_PEOPLE & set(names):
            many = stack.enter_context(filled(sizes, keep=options.keep))
        for name in names:
            if name in OF_MANY_PEOPLE:
                rows += run(name, many, quick=options.quick)
            else:
                with database(name) as url:
                    rows += run(name, {0: url}, quick=options.quick)
    print(f"\n{machine.describe()}\n\n{table(rows)}")
    if options.write:
        write(rows, machine, " ".join(arguments))
    return int(any("failed**" in row.what for row in rows))


def run(name, databases, *, quick):
    """Run a subject in a process of its own and return its rows."""
    began, rows = time.monotonic(), []
    options = {"rounds": 2 if quick else 7, "databases": databases}
    command = [sys.executable, "-m", "benchmarks.measure", name, json.dumps(options)]
    with subprocess.Popen(
        command, cwd=HERE.parent, env=environment(next(iter(databases.values()))), stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            rows.append(Row(**json.loads(line)))
            print(f"{name:10} {rows[-1].what}: {rows[-1].shown}", flush=True)
    if process.returncode:
        rows.append(Row(f"**{name} failed**, exit code", process.returncode, "", 0))
    print(f"{name:10} took {time.monotonic() - began:.0f} s", flush=True)
    return rows


def run_script(name):
    print(f"== {name}", flush=True)
    with database(name) as url:
        return subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], cwd=HERE.parent, env=environment(url), check=False
        ).returncode


@contextmanager
def alone():
    """Keep other runs from the databases of these names for as long."""
    with psycopg.connect(SERVER, autocommit=True) as connection:
        if not connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", [PREFIX]).fetchone()[0]:
            sys.exit(
                f"Another run uses the databases {PREFIX}…. Wait for its end, or set BENCH_PREFIX to another name."
            )
        yield


@contextmanager
def filled(sizes, *, keep):
    """The databases of so many people each, by size. All have the same first person."""
    before = {name for name in ("people", *sizes) if exists(name)}
    try:
        if "people" not in before:
            with database("people", drop_after=False) as url:
                fill(url, "prototype")
        urls = {}
        for size in sizes:
            urls[size] = url_of(size)
            if size not in before:
                began = time.monotonic()
                with database(size, "people", drop_after=False) as url:
                    fill(url, "copies", str(size))
                print(
                    f"{size:,} people: filled in {time.monotonic() - began:.0f} s, {megabytes(size):,} MB", flush=True
                )
        yield urls
    finally:
        if not keep:
            for name in {"people", *sizes} - before:
                drop(name)
            if not before:
                shutil.rmtree(SCRATCH, ignore_errors=True)


def fill(url, *arguments):
    subprocess.run(
        [sys.executable, "-m", "benchmarks.filler", *arguments], cwd=HERE.parent, env=environment(url), check=True
    )


def environment(url):
    return os.environ | {"DATABASE_URL": url, "BENCH_SERVER": SERVER, "EPROSPERA_TEST_SCRATCH": str(SCRATCH)}


def server(statement, *parameters):
    with psycopg.connect(SERVER, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchone() if cursor.description else None


def exists(name):
    return server("SELECT 1 FROM pg_database WHERE datname = %s", f"{PREFIX}{name}") is not None


def megabytes(name):
    return server("SELECT pg_database_size(%s) / 1000000", f"{PREFIX}{name}")[0]


def url_of(name):
    return urlunsplit(urlsplit(SERVER)._replace(path=f"/{PREFIX}{name}"))


def drop(name):
    server(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(f"{PREFIX}{name}")))


@contextmanager
def database(name, template="template1", *, drop_after=True):
    """A new database; yields its URL. It is dropped afterwards, or only if something fails."""
    own = sql.Identifier(f"{PREFIX}{name}")
    source = sql.Identifier(template if template == "template1" else f"{PREFIX}{template}")
    drop(name)
    server(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(own, source))
    # The CPU of a parallel worker could not be read: it ends with its query.
    server(sql.SQL("ALTER DATABASE {} SET max_parallel_workers_per_gather = 0").format(own))
    try:
        yield url_of(name)
    except BaseException:
        drop(name)
        raise
    if drop_after:
        drop(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
