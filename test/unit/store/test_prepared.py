"""What a connection prepares, and what it sends then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.store.prepared import (
    MAX_COUNTED,
    MAX_PARAMETERS,
    MAX_PREPARED,
    PLAN_SECONDS,
    USES,
    Prepared,
    literal,
    numbered,
)
from koboldfs.store.steps import Statement

ONE = Statement("SELECT %s, '50%%'", (5,))
BARE = Statement("SELECT 1")


def mogrify(sql: str, params: Sequence[Any] | None) -> bytes:
    """As the driver fills values in, for numbers."""
    return (sql % tuple(params) if params else sql).encode()


class Texts(SynchronousTestCase):
    """What goes over the line."""

    def setUp(self) -> None:
        """A new connection."""
        self.clock = Clock()
        self.prepared = Prepared(self.clock.seconds)

    def text(self, *statements: Statement, done: bool = True) -> str:
        """A trip that succeeded, or did not."""
        text = self.prepared.text(statements, mogrify)
        self.prepared.sent(done)
        return text.decode()

    def test_seldom_sent(self) -> None:
        """A text that is sent a few times is sent as it is."""
        for _ in range(USES - 1):
            self.assertEqual(self.text(ONE), "SELECT 5, '50%'")

    def test_often_sent(self) -> None:
        """Then it is prepared, and from then on only named."""
        for _ in range(USES - 1):
            self.text(ONE)
        prepare = "PREPARE k1 AS SELECT $1, '50%';\nEXECUTE k1 (5)"
        self.assertEqual(self.text(ONE), prepare)
        self.assertEqual(self.text(ONE), "EXECUTE k1 (5)")
        for _ in range(USES):
            text = self.text(BARE, ONE)
        self.assertEqual(text, "PREPARE k2 AS SELECT 1;\nEXECUTE k2;\nEXECUTE k1 (5)")

    def test_trip_that_failed(self) -> None:
        """Nobody knows whether it was prepared: another name is taken."""
        for _ in range(USES - 1):
            self.text(ONE)
        self.assertIn("PREPARE k1 ", self.text(ONE, done=False))
        for _ in range(USES - 1):
            self.assertEqual(self.text(ONE), "SELECT 5, '50%'")
        self.assertIn("PREPARE k2 ", self.text(ONE))
        self.assertEqual(self.text(ONE, done=False), "EXECUTE k2 (5)")
        self.assertEqual(self.text(ONE), "EXECUTE k2 (5)")

    def test_only_what_can_be(self) -> None:
        """BEGIN, LOCK and the like are no statements that can be prepared."""
        for sql in ("BEGIN", "COMMIT", "LOCK TABLE x", "LISTEN y"):
            for _ in range(USES + 1):
                self.assertEqual(self.text(Statement(sql)), sql)

    def test_not_worth_it(self) -> None:
        """Nor is one that has very many values."""
        many = Statement("SELECT " + "%s" * (MAX_PARAMETERS + 1), (1,) * 257)
        for _ in range(USES + 1):
            self.assertNotIn("PREPARE", self.text(many))

    def test_limits(self) -> None:
        """A connection keeps so many, and counts so many."""
        for number in range(MAX_PREPARED + 1):
            for _ in range(USES):
                text = self.text(Statement(f"SELECT {number}"))
        self.assertEqual(text, f"SELECT {MAX_PREPARED}")
        counting = Prepared(self.clock.seconds)
        for number in range(MAX_COUNTED * 2):
            counting.text([Statement(f"SELECT {number}")], mogrify)
        self.assertLessEqual(len(counting._uses), MAX_COUNTED)

    def test_limit_of_failures(self) -> None:
        """What was prepared in trips that failed stays in the server: it counts, too,
        and what is prepared already is not affected."""
        for _ in range(USES):
            self.text(BARE)
        for _ in range(USES * (MAX_PREPARED - 1)):
            self.text(ONE, done=False)
        for _ in range(USES):
            self.assertEqual(self.text(ONE, done=False), "SELECT 5, '50%'")
        self.assertEqual(self.text(BARE), "EXECUTE k1")

    def test_plans_anew(self) -> None:
        """Plans are thrown away now and then, if there are any."""
        self.clock.advance(PLAN_SECONDS)
        for _ in range(USES):
            self.assertNotIn("DISCARD", self.text(BARE))
        self.clock.advance(PLAN_SECONDS)
        self.assertEqual(self.text(BARE), "DISCARD PLANS;\nEXECUTE k1")
        self.clock.advance(PLAN_SECONDS)
        text = self.text(Statement("BEGIN READ ONLY"), BARE)
        self.assertEqual(text, "BEGIN READ ONLY;\nDISCARD PLANS;\nEXECUTE k1")
        self.assertEqual(self.text(BARE), "EXECUTE k1")

    def test_plans_anew_within(self) -> None:
        """What begins or ends a transaction stays at the beginning of its trip."""
        for _ in range(USES):
            self.text(BARE)
        self.clock.advance(PLAN_SECONDS)
        for sql in ("ROLLBACK", "COMMIT"):
            self.assertEqual(self.text(Statement(sql)), sql)
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        text = self.text(Statement(begin), BARE)
        self.assertEqual(text, f"{begin};\nDISCARD PLANS;\nEXECUTE k1")

    def test_numbered(self) -> None:
        """Blanks have numbers in PostgreSQL's own grammar."""
        self.assertEqual(numbered("a %s, %s %%"), "a $1, $2 %")
        self.assertEqual(numbered("a LIKE 'x%'"), "a LIKE 'x%'")


class Literals(SynchronousTestCase):
    """Values as text."""

    def test_kinds(self) -> None:
        """Each kind that our statements have."""
        for value, text in (
            (5, "5"),
            (-7, "-7"),
            ('it\'s \\ "so"', "'it''s \\ \"so\"'"),
            (None, "NULL"),
            (b"\x00\xff", "'\\x00ff'"),
            ([], "'{}'"),
            ([1, -2], "'{1,-2}'"),
            (
                ["a", "b'c", 'd"e', "f\\g", "", "NULL"],
                '\'{"a","b\'\'c","d\\"e","f\\\\g","","NULL"}\'',
            ),
            ([b"\x01"], "'{\"\\\\x01\"}'"),
        ):
            self.assertEqual(literal(value), text)

    def test_refused(self) -> None:
        """A NUL is in no text, nor half a character."""
        for value in ("a\0b", ["a", "b\0"]):
            self.assertRaises(ValueError, literal, value)
        self.assertRaises(UnicodeEncodeError, self.sent, "\ud800")

    def test_others(self) -> None:
        """What we cannot say, the driver says."""
        self.assertRaises(TypeError, literal, 1.5)
        self.assertTrue(self.sent(1.5).endswith(b";\nEXECUTE k1 (1.5)"))

    def sent(self, value: object) -> bytes:
        """Send a value often enough to be prepared; what went last."""
        prepared = Prepared(Clock().seconds)
        for _ in range(USES):
            text = prepared.text([Statement("SELECT %s", (value,))], mogrify)
        return text
