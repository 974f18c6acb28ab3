"""The shortest way from a file to a socket: inside the kernel.

The socket takes what it has room for, and no byte comes into this process. The calls
block when the disk does, so they run in a device's threads, while the reactor may close
the connection, or give the file up. So a passage has descriptors of its own, which are
closed when nobody holds it any more: a number that a thread still uses never becomes
another file or another client's connection.
"""

from __future__ import annotations

import os

from koboldfs.errors import DiskFault


class FileEnded(DiskFault):
    """The file is shorter than it was."""


class Passage:
    """A file and a socket that does not block."""

    #: Whether there is a way on this system.
    possible = hasattr(os, "sendfile")

    def __init__(self, file_fd: int, socket_fd: int) -> None:
        self._fds: list[int] = []
        for fd in (file_fd, socket_fd):
            self._fds.append(os.dup(fd))
        self._stopped = False

    def send(self, length: int, offset: int) -> int:
        """Send up to `length` bytes at `offset`, as long as the socket takes them;
        returns how many. Raises `FileEnded`, or `OSError` also when the peer is gone.
        """
        file_fd, socket_fd = self._fds
        sent = 0
        while sent < length and not self._stopped:
            try:
                more = os.sendfile(socket_fd, file_fd, offset + sent, length - sent)
            except BlockingIOError:
                break
            if more == 0:
                raise FileEnded("the file ended before its length")
            sent += more
        return sent

    def stop(self) -> None:
        """Send no more, as soon as the disk lets go of the thread."""
        self._stopped = True

    def __del__(self) -> None:
        for fd in self._fds:
            os.close(fd)
