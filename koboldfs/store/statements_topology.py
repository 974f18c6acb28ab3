"""The statements about hosts, devices, domains, classes, settings and the schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, Table, bindparam, func, literal_column, select, text

from koboldfs.store.phrases import Phrase, Tongue
from koboldfs.store.schema import (
    device,
    domain,
    file,
    host,
    server_settings,
    storage_class,
    tempfile,
)
from koboldfs.store.steps import Statement

#: The channel on which PostgreSQL tells that one of the small tables was changed.
CHANNEL = "koboldfs_topology"

_TABLES = {
    "postgresql": "SELECT tablename FROM pg_catalog.pg_tables"
    " WHERE schemaname = ANY (current_schemas(false))",
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
    "mysql": "SHOW TABLES",
}
#: The collation of the column of the keys: that of the database if it has no own one.
#: "C" stands for all that PostgreSQL has built in: these go by bytes, too.
_KEY_COLLATIONS = {
    "postgresql": "SELECT CASE WHEN c.collname <> 'default' THEN c.collname"
    " WHEN to_json(d) ->> 'datlocprovider' = 'b' THEN 'C'"
    " WHEN to_json(d) ->> 'datlocprovider' = 'i' THEN 'ICU' ELSE d.datcollate END"
    " FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_collation AS c"
    " ON c.oid = a.attcollation, pg_catalog.pg_database AS d"
    " WHERE a.attrelid = CAST('file' AS regclass) AND a.attname = 'dkey'"
    " AND d.datname = current_database()",
    "mysql": "SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE"
    " TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'file' AND COLUMN_NAME = 'dkey'",
}
#: Number of the advisory lock that a tracker holds while it makes the schema.
_SCHEMA_LOCK = 0x6B6F626F6C64
#: How long a tracker waits on MySQL for another that makes the schema.
_SCHEMA_LOCK_SECONDS = 20


class TopologyStatements:
    """Compiled for one dialect."""

    def __init__(self, tongue: Tongue) -> None:
        self.tongue = tongue
        self._updates: dict[tuple[str, ...], Phrase] = {}
        self._schema(tongue)
        self._small_tables(tongue)
        self._emptiness(tongue)

    def _schema(self, tongue: Tongue) -> None:
        self.tables = tongue.phrase(text(_TABLES[tongue.name]))
        self.lock_schema: Statement | None = None
        self.unlock_schema: Statement | None = None
        self.key_collation: Phrase | None = None
        if tongue.name in _KEY_COLLATIONS:
            self.key_collation = tongue.phrase(text(_KEY_COLLATIONS[tongue.name]))
        #: Says whether a COMMIT is on the disk when it is answered (1: it is).
        self.flushing: Statement | None = None
        if tongue.name == "postgresql":
            self.lock_schema = Statement(
                f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})"
            )
        elif tongue.name == "mysql":
            # Such a name is the whole server's.
            lock = "CONCAT('koboldfs ', DATABASE())"
            self.lock_schema = Statement(
                f"SELECT GET_LOCK({lock}, {_SCHEMA_LOCK_SECONDS})"
            )
            self.unlock_schema = Statement(f"SELECT RELEASE_LOCK({lock})")
            self.flushing = Statement("SELECT @@global.innodb_flush_log_at_trx_commit")

    def _small_tables(self, tongue: Tongue) -> None:
        self.hosts = tongue.phrase(select(host).order_by(host.c.hostid))
        self.devices = tongue.phrase(select(device).order_by(device.c.devid))
        self.domains = tongue.phrase(select(domain).order_by(domain.c.dmid))
        columns = [storage_class.c[n] for n in ("dmid", "classid", "classname")]
        columns += [storage_class.c.mindevcount, storage_class.c.replpolicy]
        ordered = (storage_class.c.dmid, storage_class.c.classid)
        self.classes = tongue.phrase(
            select(*columns, storage_class.c.hashtype).order_by(*ordered)
        )
        self.old_classes = tongue.phrase(
            select(*columns, literal_column("NULL").label("hashtype")).order_by(
                *ordered
            )
        )
        field, value = server_settings.c.field, server_settings.c.value
        self.settings = tongue.phrase(select(field, value).order_by(field))
        self.setting = tongue.phrase(select(value).where(field == bindparam("field")))
        self.drop_setting = tongue.phrase(
            server_settings.delete().where(field == bindparam("field"))
        )
        self.set_setting = tongue.upsert(server_settings, ["field"], "field", "value")
        self.default_setting = tongue.insert_new(server_settings, "field", "value")

        def locked(table: Table, *keys: str) -> Phrase:
            statement = select(table.c[keys[0]])
            for key in keys:
                statement = statement.where(table.c[key] == bindparam(key))
            return tongue.phrase(statement.with_for_update())

        self.lock_setting = locked(server_settings, "field")
        self.lock_host = locked(host, "hostid")
        self.lock_domain = locked(domain, "dmid")
        self.device = tongue.phrase(
            select(device.c.devid).where(device.c.devid == bindparam("devid"))
        )
        self.lock_device = tongue.phrase(
            select(device.c.status)
            .where(device.c.devid == bindparam("devid"))
            .with_for_update()
        )
        self.drop_host = tongue.phrase(
            host.delete().where(host.c.hostid == bindparam("hostid"))
        )
        self.drop_domain = tongue.phrase(
            domain.delete().where(domain.c.dmid == bindparam("dmid"))
        )
        self.drop_class = tongue.phrase(
            storage_class.delete().where(
                storage_class.c.dmid == bindparam("dmid"),
                storage_class.c.classid == bindparam("classid"),
            )
        )
        self.last_domain = tongue.phrase(select(func.max(domain.c.dmid)))
        self.classes_of = tongue.phrase(
            select(storage_class.c.classid, storage_class.c.classname).where(
                storage_class.c.dmid == bindparam("dmid")
            )
        )

    def _emptiness(self, tongue: Tongue) -> None:
        one: Select[Any] = select(literal_column("1")).limit(1)
        self.host_has_devices = tongue.phrase(
            one.select_from(device).where(device.c.hostid == bindparam("hostid"))
        )
        in_domain = one.select_from(file).where(file.c.dmid == bindparam("dmid"))
        self.domain_has_files = tongue.phrase(in_domain)
        self.class_has_files = tongue.phrase(
            in_domain.where(file.c.classid == bindparam("classid"))
        )
        # No index leads there; but only uploads that are open now are looked through.
        uploads = one.select_from(tempfile).where(tempfile.c.dmid == bindparam("dmid"))
        self.domain_has_uploads = tongue.phrase(uploads)
        of_class = tempfile.c.classid == bindparam("classid")
        self.class_has_uploads = tongue.phrase(uploads.where(of_class))
        blank = tempfile.delete().where(
            tempfile.c.dmid == bindparam("dmid"), tempfile.c.devids == text("''")
        )
        self.forget_blank_of_domain = tongue.phrase(blank)
        self.forget_blank_of_class = tongue.phrase(blank.where(of_class))

    def insert(self, table: Table, columns: Sequence[str]) -> Phrase:
        """An ``INSERT`` into one of the small tables, compiled when first asked for."""
        key = ("insert", table.name, *columns)
        if key not in self._updates:
            self._updates[key] = self.tongue.insert(table, *columns)
        return self._updates[key]

    def update(
        self, table: Table, columns: Sequence[str], keys: Sequence[str]
    ) -> Phrase:
        """An ``UPDATE`` of one of the small tables (blanks ``X`` and ``key_X``)."""
        key = ("update", table.name, *columns, "where", *keys)
        if key not in self._updates:
            self._updates[key] = self.tongue.update(table, columns, keys)
        return self._updates[key]

    def notice(self) -> Statement | None:
        """Tells the other trackers at commit, where the database can."""
        if self.tongue.name == "postgresql":
            return Statement(f"NOTIFY {CHANNEL}")
        return None
