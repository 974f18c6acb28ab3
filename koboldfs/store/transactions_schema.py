"""The transaction that makes a database ours, or takes over one of MogileFS."""

from __future__ import annotations

from attrs import frozen

from koboldfs.errors import ConfigError
from koboldfs.store.schema import (
    CREATED_SETTING,
    HASHTYPE_SCHEMA_VERSION,
    MOGILEFS_DEVIDS_CHARS,
    MOGILEFS_KEY_BYTES,
    OLDEST_SCHEMA_VERSION,
    OWN_DEVIDS_CHARS,
    OWN_KEY_BYTES,
    SCHEMA_VERSION,
    VERSION_SETTING,
    definitions,
)
from koboldfs.store.statements import Statements
from koboldfs.store.steps import Statement, Steps, quiet
from koboldfs.store.transactions_uploads import push_sequence


@frozen
class Estate:
    """What a database can hold, and who made it."""

    made_by_mogilefs: bool
    created_now: bool
    schema_version: int

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
        yield sql.lock_schema
    reply = yield sql.tables()
    present = {row[0] for row in reply.rows}
    version: int | None = None
    created: str | None = None
    if "server_settings" in present:
        version, created = yield from _versions(sql)
    elif present & {"file", "tempfile", "file_on"}:
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
    yield quiet(*(Statement(text) for text in definitions(sql.tongue.dialect, present)))
    if new:
        yield quiet(
            sql.set_setting(field=VERSION_SETTING, value=str(SCHEMA_VERSION)),
            sql.set_setting(field=CREATED_SETTING, value=our_version),
        )
    yield from push_sequence(sql)
    return Estate(
        made_by_mogilefs=not new and created is None,
        created_now=new,
        schema_version=SCHEMA_VERSION if version is None else version,
    )


def _versions(sql: Statements) -> Steps[tuple[int, str | None]]:
    reply = yield sql.setting(field=VERSION_SETTING)
    text = reply.rows[0][0] if reply.rows else None
    if text is None or not str(text).isdecimal():
        raise ConfigError(f"database: its schema_version is {text!r}, not a number")
    reply = yield sql.setting(field=CREATED_SETTING)
    return int(text), reply.rows[0][0] if reply.rows else None
