"""From a database's URL to a store.

    sqlite:///relative/path      sqlite:////absolute/path
    postgresql://user:password@host1:5432,host2:5432/database?option=value
    mysql://user:password@host1:3306,host2:3306/database?option=value

The options of a ``postgresql://`` URL are those of libpq; those of a ``mysql://`` URL
stand in `mysql_url`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from socket import gethostname
from typing import Any
from urllib.parse import unquote

from twisted.internet.defer import Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from koboldfs.errors import ConfigError
from koboldfs.store import mysql_url
from koboldfs.store.batch import DEADLINE_SECONDS
from koboldfs.store.database import Database
from koboldfs.store.desk import one_thread
from koboldfs.store.files import Files
from koboldfs.store.health import Health
from koboldfs.store.locks import NoLocks, SharedLocks
from koboldfs.store.numbers import Numbers
from koboldfs.store.queues import Queues
from koboldfs.store.reader import MysqlReader, PostgresReader, Reader, SqliteReader
from koboldfs.store.scrubs import Scrubs
from koboldfs.store.sqlite import SqliteRunner
from koboldfs.store.statements import statements_for
from koboldfs.store.tasks import Tasks
from koboldfs.store.topology import SmallTables
from koboldfs.store.transactions_schema import prepare
from koboldfs.version import __version__

#: What a PostgreSQL URL may begin with; libpq knows both.
_POSTGRESQL = ("postgresql://", "postgres://")
#: What is shown in place of a password; and where one may stand beside the account.
_HIDDEN = "PASSWORD"
_PASSWORD = re.compile(r"[?&](?:ssl)?password=([^&]*)")
#: Seconds at most that saying goodbye to the database may take.
LEAVE_SECONDS = 2.0
_EXAMPLES = (
    "use sqlite:///PATH, postgresql://USER:PASSWORD@HOST/DATABASE or"
    " mysql://USER:PASSWORD@HOST/DATABASE"
)


class Store:
    """A database. `files`, `topology`, `queues`, `tasks`, `scrubs`, `health`,
    `numbers` are the ports; they are there at once, and of use after `start`."""

    _log = Logger()

    def __init__(
        self, runner: Any, database: Database, shared_locks: Callable[[], SharedLocks]
    ) -> None:
        self._runner = runner
        self._database = database
        self._shared_locks = shared_locks
        #: `ILocks`; which they are is known after `start`.
        self.locks: NoLocks | SharedLocks = NoLocks()
        self.files = Files(database)
        self.topology = SmallTables(database, runner.watch, self.files.forget_domain)
        self.queues = Queues(database)
        self.tasks = Tasks(database)
        self.scrubs = Scrubs(database)
        self.health = Health(database)
        self.numbers = Numbers(database, self.files.forget_drawn)

    @property
    def engine(self) -> str:
        """``sqlite``, ``postgresql`` or ``mysql``."""
        name: str = self._runner.dialect_name
        return name

    @property
    def made_by_mogilefs(self) -> bool:
        """Whether MogileFS made the database (True) or KoboldFS did."""
        return self._database.estate.made_by_mogilefs

    @property
    def created_now(self) -> bool:
        """Whether the database was empty when this store started."""
        return self._database.estate.created_now

    @property
    def key_bytes(self) -> int:
        """The longest key that it takes."""
        return self._database.estate.key_bytes

    def start(self) -> Deferred[None]:
        """Connect, and make what tables are missing. Fires when the store is of use:
        a server that does not answer is waited for. Fails with `ConfigError`."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        await self._runner.start()
        try:
            self._database.estate = await self._database.write(
                "prepare", prepare, __version__, patient=True
            )
        except BaseException:
            await self._stop()
            raise
        if self.made_by_mogilefs and self.engine != "sqlite":
            self.locks = self._shared_locks()
            await self.locks.start()
        if not self._database.estate.flushes:
            self._log.warn(
                "the database server answers before its disk has what was committed:"
                " after a power cut there, files that were acknowledged are lost; set"
                " innodb_flush_log_at_trx_commit = 1"
            )
        estate = self._database.estate
        if self.made_by_mogilefs:
            self._database.sql = self._database.sql.as_found(
                folds_keys=estate.folds_keys,
                keeps_task_args=estate.keeps_task_args,
                sorts_keys=estate.sorts_keys,
            )
            if self.engine == "postgresql" and estate.sorts_keys:
                self._log.info(
                    "this database does not sort keys by their bytes: every page of a"
                    " list of keys sorts all keys of its domain, unless there is an"
                    " index made with: CREATE INDEX CONCURRENTLY kobold_file_dkey"
                    ' ON file (dmid, dkey COLLATE "C")'
                )

    def stop(self) -> Deferred[None]:
        """Let what is under way finish where that is quick, and disconnect. Requests
        that still wait fail with `DatabaseAway`."""
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        leaving = self.files.stop()
        leaving.addTimeout(LEAVE_SECONDS, self._database.clock)
        try:
            await leaving
        except TimeoutError:
            self._log.info("the database does not answer: leaving uploads as they are")
        self._database.stop()
        await self.locks.stop()
        await self._runner.stop()


def open_store(
    url: str,
    reactor: Any,
    *,
    threads: Callable[[], ThreadPool] = one_thread,
    deadline_seconds: float = DEADLINE_SECONDS,
    random: Random | None = None,
) -> Store:
    """A store that is not started yet. Raises `ConfigError` for a URL that is none.

    `threads` makes pools of one thread for engines that block; `deadline_seconds` is
    how long a request waits for a connection.
    """

    def runner(connections: int | None) -> Any:
        return _runner(url, reactor, threads, deadline_seconds, connections, random)

    main = runner(None)
    sql = statements_for(main.dialect_name)
    database = Database(main, sql, reactor, deadline_seconds)
    return Store(main, database, lambda: SharedLocks(runner(1), gethostname()))


def _runner(
    url: str,
    reactor: Any,
    threads: Callable[[], ThreadPool],
    deadline_seconds: float,
    connections: int | None,
    random: Random | None,
) -> Any:
    """What runs transactions on the engine that the URL names."""
    if url.startswith("sqlite:"):
        return SqliteRunner(_sqlite_path(url), reactor, threads, deadline_seconds)
    if url.startswith(_POSTGRESQL):
        # Who uses SQLite needs no driver for PostgreSQL.
        from koboldfs.store.postgres import CONNECTIONS, PostgresRunner

        return PostgresRunner(
            _libpq_options(url),
            reactor,
            connections or CONNECTIONS,
            deadline_seconds,
            random,
        )
    if url.startswith(mysql_url.PREFIX):
        from koboldfs.store.mysql import CONNECTIONS as DESKS
        from koboldfs.store.mysql import MysqlRunner

        return MysqlRunner(
            _mysql_options(url),
            reactor,
            connections or DESKS,
            threads,
            deadline_seconds,
            random,
        )
    raise ConfigError(f"--database: {_shown(url)} is no database URL; {_EXAMPLES}")


def open_reader(url: str) -> Reader:
    """A database that is only looked at. Raises `ConfigError` for a URL that is none,
    or names no file, and `DatabaseAway`."""
    if url.startswith("sqlite:"):
        return SqliteReader(_sqlite_path(url))
    if url.startswith(_POSTGRESQL):
        return PostgresReader(_libpq_options(url))
    if url.startswith(mysql_url.PREFIX):
        return MysqlReader(_mysql_options(url))
    raise ConfigError(f"--database: {_shown(url)} is no database URL; {_EXAMPLES}")


def _sqlite_path(url: str) -> str:
    if not url.startswith("sqlite:///") or "?" in url or "#" in url:
        raise ConfigError(f"--database: {url!r} must be sqlite:///PATH")
    path = unquote(url[len("sqlite:///") :])
    if not path or path == ":memory:" or "\0" in path:
        raise ConfigError(f"--database: {url!r} names no file; use sqlite:///PATH")
    return path


def _mysql_options(url: str) -> mysql_url.MysqlOptions:
    try:
        return mysql_url.mysql_options(url)
    except ValueError as error:
        raise ConfigError(f"--database: {_shown(url)}: {error}") from None


def _libpq_options(url: str) -> dict[str, str]:
    from psycopg2 import Error
    from psycopg2.extensions import parse_dsn

    try:
        options: dict[str, str] = parse_dsn(url)
    except (Error, ValueError) as error:
        words = " ".join(str(error).split())
        for secret in _secrets(url):
            words = words.replace(secret, _HIDDEN)
        raise ConfigError(f"--database: {_shown(url)}: {words}") from None
    if "@" in options.get("host", ""):
        raise ConfigError(f"--database: {_shown(url)}: an @ in a password is %40")
    hosts = options.get("host", "").split(",")
    ports = options.get("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        raise ConfigError(
            f"--database: {_shown(url)} has {len(hosts)} hosts and {len(ports)} ports"
        )
    if not all(port == "" or _is_port(port) for port in ports):
        raise ConfigError(f"--database: {_shown(url)} has a port that is no number")
    return options


def _is_port(text: str) -> bool:
    return text.isdecimal() and 0 < int(text) < 65536


def shown_url(url: str) -> str:
    """The URL with PASSWORD in the place of its password."""
    for secret in _secrets(url):
        url = url.replace(f":{secret}@", f":{_HIDDEN}@")
        url = url.replace(f"password={secret}", f"password={_HIDDEN}")
    return url


def _secrets(url: str) -> list[str]:
    """What nobody must read."""
    account = url.partition("://")[2].rpartition("@")[0]
    found = [account.partition(":")[2], *_PASSWORD.findall(url)]
    return [secret for secret in found if secret]


def _shown(url: str) -> str:
    return repr(shown_url(url))
