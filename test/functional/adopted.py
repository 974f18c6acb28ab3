"""Databases that MogileFS made, one mixin for each kind of server."""

from __future__ import annotations

from typing import Any

from test.contract import test_store_mariadb_away as maria
from test.contract import test_store_postgres_away as postgres
from test.contract.mogilefs import MOGILEFS, without_files
from test.functional import mariadb, postgresql


class MadeByMogileFS:
    """A database with MogileFS's tables and nothing in them but their version."""

    url = ""
    #: The tables, and what shows their columns.
    mogilefs = ""
    columns = ""

    def new_database(self) -> str:
        """An empty database, gone with the test; returns its URL."""
        raise NotImplementedError

    def execute(self, sql: str) -> list[Any]:
        """Look at the database from outside, or meddle."""
        raise NotImplementedError

    def make_database(self) -> None:
        """Make it, at `url`."""
        self.url = self.new_database()
        for statement in without_files(self.mogilefs):
            self.execute(statement)


class MadeOnPostgres(MadeByMogileFS):
    """On PostgreSQL."""

    mogilefs = MOGILEFS
    columns = postgres.COLUMNS

    def new_database(self: Any) -> str:
        """See `MadeByMogileFS`."""
        server = postgresql.shared()
        url: str = server.new_database()
        self.addCleanup(server.drop, url)
        return url

    def execute(self, sql: str) -> list[Any]:
        """See `MadeByMogileFS`."""
        return postgresql.shared().execute(self.url, sql)


class MadeOnMaria(MadeByMogileFS):
    """On MariaDB, in the character set that MogileFS's installations have."""

    mogilefs = maria.MOGILEFS
    columns = maria.COLUMNS
    words = "character set latin1"

    def new_database(self: Any) -> str:
        """See `MadeByMogileFS`."""
        server = mariadb.shared()
        url: str = server.new_database(self.words)
        self.addCleanup(server.drop, url)
        return url

    def execute(self, sql: str) -> list[Any]:
        """See `MadeByMogileFS`."""
        rows = mariadb.shared().execute(sql, database=self.url.rpartition("/")[2])
        return [tuple(map(_text, row)) for row in rows]


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value
