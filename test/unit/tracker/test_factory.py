"""Making connections, and knowing them all."""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from test.fakes.city import City


class Connections(SynchronousTestCase):
    """Up to a limit."""

    def test_limit(self) -> None:
        """One too many is told so and closed; when one leaves there is room again."""
        city = City(max_connections=2)
        first, _ = city.connect()
        city.connect()
        refused, transport = city.factory.buildProtocol(None), StringTransport()
        refused.makeConnection(transport)
        self.assertEqual(
            transport.value(),
            b"ERR too_busy Too+many+requests+are+waiting%3B+try+again\r\n",
        )
        self.assertTrue(transport.disconnecting)
        self.assertEqual(
            city.factory.statistics.counters["times_out_of_connections"], 1
        )
        first.connectionLost()
        _, transport = city.connect()
        self.assertEqual(transport.value(), b"")

    def test_stop(self) -> None:
        """When the ports close, what was asked is answered before connections do."""
        city = City()
        city.factory.doStart()
        busy, busy_transport = city.connect()
        _, idle_transport = city.connect()
        busy.dataReceived(b"sleep duration=5\nnoop callid=1\nnoo")
        city.factory.doStop()
        self.assertTrue(idle_transport.disconnecting)
        self.assertFalse(busy_transport.disconnecting)
        city.clock.advance(5)
        self.assertEqual(busy_transport.value(), b"OK \r\nOK callid=1\r\n")
        self.assertTrue(busy_transport.disconnecting)


class Watching(SynchronousTestCase):
    """The log, on a connection."""

    def test_feed(self) -> None:
        """Warnings come in between replies while the factory is at work."""
        city = City()
        log = Logger("room", observer=city.publisher)
        connection, transport = city.connect()
        connection.dataReceived(b"!watch\n")
        transport.clear()
        log.warn("not yet")
        city.factory.doStart()
        log.warn("a\r\nb \u20ac {x}", x="\xe9")
        city.factory.doStop()
        log.warn("not any more")
        self.assertEqual(transport.value(), b":: [room] a%0D%0Ab ? \xe9\r\n")
