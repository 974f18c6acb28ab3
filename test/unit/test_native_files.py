"""Files on the client's side: sources, destinations, downloads, open files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from koboldfs import native_files
from koboldfs.native_files import Destination, RemoteFile, Source, fetch
from koboldfs.native_link import (
    ChecksumError,
    ConnectionBroken,
    FileChanged,
    KeyMissing,
    Unsupported,
)
from koboldfs.wire.native import Stat


class Pipe:
    """Gives its pieces once."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = list(pieces)

    def read(self, limit: int) -> Any:
        """The next piece."""
        return self.pieces.pop(0) if self.pieces else b""


class Sources(SynchronousTestCase):
    """What is uploaded."""

    def test_path(self) -> None:
        """A path has a size, can begin again, and is closed."""
        path = Path(self.mktemp())
        path.write_bytes(b"abcd")
        for name in (path, str(path), os.fsencode(path)):
            with Source(name) as source:
                self.assertEqual(source.size, 4)
                self.assertEqual(source.read(3), b"abc")
                source.rewind()
                self.assertEqual(source.read(9), b"abcd")
            self.assertTrue(source._file.closed)

    def test_file_in_the_middle(self) -> None:
        """A file is sent from where it stands, also the second time."""
        stream = io.BytesIO(b"abcd")
        stream.read(1)
        with Source(stream) as source:
            self.assertEqual((source.size, source.read(9)), (3, b"bcd"))
            source.rewind()
            self.assertEqual(source.read(9), b"bcd")
        self.assertFalse(stream.closed)

    def test_pipe(self) -> None:
        """What cannot seek has no size, and begins once."""
        source = Source(Pipe(b"a"))
        self.assertIsNone(source.size)
        source.rewind()
        source.read(1)
        self.assertRaises(ConnectionBroken, source.rewind)

    def test_device(self) -> None:
        """A device's size is not what seeking says."""
        with Source("/dev/null") as source:
            self.assertIsNone(source.size)
            self.assertEqual(source.read(5), b"")

    def test_seek_that_says_nothing(self) -> None:
        """Files whose seek returns None are measured by tell."""

        class Silent(io.BytesIO):
            """Like files of old."""

            def seek(self, *where: int) -> Any:
                """Goes there, says nothing."""
                super().seek(*where)

        self.assertEqual(Source(Silent(b"abc")).size, 3)

    def test_wrong(self) -> None:
        """Text, files that would not block, and what is no file at all."""
        self.assertRaises(TypeError, Source(io.StringIO("text")).read, 5)
        self.assertRaises(BlockingIOError, Source(Pipe(None)).read, 5)
        self.assertRaises(TypeError, Source, 5)
        self.assertRaises(FileNotFoundError, Source, "/nowhere/at/all")

    def test_measure(self) -> None:
        """A source without a size is read through; then it has one, and can rewind."""
        source = Source(Pipe(b"ab", b"c"))
        source.measure()
        self.assertEqual((source.size, source.read(9)), (3, b"abc"))
        source.rewind()
        self.assertEqual(source.read(9), b"abc")
        source.close()
        known = Source(io.BytesIO(b"x"))
        known.measure()
        self.assertEqual(known.size, 1)

    def test_measure_fails(self) -> None:
        """A source that fails while it is measured raises what it raised."""
        self.assertRaises(BlockingIOError, Source(Pipe(b"a", None)).measure)


class Destinations(SynchronousTestCase):
    """Where a download goes."""

    def test_path(self) -> None:
        """A path is what it was until all is there."""
        path = Path(self.mktemp())
        path.write_bytes(b"old")
        with Destination(path) as target:
            target.begin()
            target.write(b"new")
            self.assertEqual(path.read_bytes(), b"old")
            target.keep()
        self.assertEqual(path.read_bytes(), b"new")
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual(path.stat().st_mode & 0o777, 0o666 & ~mask)

    def test_path_given_up(self) -> None:
        """What did not come to its end leaves nothing, nowhere."""
        folder = Path(self.mktemp())
        folder.mkdir()
        with Destination(folder / "new") as target:
            target.begin()
            target.write(b"half")
        with Destination(folder / "none"):
            pass
        self.assertEqual(list(folder.iterdir()), [])

    def test_rewind(self) -> None:
        """What was written can be taken back, but no more than that."""
        stream = io.BytesIO(b"head")
        stream.seek(4)
        target = Destination(stream)
        target.write(b"wrong")
        self.assertTrue(target.rewind())
        target.write(b"ok")
        self.assertEqual(stream.getvalue(), b"headok")

    def test_no_rewind(self) -> None:
        """What cannot be taken back is not, unless it is nothing."""

        class Sink:
            """Takes bytes."""

            def write(self, data: bytes) -> None:
                """Takes them."""

        target = Destination(Sink())
        self.assertTrue(target.rewind())
        target.write(b"x")
        self.assertFalse(target.rewind())

    def test_little_by_little(self) -> None:
        """A file that takes less than it is given is given the rest."""
        taken: list[bytes] = []

        class Narrow:
            """Takes two bytes at a time."""

            def write(self, data: bytes) -> int:
                """Takes two."""
                taken.append(bytes(data[:2]))
                return len(taken[-1])

        Destination(Narrow()).write(b"abcde")
        self.assertEqual(taken, [b"ab", b"cd", b"e"])

    def test_not_blocking(self) -> None:
        """A file that takes nothing now is an error, not a loss."""

        class Full(io.RawIOBase):
            """Takes nothing."""

            taken: int | None = None

            def write(self, data: Any) -> int | None:
                """Takes nothing."""
                return self.taken

        full = Full()
        self.assertRaises(BlockingIOError, Destination(full).write, b"x")
        full.taken = 0
        self.assertRaises(BlockingIOError, Destination(full).write, b"x")

    def test_begun_twice(self) -> None:
        """A download that goes on elsewhere goes on in the same place."""
        path = Path(self.mktemp())
        with Destination(path) as target:
            for piece in (b"ab", b"cd"):
                target.begin()
                target.write(piece)
            target.keep()
        self.assertEqual(path.read_bytes(), b"abcd")

    def test_wrong(self) -> None:
        """What cannot be written to is refused before anything is asked."""
        self.assertRaises(TypeError, Destination, 5)


@define(eq=False)
class Transfer:
    """A download that goes as planned."""

    stat: Stat | None
    planned: list[Any]
    checksum: str | None

    def pieces(self) -> Iterator[bytes]:
        """Bytes, and what is to be raised between them."""
        for one in self.planned:
            if isinstance(one, Exception):
                raise one
            yield one


@define(eq=False, slots=False)
class Planned:
    """A server whose downloads go as planned, one after another."""

    plans: list[Any]
    checksum: str | None = None
    stat: Stat | None = field(factory=lambda: Stat(5, 6, 2))
    asked: list[tuple[Any, ...]] = field(factory=list)
    link: Any = None

    def __attrs_post_init__(self) -> None:
        self.link = self
        self.name = "server"

    def close(self) -> None:
        """The link's end."""

    def get(self, domain: bytes, key: bytes, *rest: Any) -> Transfer:
        """The next plan."""
        self.asked.append(rest)
        plan = self.plans.pop(0)
        if isinstance(plan, Exception):
            raise plan
        return Transfer(self.stat, plan, self.checksum)

    def run(self, act: Callable[[Any], Any], **options: Any) -> Any:
        """As `Servers.run` does with one server that always works again."""
        for _ in range(5):
            try:
                return act(self)
            except ConnectionBroken as broken:
                error = broken
        raise error


def sum_of(data: bytes) -> str:
    """A checksum as text."""
    return f"SHA-256:{sha256(data).hexdigest()}"


class Fetching(SynchronousTestCase):
    """Downloads that survive."""

    def fetch(self, server: Planned, stream: Any = None) -> bytes:
        """The bytes that came."""
        stream = io.BytesIO() if stream is None else stream
        with Destination(stream) as target:
            fetch(server.run, b"d", b"key", target)
        return bytes(stream.getvalue())

    def test_at_once(self) -> None:
        """A download without trouble."""
        server = Planned([[b"abc", b"def"]], sum_of(b"abcdef"))
        self.assertEqual(self.fetch(server), b"abcdef")
        self.assertEqual(server.asked, [(0, None, None)])

    def test_goes_on(self) -> None:
        """After a break it goes on at the same place, of the same file."""
        plans = [[b"abc", ConnectionBroken()], [b"def"]]
        server = Planned(plans, sum_of(b"abcdef"))
        self.assertEqual(self.fetch(server), b"abcdef")
        self.assertEqual(server.asked, [(0, None, None), (3, None, 5)])

    def test_wrong_bytes(self) -> None:
        """Wrong bytes are fetched again, from the beginning."""
        server = Planned([[b"abX"], [b"abc"]], sum_of(b"abc"))
        self.assertEqual(self.fetch(server), b"abc")

    def test_always_wrong(self) -> None:
        """Wrong bytes again and again are an error."""
        server = Planned([[b"X"]] * native_files.DOWNLOADS, sum_of(b"abc"))
        self.assertRaises(ChecksumError, self.fetch, server)
        self.assertEqual(server.plans, [])

    def test_wrong_bytes_for_good(self) -> None:
        """Wrong bytes that cannot be taken back are an error at once."""

        class Sink:
            """Takes bytes."""

            def write(self, data: bytes) -> None:
                """Takes them."""

        server = Planned([[b"X"], [b"abc"]], sum_of(b"abc"))
        self.assertRaises(ChecksumError, self.fetch, server, Sink())

    def test_changed_meanwhile(self) -> None:
        """A file that was replaced in the middle is never mixed with its successor."""
        changed = FileChanged("changed", "changed")
        plans = [[b"old", ConnectionBroken()], changed, [b"new!"]]
        self.assertEqual(self.fetch(Planned(plans, sum_of(b"new!"))), b"new!")

    def test_without_checksum(self) -> None:
        """A file without a checksum, or with another kind, is taken as it came."""
        self.assertEqual(self.fetch(Planned([[b"abc"]])), b"abc")
        self.assertEqual(self.fetch(Planned([[b"abc"]], "MD5:00")), b"abc")

    def test_missing(self) -> None:
        """No file, no bytes."""
        server = Planned([KeyMissing("unknown_key", "No")])
        self.assertRaises(KeyMissing, self.fetch, server)

    def test_cannot_go_on(self) -> None:
        """An old server in between cannot go on: it counts as one that broke."""
        plans = [[b"abc", ConnectionBroken()], Unsupported("ranges"), [b"def"]]
        server = Planned(plans, sum_of(b"abcdef"))
        self.assertEqual(self.fetch(server), b"abcdef")


class Opened(SynchronousTestCase):
    """A stored file as a Python file."""

    data = bytes(range(256)) * 4096

    def setUp(self) -> None:
        """A server that gives any range."""
        self.ranges: list[tuple[int, int]] = []
        self.stat = Stat(5, len(self.data), 2)
        self.error: Exception | None = None
        self.raw = RemoteFile(self.run_it, b"d", b"key", self.stat)

    def run_it(self, act: Callable[[Any], Any]) -> Any:
        """As `Servers.run`."""
        server = Planned([], stat=self.stat)

        def get(domain: bytes, key: bytes, start: int, length: int, fid: int) -> Any:
            self.assertEqual(fid, 5)
            if self.error is not None:
                raise self.error
            self.ranges.append((start, length))
            return Transfer(self.stat, [self.data[start : start + length]], None)

        server.get = get  # type: ignore[method-assign]
        return act(server)

    def test_in_order(self) -> None:
        """Windows grow while the file is read in order, up to a limit."""
        self.assertEqual(self.raw.read(), self.data)
        sizes = [length for _, length in self.ranges]
        self.assertEqual(sizes[0], native_files.FIRST_WINDOW_BYTES)
        self.assertEqual(sizes[1], 2 * native_files.FIRST_WINDOW_BYTES)
        self.assertLess(len(sizes), 6)

    def test_anywhere(self) -> None:
        """After a seek little is fetched; what is at hand is not fetched again."""
        self.assertEqual(self.raw.seek(1000), 1000)
        self.assertEqual(self.raw.read(3), self.data[1000:1003])
        self.raw.seek(-3, os.SEEK_CUR)
        self.assertEqual(self.raw.read(3), self.data[1000:1003])
        self.assertEqual(len(self.ranges), 1)
        self.raw.seek(-2, os.SEEK_END)
        self.assertEqual(self.raw.read(10), self.data[-2:])
        self.assertEqual(self.ranges[1], (len(self.data) - 2, 2))

    def test_beyond_the_end(self) -> None:
        """There is nothing, and nobody is asked."""
        self.raw.seek(5, os.SEEK_END)
        self.assertEqual(self.raw.read(10), b"")
        self.assertEqual(self.raw.tell(), len(self.data) + 5)
        self.assertRaises(ValueError, self.raw.seek, -1)
        self.assertEqual(self.ranges, [])

    def test_what_it_can(self) -> None:
        """It reads and seeks, and does not write."""
        self.assertTrue(self.raw.readable() and self.raw.seekable())
        self.assertFalse(self.raw.writable())

    def test_lines(self) -> None:
        """Buffered, it is a file like any other."""
        stream = io.BufferedReader(self.raw)
        self.assertEqual(stream.readline(), self.data[:11])

    def test_changed(self) -> None:
        """A file that is replaced, or gone, is not mixed with another."""
        for error in (FileChanged("changed", "x"), KeyMissing("unknown_key", "x")):
            self.error = error
            self.assertRaises(FileChanged, self.raw.read, 1)

    def test_too_little(self) -> None:
        """A server that gives less than it says is not believed."""
        self.stat = Stat(5, len(self.data) + 9, 2)
        raw = RemoteFile(self.run_it, b"d", b"key", self.stat)
        raw.seek(-20, os.SEEK_END)
        self.assertRaises(ConnectionBroken, raw.read, 20)
