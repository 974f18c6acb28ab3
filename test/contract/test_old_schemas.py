"""Databases of every schema version that MogileFS had since 10, on each engine."""

from __future__ import annotations

from typing import Any

from koboldfs.store.open import Store
from test.contract.mogilefs import tables
from test.contract.old_schemas import OldSchemasContract
from test.contract.test_store_mariadb import MariaCase
from test.contract.test_store_postgres import PostgresCase
from test.contract.test_store_sqlite import SqliteCase

#: What says which columns there are.
_CATALOG = (
    "select table_name, column_name, data_type, character_maximum_length"
    " from information_schema.columns where table_schema = {schema}"
    " order by table_name, ordinal_position"
)


class OldSqlite(SqliteCase, OldSchemasContract):
    """On SQLite."""

    version = 17

    async def another(self) -> Store:
        """The first store of a test finds MogileFS's tables."""
        if not self.stores:
            for statement in tables("sqlite", self.version).split(";"):
                self.execute(statement)
            self.before = self.columns()
        return await super().another()

    def columns(self) -> list[Any]:
        """See `OldSchemasContract`."""
        return self.execute(
            "select name, sql from sqlite_master where name not like '%kobold%'"
            " order by name"
        )


class OldPostgres(PostgresCase, OldSchemasContract):
    """On PostgreSQL."""

    version = 17

    async def prepare(self) -> None:
        """MogileFS's tables."""
        self.execute(tables("postgresql", self.version))
        self.before = self.columns()

    def columns(self) -> list[Any]:
        """See `OldSchemasContract`."""
        return self.execute(_CATALOG.format(schema="'public'"))


class OldMaria(MariaCase, OldSchemasContract):
    """On MariaDB."""

    version = 17

    def database_words(self) -> str:
        """See `MariaCase`."""
        return "character set latin1"

    async def prepare(self) -> None:
        """MogileFS's tables."""
        for statement in tables("mysql", self.version).split(";"):
            self.execute(statement)
        self.before = self.columns()

    def columns(self) -> list[Any]:
        """See `OldSchemasContract`."""
        return self.execute(_CATALOG.format(schema="database()"))
