"""Which server the synchronous client talks to, and what happens when one fails.

no transaction    the connection in use if it is good, else a new one to each
                  server in turn, beginning with the one that last worked
in a transaction  the connection that said BEGIN and no other; when it is gone, the
                  transaction is lost and stays so until COMMIT or ABORT is called
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from koboldfs.native_exchange import Exchange, Old, greet
from koboldfs.native_link import (
    Address,
    ClientError,
    ConnectionBroken,
    Link,
    NoServer,
    ProtocolError,
    ServerTrouble,
    TransactionLost,
)

T = TypeVar("T")


class Servers:
    """The servers of one client, and its connection to one of them."""

    def __init__(
        self, addresses: Sequence[Address], timeout_seconds: float | None
    ) -> None:
        if not addresses:
            raise ValueError("a client needs at least one server")
        self.in_transaction = False
        self._addresses = list(addresses)
        self._timeout_seconds = timeout_seconds
        self._current = 0
        self._old: set[Address] = set()
        self._exchange: Exchange | None = None

    def run(self, act: Callable[[Exchange], T], *, repeatable: bool = True) -> T:
        """Do something on the server in use or, if that fails, on the next ones.

        What is not `repeatable` goes elsewhere only while nothing of it was sent.
        Raises `NoServer`, `ServerTrouble` (the last one), `TransactionLost`, and what
        the server refuses.
        """
        if self.in_transaction:
            return self._run_in_transaction(act, repeatable)
        problems: list[str] = []
        trouble: ServerTrouble | None = None
        for exchange in self._exchanges(problems):
            link = exchange.link
            link.sent = False
            try:
                return act(exchange)
            except ConnectionBroken as broken:
                if link.sent and not repeatable:
                    raise
                problems.append(str(broken))
            except ServerTrouble as error:
                if link.sent and not repeatable:
                    raise
                trouble = error
        if trouble is not None:
            raise trouble
        raise NoServer("no server answers: " + "; ".join(dict.fromkeys(problems)))

    def close(self) -> None:
        """End the connection, if there is one, and with it a transaction."""
        self.in_transaction = False
        self._drop()

    def _drop(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.link.close()

    def _run_in_transaction(self, act: Callable[[Exchange], T], repeatable: bool) -> T:
        exchange = self._exchange
        if exchange is None or exchange.link.closed or exchange.link.has_input():
            self._drop()
            raise _lost("the connection ended")
        try:
            return act(exchange)
        except ConnectionBroken as broken:
            if not repeatable:
                raise
            raise _lost(str(broken)) from broken
        except ClientError as error:
            if exchange.link.closed:
                raise _lost(str(error)) from error
            raise

    def _exchanges(self, problems: list[str]) -> Iterator[Exchange]:
        """Every server worth asking, connected; `problems` gets those that are not.

        Whoever asks for the next one says by that that the last one failed.
        """
        count = tries = len(self._addresses)
        first = self._current
        exchange = self._exchange
        if exchange is not None:
            if not (exchange.link.closed or exchange.link.has_input()):
                yield exchange
                first += 1
                if not exchange.link.closed:
                    tries -= 1  # it answers, and could not: nothing new from it
            self._drop()
        for step in range(tries):
            self._current = (first + step) % count
            try:
                self._exchange = self._connect(self._addresses[self._current])
            except (ConnectionBroken, ProtocolError) as error:
                problems.append(str(error))
                continue
            yield self._exchange
            self._drop()

    def _connect(self, address: Address) -> Exchange:
        def link() -> Link:
            return Link(address, self._timeout_seconds)

        if address in self._old:
            return Old(link())
        exchange = greet(link(), link)
        if isinstance(exchange, Old):
            self._old.add(address)
        return exchange


def _lost(why: str) -> TransactionLost:
    return TransactionLost(f"nothing since BEGIN took effect: {why}")
