"""Digests by MogileFS's storage daemon."""

from __future__ import annotations

from hashlib import md5, sha1

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.client.connecting import CONNECT_TIMEOUT_SECONDS
from koboldfs.client.mogstored import (
    MAX_ANSWER_BYTES,
    MIN_BYTES,
    REMEMBER_SECONDS,
    SLOWEST_BYTES_PER_SECOND,
    STEP_SECONDS,
    Mogstored,
)
from koboldfs.model.entities import MD5, SHA1, SHA256, Checksum
from test.unit.client.network import Network, start

PATH = "/dev1/0/000/000/0000000001.fid"
SIZE = 10 * SLOWEST_BYTES_PER_SECOND


class DigestTests(SynchronousTestCase):
    """A daemon whose lines the test says."""

    def setUp(self) -> None:
        """Nothing was asked yet."""
        self.network = Network()
        self.daemon = Mogstored(self.network.reactor)

    def ask(self, hashtype: int = MD5, size: int = SIZE) -> Deferred[Checksum | None]:
        """Begin to ask."""
        return start(self.daemon.digest("10.0.0.1", PATH, size, hashtype))

    def tearDown(self) -> None:
        """No timer is left."""
        self.network.turn()
        self.assertEqual(self.network.reactor.getDelayedCalls(), [])

    def test_digests(self) -> None:
        """The line that is sent, and what the answer means; each on a connection of
        its own, which ends."""
        for hashtype, line, name, digest in (
            (MD5, b"MD5", b"MD5", md5(b"x")),
            (SHA1, b"SHA-1", b"SHA-1", sha1(b"x")),
        ):
            asked = self.ask(hashtype)
            wire = self.network.accept()
            path = PATH.encode()
            self.assertEqual(wire.take(), line + b" " + path + b"\r\n")
            answer = b"%s %s=%s\r\n" % (path, name, digest.hexdigest().encode())
            wire.feed(answer[:20])
            self.assertNoResult(asked)
            wire.feed(answer[20:])
            found = self.successResultOf(asked)
            self.assertEqual(found, Checksum(hashtype, digest.digest()))
            self.network.turn()
            self.assertTrue(wire.gone)

    def test_not_asked(self) -> None:
        """It knows no other digests, and short files are not worth it."""
        self.assertIsNone(self.successResultOf(self.ask(SHA256)))
        self.assertIsNone(self.successResultOf(self.ask(size=MIN_BYTES - 1)))
        self.assertEqual(self.network.attempts, 0)

    def test_not_there(self) -> None:
        """A host without it is left alone for a while; others are not."""
        asked = self.ask()
        self.network.refuse()
        self.assertIsNone(self.successResultOf(asked))
        self.assertIsNone(self.successResultOf(self.ask()))
        other = start(self.daemon.digest("10.0.0.2", PATH, SIZE, MD5))
        self.network.refuse()
        self.assertIsNone(self.successResultOf(other))
        self.network.reactor.advance(REMEMBER_SECONDS)
        asked = self.ask()
        self.network.refuse()
        self.assertIsNone(self.successResultOf(asked))

    def test_no_answer(self) -> None:
        """It has the time that the file needs; one that hangs up, is silent or says
        too much gives no digest."""
        asked = self.ask()
        wire = self.network.accept()
        self.network.reactor.advance(STEP_SECONDS + 9)
        self.assertNoResult(asked)
        self.network.reactor.advance(1)
        self.assertIsNone(self.successResultOf(asked))
        self.network.turn()
        self.assertTrue(wire.gone)
        for end in (lambda wire: wire.lose(), lambda wire: wire.feed(b"x" * 9999)):
            self.network.reactor.advance(REMEMBER_SECONDS)
            asked = self.ask()
            end(self.network.accept())
            self.network.turn()
            self.assertIsNone(self.successResultOf(asked))
        self.assertGreater(9999, MAX_ANSWER_BYTES)
        self.network.reactor.advance(CONNECT_TIMEOUT_SECONDS)

    def test_other_answers(self) -> None:
        """Errors, other files, and what is no digest: read the file instead."""
        for answer in (b"ERROR: no", b"ERR read x at 0 failed", b"", b"\xff" * 40):
            asked = self.ask()
            self.network.accept().feed(answer + b"\r\n")
            self.assertIsNone(self.successResultOf(asked))
