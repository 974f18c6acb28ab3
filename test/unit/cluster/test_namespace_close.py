"""Closing an upload, in every branch."""

from __future__ import annotations

from hashlib import md5, sha1
from typing import Any

from twisted.internet.defer import Deferred

from koboldfs import errors
from koboldfs.model.entities import MD5, SHA1, Checksum
from test.fakes.nodes import own_checksum
from test.fakes.store_tables import QueueRow
from test.fakes.world import DOMAIN, World, WorldCase, start

DATA = b"the bytes of the file"
MD5_SUM = Checksum(MD5, md5(DATA).digest())
SHA1_SUM = Checksum(SHA1, sha1(DATA).digest())
WRONG = Checksum(MD5, bytes(16))
URL = "http://10.0.0.1:7500/dev10/0/000/000/0000000005.fid"


class CloseCase(WorldCase):
    """Three hosts; upload 5 of key "k" was offered device 10, and is written there."""

    def setUp(self) -> None:
        self.set_up()

    def set_up(self, hosts: int = 3, *, written: bool = True, **settings: str) -> None:
        """The world, and the upload in it."""
        self.world = World.of(hosts, **settings)
        self.world.upload(5, "k", [10, 20])
        if written:
            self.world.nodes.put(self.world.place(10), 5, DATA)

    def close(self, **changes: Any) -> Deferred[None]:
        """The client closes it, saying the truth unless otherwise told."""
        words: dict[str, Any] = {
            "fid": 5,
            "devid": 10,
            "key": "k",
            "size": len(DATA),
            "checksum": None,
            "verify": False,
        }
        return start(self.world.namespace.close(DOMAIN, **(words | changes)))

    def assert_closed(self, *devids: int, key: str = "k") -> None:
        """The key is the file, with copies there, and queued; the upload is over."""
        tables = self.world.tables
        file = tables.named(1, key)
        self.assertEqual((file.fid, file.length), (5, len(DATA)))
        self.assertEqual(tables.devids(5), devids)
        self.assertEqual(tables.own_checksums[5], own_checksum(DATA))
        self.assertEqual((tables.uploads, tables.to_delete), ({}, {}))
        self.assertEqual(tables.to_replicate[5].nexttry, 0)

    def assert_abandoned(self, kind: type[errors.CallerError], **words: Any) -> str:
        """It is refused so; the upload is over, and its bytes will be removed."""
        error = self.failureResultOf(self.close(**words), kind).value
        tables = self.world.tables
        self.assertEqual((tables.files, tables.uploads), ({}, {}))
        self.assertIn(5, tables.to_delete)
        self.assertEqual(set(tables.devids(5)) & {10, 20}, {10, 20})
        self.failureResultOf(self.close(), errors.NoUpload)
        return str(error.message)


class Good(CloseCase):
    """Closes that succeed."""

    def test_plain(self) -> None:
        """The copy is recorded with its own checksum and queued for more."""
        self.successResultOf(self.close())
        self.assert_closed(10)

    def test_without_size(self) -> None:
        """A client may leave the size out."""
        self.successResultOf(self.close(size=None))
        self.assert_closed(10)

    def test_other_key(self) -> None:
        """The key of the close counts, not that of the open."""
        self.successResultOf(self.close(key="other"))
        self.assert_closed(10, key="other")

    def test_second_offer(self) -> None:
        """The bytes may lie on any of the devices that were offered."""
        self.world.nodes.put(self.world.place(20), 5, DATA)
        self.successResultOf(self.close(devid=20))
        self.assert_closed(20)

    def test_empty_file(self) -> None:
        """A file of no bytes is a file."""
        self.world.nodes.put(self.world.place(10), 5, b"")
        self.successResultOf(self.close(size=0))
        self.assertEqual(self.world.tables.files[5].length, 0)

    def test_replaces(self) -> None:
        """The file that the key was before goes to the delete queue."""
        self.world = World.of(3)
        self.world.file(4, [10, 20], b"older", key="k")
        self.world.upload(5, "k", [10])
        self.world.nodes.put(self.world.place(10), 5, DATA)
        self.successResultOf(self.close())
        self.assertEqual(self.world.tables.named(1, "k").fid, 5)
        self.assertEqual(set(self.world.tables.to_delete), {4})

    def test_class_of_the_open(self) -> None:
        """The file has the class that it was opened with."""
        self.world = World.of(3)
        self.world.add_class(7, "c")
        self.world.look()
        self.world.upload(5, "k", [10, 20], classid=7)
        self.world.nodes.put(self.world.place(10), 5, DATA)
        self.successResultOf(self.close())
        self.assertEqual(self.world.tables.files[5].classid, 7)

    def test_checksum_of_a_foreign_node(self) -> None:
        """A node that knows no checksum is asked to read the bytes."""
        self.world.nodes.foreign.add(1)
        self.successResultOf(self.close())
        self.assert_closed(10)
        self.assertEqual(self.world.asked("digest"), [(10, 5, 4)])

    def test_ours_is_not_read_again(self) -> None:
        """Our node knows it from the writing: the bytes are not read."""
        self.successResultOf(self.close())
        self.assertEqual(self.world.asked("digest"), [])


class Bad(CloseCase):
    """Closes that are refused; the upload is then over."""

    def test_missing(self) -> None:
        """Nothing was written."""
        self.set_up(written=False)
        text = self.assert_abandoned(errors.SizeUnverified)
        wanted = f"Expected: 21; actual: 0 (missing); path: {URL}; error: no such file"
        self.assertEqual(text, wanted)

    def test_missing_without_size(self) -> None:
        """A size that was not said is shown as -1."""
        self.set_up(written=False)
        text = self.assert_abandoned(errors.SizeUnverified, size=None)
        self.assertIn("Expected: -1; actual: 0 (missing)", text)

    def test_unreachable(self) -> None:
        """The node does not answer; it is looked at."""
        suspected: list[int] = []
        self.patch(self.world.live, "suspect", suspected.append)
        self.world.nodes.unreachable.add(1)
        text = self.assert_abandoned(errors.SizeUnverified)
        self.assertIn(
            f"Expected: 21; actual: 0 (cantreach); path: {URL}; error: ", text
        )
        self.assertEqual(suspected, [1])

    def test_error_of_the_node(self) -> None:
        """Any error of the node is as if it did not answer."""
        self.world.nodes.broken.add(10)
        text = self.assert_abandoned(errors.SizeUnverified)
        self.assertIn("(cantreach)", text)

    def test_size_mismatch(self) -> None:
        """Too few or too many bytes."""
        for size in (20, 22, 0):
            self.set_up()
            text = self.assert_abandoned(errors.SizeMismatch, size=size)
            self.assertEqual(text, f"Expected: {size}; actual: 21; path: {URL}")

    def test_wrong_destination(self) -> None:
        """A device that was not offered; its bytes are removed as well."""
        text = self.assert_abandoned(errors.InvalidDestination, devid=30)
        self.assertIn("invalid dest 30. Valid devices were: 10,20", text)
        self.assertEqual(self.world.tables.devids(5), (10, 20, 30))
        self.assertEqual(self.world.asked("stat"), [])

    def test_unknown_device(self) -> None:
        """An offered device that is not in the picture any more."""
        self.world.upload(6, "k", [10, 20, 40])
        words = {"fid": 6, "devid": 40}
        self.failureResultOf(self.close(**words), errors.BogusArguments)
        self.assertEqual(self.world.tables.devids(6), (10, 20, 40))
        self.assertNotIn(6, self.world.tables.uploads)

    def test_empty_key(self) -> None:
        """An empty key throws the upload away, and is answered as a success."""
        self.successResultOf(self.close(key=""))
        tables = self.world.tables
        self.assertEqual((tables.files, tables.uploads), ({}, {}))
        self.assertEqual(set(tables.to_delete), {5})
        self.assertEqual(tables.devids(5), (10, 20))
        self.assertEqual(self.world.asked("stat"), [])

    def test_never_opened(self) -> None:
        """A fid that was never given out, and one that was used up."""
        self.failureResultOf(self.close(fid=99), errors.NoUpload)
        self.successResultOf(self.close(key=""))
        self.failureResultOf(self.close(), errors.NoUpload)
        self.assertEqual(self.world.tables.files, {})

    def test_database_away(self) -> None:
        """When the database is away nothing is lost: the client may ask again."""
        for method in ("find_upload", "close_upload"):
            self.set_up()
            self.world.store.failing[method] = [errors.DatabaseAway()]
            self.failureResultOf(self.close(), errors.DatabaseAway)
            self.assertIn(5, self.world.tables.uploads)
            self.successResultOf(self.close())
            self.assert_closed(10)


class Sums(CloseCase):
    """Checksums that the client gives, and that classes ask for."""

    def set_class(self, hashtype: int | None) -> None:
        """The upload's class asks for such checksums."""
        self.world = World.of(3)
        self.world.add_class(7, "c", hashtype=hashtype)
        self.world.look()
        self.world.upload(5, "k", [10, 20], classid=7)
        self.world.nodes.put(self.world.place(10), 5, DATA)

    def recorded(self) -> Checksum | None:
        """The row of MogileFS's checksum table."""
        found: Checksum | None = self.world.tables.class_checksums.get(5)
        return found

    def test_verified(self) -> None:
        """A right checksum is compared with the bytes on the disk."""
        self.successResultOf(self.close(checksum=MD5_SUM, verify=True))
        self.assert_closed(10)
        self.assertEqual(self.world.asked("digest"), [(10, 5, MD5)])

    def test_wrong(self) -> None:
        """A wrong one is refused when it is to be verified."""
        text = self.assert_abandoned(
            errors.ChecksumMismatch, checksum=WRONG, verify=True
        )
        self.assertEqual(text, f"Expected: {WRONG}; actual: {MD5_SUM}; path: {URL}")

    def test_wrong_and_not_verified(self) -> None:
        """It is taken as said when it is not to be verified, as ever."""
        self.set_class(MD5)
        self.successResultOf(self.close(checksum=WRONG))
        self.assertEqual(self.recorded(), WRONG)

    def test_of_our_own_type(self) -> None:
        """One of our own type is compared with what the node knows."""
        own = own_checksum(DATA)
        self.successResultOf(self.close(checksum=own, verify=True))
        self.assertEqual(self.world.asked("digest"), [])
        self.set_up()
        wrong = own_checksum(b"other bytes")
        self.assert_abandoned(errors.ChecksumMismatch, checksum=wrong, verify=True)

    def test_node_fails_to_digest(self) -> None:
        """A checksum that cannot be had is no checksum: the upload is refused."""
        for fault in (errors.NodeFault("no"), errors.NodeUnreachable("no")):
            self.set_up()
            self.world.nodes.failing["digest"] = [fault]
            self.assert_abandoned(errors.SizeUnverified, checksum=MD5_SUM, verify=True)

    def test_gone_before_the_digest(self) -> None:
        """A file that vanishes between two questions is refused."""

        async def nothing(*_: object) -> None:
            return None

        self.patch(type(self.world.nodes), "digest", nothing)
        self.assert_abandoned(errors.SizeUnverified, checksum=MD5_SUM, verify=True)

    def test_class_wants_none(self) -> None:
        """Without a class that asks for it no row is made."""
        self.successResultOf(self.close(checksum=MD5_SUM))
        self.assertIsNone(self.recorded())

    def test_class_wants_it(self) -> None:
        """The client's checksum of the class's type is the row."""
        self.set_class(MD5)
        self.successResultOf(self.close(checksum=MD5_SUM))
        self.assertEqual(self.recorded(), MD5_SUM)
        self.assertEqual(self.world.asked("digest"), [])

    def test_class_wants_another(self) -> None:
        """One of another type is not; the node makes the row."""
        self.set_class(SHA1)
        self.successResultOf(self.close(checksum=MD5_SUM))
        self.assertEqual(self.recorded(), SHA1_SUM)

    def test_class_wants_and_client_is_silent(self) -> None:
        """Without the client's word the node makes the row."""
        self.set_class(MD5)
        self.successResultOf(self.close())
        self.assertEqual(self.recorded(), MD5_SUM)

    def test_class_wants_ours(self) -> None:
        """A class may ask for the type that we keep anyway."""
        self.set_class(4)
        self.successResultOf(self.close())
        self.assertEqual(self.recorded(), own_checksum(DATA))

    def test_class_wants_and_node_fails(self) -> None:
        """Then the upload is refused, before any other copy is made."""
        self.set_class(MD5)
        self.world.tables.settings["kobold_ack_copies"] = "2"
        self.world.look()
        self.world.nodes.failing["digest"] = [errors.NodeFault("no")]
        self.assert_abandoned(errors.SizeUnverified)
        self.assertEqual(self.world.asked("copy"), [])


class Promised(CloseCase):
    """Two copies before the answer."""

    def setUp(self) -> None:
        self.set_up(kobold_ack_copies="2")

    def test_two_copies(self) -> None:
        """Both are there and recorded when it answers, on the reserved device."""
        self.successResultOf(self.close())
        self.assert_closed(10, 20)
        self.assertEqual(self.world.nodes.copies[2, 20, 5], DATA)

    def test_not_answered_before(self) -> None:
        """While the second copy is made there is neither answer nor file."""
        self.world.nodes.slow[2] = 3.0
        closing = self.close()
        self.assertNoResult(closing)
        self.assertEqual(self.world.tables.files, {})
        self.world.clock.advance(3.0)
        self.successResultOf(closing)
        self.assert_closed(10, 20)

    def test_second_host_fails(self) -> None:
        """A third host takes its place."""
        self.world.nodes.unreachable.add(2)
        self.successResultOf(self.close())
        self.assert_closed(10, 30)

    def test_one_host_up(self) -> None:
        """With one host up the file is stored with one copy, and queued."""
        self.world.nodes.unreachable.update((2, 3))
        self.successResultOf(self.close())
        self.assert_closed(10)

    def test_only_host_dies(self) -> None:
        """A file whose only copy has gone away with its host is not acknowledged."""
        self.world.nodes.slow[2] = self.world.nodes.slow[3] = 3.0
        closing = self.close()
        self.world.nodes.unreachable.update((1, 2, 3))
        self.world.clock.pump([3.0] * 4)
        self.failureResultOf(closing, errors.SizeUnverified)
        self.assertEqual(self.world.tables.files, {})
        self.assertIn(5, self.world.tables.to_delete)

    def test_expired_meanwhile(self) -> None:
        """An upload that expires while its copies are made leaves no copy behind."""
        self.set_up(kobold_ack_copies="2", kobold_created="1")
        self.world.nodes.slow[2] = 3.0
        closing = self.close()
        tables = self.world.tables
        del tables.uploads[5]
        self.world.clock.advance(3.0)
        self.failureResultOf(closing, errors.NoUpload)
        self.assertEqual(tables.devids(5), (10, 20))
        self.assertIn(5, tables.to_delete)

    def test_closed_by_mogilefs_meanwhile(self) -> None:
        """Its tracker takes the upload away first and makes the file later: who finds
        neither deletes nothing."""
        self.world.nodes.slow[2] = 3.0
        closing = self.close()
        tables = self.world.tables
        del tables.uploads[5]
        self.world.clock.advance(3.0)
        self.failureResultOf(closing, errors.NoUpload)
        self.assertEqual(tables.devids(5), ())
        self.assertNotIn(5, tables.to_delete)

    def test_closed_by_another_tracker_meanwhile(self) -> None:
        """Its close counts as ours; the copies of both are recorded."""
        self.world.nodes.slow[2] = 3.0
        closing = self.close()
        other = World(self.world.clock)
        other.store, other.nodes = self.world.store, self.world.nodes
        other.live.view = self.world.live.view
        other.nodes.slow.clear()
        other.nodes.unreachable.add(2)
        namespace = self.other_namespace(other)
        words: Any = {"fid": 5, "devid": 10, "key": "k", "size": None}
        done = namespace.close(DOMAIN, **words, checksum=None, verify=False)
        self.run_now(done)
        self.assert_closed(10, 30)
        other.nodes.unreachable.clear()
        self.world.clock.advance(3.0)
        self.successResultOf(closing)
        self.assert_closed(10, 20, 30)

    def other_namespace(self, other: World) -> Any:
        """The namespace of another tracker on the same database and nodes."""
        other.use(other.nodes)
        return other.namespace


class Repeated(CloseCase):
    """The same close more than once."""

    def test_after_the_answer(self) -> None:
        """Asking again is answered again, and changes nothing."""
        self.successResultOf(self.close())
        del self.world.tables.to_replicate[5]
        for words in ({}, {"size": None}):
            self.successResultOf(self.close(**words))
        self.assertEqual(self.world.tables.to_replicate, {})
        self.assertEqual(len(self.world.called("close_upload")), 1)

    def test_not_the_same(self) -> None:
        """Another key, size, domain or device is not the same close."""
        self.successResultOf(self.close())
        for words in ({"key": "x"}, {"size": 3}, {"devid": 20}):
            self.failureResultOf(self.close(**words), errors.NoUpload)
        self.assert_closed(10)

    def test_after_an_overwrite(self) -> None:
        """A close of what was overwritten since is not answered as a success."""
        self.successResultOf(self.close())
        self.world.file(6, [10], key="k")
        self.failureResultOf(self.close(), errors.NoUpload)
        self.assertEqual(self.world.tables.named(1, "k").fid, 6)

    def test_two_at_once(self) -> None:
        """Two at once are one close, and both are answered when it is done."""
        self.set_up(kobold_ack_copies="2")
        self.world.nodes.slow[2] = 3.0
        first, second = self.close(), self.close()
        self.world.clock.advance(3.0)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assert_closed(10, 20)
        self.assertEqual(len(self.world.asked("copy")), 1)
        self.assertEqual(len(self.world.called("close_upload")), 1)

    def test_two_at_once_that_fail(self) -> None:
        """When the first fails there is no upload for the second."""
        self.world.nodes.slow[1] = 3.0
        first, second = self.close(size=3), self.close(size=3)
        self.world.clock.advance(3.0)
        self.failureResultOf(first, errors.SizeMismatch)
        self.failureResultOf(second, errors.NoUpload)

    def test_many_while_the_database_fails(self) -> None:
        """However they come and fail, they take turns, and each has its own answer."""
        self.world.nodes.slow[1] = 1.0
        self.world.store.failing["close_upload"] = [errors.DatabaseAway()]
        closings = [self.close() for _ in range(3)]
        self.world.clock.advance(1.0)
        self.failureResultOf(closings[0], errors.DatabaseAway)
        late = self.close()
        self.world.clock.pump([1.0] * 4)
        for closing in (*closings[1:], late):
            self.successResultOf(closing)
        self.assert_closed(10)
        self.assertEqual(len(self.world.called("close_upload")), 2)

    def test_two_uploads_to_one_key(self) -> None:
        """The last close wins; the other's bytes are queued for deletion."""
        self.world.upload(6, "k", [20])
        self.world.nodes.put(self.world.place(20), 6, DATA)
        gate = self.world.store.gates["close_upload"] = Deferred()
        first, second = self.close(fid=6, devid=20), self.close()
        gate.callback(None)
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.world.tables.named(1, "k").fid, 5)
        self.assertEqual(self.world.tables.to_delete, {6: QueueRow(1_800_000_000)})
