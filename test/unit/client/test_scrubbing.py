"""What a scrub asks of nodes, ours and foreign, and what their answers mean."""

from __future__ import annotations

from typing import Any

from koboldfs.errors import NodeFault, NodeUnreachable
from koboldfs.model.entities import SHA256
from koboldfs.model.scrub import FOREIGN, UNREADABLE, Listing
from test.unit.client.node_case import ABC, NodesCase, http

OTHER_TYPE = b"MD5:900150983cd24fb0d6963f7d28e17f72"


class OursTests(NodesCase):
    """Our own nodes."""

    def setUp(self) -> None:
        """The host is known to be ours."""
        super().setUp()
        self.be_ours()

    def refuses(self, verb: str, reply: bytes, work: Any) -> None:
        """The reply is none that can be relied on."""
        self.node.replies[verb] = reply
        self.failureResultOf(self.run_now(work), NodeFault)

    def test_digests(self) -> None:
        """As many answers as the node gave, in the order of the question."""
        words = [str(ABC).encode(), b"missing", b"unreadable"]
        self.node.replies["digests"] = b"OK checksums=" + b",".join(words)
        asking = self.run_now(self.nodes.digests(self.place, [4, 5, 6, 7], SHA256))
        found = self.successResultOf(asking)
        self.assertEqual(found, {4: ABC, 5: None, 6: UNREADABLE})
        self.assertEqual(self.node.asked, ["digests devid=3&fids=4,5,6,7&type=SHA-256"])

    def test_bad_digests(self) -> None:
        """More answers than questions, other words, digests of another type."""
        for reply in (
            b"OK checksums=missing,missing",
            b"OK",
            b"OK checksums=SHA-256:00",
            b"OK checksums=" + OTHER_TYPE,
        ):
            self.refuses("digests", reply, self.nodes.digests(self.place, [4], SHA256))

    def test_set_aside(self) -> None:
        """What is said, and what comes back."""
        self.node.replies["setaside"] = b"OK result=young"
        asking = self.nodes.set_aside(
            self.place, 9, "orphan", unless=ABC, older_seconds=60
        )
        self.assertEqual(self.successResultOf(self.run_now(asking)), "young")
        line = f"setaside devid=3&fid=9&reason=orphan&unless={ABC}&older=60"
        self.assertEqual(self.node.asked, [line])
        for reply in (b"OK", b"OK result=x"):
            work = self.nodes.set_aside(self.place, 9, "bad")
            self.refuses("setaside", reply, work)

    def list_fids(self, folder: int = 5, after: int = 8) -> Any:
        """Ask for a list."""
        return self.nodes.list_fids(self.place, folder, after)

    def test_list(self) -> None:
        """Fids, and where to go on."""
        for reply, wanted in (
            (b"folder=5&fids=9,11&more=1", Listing(5, (9, 11), True, None)),
            (b"folder=6&fids=1&following=7", Listing(6, (1,), False, 7)),
            (b"folder=9&fids=", Listing(9, (), False, None)),
            (b"folder=9&fids=&following=9", Listing(9, (), False, 9)),
        ):
            self.node.replies["list"] = b"OK " + reply
            found = self.successResultOf(self.run_now(self.list_fids()))
            self.assertEqual(found, wanted, reply)
        self.assertEqual(self.node.asked[0], "list devid=3&folder=5&after=8")

    def test_bad_lists(self) -> None:
        """What is no list, and what would be followed for ever."""
        for reply in (
            b"",
            b"folder=x&fids=1",
            b"folder=5&fids=1,,2",
            b"folder=5&fids=2,1",
            b"folder=5&fids=9,9",
            b"folder=5&fids=-1",
            b"folder=5&fids=" + b"9" * 19,
            b"folder=10000000&fids=9",
            b"folder=4&fids=9",
            b"folder=5&fids=8&more=1",
            b"folder=5&fids=&more=1",
            b"folder=5&fids=9&following=5",
        ):
            self.refuses("list", b"OK " + reply, self.list_fids())


class ForeignTests(NodesCase):
    """Nodes that have no side channel of ours."""

    def setUp(self) -> None:
        """One that keeps one file."""
        super().setUp()
        self.be_foreign()
        self.survey(3)
        self.written = b"abc"

    def test_digests(self) -> None:
        """Copies are read, one by one; what fails is not readable."""
        self.node.answers["GET /dev3/0/000/000/0000000005.fid"] = http(404)
        self.node.answers["GET /dev3/0/000/000/0000000006.fid"] = http(500)
        asking = self.run_now(self.nodes.digests(self.place, [4, 5, 6], SHA256))
        found = self.successResultOf(asking)
        self.assertEqual(found, {4: ABC, 5: None, 6: UNREADABLE})

    def test_some_at_a_time(self) -> None:
        """A question is no longer than a few copies."""
        asking = self.run_now(self.nodes.digests(self.place, range(1, 30), SHA256))
        self.assertEqual(list(self.successResultOf(asking)), list(range(1, 9)))

    def test_away(self) -> None:
        """A node that is away has no bad copies."""
        self.node.refusing.add(7500)
        for _, wire in self.node.wires:
            wire.lose()
        asking = self.run_now(self.nodes.digests(self.place, [4], SHA256))
        self.failureResultOf(asking, NodeUnreachable)

    def test_not_possible(self) -> None:
        """They have no quarantine and no lists."""
        word = self.run_now(self.nodes.set_aside(self.place, 4, "bad"))
        self.assertEqual(self.successResultOf(word), FOREIGN)
        found = self.run_now(self.nodes.list_fids(self.place, 0, 0))
        self.assertIsNone(self.successResultOf(found))
