"""Every reader sees the old or the new file, whole, at any moment.

Readers read one key in a loop, by get_paths and a GET and through the native port,
while it is overwritten, renamed, deleted and made again.
"""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from koboldfs import Client
from test.functional.case import FunctionalCase
from test.functional.cluster import DOMAIN
from test.functional.tracker_line import Refused

#: Small ones and some that take more than one packet.
SIZES_BYTES = (10, 3000, 150_000)
OVERWRITES = 25
READERS = 2
#: What happens to one file takes a few seconds on an idle machine.
END_SECONDS = 60.0


def content(version: int) -> bytes:
    """What the key has in that version: one word, repeated, and its length."""
    size = SIZES_BYTES[version % len(SIZES_BYTES)]
    word = b"version %08d." % version
    return (word * (size // len(word) + 1))[:size]


def version_of(data: bytes) -> int:
    """Which version that is; raises AssertionError if it is none, or not whole."""
    digits = data[8 : data.find(b".")] if b"." in data[:20] else data[8:16]
    version = int(digits) if digits.isdigit() and len(digits) == 8 else -1
    if version < 0:
        # The shortest ones end before their number does.
        assert data == b"version 00", data[:40]
        return -1
    assert data == content(version), (version, len(data), data[:40])
    return version


class Readers:
    """Threads that read a key until they are told to end."""

    def __init__(self, cluster: Any, keys: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._keys = keys
        self._over = threading.Event()
        self.reads = 0
        self.absent = 0
        self.faults: list[str] = []
        works = [self._through_urls, self._through_native] * READERS
        self._threads = [
            threading.Thread(target=self._loop, args=(work,), daemon=True)
            for work in works
        ]
        for thread in self._threads:
            thread.start()

    def _loop(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.faults.append(f"{work.__name__}: {type(error).__name__}: {error}")

    def _read(self, fetch: Callable[[str], bytes | None]) -> None:
        """One look: the first of the keys that is there must be a whole file."""
        for key in self._keys:
            data = fetch(key)
            if data is not None:
                version_of(data)
                self.reads += 1
                return
        self.absent += 1

    def _through_urls(self) -> None:
        with self._cluster.tracker() as tracker:

            def fetch(key: str) -> bytes | None:
                try:
                    fields = tracker.ask(
                        "get_paths", domain=DOMAIN, key=key, noverify=1
                    )
                except Refused as refused:
                    assert "unknown_key" in str(refused), refused
                    return None
                return _get(fields["path1"])

            while not self._over.is_set():
                self._read(fetch)

    def _through_native(self) -> None:
        with Client(DOMAIN, servers=self._cluster.servers()) as client:

            def fetch(key: str) -> bytes | None:
                output = io.BytesIO()
                return output.getvalue() if client.get(key, output) else None

            while not self._over.is_set():
                self._read(fetch)

    def end(self) -> None:
        """Let them end."""
        self._over.set()
        for thread in self._threads:
            thread.join(END_SECONDS)


def _get(url: str) -> bytes:
    """The bytes of a URL; raises AssertionError for anything but 200."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=20
    )
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, f"{url} -> {answer.status}"
        return data
    finally:
        connection.close()


class Atomic:
    """Run on each kind of database."""

    def setUp(self: Any) -> None:
        """A cluster with one file."""
        super().setUp()  # type: ignore[misc]
        self.nodes = self.cluster(2)
        self.client = Client(DOMAIN, servers=self.nodes.servers())
        self.addCleanup(self.client.close)

    def put(self: Any, key: str, version: int) -> None:
        """Store that version."""
        self.client.put(key, io.BytesIO(content(version)))

    def check(self: Any, readers: Readers, *, always: bool) -> None:
        """Nobody saw anything but whole files; there was one all along, if so said."""
        readers.end()
        self.assertEqual(readers.faults, [])
        self.assertGreater(readers.reads, 5)
        if always:
            self.assertEqual(readers.absent, 0)

    def test_readers(self: Any) -> None:
        """Overwritten, renamed, deleted and made again, under the eyes of readers; and
        a reader who comes late."""
        self.overwritten()
        self.renamed_and_deleted()
        self.late_reader()

    def overwritten(self: Any) -> None:
        """There is a file at any moment, and whoever stored one reads that one."""
        self.put("key", 0)
        readers = Readers(self.nodes, ("key",))
        for version in range(1, OVERWRITES):
            self.put("key", version)
            output = io.BytesIO()
            self.assertTrue(self.client.get("key", output))
            self.assertEqual(output.getvalue(), content(version))
        self.check(readers, always=True)

    def renamed_and_deleted(self: Any) -> None:
        """A key that comes and goes is whole or not there; nothing deleted is found."""
        readers = Readers(self.nodes, ("comes", "goes"))
        for version in range(OVERWRITES):
            self.put("comes", version)
            self.assertTrue(self.client.rename("comes", "goes"))
            self.assertIsNone(self.client.stat("comes"))
            self.assertTrue(self.client.delete("goes"))
            self.assertIsNone(self.client.stat("goes"))
        self.check(readers, always=False)

    def late_reader(self: Any) -> None:
        """Who was told where a file is just before it was overwritten still finds it,
        and after the grace its bytes are gone."""
        with self.nodes.tracker() as tracker:
            tracker.ask(
                "set_server_setting", key="kobold_delete_grace_seconds", value=2
            )
            self.put("key", 1)
            path = tracker.ask("get_paths", domain=DOMAIN, key="key")["path1"]
        self.put("key", 4)
        time.sleep(0.7)  # two looks of the job that deletes
        self.assertEqual(_get(path), content(1))
        deadline = time.monotonic() + 20
        with self.assertRaisesRegex(AssertionError, "404"):
            while time.monotonic() < deadline:
                _get(path)
                time.sleep(0.2)


class OnSQLite(Atomic, FunctionalCase):
    """One tracker on SQLite."""

    database = "sqlite"


class OnPostgreSQL(Atomic, FunctionalCase):
    """Two trackers on PostgreSQL."""

    database = "postgresql"
