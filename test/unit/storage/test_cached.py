"""Reading what the kernel has in memory, and going the long way where that fails."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from koboldfs.storage.cached import CachedReader


class Reading(SynchronousTestCase):
    """`CachedReader` on the real file system."""

    def setUp(self) -> None:
        """A file that was just written, and so is in memory."""
        self.path = os.path.abspath(self.mktemp())
        Path(self.path).write_bytes(b"hello")
        self.reader = CachedReader()
        if self.reader.read(self.path, 0) is None:
            raise SkipTest("the kernel has no openat2 with RESOLVE_CACHED: needs 5.12")

    def test_file(self) -> None:
        """The bytes, the stat, and the limit."""
        stat = os.stat(self.path)
        self.assertEqual(self.reader.read(self.path, 0), (stat, b""))
        self.assertIsNone(self.reader.read(self.path, 4))
        found = self.reader.read(self.path, 5)
        # A file system may be without RWF_NOWAIT; then the answer is None.
        self.assertIn(found, [(stat, b"hello"), None])

    def test_no_file(self) -> None:
        """Links, folders, pipes and nothing are left to the long way, which goes on
        being the exception."""
        os.symlink(self.path, f"{self.path}.link")
        os.mkfifo(f"{self.path}.pipe")
        for path in (".link", ".pipe", ".none", "/below"):
            self.assertIsNone(self.reader.read(self.path + path, 5))
        self.assertIsNone(self.reader.read(os.path.dirname(self.path), 5))
        self.assertIsNotNone(self.reader.read(self.path, 0))

    def test_no_descriptor_is_kept(self) -> None:
        """However it ends, nothing stays open."""
        before = len(os.listdir("/proc/self/fd"))
        for path in (self.path, f"{self.path}.none", os.path.dirname(self.path)):
            for limit in (0, 1, 5):
                self.reader.read(path, limit)
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)


class Without(SynchronousTestCase):
    """Where something is missing."""

    def setUp(self) -> None:
        """A file."""
        self.path = os.path.abspath(self.mktemp())
        Path(self.path).write_bytes(b"hello")

    def reader(self, *numbers: int) -> tuple[CachedReader, list[int]]:
        """A reader whose system calls fail with these, then succeed; and the flags
        with which it tried."""
        reader, left, tried = CachedReader(), list(numbers), list[int]()

        def syscall(*arguments: Any) -> int:
            tried.append(reader._how.flags)
            if left:
                ctypes.set_errno(left.pop(0))
                return -1
            return os.open(self.path, os.O_RDONLY)

        reader._works, reader._syscall = True, syscall  # type: ignore[assignment]
        return reader, tried

    def test_old_kernel(self) -> None:
        """An unknown system call, flag or a sandbox ends the attempts for good."""
        for number in (errno.ENOSYS, errno.EINVAL):
            reader, tried = self.reader(number)
            self.assertIsNone(reader.read(self.path, 5))
            self.assertIsNone(reader.read(self.path, 5))
            self.assertEqual(len(tried), 1)

    def test_not_now(self) -> None:
        """What is not in memory now may be later."""
        reader, _ = self.reader(errno.EAGAIN)
        self.assertIsNone(reader.read(self.path, 5))
        self.assertIsNotNone(reader.read(self.path, 0))

    def test_trouble(self) -> None:
        """A moment without descriptors, or a bad disk, does not end the attempts."""
        for number in (errno.EMFILE, errno.EIO):
            reader, _ = self.reader(number)
            self.assertIsNone(reader.read(self.path, 5))
            self.assertIsNotNone(reader.read(self.path, 0))

    def test_not_the_owner(self) -> None:
        """Who may not read unnoticed reads as everybody does, from then on."""
        reader, tried = self.reader(errno.EPERM)
        self.assertIsNotNone(reader.read(self.path, 0))
        self.assertIsNotNone(reader.read(self.path, 0))
        noatime = [bool(flags & os.O_NOATIME) for flags in tried]
        self.assertEqual(noatime, [True, False, False])
        reader, _ = self.reader(errno.EPERM, errno.EPERM)
        self.assertIsNone(reader.read(self.path, 0))

    def test_no_bytes(self) -> None:
        """A file system that cannot say whether it would wait."""

        def preadv(*arguments: Any) -> int:
            raise OSError(errno.EOPNOTSUPP, "no")

        self.patch(os, "preadv", preadv)
        self.assertIsNone(self.reader()[0].read(self.path, 5))
        self.patch(os, "preadv", lambda *arguments: 3)
        self.assertIsNone(self.reader()[0].read(self.path, 5))

    def test_other_systems(self) -> None:
        """Elsewhere than on Linux nothing is tried."""
        uname = os.uname_result(("Darwin", *list(os.uname())[1:]))
        self.patch(os, "uname", lambda: uname)
        self.assertIsNone(CachedReader().read(self.path, 5))
