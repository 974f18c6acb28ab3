"""Bytes to a socket at once: breaks when Twisted's transports change."""

from __future__ import annotations

from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage.direct import MAX_DIRECT_BYTES, is_direct, unsent, write
from test.fakes.wires import DirectWire


class Direct(SynchronousTestCase):
    """`write`"""

    def setUp(self) -> None:
        """The transport."""
        self.wire = DirectWire(Protocol())  # type: ignore[arg-type]

    def test_which(self) -> None:
        """TCP without TLS, and nothing else."""
        self.assertTrue(is_direct(self.wire.transport))
        self.wire.transport.TLS = True
        self.assertFalse(is_direct(self.wire.transport))
        self.assertFalse(is_direct(StringTransport()))

    def test_at_once(self) -> None:
        """Nothing waits for the reactor."""
        write(self.wire.transport, b"abc")
        self.assertEqual((self.wire.sent, self.wire.writers()), (b"abc", []))
        self.assertFalse(unsent(self.wire.transport))

    def test_in_order(self) -> None:
        """What the socket does not take waits, and what comes then behind it."""
        self.wire.room = 2
        write(self.wire.transport, b"abc")
        self.assertTrue(unsent(self.wire.transport))
        self.wire.room = 100
        write(self.wire.transport, b"def")
        self.assertEqual(self.wire.sent, b"ab")
        self.wire.transport.doWrite()
        self.assertEqual((self.wire.sent, self.wire.writers()), (b"abcdef", []))
        self.assertFalse(unsent(self.wire.transport))

    def test_full(self) -> None:
        """A socket that takes nothing."""
        self.wire.room = 0
        write(self.wire.transport, b"abc")
        self.assertEqual(self.wire.writers(), [self.wire.transport])

    def test_long(self) -> None:
        """What is not sent in one go is left to Twisted."""
        write(self.wire.transport, bytes(MAX_DIRECT_BYTES + 1))
        self.assertEqual(self.wire.sent, b"")
        self.assertEqual(self.wire.writers(), [self.wire.transport])

    def test_after_the_end(self) -> None:
        """Nothing is sent on a connection that has ended, or is to end."""
        self.wire.transport.connected = 0
        write(self.wire.transport, b"abc")
        self.assertEqual((self.wire.sent, self.wire.writers()), (b"", []))
