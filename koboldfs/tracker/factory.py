"""Makes the tracker's connections, up to a limit, and knows them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import LogPublisher

from koboldfs.errors import TooBusy
from koboldfs.tracker.admin_lines import AdminLines
from koboldfs.tracker.commands import Commands, error_words
from koboldfs.tracker.ports import IJobControl
from koboldfs.tracker.protocol import FrontDoor, TrackerProtocol
from koboldfs.tracker.stats import Statistics
from koboldfs.tracker.watchers import Watchers
from koboldfs.wire.tracker import format_error

#: More clients at once than this are refused (each may cost a megabyte or two).
MAX_CONNECTIONS = 10_000


class RefusedClient(Protocol):
    """A connection beyond the limit: told so, and closed."""

    def connectionMade(self) -> None:
        """Say why, and close."""
        assert self.transport is not None
        self.transport.write(format_error(*error_words(TooBusy())))
        self.transport.loseConnection()


class TrackerFactory(Factory):
    """The front door of the MogileFS protocol, for any number of listening ports.

    `clock` and `call_from_thread` are the reactor's; `shutdown` ends the program;
    `publisher` is the log that watchers see, observed while a port is open; `process`
    is this one's number if it is one of several; `counters` are shown by `!stats` too.
    """

    noisy = False

    def __init__(
        self,
        commands: Commands,
        jobs: IJobControl,
        *,
        clock: IReactorTime,
        call_from_thread: Callable[..., Any],
        shutdown: Callable[[], Any],
        publisher: LogPublisher,
        process: int | None = None,
        counters: Callable[[], Mapping[str, int]] = dict,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.statistics = Statistics(clock)
        self.door = FrontDoor(
            commands, self.statistics, Watchers(call_from_thread), clock
        )
        self.door.admin_lines = AdminLines(
            self.statistics,
            jobs,
            self,
            self.door.watchers,
            shutdown,
            os.getpid(),
            process,
            counters,
        )
        self._publisher = publisher
        self._max_connections = max_connections

    def startFactory(self) -> None:
        """The first port opens: watch the log."""
        self._publisher.addObserver(self.door.watchers)

    def stopFactory(self) -> None:
        """The last port closed: answer what was asked, then close the connections."""
        self._publisher.removeObserver(self.door.watchers)
        for connection in list(self.door.connections):
            connection.finish()

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """A connection, or at the limit one that only says so."""
        if self.spare() == 0:
            self.statistics.count("times_out_of_connections")
            return RefusedClient()
        return TrackerProtocol(self.door)

    # --- Connections, for `!queue` and `!stats`

    def waiting(self) -> Iterator[tuple[str, str]]:
        """(client ip, request line) of every request that waits for its turn."""
        for connection in self.door.connections:
            for line in connection.waiting_lines():
                yield connection.client_ip, line

    def spare(self) -> int:
        """How many more connections there could be."""
        return max(0, self._max_connections - len(self.door.connections))
