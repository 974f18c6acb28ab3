"""What every provider of `IFiles` promises."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from koboldfs import errors
from koboldfs.interfaces import IFiles
from koboldfs.model.entities import Checksum, Closing, Removal
from test.contract.store import LATIN, OURS, THEIRS, StoreContract


class FilesContract(StoreContract):
    """Look-ups, uploads, names, lists."""

    async def test_files_interface(self) -> None:
        """It has the interface's methods with their arguments."""
        verifyObject(IFiles, self.store.files)

    # --- uploads

    async def test_upload_is_recorded(self) -> None:
        """What was opened is found again, with the bytes of its key."""
        fid = await self.store.files.open_upload(7, LATIN, 3, (4, 5), None)
        upload = await self.store.files.find_upload(fid)
        self.assertEqual(
            (upload.fid, upload.dmid, upload.key, upload.classid, upload.devids),
            (fid, 7, LATIN, 3, (4, 5)),
        )
        self.assertGreater(upload.createtime, 1_500_000_000)
        self.assertIsNone(await self.store.files.find_upload(fid + 1))
        self.assertIsNone(await self.store.files.find(7, LATIN))

    async def test_fids_differ(self) -> None:
        """Uploads opened at once, by two trackers, with equal contents, all differ."""
        other = await self.another()
        stores = [self.store, other] * 100
        fids = await self.together(
            *(one.files.open_upload(1, "same", 0, (1, 2), None) for one in stores)
        )
        self.assertEqual(len(set(fids)), 200)

    async def test_fid_is_not_given_twice(self) -> None:
        """A fid stays used after its file is gone."""
        first = await self.stored(1, "a")
        await self.store.files.delete(1, "a")
        for fid, devids in (await self.deletions()).items():
            done = _deleted(fid, devids)
            await self.store.queues.finish_deletions([done])
        other = await self.another()
        self.assertGreater(await other.files.open_upload(1, "b", 0, (1,), None), first)

    async def test_chosen_fid(self) -> None:
        """A fid of the caller's is taken once, and later ones are above it."""
        files = self.store.files
        low = await self.upload(1, "low")
        chosen = low + 5000
        for key, fid in (("a", chosen), ("next", chosen + 1)):
            self.assertEqual(await files.open_upload(1, key, 0, (1,), fid), fid)
        for taken in (low, chosen, low + 1):
            await self.fault(errors.FidInUse, files.open_upload(1, "b", 0, (1,), taken))
        self.assertGreater(await self.upload(1, "c"), chosen + 1)
        self.assertEqual((await files.find_upload(chosen)).key, "a")

    async def test_chosen_fids_race(self) -> None:
        """Of two trackers that choose one fid at once, one gets it."""
        other = await self.another()
        outcomes = []

        async def choose(store: object) -> None:
            try:
                await store.files.open_upload(1, "k", 0, (1,), 900)  # type: ignore[attr-defined]
                outcomes.append("taken")
            except errors.FidInUse:
                outcomes.append("in use")

        await self.together(choose(self.store), choose(other))
        self.assertEqual(sorted(outcomes), ["in use", "taken"])

    async def test_abandon(self) -> None:
        """An abandoned upload is gone, and its devices are cleaned."""
        fid = await self.upload(1, "a", 1, 2)
        await self.store.files.abandon_upload(fid, (1, 2))
        self.assertIsNone(await self.store.files.find_upload(fid))
        self.assertEqual(await self.store.files.devices_of(fid), (1, 2))
        self.assertEqual(await self.deletions(), {fid: (1, 2)})

    async def test_abandon_leaves_files_alone(self) -> None:
        """A fid that is a live file cannot be abandoned."""
        fid = await self.stored(1, "a", 1)
        await self.store.files.abandon_upload(fid, (1, 2))
        self.assertEqual((await self.store.files.find(1, "a")).devids, (1,))
        self.assertEqual(await self.deletions(), {})

    # --- closing

    async def test_close(self) -> None:
        """A closed upload is a file, with everything that was said of it."""
        fid = await self.upload(1, "open", 1, 2, 3)
        closing = Closing(fid, 2, LATIN, 5, 77, (1, 3), OURS, THEIRS)
        files = self.store.files
        self.assertEqual(await files.close_upload(closing), "closed")
        located = await files.find(2, LATIN)
        self.assertEqual(sorted(located.devids), [1, 3])
        self.assertIsNone(located.checksum)
        file = located.file
        self.assertEqual(
            (file.fid, file.dmid, file.key, file.length, file.classid, file.devcount),
            (fid, 2, LATIN, 77, 5, 2),
        )
        by_fid = await files.find_fid(fid)
        self.assertEqual((by_fid.file, by_fid.checksum), (file, OURS))
        self.assertEqual(await files.own_checksum(fid), OURS)
        self.assertEqual(await files.class_checksum(fid), THEIRS)
        self.assertIsNone(await files.find_upload(fid))
        self.assertIsNone(await files.find(1, "open"))
        self.assertEqual(await self.replications(), [fid])
        self.assertEqual(await self.deletions(), {})

    async def test_close_settled(self) -> None:
        """What has all the copies that it will ever want is not queued for more, under
        a new key or one that had a file."""
        old = await self.stored(1, "old")
        for key in ("new", "old"):
            fid = await self.upload(1, key, 1)
            closing = Closing(fid, 1, key, 0, 9, (1,), settled=True)
            self.assertEqual(await self.store.files.close_upload(closing), "closed")
        self.assertEqual(await self.replications(), [old])

    async def test_close_together(self) -> None:
        """Of many that are closed at once, some new, some over others, some without an
        upload, each gets what is its own."""
        old = await self.stored(1, "old", 1)
        fids = [await self.upload(1, "x", 1, 2) for _ in range(6)]
        keys = ["new 1", "old", "new 2", "new 3", "new 4", "new 5"]
        closings = [
            Closing(fid, 1, key, 0, fid, (1, 2), OURS)
            for fid, key in zip(fids, keys, strict=True)
        ]
        closings.append(Closing(fids[-1] + 100, 1, "nothing", 0, 1, (1,)))
        outcomes = await self.together(*map(self.store.files.close_upload, closings))
        self.assertEqual(outcomes, ["closed"] * 6 + ["no_upload"])
        for fid, key in zip(fids, keys, strict=True):
            located = await self.store.files.find(1, key)
            self.assertEqual((located.file.fid, located.file.length), (fid, fid))
            self.assertEqual(sorted(located.devids), [1, 2])
            self.assertEqual(await self.store.files.own_checksum(fid), OURS)
        self.assertEqual(await self.deletions(), {old: (1,)})

    async def test_close_repeated(self) -> None:
        """A repeated close changes nothing, not even the queues."""
        files = self.store.files
        fid = await self.upload(1, "a", 1)
        closing = Closing(fid, 1, "a", 0, 9, (1,))
        self.assertEqual(await files.close_upload(closing), "closed")
        before = await files.find_fid(fid)
        again = Closing(fid, 1, "a", 0, 9, (1, 2), OURS)
        self.assertEqual(await files.close_upload(again), "repeated")
        self.assertEqual(await files.find_fid(fid), before)
        self.assertEqual(await self.deletions(), {})

    async def test_close_of_what_is_live(self) -> None:
        """An upload left behind of a live file never ends that file."""
        files = self.store.files
        fid = await self.stored(1, "a", 1, length=3)
        other = await self.stored(1, "b", 1, length=3)
        for length, outcome in ((3, "repeated"), (4, "no_upload")):
            await self.leave_upload(fid, 1, "a")
            closing = Closing(fid, 1, "a", 0, length, (1, 2))
            self.assertEqual(await files.close_upload(closing), outcome)
            self.assertIsNone(await files.find_upload(fid))
            self.assertEqual((await files.find(1, "a")).file.length, 3)
        await self.leave_upload(fid, 1, "a")
        await files.apply([Closing(fid, 1, "a", 0, 3, (1, 2))])
        self.assertIsNone(await files.find_upload(fid))
        await self.leave_upload(fid, 1, "a")
        wrong = Closing(fid, 1, "a", 0, 4, (1,))
        changes = [Removal(1, "b"), wrong]
        await self.fault(errors.NoUpload, files.apply(changes))
        self.assertEqual((await files.find(1, "a")).devids, (1,))
        self.assertEqual((await files.find(1, "b")).file.fid, other)
        self.assertEqual(await self.deletions(), {})
        # Neither does it come back once the key has another file.
        newer = await self.stored(1, "a", 1)
        again = Closing(fid, 1, "a", 0, 3, (1,))
        self.assertEqual(await files.close_upload(again), "no_upload")
        self.assertEqual((await files.find(1, "a")).file.fid, newer)

    async def test_close_of_nothing(self) -> None:
        """No upload, or a live file elsewhere: nothing is closed, nothing changes."""
        files = self.store.files
        fid = await self.stored(1, "a", length=3)
        older = await self.stored(1, "b")
        for closing in (
            Closing(fid, 1, "b", 0, 3, (1,)),
            Closing(fid, 2, "a", 0, 3, (1,)),
            Closing(fid, 1, "a", 0, 4, (1,)),
            Closing(99_999, 1, "b", 0, 3, (1,)),
        ):
            self.assertEqual(await files.close_upload(closing), "no_upload")
        self.assertEqual((await files.find(1, "a")).file.fid, fid)
        self.assertEqual((await files.find(1, "b")).file.fid, older)
        self.assertEqual(await self.deletions(), {})

    async def test_close_replaces(self) -> None:
        """The last close of a key wins; the older file's copies are cleaned."""
        older = await self.stored(1, "a", 1, 2)
        newer = await self.stored(1, "a", 3, length=8)
        located = await self.store.files.find(1, "a")
        self.assertEqual((located.file.fid, located.devids), (newer, (3,)))
        self.assertEqual(located.file.length, 8)
        self.assertIsNone(await self.store.files.find_fid(older))
        self.assertEqual(await self.deletions(), {older: (1, 2)})

    async def test_closes_of_one_key_at_once(self) -> None:
        """Two trackers, many closes, few keys: one file a key, and no copy leaks."""
        other = await self.another()
        keys = ["new", "old", LATIN]
        await self.stored(1, "old")
        fids = {n: await self.upload(1, keys[n % 3]) for n in range(60)}
        outcomes = await self.together(
            *(
                (self.store, other)[n % 2].files.close_upload(
                    Closing(fid, 1, keys[n // 2 % 3], 0, n, (1,))
                )
                for n, fid in fids.items()
            )
        )
        self.assertEqual(outcomes, ["closed"] * 60)
        self.assertEqual(await self.store.files.list_keys(1, "", "", 100), sorted(keys))
        live = {(await self.store.files.find(1, key)).file.fid for key in keys}
        dead = set(await self.deletions())
        self.assertEqual(live | dead, {1} | set(fids.values()))
        self.assertEqual(live & dead, set())

    async def test_one_close_by_two(self) -> None:
        """A close that is sent to two trackers at once is done once; both say so."""
        other = await self.another()
        for number in range(20):
            fid = await self.upload(1, "k")
            closing = Closing(fid, 1, f"k{number}", 0, 3, (1,))
            outcomes = await self.together(
                self.store.files.close_upload(closing),
                other.files.close_upload(closing),
            )
            self.assertEqual(sorted(outcomes), ["closed", "repeated"])

    async def test_order_of_closes(self) -> None:
        """Closes of one key by one tracker are done in the order of the calls."""
        fids = [await self.upload(1, "k") for _ in range(30)]
        await self.together(
            *(
                self.store.files.close_upload(Closing(fid, 1, "k", 0, 3, (1,)))
                for fid in fids
            )
        )
        self.assertEqual((await self.store.files.find(1, "k")).file.fid, fids[-1])
        self.assertEqual(sorted(await self.deletions()), fids[:-1])

    async def test_neighbours_are_not_failed(self) -> None:
        """Of closes that are made together, the one that cannot be fails alone."""
        fids = [await self.upload(1, "k") for _ in range(10)]
        keys = [f"k{fid}" for fid in fids]
        keys[4] *= 1000
        answers = []

        async def close(fid: int, key: str) -> None:
            closing = Closing(fid, 1, key, 0, 3, (1,))
            try:
                answers.append(await self.store.files.close_upload(closing))
            except errors.DatabaseFault:
                answers.append("refused")

        await self.together(*map(close, fids, keys))
        self.assertEqual(sorted(answers), ["closed"] * 9 + ["refused"])
        self.assertEqual(len(await self.store.files.list_keys(1, "", "", 100)), 9)

    # --- deleting and changing

    async def test_delete(self) -> None:
        """A deleted key is gone at once, and its copies are cleaned."""
        fid = await self.stored(1, "a", 1, 2)
        self.assertIs(await self.store.files.delete(2, "a"), False)
        self.assertIs(await self.store.files.delete(1, "a"), True)
        self.assertIs(await self.store.files.delete(1, "a"), False)
        self.assertIsNone(await self.store.files.find(1, "a"))
        self.assertIsNone(await self.store.files.find_fid(fid))
        self.assertEqual(await self.deletions(), {fid: (1, 2)})

    async def test_deletes_at_once(self) -> None:
        """A key that many delete at once was there for one of them."""
        fids = {await self.stored(1, f"k{n}") for n in range(10)}
        other = await self.another()
        answers = await self.together(
            *(
                store.files.delete(1, f"k{n}")
                for n in range(10)
                for store in (self.store, other, self.store)
            )
        )
        self.assertEqual((answers.count(True), answers.count(False)), (10, 20))
        self.assertEqual(set(await self.deletions()), fids)

    async def test_rename(self) -> None:
        """A renamed file keeps all but its key; nothing is overwritten."""
        fid = await self.stored(1, "a", 1, 2)
        taken = await self.stored(1, "b")
        files = self.store.files
        await self.fault(errors.KeyExists, files.rename(1, "a", "b"))
        await self.fault(errors.UnknownKey, files.rename(1, "nothing", "b"))
        await self.fault(errors.UnknownKey, files.rename(1, "nothing", "nothing"))
        await self.fault(errors.UnknownKey, files.rename(2, "a", "c"))
        await files.rename(1, "a", "a")
        await files.rename(1, "a", LATIN)
        self.assertIsNone(await files.find(1, "a"))
        located = await files.find(1, LATIN)
        self.assertEqual((located.file.fid, sorted(located.devids)), (fid, [1, 2]))
        self.assertEqual((await files.find(1, "b")).file.fid, taken)

    async def test_renames_at_once(self) -> None:
        """Of two that want one key, one gets it, and both files are still there."""
        other = await self.another()
        for number in range(10):
            left, right = f"l{number}", f"r{number}"
            await self.stored(1, left)
            await self.stored(1, right)
            refused = []

            async def rename(store: object, old: str, new: str, refused: list) -> None:
                try:
                    await store.files.rename(1, old, new)  # type: ignore[attr-defined]
                except errors.KeyExists:
                    refused.append(old)

            await self.together(
                rename(self.store, left, f"t{number}", refused),
                rename(other, right, f"t{number}", refused),
            )
            self.assertEqual(len(refused), 1)
        self.assertEqual(len(await self.store.files.list_keys(1, "", "", 100)), 20)

    async def test_set_class(self) -> None:
        """A file's new class is recorded, and the file looked at again."""
        fid = await self.stored(1, "a")
        for one in await self.store.queues.take_replications(10, 1000):
            await self.store.queues.finish_replications([_replicated(one.fid)])
        self.assertIs(await self.store.files.set_class(fid, 4), True)
        self.assertEqual((await self.store.files.find(1, "a")).file.classid, 4)
        self.assertEqual(await self.replications(), [fid])
        self.assertIs(await self.store.files.set_class(fid + 1, 4), False)

    async def test_apply(self) -> None:
        """All changes of a transaction happen, in order."""
        await self.stored(1, "gone")
        replaced = await self.stored(1, "kept")
        first, second = await self.upload(1, "x"), await self.upload(1, "x")
        await self.store.files.apply(
            [
                Closing(first, 1, "twice", 0, 1, (1,)),
                Removal(1, "gone"),
                Removal(1, "never was"),
                Removal(1, "kept"),
                Closing(second, 1, "kept", 0, 2, (2,)),
                Removal(1, "twice"),
            ]
        )
        self.assertEqual(await self.store.files.list_keys(1, "", "", 9), ["kept"])
        self.assertEqual((await self.store.files.find(1, "kept")).file.fid, second)
        dead = await self.deletions()
        self.assertIn(replaced, dead)
        self.assertIn(first, dead)
        self.assertEqual(len(dead), 3)

    async def test_apply_all_or_nothing(self) -> None:
        """One closing without an upload undoes what came before it."""
        kept = await self.stored(1, "kept")
        fid = await self.upload(1, "x")
        changes = [
            Removal(1, "kept"),
            Closing(fid, 1, "new", 0, 1, (1,)),
            Closing(fid + 1, 1, "other", 0, 1, (1,)),
        ]
        await self.fault(errors.NoUpload, self.store.files.apply(changes))
        self.assertEqual((await self.store.files.find(1, "kept")).file.fid, kept)
        self.assertIsNone(await self.store.files.find(1, "new"))
        self.assertIsNotNone(await self.store.files.find_upload(fid))
        self.assertEqual(await self.deletions(), {})
        await self.store.files.apply(changes[:2])
        await self.store.files.apply(changes[1:2])
        self.assertEqual((await self.store.files.find(1, "new")).file.fid, fid)

    # --- the rest

    async def test_checksums(self) -> None:
        """What was not recorded is None."""
        fid = await self.upload(1, "a")
        sha1 = Checksum(2, b"\x03" * 20)
        closing = Closing(fid, 1, "a", 0, 1, (1,), class_checksum=sha1)
        await self.store.files.close_upload(closing)
        self.assertEqual(await self.store.files.class_checksum(fid), sha1)
        self.assertIsNone(await self.store.files.own_checksum(fid))
        self.assertIsNone((await self.store.files.find_fid(fid)).checksum)
        self.assertIsNone(await self.store.files.class_checksum(fid + 1))

    async def test_queue_rows(self) -> None:
        """A fid's rows in the queues, each with its columns."""
        files = self.store.files
        fid = await self.upload(1, LATIN, 1, 2)
        row = (await files.queue_rows(fid))["tempfile"]
        self.assertEqual(
            (row["classid"], row["dmid"], row["dkey"], row["devids"]),
            (0, 1, LATIN, "1,2"),
        )
        await files.close_upload(Closing(fid, 1, "a", 0, 1, (1,)))
        rows = await files.queue_rows(fid)
        self.assertEqual(set(rows), {"replqueue"})
        self.assertEqual(
            dict(rows["replqueue"]),
            {"fid": fid, "nexttry": 0, "fromdevid": None, "failcount": 0, "flags": 0},
        )
        await files.delete(1, "a")
        rows = await files.queue_rows(fid)
        self.assertEqual(rows["delqueue"]["failcount"], 0)
        self.assertEqual(set(rows["delqueue"]), {"fid", "nexttry", "failcount"})
        self.assertEqual(await files.queue_rows(12345), {})

    async def test_impossible_fids(self) -> None:
        """A number that no fid can be is simply not there."""
        for fid in (0, -1, 2**63, 2**80):
            self.assertIsNone(await self.store.files.find_fid(fid))
            self.assertIsNone(await self.store.files.find_upload(fid))
            self.assertEqual(await self.store.files.devices_of(fid), ())


def _deleted(fid: int, devids: tuple[int, ...]) -> object:
    from koboldfs.model.entities import DeletionDone

    return DeletionDone(fid, devids)


def _replicated(fid: int) -> object:
    from koboldfs.model.entities import ReplicationDone

    return ReplicationDone(fid)
