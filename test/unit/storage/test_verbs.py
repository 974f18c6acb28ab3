"""Our own verbs of the side channel."""

from __future__ import annotations

import errno
from hashlib import md5, sha1, sha256

from koboldfs import __version__, errors
from koboldfs.model.fid import uri
from koboldfs.storage.disk import ReadOnly
from koboldfs.storage.verbs import code_of
from koboldfs.wire.sidechannel import VERBS, SyntaxFault
from test.unit.storage.side_case import SideCase


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
            "dev1_latency": "0.000",
            "dev1_highest": "7",
        }
        self.assertEqual(self.verb("usage").fields, wanted)
        device.utilization, device.trouble, device.space = 7.0, "gone", None
        wanted |= {"dev1_utilization": "7.00", "dev1_observed": "unreachable"}
        wanted |= {"dev1_kib_total": "", "dev1_kib_used": ""}
        self.assertEqual(self.verb("usage").fields, wanted)

    def test_failing(self) -> None:
        """A slow device tells how slow, and a failing one why."""
        device = self.node.folders.devices()[0]
        self.node.lanes.latencies[1] = 5.0625
        self.assertEqual(self.verb("usage").fields["dev1_latency"], "5.062")
        device.unwritable = "a test write failed: I/O error"
        fields = self.verb("usage").fields
        self.assertEqual(fields["dev1_failing"], "a test write failed: I/O error")
        self.node.folders.distrust(device, "a flush failed")
        self.assertEqual(self.verb("usage").fields["dev1_failing"], "a flush failed")
        device.quarantined = 2
        device.stored_fid = 77
        fields = self.verb("usage").fields
        self.assertEqual(fields["dev1_quarantined"], "2")
        self.assertEqual(fields["dev1_highest"], "77")
        device.full, device.refusal, device.distrusted = True, "no room", ""
        self.assertEqual(self.verb("usage").fields["dev1_full"], "1")
        self.assertIsNone(self.verb("delete devid=1&fid=7").code)
        self.assertEqual(self.node.files(), {})

    def test_highest(self) -> None:
        """The highest fid below a limit; a limit must be said."""
        for below, fid in (("99", "7"), ("8", "7"), ("7", "0"), ("0", "0")):
            found = self.verb(f"highest devid=1&below={below}").fields
            self.assertEqual(found, {"fid": fid})
        self.assertEqual(self.verb("highest devid=1").code, "bad_request")
        self.assertEqual(self.verb("highest devid=9&below=9").code, "no_device")

    def test_stats(self) -> None:
        """Many copies of a device, in the order of the question."""
        found = self.verb("stats devid=1&fids=8,7,9").fields
        self.assertEqual(found["sizes"], "-1,4,-1")
        none, known, nothing = found["checksums"].split(",")
        self.assertEqual((none, nothing), ("", ""))
        self.assertEqual(known, self.verb("stat devid=1&fid=7").fields["checksum"])
        fids = ",".join(["7"] * 1000)
        sizes = self.verb(f"stats devid=1&fids={fids}").fields["sizes"]
        self.assertEqual(sizes.count("4"), 1000)

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
            "stats",
            "stats devid=1",
            "stats devid=1&fids=",
            "stats devid=1&fids=7,",
            "stats devid=1&fids=7,x",
            "stats devid=1&fids=" + ",".join(["7"] * 1001),
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

    def test_not_served_in_a_cluster(self) -> None:
        """A device that is not served is neither one whose copies are missing nor one
        from which they are deleted."""
        self.node.folders.serve("cluster", "host", [])
        for number in (1, 9):
            copy = f"devid={number}&fid=7"
            for text in (
                f"stat {copy}",
                f"digest {copy}&type=MD5",
                f"delete {copy}",
                f"pull {copy}&size=4&fromdevid=2&host=x",
            ):
                self.refused("no_device", text)
            for word in ("size", "MD5"):
                (line,) = self.ask(f"{word} {uri(number, 7)}")
                self.assertEqual(line[:6], "ERROR:")

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
