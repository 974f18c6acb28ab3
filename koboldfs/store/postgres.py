"""PostgreSQL: a pool of connections on the reactor; no threads.

A transaction's BEGIN and its quiet statements are held back and go with the next
statement that needs a reply, or with the COMMIT, as one text: most transactions are
two or three trips. A connection lost before the COMMIT was sent means that nothing was
done, so the transaction is run again on another. One lost during the COMMIT leaves
that open: only reads and repeatable transactions are run again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.errors import DatabaseAway, DatabaseFault, DuplicateRow
from koboldfs.store.back_off import BackOff
from koboldfs.store.batch import DEADLINE_SECONDS
from koboldfs.store.postgres_link import Link
from koboldfs.store.postgres_pool import Pool
from koboldfs.store.statements_topology import CHANNEL
from koboldfs.store.steps import (
    MAX_ATTEMPTS,
    MEETING_PAUSE_SECONDS,
    NO_REPLY,
    Again,
    IRunner,
    Lost,
    Mode,
    OutcomeUnknown,
    Quiet,
    Statement,
    Steps,
    Transaction,
    Unfit,
)

#: Seconds for a whole transaction, once it has a connection; then that is cut.
TRANSACTION_SECONDS = 30.0
#: Connections of one process. Batches make few enough; more only crowd the server.
CONNECTIONS = 6

_BEGIN = {
    Mode.WRITE: Statement("BEGIN"),
    Mode.SNAPSHOT: Statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
}
_COMMIT = Statement("COMMIT")
_ROLLBACK = Statement("ROLLBACK")
#: Options of libpq that notice a peer that is gone (seconds), unless the URL has them.
_KEEPALIVE = {
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}


class Hosts:
    """Connects to the first host of several that takes writes, the last good first.

    libpq could do that too, but has no time limit for a host while it is asynchronous.
    """

    def __init__(self, options: Mapping[str, str], reactor: Any) -> None:
        self._reactor = reactor
        self._opening: set[Link] = set()
        self._stopped = False
        hosts = options.get("host", "").split(",")
        ports = options.get("port", "").split(",")
        if len(ports) == 1:
            ports = ports * len(hosts)
        fixed = {
            "application_name": "koboldfs",
            **_KEEPALIVE,
            **options,
            "client_encoding": "UTF8",
            "target_session_attrs": "read-write",
        }
        self._each = [
            {**fixed, "host": host, "port": port or "5432"}
            for host, port in zip(hosts, ports, strict=True)
        ]
        for one in self._each:
            if not one["host"]:
                del one["host"]

    async def connect(self) -> Link:
        """A new connection; raises `DatabaseAway` with what each host said."""
        words = []
        for options in list(self._each):
            link = Link(self._reactor)
            self._opening.add(link)
            try:
                await link.open(options)
            except DatabaseAway as away:
                words.append(away.message)
                # The next one first, should this attempt be the last for now.
                self._each.append(self._each.pop(0))
            else:
                return link
            finally:
                self._opening.discard(link)
            if self._stopped:
                break
        raise DatabaseAway("; ".join(words))

    def stop(self) -> None:
        """Give up what is being connected."""
        self._stopped = True
        for link in list(self._opening):
            link.shut()


@implementer(IRunner)
class PostgresRunner:
    """Runs transactions on PostgreSQL."""

    _log = Logger()
    dialect_name = "postgresql"

    def __init__(
        self,
        options: Mapping[str, str],
        reactor: Any,
        connections: int = CONNECTIONS,
        deadline_seconds: float = DEADLINE_SECONDS,
        random: Random | None = None,
    ) -> None:
        self._reactor = reactor
        self._deadline_seconds = deadline_seconds
        self._random = random or Random()
        self._hosts = Hosts(options, reactor)
        self._pool = Pool(self._hosts.connect, reactor, connections, self._random)
        self._listener = Listener(self._hosts.connect, reactor, self._random)

    async def start(self) -> None:
        """Begin to connect, and to listen if anybody watches."""
        self._pool.start()
        self._listener.start()

    async def stop(self) -> None:
        """Close all connections; what is under way fails or ends by itself."""
        self._listener.stop()
        self._pool.stop()
        self._hosts.stop()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` whenever a tracker says that it changed the small tables."""
        self._listener.watch(changed)

    async def run(self, transaction: Transaction[Any], patient: bool = False) -> Any:
        """See `IRunner.run`."""
        deadline = None if patient else self._deadline_seconds
        for attempt in range(1, MAX_ATTEMPTS + 1):
            link = await self._pool.acquire(deadline)
            deadline = self._deadline_seconds
            attempt_here = Attempt(link, transaction)
            link.limit(TRANSACTION_SECONDS)
            try:
                return await attempt_here.run()
            except Lost as lost:
                self._report(transaction, lost)
                if attempt_here.committing and not transaction.repeatable:
                    raise OutcomeUnknown from lost
                if attempt == MAX_ATTEMPTS:
                    raise DatabaseAway from lost
            except Again:
                if attempt == MAX_ATTEMPTS:
                    raise
            except DatabaseFault as fault:
                racing = transaction.racing and isinstance(fault, DuplicateRow)
                if not racing or attempt == MAX_ATTEMPTS:
                    self._report(transaction, fault)
                    raise
            finally:
                link.limit(None)
                if attempt_here.usable:
                    self._pool.release(link)
                else:
                    self._pool.discard(link)
            pause = self._random.uniform(0, MEETING_PAUSE_SECONDS * attempt)
            await deferLater(self._reactor, pause)
        raise AssertionError("unreachable")

    def _report(self, transaction: Transaction[Any], fault: DatabaseFault) -> None:
        if fault.__cause__ is not None:
            self._log.warn(
                "database refused {name}: {words}",
                name=transaction.name,
                words=" ".join(str(fault.__cause__).split()),
            )


class Attempt:
    """A transaction being run on a connection."""

    def __init__(self, link: Link, transaction: Transaction[Any]) -> None:
        self._link = link
        self._transaction = transaction
        self._held: list[Statement] = []
        self._begun = False
        #: Whether the COMMIT is on its way: nobody can say whether it was done.
        self.committing = False
        #: Whether the connection may be used by others afterwards.
        self.usable = False

    async def run(self) -> Any:
        """The transaction's result."""
        begin = _BEGIN.get(self._transaction.mode)
        if begin is not None:
            self._held.append(begin)
        try:
            result = await self._play(self._transaction.steps())
            await self._finish()
        except Lost:
            raise
        except BaseException:
            await self._roll_back()
            raise
        self.usable = True
        return result

    async def _play(self, steps: Steps[Any]) -> Any:
        try:
            wanted = next(steps)
            while True:
                if isinstance(wanted, Quiet):
                    self._held.extend(wanted.statements)
                    wanted = steps.send(NO_REPLY)
                    continue
                try:
                    reply = await self._send(wanted)
                except Lost:
                    steps.close()
                    raise
                except DatabaseFault as fault:
                    wanted = steps.throw(fault)
                else:
                    wanted = steps.send(reply)
        except StopIteration as end:
            return end.value

    async def _send(self, last: Statement) -> Any:
        statements = [*self._held, last]
        self._held.clear()
        self._begun = self._transaction.mode is not Mode.READ
        single, before = self._transaction.mode is Mode.SINGLE, self.committing
        self.committing = single or before
        try:
            return await self._link.send(statements)
        except Unfit:
            # This trip did nothing, but those before it may have.
            self.committing = single and before
            raise

    async def _finish(self) -> None:
        mode = self._transaction.mode
        if mode in (Mode.READ, Mode.SINGLE):
            if self._held:
                await self._send(self._held.pop())
        elif self._begun or len(self._held) > 1:
            self.committing = mode is Mode.WRITE
            await self._send(_COMMIT)
            self.committing = False

    async def _roll_back(self) -> None:
        """Leave the connection as it was found; one that cannot be is not usable."""
        try:
            if self._begun:
                await self._link.send([_ROLLBACK])
        except DatabaseFault:
            return
        self.usable = True


class Listener:
    """A connection of its own on which the server tells of changes."""

    _log = Logger()

    def __init__(
        self, connect: Callable[[], Awaitable[Link]], reactor: Any, random: Random
    ) -> None:
        self._connect = connect
        self._back_off = BackOff(reactor, random)
        self._watchers: list[Callable[[], None]] = []
        self._started = False
        self._link: Link | None = None
        self._gone: Deferred[None] | None = None
        self._listening: Deferred[None] | None = None

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` on every notice, and whenever listening begins (again)."""
        self._watchers.append(changed)
        if self._started:
            self._begin()

    def start(self) -> None:
        """Begin to listen if anybody watches."""
        self._started = True
        if self._watchers:
            self._begin()

    def _begin(self) -> None:
        if self._listening is None:
            self._listening = Deferred.fromCoroutine(self._listen())
            self._listening.addErrback(self._ended)

    def _ended(self, failure: Any) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("a defect while listening to the database", failure)

    async def _listen(self) -> None:
        while self._started:
            self._link = None
            try:
                link = self._link = await self._connect()
                gone: Deferred[None] = Deferred()
                self._gone = gone
                link.lost = self._lost
                link.noticed = self._tell
                await link.send([Statement(f"LISTEN {CHANNEL}")])
            except Exception as fault:
                # Whatever it is, to give up for good would be worse.
                self._drop()
                if self._started:
                    self._report(fault)
                    await self._back_off.pause()
                continue
            self._back_off.reset()
            # What was changed before this moment nobody told us.
            self._tell()
            await gone

    def _report(self, fault: Exception) -> None:
        if isinstance(fault, DatabaseFault):
            self._log.warn("cannot listen to the database: {words}", words=str(fault))
        elif not isinstance(fault, DatabaseAway):
            # Of a database that is away the pool reports.
            self._log.failure(
                "a defect while listening to the database", Failure(fault)
            )

    def _lost(self, link: Link) -> None:
        gone, self._gone = self._gone, None
        if gone is not None:
            gone.callback(None)

    def _tell(self) -> None:
        for changed in self._watchers:
            try:
                changed()
            except Exception:
                self._log.failure("a watcher of the database failed")

    def stop(self) -> None:
        """Stop listening."""
        self._started = False
        self._back_off.stop()
        self._drop()

    def _drop(self) -> None:
        if self._link is not None:
            self._link.shut()
        gone, self._gone = self._gone, None
        if gone is not None:
            gone.callback(None)


__all__: Sequence[str] = ["CONNECTIONS", "Attempt", "Hosts", "PostgresRunner"]
