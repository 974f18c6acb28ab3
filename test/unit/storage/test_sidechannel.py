"""The side channel: MogileFS's lines, ours side by side, and their limits."""

from __future__ import annotations

import errno
from hashlib import md5, sha1

from koboldfs.model.fid import uri
from koboldfs.storage import sidechannel
from koboldfs.storage.sidechannel import MAX_WAITING_LINES
from koboldfs.wire.sidechannel import MAX_LINE_BYTES
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import lose
from test.unit.storage.side_case import URI, SideCase


class Mogile(SideCase):
    """What MogileFS's trackers ask."""

    def test_answers(self) -> None:
        """Size and digests, of files and of nothing; both line ends; in order."""
        wanted = [
            f"{URI} 4",
            f"{URI} MD5={md5(b'data').hexdigest()}",
            f"{URI} SHA-1={sha1(b'data').hexdigest()}",
            f"{URI} MD5={md5(b'data').hexdigest()}",
            f"{uri(1, 8)} -1",
            f"{uri(1, 8)} MD5=-1",
            "/dev1/none MD5=-1",
            "/dev1/0/ -1",
        ]
        lines = (
            f"size {URI}",
            f"MD5 {URI}",
            f"SHA-1 {URI}",
            f"MD5 {URI} fsck",
            f"size {uri(1, 8)}",
            f"MD5 {uri(1, 8)}",
            "MD5 /dev1/none",
            "size /dev1/0/",
        )
        for end in ("\n", "\r\n"):
            self.assertEqual(self.ask(*lines, end=end), wanted)

    def test_usage(self) -> None:
        """The usage is a file, too."""
        (line,) = self.ask("size /dev1/usage")
        size = len(self.node.memory.files("/devs/dev1")["usage"])
        self.assertEqual(line, f"/dev1/usage {size}")

    def test_errors(self) -> None:
        """Never -1 for a device whose files cannot be seen; names are case-sensitive;
        nothing of what MogileFS's daemon lets anybody manage."""
        for line, answer in (
            ("size /../etc/passwd", "ERROR: uri invalid (contains ..)"),
            (f"md5 {URI}", "ERROR: unknown command: md5"),
            ("nonsense", "ERROR: unknown command: nonsense"),
            ("shutdown", "ERROR: unknown command: shutdown"),
            ("", "ERROR: unknown command: "),
            (f"MD5 {URI} now", "ERROR: unknown command: MD5"),
            ("size", "ERROR: unknown command: size"),
            ("\x1b[31m\xff", "ERROR: unknown command: [31m"),
            (f"size {uri(9, 7)}", "ERROR: dev9 is not on this node"),
        ):
            self.assertEqual(self.ask(line), [answer])
        self.node.disk.arm(1, errno.EIO, only=("read",))
        self.assertEqual(self.ask(f"MD5 {URI}"), [f"ERR read {URI} at 0 failed"])
        self.node.folders.devices()[0].trouble = "a test"
        for line in (f"size {URI}", f"MD5 {URI}"):
            (answer,) = self.ask(line)
            self.assertTrue(answer.startswith("ERROR: dev1 is not available"))

    def test_in_order(self) -> None:
        """A slow answer holds up the later ones, and no other connection; a client
        that asks faster than it is answered is not read from meanwhile."""
        lanes = self.node.copies.lanes = HeldLanes()
        for _ in range(MAX_WAITING_LINES):
            self.channel.dataReceived(f"size {URI}\n".encode())
            self.assertEqual(len(lanes.jobs), 1)
        self.assertTrue(self.wire.reading)
        self.channel.dataReceived(f"size {URI}\n".encode())
        self.assertFalse(self.wire.reading)
        while lanes.jobs:
            lanes.step()
        self.assertTrue(self.wire.reading)
        self.assertEqual(self.said(), [f"{URI} 4"] * (MAX_WAITING_LINES + 1))

    def test_watch(self) -> None:
        """Every second all devices that can be seen, and nothing else any more."""
        device = self.node.folders.devices()[0]
        timers = self.node.clock.getDelayedCalls()
        self.channel.dataReceived(b"watch\n")
        device.utilization = 12.3456
        self.channel.dataReceived(f"size {URI}\n".encode())
        self.node.clock.advance(1)
        device.trouble = "a test"
        self.node.clock.advance(1)
        self.assertEqual(self.wire.value(), b"1\t-\n.\n1\t12.35\n.\n.\n")
        lose(self.channel)
        self.assertEqual(self.node.clock.getDelayedCalls(), timers)

    def test_watch_after_a_question(self) -> None:
        """Lines that come together are answered in their order."""
        self.channel.dataReceived(f"size {URI}\nwatch\n".encode())
        self.assertEqual(self.wire.value(), f"{URI} 4\r\n1\t-\n.\n".encode())
        lose(self.channel)

    def test_watcher_that_does_not_read(self) -> None:
        """It is not told what it does not take."""
        self.channel.dataReceived(b"watch\n")
        self.channel.pauseProducing()
        said = self.wire.value()
        self.node.clock.advance(1)
        self.assertEqual(self.wire.value(), said)
        self.channel.resumeProducing()
        self.node.clock.advance(1)
        self.assertNotEqual(self.wire.value(), said)
        lose(self.channel)


class Limits(SideCase):
    """Side by side, and how many."""

    def setUp(self) -> None:
        """The lanes are held."""
        super().setUp()
        self.lanes = self.node.copies.lanes = HeldLanes()

    def test_side_by_side(self) -> None:
        """A slow request holds up nobody; replies say whose they are."""
        self.channel.dataReceived(b"kobold 1 digest devid=1&fid=7&type=MD5\n")
        self.channel.dataReceived(b"kobold 2 hello\n")
        self.assertTrue(self.said()[0].startswith("kobold 2 OK"))
        self.lanes.run_all()
        self.assertTrue(self.said()[1].startswith("kobold 1 OK"))

    def test_background(self) -> None:
        """Digests of jobs wait for each other, in a lane of their own; those of
        a client's wish do not."""
        self.ask("kobold 1 digest devid=1&fid=7&type=MD5", f"MD5 {URI} fsck")
        self.connect()[0].dataReceived(f"MD5 {URI}\n".encode())
        lanes = [job[0] for job in self.lanes.jobs]
        self.assertEqual(lanes, ["background", "background", "digest"])
        self.lanes.run_all()

    def test_too_many_on_one_connection(self) -> None:
        """The one too many is told, and the others are done."""
        self.patch(sidechannel, "MAX_UNDER_WAY", 3)
        said = self.ask(*[f"kobold {n} stat devid=1&fid=7" for n in range(4)])
        self.assertEqual(
            [line.split()[:4] for line in said], [["kobold", "3", "ERR", "too_busy"]]
        )
        self.lanes.run_all()
        self.assertEqual(len(self.said()), 4)
        self.assertEqual(len(self.ask("kobold 9 hello")), 1)

    def test_too_many_in_total(self) -> None:
        """All connections share a limit, which a lost one gives back in the end."""
        self.patch(sidechannel, "MAX_UNDER_WAY_IN_TOTAL", 2)
        other, _ = self.connect()
        other.dataReceived(b"kobold 1 stat devid=1&fid=7\n" * 2)
        lose(other)
        self.refused("too_busy", "hello")
        self.lanes.run_all()
        self.assertIsNone(self.verb("hello").code)

    def test_too_many_connections(self) -> None:
        """Beyond the limit there is none, until one ends."""
        self.patch(sidechannel, "MAX_CONNECTIONS", 1)
        self.assertIsNone(self.factory.buildProtocol(None))
        lose(self.channel)
        self.assertIsNotNone(self.factory.buildProtocol(None))

    def test_long_line(self) -> None:
        """A line without an end is cut off."""
        self.channel.dataReceived(b"x" * (MAX_LINE_BYTES + 1))
        self.assertTrue(self.wire.aborted)

    def test_peer_that_does_not_read(self) -> None:
        """It is not read from."""
        self.channel.pauseProducing()
        self.assertFalse(self.wire.reading)
        self.channel.resumeProducing()
        self.assertTrue(self.wire.reading)
        self.channel.stopProducing()

    def test_peer_goes(self) -> None:
        """Answers to a peer that is gone are dropped."""
        self.ask(f"size {URI}", f"size {URI}", "kobold 1 stat devid=1&fid=7")
        lose(self.channel)
        self.channel.resumeProducing()
        self.lanes.run_all()
        self.assertEqual(self.said(), [])
