"""The HTTP door once more, with all requests read by twisted.web."""

from __future__ import annotations

from test.fakes.storage_node import lose
from test.unit.storage import test_http
from test.unit.storage.test_http import get


class Reading(test_http.Reading):
    """See there."""

    plain = False


class Writing(test_http.Writing):
    """See there."""

    plain = False


class Slow(test_http.Slow):
    """See there."""

    plain = False

    def test_much_behind_a_body(self) -> None:
        """With much behind a chunked body already, no more is read until the file is
        stored; then what was behind is answered."""
        channel, wire = self.node.connect()
        put = get(b"Transfer-Encoding: chunked\r\n", b"PUT") + b"1\r\nx\r\n0\r\n\r\n"
        channel.dataReceived(put + get(b"X: " + b"x" * 9000 + b"\r\n") * 2)
        self.assertFalse(wire.reading)
        self.lanes.run_all()
        self.assertTrue(wire.reading)
        self.assertEqual(wire.value().count(b"HTTP/1.1 20"), 3)
        lose(channel)

    def test_much_behind_a_refused_body(self) -> None:
        """Much behind a chunked body that is refused, which ends the connection, does
        not pause what has ended."""
        channel, wire = self.node.connect()
        put = b"PUT /dev1/nonsense HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked"
        channel.dataReceived(put + b"\r\n\r\n4\r\ndata\r\n0\r\n\r\n" + b"x" * 20_000)
        self.assertTrue(wire.disconnecting)
        self.assertEqual(wire.value().count(b"HTTP/1.1 "), 1)
        lose(channel)


class Defects(test_http.Defects):
    """See there."""

    plain = False
