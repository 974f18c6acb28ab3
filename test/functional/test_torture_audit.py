"""What the torture finds: each kind of loss, made on purpose, is told."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from test.functional.cluster import DOMAIN
from test.torture.audit import Audit, audit
from test.torture.ledger import Ledger, digest_of

TABLES = """
create table file (fid, dkey, length);
create table file_on (fid, devid);
create table device (devid, status);
create table kobold_checksum (fid, checksum);
create table tempfile (fid);
create table file_to_delete2 (fid);
create table file_to_replicate (fid, nexttry, failcount);
insert into device values (1, 'alive'), (2, 'alive'), (3, 'dead');
"""
CONTENT = b"content"


class OneFile(SynchronousTestCase):
    """A file with two copies, in tables and folders without any process."""

    def setUp(self) -> None:
        """All is well."""
        self.folder = Path(tempfile.mkdtemp(prefix="koboldfs-audit-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.execute(TABLES)
        self.execute("insert into file values (7, 'key', 7)")
        self.execute("insert into file_on values (7, 1), (7, 2)")
        for devid in (1, 2):
            self.path(devid).parent.mkdir(parents=True)
            self.path(devid).write_bytes(CONTENT)
        self.ledger = Ledger()
        self.ledger.begin("key", digest_of(CONTENT))
        self.ledger.sure("key", digest_of(CONTENT))
        self.fetched = CONTENT

    def execute(self, script: str) -> None:
        """Change the database."""
        with closing(sqlite3.connect(self.folder / "db")) as connection:
            connection.executescript(script)

    def path(self, devid: int, fid: int = 7) -> Path:
        """Where a copy lies."""
        device = self.folder / "node" / "data" / "devices" / f"dev{devid}"
        return device / "0" / f"{fid:010d}.fid"

    def audit(self) -> Audit:
        """What is found, without waiting for quiet."""
        node = SimpleNamespace(folder=self.folder / "node")

        class Tracker:
            def __enter__(self) -> Any:
                return self

            def __exit__(self, *reason: object) -> None:
                pass

            def fetch(tracker, domain: str, key: str) -> bytes:
                self.assertEqual(domain, DOMAIN)
                return self.fetched

        estate: Any = SimpleNamespace(
            url=f"sqlite://{self.folder / 'db'}", stores=[node], tracker=Tracker
        )
        return audit(estate, self.ledger, 2)

    def assert_told(self, *words: str) -> None:
        """There are faults, one for each of the words, and no other."""
        faults = self.audit().faults
        self.assertEqual(len(faults), len(words), faults)
        for word, fault in zip(words, faults, strict=True):
            self.assertIn(word, fault)

    def test_well(self) -> None:
        """Nothing is told of what is well, and all of it was looked at."""
        found = self.audit()
        self.assertEqual(found.faults, [])
        self.assertEqual((found.files, found.copies, found.fetched), (1, 2, 1))
        self.assertEqual((found.extra_copies, found.orphans), (0, 0))

    def test_lost(self) -> None:
        """An acknowledged key that no row knows."""
        self.execute("delete from file; delete from file_on")
        self.assert_told("acknowledged, and lost")

    def test_no_bytes(self) -> None:
        """A recorded copy that is not there."""
        self.path(2).unlink()
        self.assert_told("no bytes on dev2")

    def test_wrong_bytes(self) -> None:
        """A copy that is not what was stored."""
        self.path(1).write_bytes(b"CONTENT")
        self.assert_told("wrong bytes on dev1")

    def test_old_bytes(self) -> None:
        """What was replaced by an acknowledged store must not come back."""
        new = digest_of(b"newer")
        self.ledger.begin("key", new)
        self.assertEqual(self.audit().faults, [])
        self.ledger.sure("key", new)
        self.assert_told("wrong bytes on dev1", "wrong bytes on dev2", "other bytes")

    def test_wrong_length(self) -> None:
        """A recorded length that is not the copy's."""
        self.execute("update file set length = 6")
        self.assert_told("recorded 6", "recorded 6")

    def test_wrong_checksum(self) -> None:
        """A recorded checksum that is not the copy's."""
        self.execute("insert into kobold_checksum values (7, x'00')")
        self.assert_told("another checksum", "another checksum")

    def test_came_back(self) -> None:
        """A deleted key must not have a file."""
        self.ledger.begin("key", None)
        self.assertEqual(self.audit().faults, [])
        self.ledger.sure("key", None)
        self.assert_told("wrong bytes on dev1", "wrong bytes on dev2", "other bytes")

    def test_stranger(self) -> None:
        """A file that nobody stored."""
        self.ledger.allowed.clear()
        self.assert_told("nobody stored it", "fetched other bytes")

    def test_fetched(self) -> None:
        """A node that answers with other bytes than it has."""
        self.fetched = b"something"
        self.assert_told("fetched other bytes")

    def test_unknown_bytes(self) -> None:
        """What no row knows is counted, unless it waits to be deleted; what lies on a
        dead device is nobody's affair."""
        self.path(1, 8).write_bytes(b"")
        self.path(1, 9).write_bytes(b"")
        self.execute("insert into file_to_delete2 values (9)")
        self.execute("delete from file_on where devid = 2")
        self.execute("insert into file_on values (7, 3)")
        found = self.audit()
        self.assertEqual(found.faults, [])
        self.assertEqual((found.extra_copies, found.orphans), (1, 1))
