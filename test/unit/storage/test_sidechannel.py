"""The side channel: MogileFS's lines, ours, their limits and their errors."""

from __future__ import annotations

import errno
from hashlib import md5, sha1, sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs import __version__, errors
from koboldfs.model.fid import uri
from koboldfs.storage import sidechannel
from koboldfs.storage.disk import ReadOnly
from koboldfs.storage.pull import NoPeers, Puller
from koboldfs.storage.sidechannel import MAX_WAITING_LINES, SideChannelFactory, code_of
from koboldfs.storage.temporary import Expected
from koboldfs.wire.http import copy_target
from koboldfs.wire.sidechannel import (
    ERROR_CODES,
    MAX_LINE_BYTES,
    VERBS,
    Reply,
    SyntaxFault,
    parse_reply,
)
from test.fakes.disk import FaultyDisk
from test.fakes.lanes import HeldLanes
from test.fakes.storage_node import FakeNode, Wire, lose

URI = uri(1, 7)


class SideCase(SynchronousTestCase):
    """A node that has fid 7 with ``data``, and a connection to its side channel."""

    def setUp(self) -> None:
        """Both."""
        self.node = FakeNode(disk=FaultyDisk)
        self.put(b"data")
        puller = Puller(self.node.copies, None, NoPeers())  # type: ignore[arg-type]
        self.factory = SideChannelFactory(self.node.clock, self.node.copies, puller)
        self.channel, self.wire = self.connect()

    def put(self, data: bytes) -> None:
        """Store fid 7."""
        target = copy_target(1, 7)
        upload = self.node.copies.upload(target, Expected())
        upload.write(data)
        finishing = self.node.copies.finish(upload, target)
        self.successResultOf(Deferred.fromCoroutine(finishing))

    def connect(self) -> tuple[Any, Wire]:
        """Another connection."""
        channel, wire = self.factory.buildProtocol(None), Wire()
        assert channel is not None
        channel.makeConnection(wire)
        return channel, wire

    def ask(self, *lines: str, end: str = "\r\n") -> list[str]:
        """The lines that are said to these."""
        self.wire.clear()
        for line in lines:
            self.channel.dataReceived((line + end).encode("latin-1"))
        return self.said()

    def said(self) -> list[str]:
        """The lines that were said."""
        text = self.wire.value().decode("latin-1")
        self.assertTrue(text == "" or text.endswith("\r\n"))
        return text.split("\r\n")[:-1]

    def verb(self, text: str) -> Reply:
        """The reply to one of our verbs."""
        (line,) = self.ask(f"kobold 5 {text}")
        reply = parse_reply(line.encode("latin-1"))
        self.assertEqual(reply.number, 5)
        return reply

    def refused(self, code: str, text: str) -> None:
        """The verb has that error."""
        self.assertIn(code, ERROR_CODES)
        self.assertEqual(self.verb(text).code, code)


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
        self.channel.dataReceived(b"watch\n")
        device.utilization = 12.3456
        self.channel.dataReceived(f"size {URI}\n".encode())
        self.node.clock.advance(1)
        device.trouble = "a test"
        self.node.clock.advance(1)
        self.assertEqual(self.wire.value(), b"1\t-\n.\n1\t12.35\n.\n.\n")
        lose(self.channel)
        self.assertEqual(self.node.clock.getDelayedCalls(), [])

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


class Verbs(SideCase):
    """What our own trackers ask."""

    def test_all_are_known(self) -> None:
        """Every verb of the grammar is done here."""
        self.assertEqual(set(self.factory.verbs.by_name), set(VERBS))

    def test_hello(self) -> None:
        """Who we are."""
        fields = self.verb("hello").fields
        wanted = {"version": __version__, "cluster": "", "host": "", "fsync": "1"}
        self.assertEqual(fields, wanted)
        self.node.folders.serve("a cluster", "a host", [])
        fields = self.verb("hello").fields
        self.assertEqual((fields["cluster"], fields["host"]), ("a cluster", "a host"))

    def test_usage(self) -> None:
        """All devices; what is not known is empty."""
        device = self.node.folders.devices()[0]
        wanted = {
            "devices": "1",
            "dev1_devid": "1",
            "dev1_observed": "writeable",
            "dev1_kib_total": "2000000",
            "dev1_kib_used": "1000000",
            "dev1_utilization": "",
        }
        self.assertEqual(self.verb("usage").fields, wanted)
        device.utilization, device.trouble, device.space = 7.0, "gone", None
        wanted |= {"dev1_utilization": "7.00", "dev1_observed": "unreachable"}
        wanted |= {"dev1_kib_total": "", "dev1_kib_used": ""}
        self.assertEqual(self.verb("usage").fields, wanted)

    def test_stat(self) -> None:
        """Size, and the checksum while it is known."""
        ours = f"SHA-256:{sha256(b'data').hexdigest()}"
        found = self.verb("stat devid=1&fid=7").fields
        self.assertEqual(found, {"size": "4", "checksum": ours})
        self.node.copies.checksums.forget(1, 7)
        self.assertEqual(self.verb("stat devid=1&fid=7").fields, {"size": "4"})
        self.assertEqual(self.verb("stat devid=1&fid=8").fields, {"size": "-1"})

    def test_digest(self) -> None:
        """Every type, and what is missing."""
        for name, function in (("MD5", md5), ("SHA-1", sha1), ("SHA-256", sha256)):
            found = self.verb(f"digest devid=1&fid=7&type={name}").fields
            self.assertEqual(
                found, {"checksum": f"{name}:{function(b'data').hexdigest()}"}
            )
        found = self.verb("digest devid=1&fid=8&type=MD5").fields
        self.assertEqual(found, {"missing": "1"})

    def test_delete(self) -> None:
        """Once or twice, it is gone."""
        for _ in range(2):
            reply = self.verb("delete devid=1&fid=7")
            self.assertEqual((reply.code, reply.fields), (None, {}))
        self.assertEqual(self.node.files(), {})

    def test_bad_requests(self) -> None:
        """Arguments that are missing, no numbers, or out of range; no such verb."""
        for text in (
            "nonsense",
            "stat",
            "stat devid=1",
            "stat devid=0&fid=1",
            "stat devid=1&fid=0",
            "stat devid=-1&fid=1",
            "stat devid=1&fid=1.5",
            "stat devid=1&fid=9223372036854775808",
            "stat devid=1&fid=%b2",
            "stat devid=1000000000&fid=1",
            "stat devid=1&devid=2&fid=7",
            "digest devid=1&fid=7",
            "digest devid=1&fid=7&type=md5",
            "pull devid=1&fid=7&size=4&fromdevid=2",
            "pull devid=1&fid=7&size=-1&fromdevid=2&host=x",
            "pull devid=1&fid=7&size=4&fromdevid=2&host=x&checksum=MD5:1",
        ):
            self.refused("bad_request", text)

    def test_error_codes(self) -> None:
        """Each kind of trouble has its own code."""
        self.refused("unknown_host", "pull devid=1&fid=9&size=4&fromdevid=2&host=x")
        self.refused("no_device", "stat devid=9&fid=7")
        self.node.disk.arm(1, errno.EIO, only=("read",))
        self.refused("disk_fault", "digest devid=1&fid=7&type=MD5")
        device = self.node.folders.devices()[0]
        device.refusal = "a test"
        self.refused("not_writable", "delete devid=1&fid=7")
        self.refused("not_writable", "pull devid=1&fid=9&size=4&fromdevid=2&host=x")
        device.trouble = "a test"
        self.refused("no_device", "stat devid=1&fid=7")
        for error, code in (
            (SyntaxFault(), "bad_request"),
            (ReadOnly(), "not_writable"),
            (errors.DiskFull(), "disk_full"),
            (errors.CopyMissing(), "source_missing"),
            (errors.CopyCorrupt(), "source_corrupt"),
            (errors.NodeUnreachable(), "source_unreachable"),
            (errors.TooBusy(), "too_busy"),
            (ValueError(), "failure"),
        ):
            self.assertEqual(code_of(error), code)

    def test_defect(self) -> None:
        """A defect is logged and answered; its text is not shown."""
        self.node.copies.checksums = None  # type: ignore[assignment]
        reply = self.verb("stat devid=1&fid=7")
        self.assertEqual((reply.code, reply.text), ("failure", "Operation failed"))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_no_grammar(self) -> None:
        """A line that begins like ours and is none has no number to answer to."""
        for line in ("kobold x hello", "kobold 1 HELLO", "kobold 1", "kobold 1 a b c"):
            self.assertEqual(self.ask(line), ["ERROR: not a kobold request"])


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
