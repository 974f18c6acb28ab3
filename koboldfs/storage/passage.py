"""The shortest way from a file to a socket: inside the kernel.

The socket takes what it has room for, and no byte comes into this process. The calls
block when the disk does, so they run in a device's threads, while the reactor may close
the connection, or give the file up. So a passage has descriptors of its own, which are
closed when it was stopped and no thread is in it: a number that a thread still uses
never becomes another file or another client's connection.
"""

from __future__ import annotations

import errno
import os
import threading

from koboldfs.errors import DiskFault

#: What a file system says that has no such way; its files are read, piece by piece.
_NO_WAY = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
PIECE_BYTES = 256 * 1024


class FileEnded(DiskFault):
    """The file is shorter than it was."""


class Passage:
    """A file and a socket that does not block."""

    #: Whether there is a way on this system.
    possible = hasattr(os, "sendfile")

    def __init__(self, file_fd: int, socket_fd: int) -> None:
        self._lock = threading.Lock()
        self._in_use = self._stopped = False
        self._file_fd = os.dup(file_fd)
        try:
            self._socket_fd = os.dup(socket_fd)
        except OSError:
            os.close(self._file_fd)
            raise

    def send(self, length: int, offset: int) -> int:
        """Send up to `length` bytes at `offset`, as long as the socket takes them;
        returns how many. Blocks, and is for one thread at a time. Raises `FileEnded`,
        or `OSError` also when the peer is gone."""
        with self._lock:
            if self._stopped:
                return 0
            self._in_use = True
        try:
            return self._send(length, offset)
        finally:
            with self._lock:
                self._in_use = False
                if self._stopped:
                    self._close()

    def _send(self, length: int, offset: int) -> int:
        sent = 0
        while sent < length and not self._stopped:
            try:
                more = self._pass(length - sent, offset + sent)
            except BlockingIOError:
                break
            if more == 0:
                raise FileEnded("the file ended before its length")
            sent += more
        return sent

    def _pass(self, length: int, offset: int) -> int:
        try:
            return os.sendfile(self._socket_fd, self._file_fd, offset, length)
        except OSError as error:
            if error.errno not in _NO_WAY:
                raise
        data = os.pread(self._file_fd, min(length, PIECE_BYTES), offset)
        return os.write(self._socket_fd, data) if data else 0

    def stop(self) -> None:
        """Send no more, as soon as the disk lets go of the thread. Called once."""
        with self._lock:
            self._stopped = True
            if not self._in_use:
                self._close()

    def _close(self) -> None:
        os.close(self._file_fd)
        os.close(self._socket_fd)
