"""What a native connection does to the name space."""

from __future__ import annotations

from collections.abc import Coroutine
from hashlib import sha256
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from koboldfs import errors
from koboldfs.model.entities import SHA256, Checksum, Closing, Located
from koboldfs.tracker import native_session
from koboldfs.tracker.native_body import Body, ClientLost
from koboldfs.tracker.native_download import Download
from koboldfs.tracker.native_session import Checksums, Session, matches
from test.fakes.namespace import DOMAIN, MemoryNamespace


class SessionCase(SynchronousTestCase):
    """A session over city hall in memory."""

    def setUp(self) -> None:
        """The session."""
        names: Any = MemoryNamespace()
        self.names = names
        self.clock = Clock()
        self.checksums = Checksums(self.names)
        self.session = Session(
            self.names, self.checksums, self.clock.seconds, "192.0.2.7"
        )

    def run_it(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Its result, now."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fails(self, coroutine: Coroutine[Any, Any, Any], kind: type[Exception]) -> None:
        """It raises that, now."""
        self.failureResultOf(Deferred.fromCoroutine(coroutine), kind)

    def storing(
        self, key: str, data: bytes, digest: bytes | None = None
    ) -> Coroutine[Any, Any, Closing]:
        """An upload with a sha256."""
        body = Body(lambda: None)
        body.push(data)
        body.end(sha256(data).digest() if digest is None else digest)
        return self.session.store(DOMAIN, key, body, lambda trailer: None)

    def located(self, key: str) -> Located:
        """The file of a key."""
        found: Located = self.run_it(self.names.locate(DOMAIN, key))
        return found


class Names(SessionCase):
    """Bytes from the wire to names."""

    def test_domain(self) -> None:
        """A domain that cannot be is one that is not there."""
        found = self.session.domain(b"d")
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(found)), DOMAIN)
        for name, error in ((b"x" * 256, errors.UnknownDomain), (b"", errors.NoDomain)):
            asked = Deferred.fromCoroutine(self.session.domain(name))
            self.failureResultOf(asked, error)

    def test_key(self) -> None:
        """Keys are bytes, each a character; empty and long ones are refused."""
        self.assertEqual(self.session.new_key(b"\xff"), "\xff")
        self.assertEqual(len(self.session.new_key(b"k" * 1024)), 1024)
        self.assertRaises(errors.KeyTooLong, self.session.new_key, b"k" * 1025)
        self.assertRaises(errors.NoKey, self.session.new_key, b"")


class Storing(SessionCase):
    """Uploads."""

    def test_alone(self) -> None:
        """Without BEGIN an upload is there when it is answered."""
        closing = self.run_it(self.storing("key", b"data"))
        self.assertEqual(self.names.data("key"), b"data")
        self.assertEqual(closing.length, 4)

    def test_other_bytes(self) -> None:
        """Bytes that are not what was sent are not stored."""
        self.fails(self.storing("key", b"data", bytes(32)), errors.ChecksumMismatch)
        self.assertEqual((self.names.data("key"), self.names.uploads), (None, set()))

    def test_failures(self) -> None:
        """Whatever fails, wherever: nothing of the upload stays."""
        for method in ("begin_put", "write", "finish", "close_recorded"):
            for error in (errors.NodeFault, errors.DatabaseAway, RuntimeError):
                self.names.failing = {method: [error()]}
                self.fails(self.storing("key", b"data"), error)
                self.assertEqual(self.names.uploads, set(), method)
                self.assertIsNone(self.names.data("key"), method)

    def test_lost_before_the_record(self) -> None:
        """A client that is gone when the copies are made has stored nothing: it may
        have stored something newer through another tracker since."""
        ready = self.names.pausing["finish"] = Deferred()
        body = Body(lambda: None)
        body.push(b"old")
        body.end(sha256(b"old").digest())
        storing = Deferred.fromCoroutine(
            self.session.store(DOMAIN, "key", body, lambda trailer: None)
        )
        self.names.store("key", b"new")
        body.fail(ClientLost())
        ready.callback(None)
        self.failureResultOf(storing, ClientLost)
        self.assertEqual(self.names.data("key"), b"new")
        self.assertEqual(self.names.uploads, set())

    def test_failure_upon_failure(self) -> None:
        """That an upload cannot be abandoned does not hide why it had to be."""
        self.names.failing = {
            "finish": [errors.NodeFault()],
            "abandon": [errors.DatabaseAway()],
        }
        self.fails(self.storing("key", b"data"), errors.NodeFault)

    def test_checksum_is_remembered(self) -> None:
        """Who stores and reads does not ask the database for the checksum."""
        self.run_it(self.storing("key", b"data"))
        self.names.calls.clear()
        found = self.run_it(self.session.checksum(self.located("key")))
        self.assertEqual(found.digest, sha256(b"data").digest())
        self.assertNotIn("own_checksum", [call[0] for call in self.names.calls])


class Fetching(SessionCase):
    """Small ranges and streams."""

    def test_collect(self) -> None:
        """Whole files and parts."""
        self.names.store("key", b"0123456789")
        located = self.located("key")
        for start, length in ((0, 10), (3, 4), (9, 1)):
            data = b"0123456789"[start : start + length]
            self.assertEqual(
                self.run_it(self.session.collect(located, start, length)),
                (data, sha256(data).digest()),
            )

    def test_nothing(self) -> None:
        """No bytes need no node."""
        self.names.store("key", b"")
        self.assertEqual(
            self.run_it(self.session.collect(self.located("key"), 0, 0)),
            (b"", sha256(b"").digest()),
        )
        self.assertNotIn("read", [call[0] for call in self.names.calls])

    def test_bad_copies(self) -> None:
        """Wrong bytes are read again, some times, and never given out."""
        fid = self.names.store("key", b"data")
        self.names.damaged.add(fid)
        self.fails(self.session.collect(self.located("key"), 0, 4), errors.CopyCorrupt)
        readings = [call for call in self.names.calls if call[0] == "read"]
        self.assertEqual(len(readings), native_session.SMALL_READINGS)

    def test_too_few_bytes(self) -> None:
        """City hall that gives less than it says is not believed."""
        self.names.store("key", b"data")
        located = self.located("key")
        download = Download(StringTransport(), b"", [], chunked=False)
        self.fails(self.session.stream(located, 0, 99, download), errors.CopyCorrupt)

    def test_no_checksum(self) -> None:
        """A file that was taken over without a checksum is given as it is."""
        self.names.checksums = False
        self.names.damaged.add(self.names.store("key", b"data"))
        data, _ = self.run_it(self.session.collect(self.located("key"), 0, 4))
        self.assertEqual(data, b"????")

    def test_matches(self) -> None:
        """Only a checksum of our type can be compared with."""
        digest = sha256(b"x").digest()
        self.assertTrue(matches(None, digest))
        self.assertTrue(matches(Checksum(1, b""), digest))
        self.assertTrue(matches(Checksum(SHA256, digest), digest))
        self.assertFalse(matches(Checksum(SHA256, bytes(32)), digest))

    def test_client_lost(self) -> None:
        """When the client is gone nothing more is read for it."""
        self.names.store("key", b"data")
        located = self.located("key")
        self.names.pausing["read"] = Deferred()
        download = Download(StringTransport(), b"", [], chunked=False)
        reading = Deferred.fromCoroutine(self.session.stream(located, 0, 4, download))
        self.assertNoResult(reading)
        self.session.lost()
        self.failureResultOf(reading, CancelledError)


class Remembering(SessionCase):
    """Checksums, asked for once."""

    def test_once(self) -> None:
        """A checksum never changes, so it is asked for once."""
        self.names.store("key", b"data")
        located = self.located("key")
        for _ in range(3):
            self.run_it(self.checksums.of(located))
        asked = [call for call in self.names.calls if call[0] == "own_checksum"]
        self.assertEqual(len(asked), 1)

    def test_given(self) -> None:
        """One that comes with the file is not asked for."""
        self.names.store("key", b"data")
        known = Checksum(SHA256, bytes(32))
        located = evolve(self.located("key"), checksum=known)
        self.assertEqual(self.run_it(self.checksums.of(located)), known)

    def test_none(self) -> None:
        """That there is none can change, and is asked again."""
        self.names.store("key", b"data")
        located = self.located("key")
        self.names.checksums = False
        self.assertIsNone(self.run_it(self.checksums.of(located)))
        self.names.checksums = True
        self.assertIsNotNone(self.run_it(self.checksums.of(located)))

    def test_limit(self) -> None:
        """The oldest are forgotten."""
        self.patch(native_session, "REMEMBERED_CHECKSUMS", 2)
        for fid in (1, 2, 3):
            self.checksums.remember(fid, Checksum(SHA256, bytes(32)))
        self.assertEqual(list(self.checksums._known), [2, 3])

    def test_corrupt(self) -> None:
        """A remembered one that does not fit is asked for again: the database may
        have been put back to an older day, where the fid was another file's."""
        fid = self.names.store("key", b"data")
        self.checksums.remember(fid, Checksum(SHA256, bytes(32)))
        data, _ = self.run_it(self.session.collect(self.located("key"), 0, 4))
        self.assertEqual(data, b"data")


class Transactions(SessionCase):
    """BEGIN to COMMIT."""

    def setUp(self) -> None:
        """A file, and a transaction."""
        super().setUp()
        self.names.store("old", b"1")
        self.session.begin()

    def test_together(self) -> None:
        """Nothing before COMMIT, everything after."""
        self.run_it(self.storing("new", b"2"))
        self.run_it(self.session.remove(DOMAIN, "old"))
        self.assertIsNone(self.names.data("new"))
        self.assertEqual(self.names.data("old"), b"1")
        self.run_it(self.session.commit())
        self.assertEqual(self.names.data("new"), b"2")
        self.assertIsNone(self.names.data("old"))
        self.assertIsNone(self.session.transaction)

    def test_abort(self) -> None:
        """After ABORT nothing is left of it."""
        self.run_it(self.storing("new", b"2"))
        self.run_it(self.session.abort())
        self.assertEqual((self.names.data("new"), self.names.uploads), (None, set()))

    def test_commit_fails(self) -> None:
        """A COMMIT that fails throws the uploads away."""
        self.run_it(self.storing("new", b"2"))
        self.names.failing["commit"] = [errors.DatabaseAway()]
        self.fails(self.session.commit(), errors.DatabaseAway)
        self.assertEqual((self.names.data("new"), self.names.uploads), (None, set()))
        self.assertIsNone(self.session.transaction)

    def test_put_then_delete(self) -> None:
        """Its own changes count: what was put can be deleted, once."""
        self.run_it(self.storing("new", b"2"))
        self.run_it(self.session.remove(DOMAIN, "new"))
        self.fails(self.session.remove(DOMAIN, "new"), errors.UnknownKey)
        self.run_it(self.session.commit())
        self.assertIsNone(self.names.data("new"))

    def test_delete_of_nothing(self) -> None:
        """A deletion is checked at once."""
        self.fails(self.session.remove(DOMAIN, "gone"), errors.UnknownKey)
        self.run_it(self.session.commit())

    def test_last_put_wins(self) -> None:
        """Two uploads to a key: the last one is the file."""
        for data in (b"2", b"3"):
            self.run_it(self.storing("new", data))
        self.run_it(self.session.commit())
        self.assertEqual(self.names.data("new"), b"3")

    def test_limit(self) -> None:
        """A transaction does not grow for ever."""
        self.patch(native_session, "MAX_CHANGES", 1)
        self.run_it(self.storing("new", b"2"))
        self.fails(self.storing("more", b"3"), errors.TooBusy)
        self.fails(self.session.remove(DOMAIN, "old"), errors.TooBusy)

    def test_no_rename(self) -> None:
        """A rename cannot wait for COMMIT, so it is refused."""
        self.fails(self.session.rename(DOMAIN, "old", "new"), errors.InTransaction)

    def test_no_second_begin(self) -> None:
        """Transactions do not nest."""
        self.assertRaises(errors.InTransaction, self.session.begin)

    def test_empty(self) -> None:
        """A transaction without changes asks nothing of the database."""
        self.run_it(self.session.commit())
        self.run_it(self.session.commit())
        self.run_it(self.session.abort())
        self.assertNotIn("commit", [call[0] for call in self.names.calls])
