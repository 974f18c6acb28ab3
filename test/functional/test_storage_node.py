"""A real storage node: a process, sockets, and a disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.fid import relative_path, uri
from test.functional.storage_process import STEP_SECONDS, StorageProcess

LARGE_BYTES = 2**30
#: What storing and reading a file of any length may add to a node (KiB).
MEMORY_KIB = 50_000
PIECE = bytes(range(256)) * 4096


class StorageNodeCase(SynchronousTestCase):
    """A folder for nodes."""

    def setUp(self) -> None:
        """The folder."""
        self.root = Path(tempfile.mkdtemp(prefix="koboldfs-storage-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)

    def start(self, name: str = "node", **options: int) -> StorageProcess:
        """A node, stopped with the test."""
        node = StorageProcess(self.root / name, **options)
        self.addCleanup(node.stop)
        return node

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until it is true."""
        end = time.monotonic() + STEP_SECONDS
        while not true():
            self.assertLess(time.monotonic(), end, "it never came true")
            time.sleep(0.02)

    def begin_put(self, node: StorageProcess, fid: int, size: int) -> socket.socket:
        """A connection on which half of a file was sent."""
        connection = node.connect()
        head = (
            f"PUT {uri(1, fid)} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
        )
        connection.sendall(head.encode())
        left = size // 2
        while left > 0:
            connection.sendall(PIECE[:left])
            left -= len(PIECE)
        return connection


class Memory(StorageNodeCase):
    """Bytes stream."""

    def test_large_file(self) -> None:
        """A GiB goes in and out, is the same, and the process does not grow."""
        node = self.start()
        node.request("PUT", uri(1, 1), PIECE)
        node.request("GET", uri(1, 1))
        before = node.memory_kib("VmRSS")
        digest = hashlib.sha256()
        with self.begin_put(node, 2, LARGE_BYTES) as connection:
            for _ in range(LARGE_BYTES // 2 // len(PIECE)):
                connection.sendall(PIECE)
            connection.settimeout(60)
            self.assertTrue(connection.recv(4096).startswith(b"HTTP/1.1 201 "))
            connection.sendall(f"GET {uri(1, 2)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            with connection.makefile("rb") as stream:
                while stream.readline() != b"\r\n":
                    pass
                left = LARGE_BYTES
                while left:
                    data = stream.read(min(left, 2**20))
                    self.assertNotEqual(data, b"")
                    digest.update(data)
                    left -= len(data)
        grown = node.memory_kib("VmHWM") - before
        self.assertLess(grown, MEMORY_KIB)
        (said,) = node.ask("kobold 1 stat devid=1&fid=2")
        wanted = hashlib.sha256()
        for _ in range(LARGE_BYTES // len(PIECE)):
            wanted.update(PIECE)
        self.assertEqual(digest.digest(), wanted.digest())
        self.assertIn(f"size={LARGE_BYTES}&checksum=SHA-256:{wanted.hexdigest()}", said)


class Readers(StorageNodeCase):
    """Long files on their way out, past the process."""

    size = 32 * len(PIECE)

    def setUp(self) -> None:
        """A node with a long file."""
        super().setUp()
        self.node = self.start(fsync=False)
        self.node.request("PUT", uri(1, 1), PIECE * 32)
        self.node.request("PUT", uri(1, 2), b"short")

    def ask(self, *requests: tuple[int, str]) -> socket.socket:
        """A connection on which files were asked for, with header lines."""
        connection = self.node.connect()
        for fid, lines in requests:
            head = f"GET {uri(1, fid)} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
            connection.sendall(head.encode())
        return connection

    def test_order(self) -> None:
        """Spans of a file and short files, asked for at once by one who reads late,
        come whole and one after another."""
        spans = ((5, 3 * len(PIECE)), (0, self.size), (self.size - 9, self.size))
        requests = []
        for start, stop in spans:
            requests += [(1, f"Range: bytes={start}-{stop - 1}\r\n"), (2, "")]
        with self.ask(*requests) as connection, connection.makefile("rb") as stream:
            time.sleep(0.2)
            for start, stop in spans:
                for data in ((PIECE * 32)[start:stop], b"short"):
                    while stream.readline() != b"\r\n":
                        pass
                    self.assertTrue(stream.read(len(data)) == data)

    def test_who_goes(self) -> None:
        """Whoever leaves in the middle leaves nothing behind."""
        descriptors = Path(f"/proc/{self.node.process.pid}/fd")
        before = len(list(descriptors.iterdir()))
        for _ in range(8):
            with self.ask((1, "")) as connection:
                self.assertGreater(len(connection.recv(1000)), 0)
        self.until(lambda: len(list(descriptors.iterdir())) <= before)
        self.assertEqual(self.node.request("GET", uri(1, 2))[1], b"short")

    def test_shrunk(self) -> None:
        """A file that becomes shorter while it is sent ends the connection early."""
        with self.ask((1, "")) as connection:
            self.assertEqual(connection.recv(4), b"HTTP")
            path = self.node.device(1) / relative_path(1)
            os.truncate(path, self.size // 2)
            received, data = 4, b"x"
            while data:
                try:
                    data = connection.recv(2**20)
                except ConnectionResetError:
                    break
                received += len(data)
            self.assertLess(received, self.size)
        self.assertEqual(self.node.request("GET", uri(1, 2))[1], b"short")


class BrokenUploads(StorageNodeCase):
    """Uploads that never end."""

    def test_client_goes(self) -> None:
        """A PUT that stops halfway leaves nothing, and the old file as it was."""
        node = self.start()
        self.assertEqual(node.request("PUT", uri(1, 1), b"old")[0], 201)
        for size in (1000, 200_000, 8_000_000):
            connection = self.begin_put(node, 1, size)
            if size > 100_000:
                self.until(lambda: len(node.files()) == 2)
            connection.close()
            self.until(lambda: node.files() == {relative_path(1)})
        self.assertEqual(node.request("GET", uri(1, 1)), (200, b"old"))

    def test_killed(self) -> None:
        """After kill -9 in the middle of a PUT the next start cleans up; what was
        answered is there, and a file that is being written elsewhere is not touched."""
        node = self.start()
        self.assertEqual(node.request("PUT", uri(1, 1), b"answered")[0], 201)
        connection = self.begin_put(node, 2, 8_000_000)
        self.until(lambda: len(node.files()) == 2)
        second = self.start()  # on the same folders, by mistake
        self.assertEqual(len(node.files()), 2)
        second.stop()
        node.kill()
        connection.close()
        self.assertEqual(len(node.files()), 2)
        again = self.start()
        self.assertEqual(again.files(), {relative_path(1)})
        self.assertEqual(again.request("GET", uri(1, 1)), (200, b"answered"))


class Disks(StorageNodeCase):
    """Disks that come and go."""

    def test_unmounted(self) -> None:
        """While another folder is in the place of a device, it is not served, not
        written to, and no file is said to be missing; the right one is taken back."""
        node = self.start(devices=2)
        marker = '{"cluster": "c", "devid": 1, "host": "h", "uuid": "u", "version": 1}'
        (node.device(1) / ".koboldfs-device").write_text(marker)
        (node.root / "data" / "node.json").write_text('{"devices": {"1": "u"}}')
        node.stop()
        node = self.start(devices=2)
        self.assertEqual(node.request("PUT", uri(1, 1), b"data")[0], 201)
        away = node.root / "away"
        node.device(1).rename(away)
        node.device(1).mkdir()
        self.assertEqual(node.request("GET", uri(1, 1))[0], 503)
        self.until(lambda: node.request("GET", "/dev1/usage")[0] == 503)
        self.assertEqual(node.request("PUT", uri(1, 2), b"data")[0], 503)
        self.assertEqual(node.request("DELETE", uri(1, 1))[0], 503)
        self.assertEqual(node.request("PUT", uri(2, 2), b"data")[0], 201)
        (said,) = node.ask("kobold 1 usage")
        self.assertIn("dev1_observed=unreachable", said)
        self.assertEqual(list(node.device(1).iterdir()), [])
        node.device(1).rmdir()
        away.rename(node.device(1))
        self.until(lambda: node.request("GET", uri(1, 1)) == (200, b"data"))
        self.until(lambda: node.request("PUT", uri(1, 2), b"data")[0] == 201)


class Pulls(StorageNodeCase):
    """Copies between two nodes."""

    def test_many(self) -> None:
        """Short files side by side and a long one; a wrong checksum is not taken."""
        source, target = self.start("source"), self.start("target")
        sizes = [1000] * 300 + [20_000_000]
        data = [str(number).encode() * size for number, size in enumerate(sizes)]
        data = [one[:size] for one, size in zip(data, sizes, strict=True)]
        for number, one in enumerate(data, 1):
            self.assertEqual(source.request("PUT", uri(1, number), one)[0], 201)
        asked = [
            f"kobold {number} pull devid=1&fid={number}&size={len(one)}&fromdevid=1"
            f"&host={source.http_port}"
            f"&checksum=SHA-256:{hashlib.sha256(one).hexdigest()}"
            for number, one in enumerate(data, 1)
        ]
        replies = target.ask(*asked)
        self.assertEqual({reply.split()[2] for reply in replies}, {"OK"})
        for number, one in enumerate(data, 1):
            self.assertEqual(target.request("GET", uri(1, number)), (200, one))
        wrong = asked[0].replace("fid=1&", "fid=999&").replace(str(1000), "999")
        (reply,) = target.ask(wrong)
        self.assertIn("ERR source_missing", reply)
        (reply,) = target.ask(asked[0].replace("devid=1&fid=1&", "devid=1&fid=2&"))
        self.assertIn("ERR source_corrupt", reply)
        self.assertEqual(target.request("GET", uri(1, 2)), (200, data[1]))
