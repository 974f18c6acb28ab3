"""Files on their way to a native client."""

from __future__ import annotations

from hashlib import sha256

from attrs import define, field
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.native_download import Collection, Download


@define
class Producer:
    """Notes what it is told."""

    told: list[str] = field(factory=list)

    def pauseProducing(self) -> None:
        """Told to pause."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """Told to go on."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """Told to stop."""
        self.told.append("stop")


class Collections(SynchronousTestCase):
    """Small files."""

    def test_pieces(self) -> None:
        """All pieces are there, in order."""
        collection = Collection()
        self.assertEqual(collection.data, b"")
        collection.registerProducer(Producer(), True)
        for piece in (b"a", b"", b"bc"):
            collection.write(piece)
        collection.unregisterProducer()
        self.assertEqual(collection.data, b"abc")

    def test_pull_producer(self) -> None:
        """A producer that would have to be asked is refused, not forgotten."""
        self.assertRaises(ValueError, Collection().registerProducer, Producer(), False)


class Downloads(SynchronousTestCase):
    """Large files."""

    def setUp(self) -> None:
        """A download and its producer."""
        self.transport = StringTransport()
        self.digest = sha256()
        self.producer = Producer()

    def download(self, *, chunked: bool, paused: bool = False) -> Download:
        """A download with a head."""
        return Download(
            self.transport, b"HEAD", [self.digest], chunked=chunked, paused=paused
        )

    def test_plain(self) -> None:
        """Head once, then the bytes as they are, digested."""
        download = self.download(chunked=False)
        self.assertFalse(download.begun)
        for piece in (b"ab", b"", b"c"):
            download.write(piece)
        self.assertEqual(self.transport.value(), b"HEADabc")
        self.assertEqual(self.digest.digest(), sha256(b"abc").digest())
        self.assertEqual((download.begun, download.sent_bytes), (True, 3))

    def test_chunked(self) -> None:
        """Every piece has its length; an empty one, which would be the end, none."""
        download = self.download(chunked=True)
        for piece in (b"ab", b"", b"c"):
            download.write(piece)
        self.assertEqual(self.transport.value(), b"HEAD\2\0\0\0ab\1\0\0\0c")

    def test_nothing_before_the_first_byte(self) -> None:
        """A node that fails at once leaves room for an error reply."""
        download = self.download(chunked=True)
        download.registerProducer(self.producer, True)
        download.unregisterProducer()
        self.assertEqual((self.transport.value(), download.begun), (b"", False))

    def test_backpressure(self) -> None:
        """The client's pauses reach the node, and end."""
        download = self.download(chunked=True)
        download.registerProducer(self.producer, True)
        download.pause()
        download.resume()
        download.unregisterProducer()
        download.pause()
        self.assertEqual(self.producer.told, ["pause", "resume"])

    def test_next_copy_while_paused(self) -> None:
        """A copy that goes on for another begins paused, if the client is."""
        download = self.download(chunked=True, paused=True)
        download.registerProducer(self.producer, True)
        self.assertEqual(self.producer.told, ["pause"])

    def test_stop(self) -> None:
        """When the client is gone every producer is told, also a later one."""
        download = self.download(chunked=True)
        download.registerProducer(self.producer, True)
        download.stop()
        later = Producer()
        download.registerProducer(later, True)
        self.assertEqual((self.producer.told, later.told), (["stop"], ["stop"]))

    def test_pull_producer(self) -> None:
        """A producer that would have to be asked is refused."""
        download = self.download(chunked=False)
        self.assertRaises(ValueError, download.registerProducer, self.producer, False)
