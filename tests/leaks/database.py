"""The database of the site: one of its own on the suite's server, or a file in the test's folder. Read column by column."""

import os
import sqlite3

import psycopg
from django.conf import settings
from psycopg import sql


class Database:
    """`url` for the site; `columns()` yields (table.column, every value as bytes); `holding_writes()` locks it."""

    def __init__(self, home):
        given = settings.DATABASES["default"]
        self.file = None
        if given["ENGINE"].endswith("sqlite3"):
            self.file = home / "site.sqlite3"
            self.url = f"sqlite:///{self.file}"
            return
        server = {
            "host": given["HOST"],
            "port": given["PORT"] or 5432,
            "user": given["USER"],
            "password": given["PASSWORD"],
        }
        self._server = {name: value for name, value in server.items() if value}
        self._name, self._maintenance = f"leaks_{os.getpid()}", given["NAME"]
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._administer("CREATE DATABASE {}")
        password = f":{server['password']}" if server["password"] else ""
        self.url = f"postgres://{server['user']}{password}@{server['host']}:{server['port']}/{self._name}"

    def drop(self):
        if self.file is None:
            self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)")

    def _administer(self, statement):
        with psycopg.connect(**self._server, dbname=self._maintenance, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(sql.Identifier(self._name)))

    def connect(self):
        if self.file is not None:
            return sqlite3.connect(self.file, isolation_level=None, timeout=30, check_same_thread=False)
        return psycopg.connect(**self._server, dbname=self._name, autocommit=True)

    def query(self, statement):
        connection = self.connect()
        try:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def tables(self):
        if self.file is not None:
            names = self.query("SELECT name FROM sqlite_master WHERE type = 'table'")
        else:
            names = self.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        return sorted(name for (name,) in names)

    def columns(self):
        connection = self.connect()
        try:
            for table in self.tables():
                cursor = connection.execute(f'SELECT * FROM "{table}"')  # type: ignore[arg-type]
                names = [each[0] for each in cursor.description]
                for name, *values in zip(names, *cursor.fetchall(), strict=True):
                    yield f"{table}.{name}", b"\n".join(map(_as_bytes, values))
        finally:
            connection.close()

    def lock_for_writing(self):
        """Hold up every write to the connections until the returned function is called."""
        connection = self.connect()
        connection.execute("BEGIN IMMEDIATE" if self.file is not None else "BEGIN")
        if self.file is None:
            connection.execute("LOCK TABLE django_eprospera_connection IN SHARE MODE")
        return connection.close


def _as_bytes(value):
    return bytes(value) if isinstance(value, (bytes, memoryview)) else str(value).encode()
