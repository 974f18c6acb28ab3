"""Everything about one file."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from koboldfs import errors
from koboldfs.cluster.file_report import READING_SECONDS, FileReport, FileReports
from test.fakes.nodes import own_checksum
from test.fakes.world import DOMAIN, World, WorldCase, start

DATA = b"the bytes"


class Reports(WorldCase):
    """A file on three hosts, with something wrong."""

    def setUp(self) -> None:
        self.world = World.of(4)
        self.world.file(5, [10, 20, 30], DATA, key="k")

    def report(self, *, read: bool = True) -> FileReport:
        """What is told of it."""
        names, nodes = self.world.namespace, self.world.nodes
        reports = FileReports(names, nodes, self.world.clock)
        return self.run_now(reports.report(DOMAIN, "k", read=read))

    def verdicts(self, *, read: bool = True) -> dict[int, str]:
        """Of each copy."""
        return {one.devid: one.verdict for one in self.report(read=read).copies}

    def test_good(self) -> None:
        """All is as recorded, and was read."""
        found = self.report()
        self.assertEqual(self.verdicts(), dict.fromkeys((10, 20, 30), "good"))
        self.assertEqual(found.checksum, own_checksum(DATA))
        self.assertEqual(found.copies[0].checksum, own_checksum(DATA))
        self.assertEqual((found.wanted, found.policy), (4, "AllHosts()"))
        self.assertEqual(found.counting, 3)

    def test_not_read(self) -> None:
        """Only looked for."""
        self.assertEqual(
            self.verdicts(read=False), dict.fromkeys((10, 20, 30), "unread")
        )

    def test_wrong(self) -> None:
        """Other bytes, none, a node that is away, a dead device."""
        nodes, world = self.world.nodes, self.world
        nodes.damage(world.place(10), 5)
        del nodes.copies[2, 20, 5]
        nodes.unreachable.add(3)
        self.assertEqual(self.verdicts(), {10: "bad", 20: "missing", 30: "away"})
        self.run_now(world.store.update_device(30, {"status": "dead"}))
        world.look()
        self.assertEqual(self.verdicts()[30], "dead")

    def test_lost(self) -> None:
        """A copy on a lost device is told, and does not count."""
        world = self.world
        world.nodes.unreachable.add(3)
        world.tables.settings["kobold_lost"] = "30"
        world.look()
        found = self.report()
        self.assertEqual((found.counting, found.wanted), (2, 3))
        self.assertEqual(self.verdicts()[30], "away")

    def test_other_length(self) -> None:
        """A shorter copy is bad, and needs not be read for that."""
        self.world.nodes.put(self.world.place(10), 5, b"short")
        self.assertEqual(self.verdicts(read=False)[10], "bad")

    def test_no_checksum(self) -> None:
        """Of a file that MogileFS stored nobody knows which copy is right."""
        self.world.file(6, [10], DATA, key="k", checksum=False)
        self.assertEqual(self.verdicts(), {10: "unknown"})

    def test_takes_too_long(self) -> None:
        """A copy that is not read in time is told as unread."""
        reports = FileReports(self.world.namespace, self.world.nodes, self.world.clock)
        self.world.nodes.slow[1] = 2 * READING_SECONDS
        asked: Deferred[FileReport] = start(reports.report(DOMAIN, "k", read=True))
        self.assertNoResult(asked)
        self.world.clock.advance(READING_SECONDS)
        copies = self.successResultOf(asked).copies
        self.assertEqual([one.verdict for one in copies], ["unread", "good", "good"])

    def test_waits(self) -> None:
        """The queues that it is in."""
        self.world.queue(5, failcount=3)
        self.assertEqual(self.report().waits["replqueue"]["failcount"], 3)

    def test_unknown(self) -> None:
        """No such key."""
        reports = FileReports(self.world.namespace, self.world.nodes, self.world.clock)
        self.fail_now(reports.report(DOMAIN, "other", read=True), errors.UnknownKey)
