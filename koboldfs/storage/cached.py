"""Reading what the kernel has in memory, and nothing that would wait for a disk.

On Linux, `openat2` with ``RESOLVE_CACHED`` opens a file only if its name is known
without reading folders, and `preadv2` with ``RWF_NOWAIT`` gives bytes only if they are
in the page cache. Both answer at once, so they may be called in the reactor's thread,
which for a short file is several times cheaper than going to another thread and back.
Where the kernel, a sandbox or a file system knows neither, everything is answered with
None, and the caller goes the long way.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat as modes

#: The number of `openat2` is the same on every architecture but Alpha.
_OPENAT2 = 437
_AT_FDCWD = -100
_RESOLVE_CACHED = 0x20
#: What a kernel or a sandbox says that does not know the call or the flag: then the
#: attempt is not made again. Every other error is one of this file or this moment (no
#: descriptor left, a disk that fails), and must not slow down all that come later.
_NEVER = (errno.ENOSYS, errno.EINVAL, errno.E2BIG, errno.EPERM, errno.EOPNOTSUPP)


class _How(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class CachedReader:
    """Opens and reads files that the kernel has in memory. Belongs to one thread."""

    def __init__(self) -> None:
        self._works = os.uname().sysname == "Linux" and hasattr(os, "RWF_NOWAIT")
        # PyDLL keeps Python's lock: the call does not wait for anything.
        library = ctypes.PyDLL(None, use_errno=True) if self._works else None
        self._syscall = library.syscall if library is not None else None
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        # Reading is not to be noted in the inode: that might wait for the journal.
        self._noatime = getattr(os, "O_NOATIME", 0)
        self._how = _How(flags | self._noatime, 0, _RESOLVE_CACHED)
        self._how_words = (ctypes.byref(self._how), ctypes.sizeof(self._how))

    def read(self, path: str, limit: int) -> tuple[os.stat_result, bytes] | None:
        """A regular file of at most `limit` bytes with all of its bytes, or its stat
        and no bytes for a `limit` of 0; None if that is not to be had at once."""
        if not self._works:
            return None
        fd = self._open(os.fsencode(path))
        if fd < 0:
            return None
        try:
            found = os.fstat(fd)
            if not modes.S_ISREG(found.st_mode):
                return None
            if limit == 0 or found.st_size == 0:
                return found, b""
            if found.st_size > limit:
                return None
            data = bytearray(found.st_size)
            if os.preadv(fd, (data,), 0, os.RWF_NOWAIT) != found.st_size:
                return None
            return found, bytes(data)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _open(self, path: bytes) -> int:
        assert self._syscall is not None
        fd: int = self._syscall(_OPENAT2, _AT_FDCWD, path, *self._how_words)
        if fd >= 0:
            return fd
        how = self._how
        number = ctypes.get_errno()
        if number == errno.EPERM and how.flags & self._noatime:
            # Only the owner of a file may read it unnoticed.
            how.flags &= ~self._noatime
            return self._open(path)
        if number in _NEVER:
            self._works = False
        return -1
