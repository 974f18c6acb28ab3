"""The transaction that makes a database ours, or takes over one of MogileFS."""

from __future__ import annotations

from attrs import frozen

from koboldfs.errors import ConfigError, KoboldError
from koboldfs.model.view import CREATED_SETTING
from koboldfs.store.schema import (
    HASHTYPE_SCHEMA_VERSION,
    MOGILEFS_DEVIDS_CHARS,
    MOGILEFS_KEY_BYTES,
    OLDEST_SCHEMA_VERSION,
    OWN_DEVIDS_CHARS,
    OWN_KEY_BYTES,
    SCHEMA_VERSION,
    TASK_ARG_SCHEMA_VERSION,
    VERSION_SETTING,
    definitions,
)
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Again, Statement, Steps, quiet
from koboldfs.store.transactions_numbers import push_sequence


@frozen
class Estate:
    """What a database can hold, and who made it."""

    made_by_mogilefs: bool
    created_now: bool
    schema_version: int
    #: Whether different keys can be the same to the database.
    folds_keys: bool = False
    #: Whether it may sort keys by another rule than by their bytes (PostgreSQL).
    sorts_keys: bool = True
    #: Whether `file_to_queue` has the column `arg`.
    keeps_task_args: bool = True
    #: Whether a COMMIT is on the disk when it is answered.
    flushes: bool = True

    @property
    def key_bytes(self) -> int:
        """The longest key."""
        return MOGILEFS_KEY_BYTES if self.made_by_mogilefs else OWN_KEY_BYTES

    @property
    def devids_chars(self) -> int:
        """The longest text of the devices of an upload."""
        return MOGILEFS_DEVIDS_CHARS if self.made_by_mogilefs else OWN_DEVIDS_CHARS

    @property
    def has_hashtype(self) -> bool:
        """Whether classes have a hash type."""
        return self.schema_version >= HASHTYPE_SCHEMA_VERSION


def prepare(sql: Statements, our_version: str) -> Steps[Estate]:
    """Make the tables that are missing, under a lock so that only one tracker does.

    Tables that are there are never altered. Raises `ConfigError` for a schema version
    that we do not know.
    """
    if sql.lock_schema is not None:
        reply = yield sql.lock_schema
        if sql.unlock_schema is not None and reply.rows != [(1,)]:
            raise Again
    try:
        estate = yield from _prepared(sql, our_version)
    except KoboldError:
        yield from _unlocked(sql)
        raise
    yield from _unlocked(sql)
    return estate


def _unlocked(sql: Statements) -> Steps[None]:
    """Where the lock is the session's, it does not end with the transaction."""
    if sql.unlock_schema is not None:
        yield sql.unlock_schema


def _prepared(sql: Statements, our_version: str) -> Steps[Estate]:
    reply = yield sql.tables()
    present = {row[0] for row in reply.rows}
    version: int | None = None
    created: str | None = None
    others = present & {"file", "tempfile", "file_on"}
    has_settings = "server_settings" in present
    if has_settings:
        version, created = yield from _versions(sql, bool(others))
    elif others:
        raise ConfigError(
            "database: it has tables named as ours but no server_settings;"
            " give KoboldFS an empty database or one that MogileFS made"
        )
    new = version is None
    if not new and not OLDEST_SCHEMA_VERSION <= version <= SCHEMA_VERSION:  # type: ignore[operator]
        raise ConfigError(
            f"database: its schema_version is {version}; KoboldFS knows"
            f" {OLDEST_SCHEMA_VERSION} to {SCHEMA_VERSION}"
        )
    made = [Statement(text) for text in definitions(sql.tongue.dialect, present)]
    if new:
        # MySQL commits what was made at once: before all else, who made it.
        settings = {VERSION_SETTING: str(SCHEMA_VERSION), CREATED_SETTING: our_version}
        rows = [{"field": name, "value": value} for name, value in settings.items()]
        said = sql.set_setting.rows(rows)
        assert said is not None
        made.insert(0 if has_settings else 1, said)
    yield quiet(*made)
    yield from push_sequence(sql)
    made_by_mogilefs = not new and created is None
    collation = (yield from _key_collation(sql)) if made_by_mogilefs else None
    return Estate(
        made_by_mogilefs=made_by_mogilefs,
        created_now=new,
        schema_version=SCHEMA_VERSION if version is None else version,
        folds_keys=sql.tongue.name == "mysql" and _folds_keys(collation),
        sorts_keys=collation not in ("C", "POSIX"),
        keeps_task_args=new
        or "file_to_queue" not in present
        or version >= TASK_ARG_SCHEMA_VERSION,  # type: ignore[operator]
        flushes=sql.flushing is None or (yield sql.flushing).rows == [(1,)],
    )


def _versions(sql: Statements, in_use: bool) -> Steps[tuple[int | None, str | None]]:
    reply = yield sql.setting(field=VERSION_SETTING)
    text = reply.rows[0][0] if reply.rows else None
    if text is None and not in_use:
        return None, None
    if text is None or not str(text).isdecimal():
        raise ConfigError(f"database: its schema_version is {text!r}, not a number")
    reply = yield sql.setting(field=CREATED_SETTING)
    return int(text), reply.rows[0][0] if reply.rows else None


def _key_collation(sql: Statements) -> Steps[str | None]:
    if sql.key_collation is None:
        return None
    reply = yield sql.key_collation()
    collation = reply.rows[0][0] if reply.rows else None
    return None if collation is None else str(collation)


def _folds_keys(collation: str | None) -> bool:
    """Whether keys may be the same to MySQL. Those of ``_bin`` tell all keys apart, but
    most of them do not look at blanks at the end."""
    exact = ("_nopad_bin", "_0900_bin")
    return collation is not None and not collation.endswith(exact)
