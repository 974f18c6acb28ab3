"""Which server the synchronous client talks to."""

from __future__ import annotations

from typing import NoReturn

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.native_exchange import Exchange
from koboldfs.native_link import (
    ConnectionBroken,
    NoServer,
    ProtocolError,
    ServerError,
    ServerTrouble,
    TransactionLost,
    parse_address,
)
from koboldfs.native_servers import Servers
from test.fakes.native_server import DoorServer, ScriptedServer, dead_address

SECONDS = 5.0


def ping(exchange: Exchange) -> str:
    """Which server answered."""
    exchange.ping()
    return exchange.link.name


class Choosing(SynchronousTestCase):
    """Two doors."""

    def setUp(self) -> None:
        """The doors."""
        self.one, self.two = DoorServer(), DoorServer()
        self.addCleanup(self.one.stop)
        self.addCleanup(self.two.stop)

    def servers(self, *addresses: str, seconds: float = SECONDS) -> Servers:
        """The servers of a client."""
        servers = Servers([parse_address(one) for one in addresses], seconds)
        self.addCleanup(servers.close)
        return servers

    def both(self) -> Servers:
        """Both doors."""
        return self.servers(self.one.address, self.two.address)

    def test_first(self) -> None:
        """The first server is asked, on one connection."""
        servers = self.both()
        for _ in range(3):
            self.assertEqual(servers.run(ping), self.one.address)
        self.assertEqual((self.one.accepted, self.two.accepted), (1, 0))

    def test_dead(self) -> None:
        """A dead server is passed over, and the one that works is remembered."""
        servers = self.servers(dead_address(), self.two.address)
        for _ in range(3):
            self.assertEqual(servers.run(ping), self.two.address)
            servers._drop()
        self.assertEqual(self.two.accepted, 3)

    def test_not_the_protocol(self) -> None:
        """A server of something else is passed over."""
        other = ScriptedServer(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.addCleanup(other.stop)
        servers = self.servers(other.address, self.two.address)
        self.assertEqual(servers.run(ping), self.two.address)

    def test_silent(self) -> None:
        """A server that says nothing is passed over after its time."""
        self.one.silent = True
        servers = self.servers(self.one.address, self.two.address, seconds=0.2)
        self.assertEqual(servers.run(ping), self.two.address)

    def test_none(self) -> None:
        """When none is left, each is named, once."""
        self.two.refusing = True
        dead = dead_address()
        servers = self.servers(dead, self.two.address)
        error = self.assertRaises(NoServer, servers.run, ping)
        text = str(error)
        self.assertIn(f"no server answers: {dead}: Connection refused; ", text)
        self.assertEqual(text.count(self.two.address), 1)
        self.assertRaises(ValueError, Servers, [], None)

    def test_restarted(self) -> None:
        """A server that was restarted is connected to again."""
        servers = self.both()
        servers.run(ping)
        self.one.hang_up()
        self.assertEqual(servers.run(ping), self.one.address)

    def trouble(self, exchange: Exchange) -> NoReturn:
        """The cluster fails."""
        exchange.ping()
        raise ServerTrouble("db", "the database is away")

    def test_trouble_everywhere(self) -> None:
        """Every server is asked once; the last one's trouble is told."""
        servers = self.both()
        servers.run(ping)
        self.assertRaises(ServerTrouble, servers.run, self.trouble)
        self.assertEqual((self.one.accepted, self.two.accepted), (1, 1))

    def test_trouble_not_repeated(self) -> None:
        """What may have been done is not tried elsewhere."""
        with self.assertRaises(ServerTrouble):
            self.both().run(self.trouble, repeatable=False)
        self.assertEqual(self.two.accepted, 0)

    def test_refusal(self) -> None:
        """What a server refuses, others would refuse too."""

        def refused(exchange: Exchange) -> NoReturn:
            raise ServerError("key_exists", "No")

        self.assertRaises(ServerError, self.both().run, refused)
        self.assertEqual(self.two.accepted, 0)

    def test_broken_before_sending(self) -> None:
        """While nothing was sent, anything can go elsewhere."""
        asked: list[str] = []

        def act(exchange: Exchange) -> str:
            asked.append(exchange.link.name)
            if len(asked) == 1:
                raise ConnectionBroken("before a byte was sent")
            return exchange.link.name

        self.assertEqual(self.both().run(act, repeatable=False), self.two.address)

    def broken(self, exchange: Exchange) -> NoReturn:
        """It breaks after something was sent."""
        exchange.ping()
        exchange.link.close()
        raise ConnectionBroken("after bytes were sent")

    def test_broken_after_sending(self) -> None:
        """What was sent may have been done."""
        with self.assertRaises(ConnectionBroken):
            self.both().run(self.broken, repeatable=False)
        self.assertEqual(self.two.accepted, 0)

    def test_in_transaction(self) -> None:
        """A transaction stays with its connection, and is lost with it."""
        servers = self.both()
        servers.run(ping)
        servers.in_transaction = True
        self.assertEqual(servers.run(ping), self.one.address)
        self.assertRaises(TransactionLost, servers.run, self.broken)
        self.assertRaises(TransactionLost, servers.run, ping)
        servers.close()
        self.assertEqual(servers.run(ping), self.one.address)
        self.assertEqual(self.two.accepted, 0)

    def test_commit_breaks(self) -> None:
        """A COMMIT that breaks off is told as what it is: nobody knows."""
        servers = self.both()
        servers.run(ping)
        servers.in_transaction = True
        with self.assertRaises(ConnectionBroken):
            servers.run(self.broken, repeatable=False)
        self.assertTrue(servers.in_transaction)

    def test_refusal_in_transaction(self) -> None:
        """A refusal leaves the transaction; nonsense, which ends the link, does not."""
        servers = self.both()
        servers.run(ping)
        servers.in_transaction = True
        self.assertRaises(ServerTrouble, servers.run, self.trouble)
        self.assertEqual(servers.run(ping), self.one.address)

        def nonsense(exchange: Exchange) -> NoReturn:
            exchange.link.close()
            raise ProtocolError("what?")

        self.assertRaises(TransactionLost, servers.run, nonsense)
