"""PyMySQL's ways: statements in bytes, versions, exceptions, hosts."""

from __future__ import annotations

from typing import Any

import pymysql
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import (
    ConfigError,
    DatabaseAway,
    DatabaseFault,
    DuplicateRow,
    KeyExists,
    ValueRefused,
)
from koboldfs.store import mysql_link
from koboldfs.store.mysql_link import (
    WRITER,
    Cursor,
    Hosts,
    filled,
    literal,
    skips_locked,
    translate,
)
from koboldfs.store.mysql_url import mysql_options
from koboldfs.store.steps import Again, Lost


class Statements(SynchronousTestCase):
    """Parameters."""

    def test_literals(self) -> None:
        """Text is one byte a character, and nothing in it ends it."""
        for value, expected in (
            (None, b"NULL"),
            (0, b"0"),
            (-(2**63), b"-9223372036854775808"),
            ("a\xff", b"'a\xff'"),
            ("'\"\\\n\r\x1a\0", b"'\\'\\\"\\\\\\n\\r\\Z\\0'"),
            (b"\x00'\xff", b"x'0027ff'"),
            (b"", b"x''"),
        ):
            self.assertEqual(literal(value), expected)
        with self.assertRaises(UnicodeEncodeError):
            literal("\u0100")

    def test_filled(self) -> None:
        """Marks in parameters are no marks, and a double percent sign is one."""
        self.assertEqual(
            filled("SELECT %s, '%%', %s", ("%s", 1)), b"SELECT '%s', '%', 1"
        )
        for params in ((), (1, 2)):
            with self.assertRaises(ValueError):
                filled("SELECT %s", params)

    def test_skip_locked(self) -> None:
        """Older servers do not know it, and are not told."""
        for version, expected in (
            ("10.11.6-MariaDB-0+deb12u1", True),
            ("10.5.28-MariaDB", False),
            ("5.5.5-MariaDB", False),
            ("8.0.36", True),
            ("8.0.0-dmr", False),
            ("5.7.44-log", False),
            ("9.1.0", True),
        ):
            self.assertEqual(skips_locked(version), expected, version)
        said: list[bytes] = []
        for skips in (True, False):
            raw: Any = type("Raw", (), {"execute": lambda _, sql: said.append(sql)})()
            Cursor(raw, skips).execute("SELECT 1 FOR UPDATE SKIP LOCKED", ())
        self.assertEqual(
            said, [b"SELECT 1 FOR UPDATE SKIP LOCKED", b"SELECT 1 FOR UPDATE"]
        )


class Translation(SynchronousTestCase):
    """Exceptions."""

    def test_kinds(self) -> None:
        """Each becomes the fault that it is."""
        for error, kind in (
            (pymysql.IntegrityError(1062, "Duplicate entry"), DuplicateRow),
            (pymysql.OperationalError(1213, "Deadlock"), Again),
            (pymysql.OperationalError(1205, "Lock wait timeout"), Again),
            (pymysql.OperationalError(2006, "gone away"), Lost),
            (pymysql.OperationalError(2013, "Lost connection"), Lost),
            (pymysql.OperationalError(1290, "read-only"), Lost),
            (pymysql.InterfaceError(0, ""), Lost),
            (BrokenPipeError(), Lost),
            (pymysql.DataError(1406, "too long"), ValueRefused),
            (pymysql.OperationalError(3819, "CHECK"), ValueRefused),
            (pymysql.OperationalError(4025, "CONSTRAINT"), ValueRefused),
            (UnicodeEncodeError("latin-1", "\u0100", 0, 1, "no"), ValueRefused),
            (pymysql.ProgrammingError(1064, "syntax"), DatabaseFault),
            (pymysql.OperationalError(), Lost),
            (pymysql.InternalError("Packet sequence number wrong"), Lost),
        ):
            self.assertIs(type(translate(error)), kind, repr(error))
        for other in (ValueError(), KeyExists(), ZeroDivisionError()):
            self.assertIsNone(translate(other))


class Contexts(SynchronousTestCase):
    """TLS."""

    def test_shared(self) -> None:
        """Without options there is one context for all; with options each has its
        own, as a certificate may have been replaced."""
        plain = [self.connection() for _ in range(2)]
        self.assertIs(plain[0].ctx, plain[1].ctx)
        self.assertFalse(plain[0]._ssl_required)
        checked = [self.connection(ssl_verify_cert=True) for _ in range(2)]
        self.assertIsNot(checked[0].ctx, checked[1].ctx)
        self.assertIsNot(checked[0].ctx, plain[0].ctx)
        self.assertTrue(checked[0]._ssl_required)

    def connection(self, **options: Any) -> Any:
        """One that is not opened."""
        return mysql_link._Connection(defer_connect=True, **options)


class Connecting(SynchronousTestCase):
    """Several hosts."""

    def setUp(self) -> None:
        """Hosts whose answers the test decides."""
        self.answers: dict[str, Any] = {}
        self.patch(mysql_link, "Link", self.link)
        self.hosts = Hosts(mysql_options("mysql://a,b,c/d"), WRITER)

    def link(self, options: Any, host: tuple[str, int], purpose: Any) -> Any:
        """What connecting to a host gives."""
        answer = self.answers[host[0]]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def test_first_that_writes(self) -> None:
        """Hosts that are down or read-only are passed over, and asked last then."""
        self.answers = {
            "a": pymysql.OperationalError(2003, "Can't connect"),
            "b": DatabaseAway("it is read-only"),
            "c": "link",
        }
        self.assertEqual(self.hosts.connect(), "link")
        self.answers["a"] = self.answers["b"] = "other"
        self.assertEqual(self.hosts.connect(), "link")

    def test_none(self) -> None:
        """What each said is told, in one line."""
        self.answers = {
            "a": pymysql.OperationalError(1045, "Access denied\n"),
            "b": DatabaseAway("it is read-only"),
            "c": RuntimeError("cryptography is required"),
        }
        with self.assertRaises(DatabaseAway) as caught:
            self.hosts.connect()
        self.assertEqual(
            caught.exception.message,
            "a:3306: Access denied; b:3306: it is read-only;"
            " c:3306: cryptography is required",
        )

    def test_impossible(self) -> None:
        """Options that PyMySQL refuses are the operator's."""
        self.answers = {"a": ValueError("no such file")}
        with self.assertRaises(ConfigError):
            self.hosts.connect()
