"""MySQL and MariaDB: a few threads, each with its own connection.

Writers are READ COMMITTED, where whoever waited for a row sees what it has become. A
transaction goes to the writer that has the least to do, and everything that waits for
a writer goes into its next COMMIT together. Readers see the database as of one moment
where a transaction wants that. Nobody tells of changes: other trackers' are seen by
looking.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from koboldfs.store.batch import DEADLINE_SECONDS
from koboldfs.store.blocking import BlockingRun, Manner
from koboldfs.store.desk import Desk, one_thread
from koboldfs.store.mysql_link import (
    READER,
    READING,
    WRITER,
    WRITING,
    Hosts,
    Purpose,
)
from koboldfs.store.mysql_url import MysqlOptions
from koboldfs.store.steps import IRunner, Transaction

#: Connections of one process, unless told otherwise. One of three reads: batches make
#: few enough, and PyMySQL's threads take turns anyhow.
CONNECTIONS = 3


@implementer(IRunner)
class MysqlRunner:
    """Runs transactions on MySQL or MariaDB. A single connection only reads."""

    dialect_name = "mysql"

    def __init__(
        self,
        options: MysqlOptions,
        reactor: Any,
        connections: int = CONNECTIONS,
        threads: Callable[[], ThreadPool] = one_thread,
        deadline_seconds: float = DEADLINE_SECONDS,
        random: Random | None = None,
    ) -> None:
        def desk(manner: Manner, purpose: Purpose) -> Desk:
            hosts = Hosts(options, purpose)
            return Desk(
                lambda: BlockingRun(hosts.connect(), manner),
                reactor,
                threads(),
                deadline_seconds,
                random,
            )

        readers = max(1, connections // 3)
        writers = connections - readers
        self._readers = [desk(READING, READER) for _ in range(readers)]
        self._writers = [desk(WRITING, WRITER) for _ in range(writers)]
        for writer in self._writers:
            writer.lost = self._writer_lost

    def _writer_lost(self) -> None:
        """Another host may take writes now: whoever still reads there reads the past,
        if the old one did not cut all connections when it became a standby."""
        for reader in self._readers:
            reader.renew()

    async def start(self) -> None:
        """Begin to connect."""
        for desk in (*self._readers, *self._writers):
            desk.begin()

    async def stop(self) -> None:
        """Finish what is under way and disconnect."""
        for desk in (*self._readers, *self._writers):
            await desk.stop()

    def run(
        self, transaction: Transaction[Any], patient: bool = False
    ) -> Deferred[Any]:
        """See `IRunner.run`."""
        desks = self._writers if transaction.mode.writes else self._readers
        return min(desks, key=lambda desk: desk.load).submit(transaction, patient)

    def watch(self, changed: Callable[[], None]) -> None:
        """MySQL cannot tell: nobody is called."""
