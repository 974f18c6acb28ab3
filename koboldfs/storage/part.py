"""A part of a file on its way in: a PUT with Content-Range.

The file is never changed where it lies. The part comes into a temporary file; when it
is whole, a second one is made of the old bytes before it, the part, and the old bytes
behind it, and takes the old file's name: whoever reads has the old file or the new one.
That copies the file once for each part. Parts of files on one device take turns, so
that none is lost, also between the processes of a node.
"""

from __future__ import annotations

from typing import Any

from koboldfs.errors import CallerError
from koboldfs.slots import Slots
from koboldfs.storage.disk import OWN_FOLDER
from koboldfs.storage.temporary import Stored, TemporaryFile, pieces
from koboldfs.storage.upload import Upload


class PartOutside(CallerError):
    """The part begins behind the end of the file, which has `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__("the part begins behind the end of the file")
        self.size = size


class PartUpload(Upload):
    """See `IUpload`: the bytes from `start` on are replaced, or appended where the
    file ends; a file that is not there has no bytes. `finish` fails with
    `PartOutside`, too. What is expected is expected of the part."""

    _replaces = True

    def __init__(self, *arguments: Any, start: int, turn: Slots) -> None:
        super().__init__(*arguments)
        self._start = start
        self._turn = turn

    async def _last_step(self, chunks: tuple[bytes, ...]) -> Stored:
        try:
            await self._turn.acquire()
        except BaseException:
            self._discard()
            raise
        try:
            return await super()._last_step(chunks)
        finally:
            self._turn.release()

    # --- in threads

    def _commit(self, chunks: tuple[bytes, ...]) -> Stored:
        part, self._file = self._file, None
        if part is None:
            part = TemporaryFile(self._disk, self._device.path, self._hashtypes)
        whole = TemporaryFile(self._disk, self._device.path)
        try:
            if part.fd < 0:
                part.open()
            part.write(chunks)
            part.check(self._expected)
            whole.open()
            turn = self._disk.lock_folder(f"{self._device.path}/{OWN_FOLDER}")
            try:
                self._join(part, whole)
                return self._put_in_place(whole)
            finally:
                if turn is not None:
                    self._disk.close(turn)
        finally:
            whole.discard()
            part.discard()

    def _join(self, part: TemporaryFile, whole: TemporaryFile) -> None:
        try:
            fd, found = self._disk.open(f"{self._device.path}/{self._relative}")
        except FileNotFoundError:
            fd, size = -1, 0
        else:
            size = found.size
        try:
            if self._start > size:
                raise PartOutside(size)
            for data in pieces(self._disk, fd, 0, self._start):
                whole.write([data])
            for data in part.read_back():
                whole.write([data])
            for data in pieces(self._disk, fd, self._start + part.size, size):
                whole.write([data])
        finally:
            if fd >= 0:
                self._disk.close(fd)
