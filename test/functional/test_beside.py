"""Trackers of MogileFS run beside ours on one database, and may take over again.

They are played by `MogileTracker`, which does to the database what they do."""

from __future__ import annotations

import time
from typing import Any

from test.functional.beside import ORPHANS, OnMaria, OnPostgres, Workers
from test.functional.beside_load import KEYS, Load, Ours, Side
from test.functional.cluster import DOMAIN, wait_until
from test.functional.mogile_database import lock_number, open_session
from test.functional.mogile_tracker import DONE, LOCKED, MogileTracker, file_lock

#: Long enough for some hundred changes.
LOAD_SECONDS = 4.0
#: How long a row is ours after a sign of life.
LEASE_SECONDS = 30
#: The longest wait for anything.
SECONDS = 15.0
#: Our workers look for work twice a second: several times, then.
LOOKS_SECONDS = 2.0


class InWork:
    """Who has a row, or a file, is not disturbed by trackers of the other kind."""

    def _stored(self: Any, key: str) -> int:
        """A file of one copy, stored by the stand-in; its fid."""
        self.mogile_.store(DOMAIN, key, key.encode())
        return int(self.numbers(f"select fid from file where dkey = '{key}'")[0])

    def _copies(self: Any, fid: int) -> int:
        return int(self.numbers(f"select count(*) from file_on where fid = {fid}")[0])

    def test_rows_of_mogilefs(self: Any) -> None:
        """A row that MogileFS has grabbed is left to it, in both queues, and while
        other rows are worked off."""
        self.begin(3)
        mogile = self.mogile_ = self.mogile()
        self.want("replicate", 0)
        self.want("delete", 0)
        fid, gone = self._stored("grabbed"), self._stored("gone")
        mogile.delete(DOMAIN, "gone")
        grabbed = sorted(row[0] for row in mogile.grab_replications())
        self.assertEqual(grabbed, [fid, gone])
        self.assertEqual(mogile.grab_deletions(), [(gone, 0)])
        columns = "nexttry, failcount"
        copy = self.row("file_to_replicate", fid, f"{columns}, flags, fromdevid")
        deletion = self.row("file_to_delete2", gone, columns)
        other, other_gone = self._stored("other"), self._stored("other gone")
        mogile.delete(DOMAIN, "other gone")
        self.want("replicate", 1)
        self.want("delete", 1)
        self.wait_gone("file_to_replicate", other)
        self.wait_gone("file_to_delete2", other_gone)
        time.sleep(LOOKS_SECONDS)
        again = self.row("file_to_replicate", fid, f"{columns}, flags, fromdevid")
        self.assertEqual(again, copy)
        self.assertEqual(self.row("file_to_delete2", gone, columns), deletion)
        self.assertEqual((self._copies(fid), self._copies(gone)), (1, 1))
        self.assertEqual(mogile.replicate(fid), DONE)
        self.assertEqual(mogile.replicate(gone), DONE)
        self.assertEqual(mogile.remove(gone), DONE)
        self.wait_quiet()
        self.assert_sound({b"grabbed": b"grabbed", b"other": b"other"})


class Locked:
    """A file that one has locked is left alone by the other: the names are shared."""

    def _one_copy(self: Any, key: str) -> int:
        """A file that nobody has replicated; its fid."""
        self.want("replicate", 0)
        self.want("delete", 0)
        self.mogile_.store(DOMAIN, key, key.encode())
        return int(self.numbers(f"select fid from file where dkey = '{key}'")[0])

    def test_by_mogilefs(self: Any) -> None:
        """While MogileFS has a file locked, ours neither copies nor removes it, but
        does what is beside it; then it does."""
        self.begin(3)
        mogile = self.mogile_ = self.mogile()
        second = self.mogile()
        fid, gone = self._one_copy("a"), self._one_copy("b")
        other = self._one_copy("c")
        mogile.delete(DOMAIN, "b")
        with (
            mogile.session.lock(file_lock(fid), 0) as one,
            second.session.lock(file_lock(gone), 0) as two,
        ):
            self.assertTrue(one and two)
            before = self.copies_on_disks()
            self.want("replicate", 1)
            self.want("delete", 1)
            self.wait_gone("file_to_replicate", other)
            time.sleep(LOOKS_SECONDS)
            known = self.known_copies()
            self.assertEqual({c for c in known if c[1] != other} - before, set())
            self.assertEqual(len([c for c in known if c[1] == gone]), 1)
            here = {c for c in self.copies_on_disks() if c[1] != other}
            self.assertEqual(here, {c for c in before if c[1] != other})
        self.hasten()
        self.wait_quiet()
        self.assert_sound({b"a": b"a", b"c": b"c"})
        self.assertEqual(self.copies_on_disks(), self.known_copies())

    def test_by_ours_copying(self: Any) -> None:
        """While ours copies a file, its row is not due for MogileFS, however long that
        takes, and its lock is not to be had; then it is."""
        self.begin(3)
        mogile = self.mogile_ = self.mogile()
        fid = self._one_copy("a")
        blocker = open_session(self.url, "blocker")
        self.addCleanup(blocker.close)
        with blocker.transaction() as ask:
            # Nobody can record a copy while this lasts.
            ask(f"select 1 from file where fid = {fid} for update")
            self.want("replicate", 1)
            wait_until(lambda: len(self.copies_on_disks()) == 2, SECONDS, "copied")
            leased = self.row("file_to_replicate", fid, "nexttry")[0]
            deadline = time.monotonic() + SECONDS
            while self.row("file_to_replicate", fid, "nexttry")[0] == leased:
                self.assertLess(time.monotonic(), deadline, "the lease is kept up")
                self.assertGreater(leased, time.time() + LOOKS_SECONDS)
                self.assertEqual(mogile.grab_replications(), [])
                time.sleep(0.2)
            self.assertEqual(mogile.replicate(fid), LOCKED)
            self.assertEqual(len(self.known_copies()), 1)
        self.wait_quiet()
        self.assert_sound({b"a": b"a"})
        self._assert_free(mogile, fid)

    def test_by_ours_removing(self: Any) -> None:
        """While ours removes a file (whose node hangs), its row is not due for
        MogileFS, and its lock is not to be had; then it is."""
        self.begin(3)
        # Before the node is seen to hang, as its files would then be put off.
        with self.line() as line:
            line.ask("set_server_setting", key="kobold_delete_grace_seconds", value=0)
        mogile = self.mogile_ = self.mogile()
        fid = self._one_copy("a")
        (devid,) = self.numbers(f"select devid from file_on where fid = {fid}")
        mogile.delete(DOMAIN, "a")
        node = self.node_of(devid)
        node.pause()
        self.addCleanup(node.resume)
        self.want("delete", 1)

        def is_locked() -> bool:
            with mogile.session.lock(file_lock(fid), 0) as had:
                return not had

        wait_until(is_locked, SECONDS, "ours has the file locked")
        self.assertEqual(mogile.grab_deletions(), [])
        nexttry, failcount = self.row("file_to_delete2", fid, "nexttry, failcount")
        self.assertEqual(failcount, 0)
        self.assertGreater(nexttry, time.time() + LOOKS_SECONDS)
        self.assertTrue(is_locked())
        node.resume()
        self.want("replicate", 1)
        self.hasten()
        self.wait_quiet()
        self.assertEqual(self.copies_on_disks(), set())
        self._assert_free(mogile, fid)

    def _assert_free(self: Any, mogile: MogileTracker, fid: int) -> None:
        """Ours has given the lock back, at the latest after a moment."""

        def is_free() -> bool:
            with mogile.session.lock(file_lock(fid), 0) as had:
                return had

        wait_until(is_free, SECONDS, "the lock is free")


class Together:
    """Both kinds of trackers serve clients and do the jobs, at the same time."""

    def test_mixed_load(self: Any) -> None:
        """Clients of both change the same keys, while both do the jobs: every answer
        is what it would be with one tracker; and when it is quiet, either has what was
        acknowledged, there is a row for each key, and nothing is left over."""
        self.begin(4)
        workers = Workers(self.url).start()
        self.addCleanup(workers.stop)

        def sides() -> list[Side]:
            node = self.cluster_.nodes[0]
            return [Ours(node.tracker()), MogileTracker(self.url)]

        load = Load(sides).start()
        self.addCleanup(load.stop)
        time.sleep(LOAD_SECONDS)
        load.stop()
        workers.stop()
        self.assertEqual(load.broken + workers.broken, [])
        self.assertGreater(load.steps, 50)
        self.assertGreater(workers.rows, 0)
        # What was met locked, MogileFS would look at in 1000 s again, and ours in 30 s.
        self.hasten()
        self.wait_quiet()
        mogile, ours = self.mogile(), Ours(self.line())
        load.settle_hot(ours)
        load.read_all(ours)
        load.read_all(mogile)
        self.assertEqual(load.broken, [])
        self.assert_sound(load.contents)
        self.assertLessEqual(len(self.numbers(ORPHANS)), load.overruns)
        self.assertEqual(self.copies_on_disks(), self.known_copies())


class TakeOver:
    """MogileFS goes on with what ours left behind, and ours with what MogileFS did."""

    def test_take_over_again(self: Any) -> None:
        """Ours dies in the middle of a load. MogileFS alone does what was left to do,
        and has everything that was acknowledged; nothing of ours is needed for it, or
        in its way. Then ours comes back to a database that was cleaned of it."""
        self.begin(4)
        before = self.execute(self.columns)
        ours = self.cluster_.nodes[0]
        load = Load(lambda: [Ours(ours.tracker())], ends=True).start()
        self.addCleanup(load.stop)
        time.sleep(LOAD_SECONDS / 2)
        ours.kill()
        load.stop()
        self.assertEqual(load.broken, [])
        self.assertGreater(load.steps, 50)
        self.assert_rows_of_mogilefs()
        mogile = self.mogile()
        self._do_all_work(mogile)
        load.settle(mogile)
        load.settle_hot(mogile)
        load.read_all(mogile)
        self.assertEqual(load.broken, [])
        self.assert_sound(load.contents)
        self.assertEqual(self.numbers(ORPHANS), [])
        self._clean_of_ours()
        self.assertEqual(self.execute(self.columns), before)
        for number, key in enumerate(KEYS):
            content = b"by mogile %d" % number
            mogile.store(DOMAIN, key, content)
            load.contents[key] = content
        ours.start()
        self.cluster_.wait_ready()
        line = Ours(self.line())
        load.read_all(line)
        for key in KEYS[:4]:
            line.store(DOMAIN, key, b"by ours")
            load.contents[key] = b"by ours"
        self.wait_quiet()
        load.read_all(line)
        self.assertEqual(load.broken, [])
        self.assert_sound(load.contents)

    def assert_rows_of_mogilefs(self: Any) -> None:
        """What lies in the queues when a tracker died is what MogileFS understands:
        due within a lease (or after the first back-off, which is shorter)."""
        # PostgreSQL rounds its clock, also upwards.
        late = int(time.time()) + 1 + LEASE_SECONDS
        for queue in ("file_to_replicate", "file_to_delete2"):
            dues = self.numbers(f"select nexttry from {queue}")
            self.assertEqual([due for due in dues if due > late], [])
        sources = "select count(*) from file_to_replicate where fromdevid is not null"
        self.assertEqual(self.numbers(sources), [0])
        fields = dict(self.execute("select field, value from server_settings"))
        theirs = {name for name in fields if not name.startswith("kobold")}
        self.assertEqual(theirs, {"schema_version"})
        for table in ("file_on_corrupt", "unreachable_fids", "fsck_log", "checksum"):
            if self.execute(self.columns.replace("not like 'kobold%'", f"= '{table}'")):
                self.assertEqual(self.numbers(f"select count(*) from {table}"), [0])

    def _do_all_work(self: Any, mogile: MogileTracker) -> None:
        """The jobs of MogileFS, with an operator who does not wait for the leases of
        who is dead, nor for abandoned uploads to be an hour old."""
        deadline = time.monotonic() + SECONDS
        while self.lengths():
            self.assertLess(time.monotonic(), deadline, self.lengths())
            self.hasten()
            self.execute("update tempfile set createtime = 1")
            mogile.work()

    def _clean_of_ours(self: Any) -> None:
        """As doc/from-mogilefs says, under Going back."""
        self.execute("drop table kobold_checksum, kobold_scrub, kobold_lost")
        self.execute("delete from server_settings where field like 'kobold%'")


class PostgresInWork(InWork, OnPostgres):
    """On PostgreSQL."""


class MariaInWork(InWork, OnMaria):
    """On MariaDB."""


class PostgresLocked(Locked, OnPostgres):
    """On PostgreSQL."""

    def test_numbers(self: Any) -> None:
        """The stand-in makes the numbers of names that were seen of MogileFS, on a
        machine named ``vm``."""
        self.assertEqual(lock_number("vm"), 1751941658)
        self.assertEqual(lock_number("mgfs:reaper"), 2048622148)

    def test_other_machine(self) -> None:
        """A lock has the host name in it: one of MogileFS's trackers elsewhere does
        not keep ours off, as it would not keep off MogileFS's."""
        self.begin(3)
        mogile = self.mogile_ = self.mogile("elsewhere")
        fid = self._one_copy("a")
        with mogile.session.lock(file_lock(fid), 0) as had:
            self.assertTrue(had)
            self.want("replicate", 1)
            self.wait_gone("file_to_replicate", fid)
        self.assert_sound({b"a": b"a"})


class MariaLocked(Locked, OnMaria):
    """On MariaDB."""


class PostgresTogether(Together, OnPostgres):
    """On PostgreSQL."""


class MariaTogether(Together, OnMaria):
    """On MariaDB."""


class PostgresTakeOver(TakeOver, OnPostgres):
    """On PostgreSQL."""


class MariaTakeOver(TakeOver, OnMaria):
    """On MariaDB."""
