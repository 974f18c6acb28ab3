"""Copies made, and given away to be edited, by hand."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from koboldfs import errors, job_errors
from koboldfs.cluster.by_hand import EDITING_SECONDS, ByHand
from test.fakes.world import DOMAIN, World, WorldCase, start


class HandCase(WorldCase):
    """Three hosts."""

    def setUp(self) -> None:
        """The world."""
        self.world = World.of(3)
        store = self.world.store
        self.by_hand = ByHand(self.world.namespace, store, store)


class Copying(HandCase):
    """httpcopy."""

    def test_copy(self) -> None:
        """The copy is there, and recorded."""
        self.world.file(5, [10])
        self.run_now(self.by_hand.copy(5, 10, 20))
        self.assertEqual(self.world.tables.devids(5), (10, 20))
        self.assertEqual(self.world.nodes.devices_with(5), {10, 20})
        self.assertEqual(self.world.tables.files[5].devcount, 2)

    def test_whose_fault(self) -> None:
        """A bad source and a bad target are told apart; nothing is recorded."""
        self.world.file(5, [10])
        self.world.nodes.readonly.add(20)
        error = self.fail_now(self.by_hand.copy(5, 10, 20), job_errors.CopyFailed)
        self.assertEqual(error.message, "dest_error")
        error = self.fail_now(self.by_hand.copy(5, 30, 10), job_errors.CopyFailed)
        self.assertEqual(error.message, "src_error")
        for fid, source, target in ((9, 10, 20), (5, 99, 20), (5, 10, 99)):
            self.fail_now(self.by_hand.copy(fid, source, target), errors.KoboldError)
        self.assertEqual(self.world.tables.devids(5), (10,))


class Editing(HandCase):
    """edit_file."""

    def test_edit(self) -> None:
        """One copy goes to the upload, the others stay the file."""
        self.world.file(5, [10, 20])
        edit = self.run_now(self.by_hand.edit(DOMAIN, "key5"))
        self.assertEqual((edit.old_fid, edit.classid), (5, 0))
        self.assertEqual(len(self.world.tables.devids(5)), 1)
        self.assertNotIn(edit.devid, self.world.tables.devids(5))
        upload = self.world.tables.uploads[edit.fid]
        self.assertEqual((upload.key, upload.devids), ("key5", (edit.devid,)))
        row = self.world.tables.to_replicate[5]
        self.assertEqual(row.nexttry - self.world.store.now(), EDITING_SECONDS)

    def test_no_spare_copy(self) -> None:
        """The last copy that can be read is not given away."""
        self.world.file(5, [10])
        self.fail_now(self.by_hand.edit(DOMAIN, "key5"), job_errors.NoSpareCopy)
        self.world.file(6, [10, 20])
        self.world.nodes.unreachable.add(2)
        self.world.look()
        self.fail_now(self.by_hand.edit(DOMAIN, "key6"), job_errors.NoSpareCopy)
        self.assertEqual(self.world.tables.devids(6), (10, 20))
        self.fail_now(self.by_hand.edit(DOMAIN, "nix"), errors.UnknownKey)

    def test_somebody_was_faster(self) -> None:
        """When a copy is taken away meanwhile, none is given away."""
        self.world.file(5, [10, 20])
        gate: Deferred[None] = Deferred()
        self.world.store.gates["release_copy"] = gate
        editing = start(self.by_hand.edit(DOMAIN, "key5"))
        self.world.tables.file_on.discard((5, 20))
        self.world.tables.file_on.discard((5, 10))
        gate.callback(None)
        self.failureResultOf(editing, job_errors.NoSpareCopy)
