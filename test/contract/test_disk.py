"""The disk contract on the real file system, in memory, and on one that fails."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.storage.batch import Placed, SmallFile, write_batch
from koboldfs.storage.disk import LocalDisk, write_durably
from koboldfs.storage.temporary import Expected, Stored
from test.contract.disk import PATHS, DiskContract, FaultContract
from test.fakes.disk import FaultyDisk, MemoryDisk


class RealDisk(DiskContract, SynchronousTestCase):
    """The file systems of this machine."""

    def setUp(self) -> None:
        """An empty folder."""
        self.disk = LocalDisk()
        self.root = os.path.abspath(self.mktemp())
        os.mkdir(self.root)

    def test_symbolic_links(self) -> None:
        """A link at the end of a path is not followed, and a pipe does not block."""
        write_durably(self.disk, f"{self.root}/file", b"secret")
        os.symlink(f"{self.root}/file", f"{self.root}/link")
        os.mkfifo(f"{self.root}/pipe")
        for name in ("link", "pipe"):
            with self.assertRaises(FileNotFoundError):
                self.disk.open(f"{self.root}/{name}")
        self.assertFalse(self.disk.stat(f"{self.root}/link").is_file)
        with self.assertRaises(FileExistsError):
            self.disk.create(f"{self.root}/link")

    def test_lock_folder(self) -> None:
        """A folder is had by one at a time; who waits gets it, and who died does not
        keep it."""
        first = self.disk.lock_folder(self.root)
        assert first is not None
        self.assertIsNone(self.disk.lock_folder(self.root, wait=False))
        script = (
            "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY);"
            "fcntl.flock(fd, fcntl.LOCK_EX); print('mine', flush=True);"
            "os.kill(os.getpid(), 9)"
        )
        command = [sys.executable, "-c", script, self.root]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            self.disk.close(first)
            self.assertEqual(other.stdout.readline(), b"mine\n")
        second = self.disk.lock_folder(self.root, wait=False)
        assert second is not None
        self.disk.close(second)

    def test_sync_without_syncfs(self) -> None:
        """Where one flush for all cannot be trusted, every file is flushed."""
        self.disk._syncfs = None
        self.test_batch()

    def test_sync_all_without_syncfs(self) -> None:
        """Then all of this machine is."""
        self.disk._syncfs = None
        flushed: list[str] = []
        self.patch(os, "sync", lambda: flushed.append("all"))
        self.disk.sync_all(self.root)
        self.assertEqual(flushed, ["all"])

    def test_failed_syncfs(self) -> None:
        """A flush for all that fails is an error, also when it gives no reason."""
        self.prepare()
        self.disk._syncfs = lambda fd: -1
        files = [SmallFile(path, (b"x",), Expected()) for path in PATHS]
        for outcome in write_batch(self.disk, self.root, files, True).outcomes:
            self.assertIsInstance(outcome, OSError)
        self.assertEqual(self.temporaries(), [])
        self.assertIsNone(self.content(PATHS[0]))


class InMemory(DiskContract, SynchronousTestCase):
    """The disk that tests use."""

    def setUp(self) -> None:
        """An empty folder."""
        self.disk = MemoryDisk()
        self.root = "/devs/dev1"
        self.disk.make_folders(self.root)

    def test_crash_after_an_answer(self) -> None:
        """What a batch said is stored survives a loss of power; without fsync it
        does not, which shows that the test can tell."""
        for fsync, kept in ((True, b"data"), (False, None)):
            self.setUp()
            self.prepare()
            self.disk.sync_folder(f"{self.root}/.koboldfs")
            self.disk.sync_folder(self.root)
            file = SmallFile(PATHS[0], (b"data",), Expected())
            outcome = write_batch(self.disk, self.root, [file], fsync).outcomes[0]
            self.assertIsInstance(outcome, Stored)
            self.disk.crash()
            self.assertEqual(self.content(PATHS[0]), kept)

    def test_crash_between_batches(self) -> None:
        """Files that were answered with the batch behind them survive, whether all
        can be flushed in one go or not; so do those of the last batch."""
        for at_once in (True, False):
            self.setUp()
            self.disk.at_once = at_once
            self.prepare()
            self.disk.sync_folder(f"{self.root}/.koboldfs")
            self.disk.sync_folder(self.root)
            files = [SmallFile(path, (b"data",), Expected()) for path in PATHS]
            first = write_batch(self.disk, self.root, files[:1], True, (), lambda: 1)
            placed = [one for one in first.outcomes if isinstance(one, Placed)]
            done = write_batch(self.disk, self.root, files[1:], True, placed)
            self.assertEqual(done.before, [placed[0].stored])
            self.disk.crash()
            for path in PATHS:
                self.assertEqual(self.content(path), b"data")

    def test_no_descriptor_is_kept(self) -> None:
        """Good or bad, a batch gives all descriptors back."""
        self.prepare()
        bad = SmallFile(PATHS[1], (b"x",), Expected(size=2))
        good = SmallFile(PATHS[0], (b"x",), Expected())
        write_batch(self.disk, self.root, [good, bad], True)
        self.assertEqual(self.disk.open_count, 0)


class FaultyReal(FaultContract, SynchronousTestCase):
    """The real file system, failing."""

    def setUp(self) -> None:
        """An empty folder."""
        self.disk = FaultyDisk(LocalDisk())
        self.root = os.path.abspath(self.mktemp())
        os.mkdir(self.root)


class FaultyMemory(FaultContract, SynchronousTestCase):
    """The disk in memory, failing."""

    def setUp(self) -> None:
        """An empty folder."""
        memory = MemoryDisk()
        memory.make_folders("/devs/dev1")
        self.disk, self.root = FaultyDisk(memory), "/devs/dev1"
