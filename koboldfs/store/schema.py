"""The tables: MogileFS's schema version 17, and our own beside them.

A new database is made by us with these differences: `file.dkey` and `tempfile.dkey`
take 1,024 bytes and sort by bytes, `tempfile.fid` has 64 bits, `tempfile.devids` takes
255 characters. Tables that MogileFS made are used as they are and never altered.

Columns with a meaning of ours in tables of MogileFS: `file_to_replicate.flags`, which
it leaves 0, is 1 while one of our trackers has the row in work, and 2 when somebody
asked for the file's replication again meanwhile (then the row outlives that work).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import CreateIndex, CreateTable

from koboldfs.errors import ValueRefused

SCHEMA_VERSION = 17
OLDEST_SCHEMA_VERSION = 10
#: From here on the queue of fsck and rebalance has a column `arg`.
TASK_ARG_SCHEMA_VERSION = 13
#: From here on classes have a hash type.
HASHTYPE_SCHEMA_VERSION = 15

#: Bytes that a key may have in a database of ours, and in one that MogileFS made.
OWN_KEY_BYTES, MOGILEFS_KEY_BYTES = 1024, 255
#: Characters of `tempfile.devids` in the same.
OWN_DEVIDS_CHARS, MOGILEFS_DEVIDS_CHARS = 255, 60

#: `file_to_replicate.flags`, see above.
IN_WORK, ASKED_AGAIN = 1, 2

#: The highest failcount that MogileFS's queues hold on MySQL.
LAST_FAILCOUNT = 255

VERSION_SETTING = "schema_version"

metadata = MetaData()

#: SQLite numbers rows by itself only in a column of exactly this type.
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def _short(length: int) -> String:
    """Text of so many bytes. On MySQL it is held as bytes: to its character types
    names are the same that differ in case, or in blanks at the end."""
    return String(length).with_variant(mysql.VARBINARY(length), "mysql")


_LONG = Text().with_variant(mysql.MEDIUMBLOB(), "mysql")
_DIGEST = LargeBinary(64).with_variant(mysql.VARBINARY(64), "mysql")
_KEY = _short(OWN_KEY_BYTES).with_variant(
    postgresql.VARCHAR(OWN_KEY_BYTES, collation="C"), "postgresql"
)


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})")


def _not_negative(*columns: str) -> list[CheckConstraint]:
    return [CheckConstraint(f"{column} >= 0") for column in columns]


domain = Table(
    "domain",
    metadata,
    Column("dmid", SmallInteger, primary_key=True, autoincrement=False),
    Column("namespace", _short(255), unique=True),
)
storage_class = Table(
    "class",
    metadata,
    Column("dmid", SmallInteger, primary_key=True, autoincrement=False),
    Column("classid", SmallInteger, primary_key=True, autoincrement=False),
    Column("classname", _short(50)),
    Column("mindevcount", SmallInteger, nullable=False),
    Column("hashtype", SmallInteger),
    Column("replpolicy", _short(255)),
    UniqueConstraint("dmid", "classname"),
)
file = Table(
    "file",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("dmid", SmallInteger, nullable=False),
    Column("dkey", _KEY),
    Column("length", BigInteger),
    Column("classid", SmallInteger, nullable=False),
    Column("devcount", SmallInteger, nullable=False),
    UniqueConstraint("dmid", "dkey"),
    Index("file_devcount", "dmid", "classid", "devcount"),
    *_not_negative("length"),
)
tempfile = Table(
    "tempfile",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=True),
    Column("createtime", Integer, nullable=False),
    Column("classid", SmallInteger, nullable=False),
    Column("dmid", SmallInteger, nullable=False),
    Column("dkey", _KEY),
    Column("devids", _short(OWN_DEVIDS_CHARS)),
    sqlite_autoincrement=True,
)
file_on = Table(
    "file_on",
    metadata,
    Column("fid", BigInteger, primary_key=True, autoincrement=False),
    Column("devid", SmallInteger, primary_key=True, autoincrement=False),
    # MogileFS's has the devid alone; with the fid, a device is walked in order.
    Index("file_on_devid", "devid", "fid"),
    sqlite_with_rowid=False,
)
Table(
    "file_on_corrupt",
    metadata,
    Column("fid", BigInteger, primary_key=True, autoincrement=False),
    Column("devid", SmallInteger, primary_key=True, autoincrement=False),
)
file_to_replicate = Table(
    "file_to_replicate",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("nexttry", Integer, nullable=False),
    Column("fromdevid", Integer),
    Column("failcount", SmallInteger, nullable=False, server_default="0"),
    Column("flags", SmallInteger, nullable=False, server_default="0"),
    Index("file_to_replicate_nexttry", "nexttry"),
)
file_to_delete2 = Table(
    "file_to_delete2",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("nexttry", Integer, nullable=False),
    Column("failcount", SmallInteger, nullable=False, server_default="0"),
    Index("file_to_delete2_nexttry", "nexttry"),
)
file_to_delete = Table(
    "file_to_delete",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
)
file_to_delete_later = Table(
    "file_to_delete_later",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("delafter", Integer, nullable=False),
    Index("file_to_delete_later_delafter", "delafter"),
)
file_to_queue = Table(
    "file_to_queue",
    metadata,
    Column("fid", BigInteger, primary_key=True, autoincrement=False),
    Column("devid", Integer),
    Column("type", SmallInteger, primary_key=True, autoincrement=False),
    Column("nexttry", Integer, nullable=False),
    Column("failcount", SmallInteger, nullable=False, server_default="0"),
    Column("flags", SmallInteger, nullable=False, server_default="0"),
    Column("arg", _LONG),
    Index("file_to_queue_type_nexttry", "type", "nexttry"),
)
Table(
    "unreachable_fids",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("lastupdate", Integer, nullable=False),
    Index("unreachable_fids_lastupdate", "lastupdate"),
)
host = Table(
    "host",
    metadata,
    Column("hostid", SmallInteger, primary_key=True, autoincrement=False),
    Column("status", _short(8)),
    Column("http_port", Integer, server_default="7500"),
    Column("http_get_port", Integer),
    Column("hostname", _short(40), unique=True),
    Column("hostip", _short(15), unique=True),
    Column("altip", _short(15), unique=True),
    Column("altmask", _short(18)),
    _one_of("status", "alive", "dead", "down", "readonly"),
    *_not_negative("hostid"),
    CheckConstraint("http_port >= 0 AND http_port < 65536"),
    CheckConstraint("http_get_port >= 0 AND http_get_port < 65536"),
)
device = Table(
    "device",
    metadata,
    Column("devid", SmallInteger, primary_key=True, autoincrement=False),
    Column("hostid", SmallInteger, nullable=False),
    Column("status", _short(8)),
    Column("weight", Integer, server_default="100"),
    Column("mb_total", Integer),
    Column("mb_used", Integer),
    Column("mb_asof", Integer),
    Index("device_status", "status"),
    _one_of("status", "alive", "dead", "down", "readonly", "drain"),
    *_not_negative("devid", "weight", "mb_total", "mb_used", "mb_asof"),
)
server_settings = Table(
    "server_settings",
    metadata,
    Column("field", _short(50), primary_key=True),
    Column("value", _LONG),
)
fsck_log = Table(
    "fsck_log",
    metadata,
    Column("logid", Integer, primary_key=True, autoincrement=True),
    Column("utime", Integer, nullable=False),
    Column("fid", BigInteger),
    Column("evcode", _short(4)),
    Column("devid", SmallInteger),
    Index("fsck_log_utime", "utime"),
    sqlite_autoincrement=True,
)
checksum = Table(
    "checksum",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("hashtype", SmallInteger, nullable=False),
    Column("checksum", _DIGEST, nullable=False),
)
Table(
    "lock",
    metadata,
    Column("lockid", Integer, primary_key=True, autoincrement=False),
    Column("hostname", _short(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("acquiredat", Integer, nullable=False),
)
kobold_checksum = Table(
    "kobold_checksum",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("hashtype", SmallInteger, nullable=False),
    Column("checksum", _DIGEST, nullable=False),
)
#: Where the scrub of each device stands; see `koboldfs.model.scrub.Scrub`.
kobold_scrub = Table(
    "kobold_scrub",
    metadata,
    Column("devid", SmallInteger, primary_key=True, autoincrement=False),
    Column("known", Integer, nullable=False),
    *(
        Column(name, Integer, nullable=False, server_default="0")
        for name in ("began", "ended", "asked", "running")
    ),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in ("position", "folder", "end_fid", "files", "size_bytes")
    ),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in ("bad", "mended", "missing", "orphans", "lost")
    ),
    Column("owner", _short(40), nullable=False, server_default=""),
    Column("leased_until", Integer, nullable=False, server_default="0"),
)
#: Live files of which no good copy was found, and when that was.
kobold_lost = Table(
    "kobold_lost",
    metadata,
    Column("fid", _SERIAL, primary_key=True, autoincrement=False),
    Column("since", Integer, nullable=False),
)


#: What is said after a table's columns.
_TABLE_OPTIONS = {"mysql": " ENGINE=InnoDB"}
#: Tables of MogileFS's that it does not make there, because it has other means.
_NOT_MADE = {"mysql": {"lock"}}


def definitions(dialect: Dialect, present: set[str]) -> list[str]:
    """The DDL of every table (with its indexes) whose name is not in `present`.

    That of the settings, which say who made the database, comes first.
    """
    texts = []
    absent = present | _NOT_MADE.get(dialect.name, set())
    for table in sorted(metadata.sorted_tables, key=lambda one: one != server_settings):
        if table.name in absent:
            continue
        text = str(CreateTable(table).compile(dialect=dialect)).strip()
        texts.append(text + _TABLE_OPTIONS.get(dialect.name, ""))
        for index in sorted(table.indexes, key=lambda one: str(one.name)):
            texts.append(str(CreateIndex(index).compile(dialect=dialect)).strip())
    return texts


_INTEGER_BOUNDS = (
    (SmallInteger, 2**15 - 1),
    (BigInteger, 2**63 - 1),
    (Integer, 2**31 - 1),
)


@lru_cache(maxsize=256)
def _fits(table: Table, name: str) -> tuple[int, int]:
    """The most characters and the highest number that a column holds: 0 is neither."""
    kind = table.c[name].type
    characters = (kind.length or sys.maxsize) if isinstance(kind, String) else 0
    highest = next((b for k, b in _INTEGER_BOUNDS if isinstance(kind, k)), 0)
    return characters, highest


def refuse_unfit(table: Table, values: Mapping[str, Any]) -> None:
    """Raise `ValueRefused` for what a column cannot hold, alike on every engine."""
    for name, value in values.items():
        characters, highest = _fits(table, name)
        if isinstance(value, str):
            if not characters or len(value) > characters:
                raise ValueRefused(f"The value of {name} is too long")
            refuse_unfit_text(value)
        elif isinstance(value, int) and not 0 <= value <= highest:
            raise ValueRefused(f"The value of {name} is out of range")


def refuse_unfit_text(value: str) -> None:
    """Raise `ValueRefused` for a NUL byte, or what is not one character per byte."""
    if "\0" in value:
        raise ValueRefused("A name or key cannot hold a NUL byte")
    if not value.isascii() and max(value) > "\xff":
        raise ValueRefused("A name or key must be bytes")
