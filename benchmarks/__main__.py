"""`make bench`: every benchmark of this folder, or those that are named, each in a PostgreSQL database of its own.

DATABASE_URL names the server (default: postgres://postgres@127.0.0.1:5432/postgres). The databases are made and dropped here.
"""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

HERE = Path(__file__).parent
SERVER = os.environ.get("DATABASE_URL") or "postgres://postgres@127.0.0.1:5432/postgres"


def main(names):
    known = sorted(path.stem for path in HERE.glob("[a-z]*.py"))
    if unknown := set(names) - set(known):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}. Known: {', '.join(known)}.")
    return max(run(name) for name in names or known)


def run(name):
    database = sql.Identifier(f"eprospera_bench_{name}")
    parts = urlsplit(SERVER)
    url = urlunsplit(parts._replace(path=f"/eprospera_bench_{name}"))
    print(f"== {name}", flush=True)
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(database))
        server.execute(sql.SQL("CREATE DATABASE {}").format(database))
        try:
            command = [sys.executable, "-m", f"benchmarks.{name}"]
            return subprocess.run(
                command, cwd=HERE.parent, env=os.environ | {"DATABASE_URL": url}, check=False
            ).returncode
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
