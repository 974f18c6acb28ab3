"""Arguments as MogileFS understands them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import NoKey
from koboldfs.tracker.call import Call, begins_with_number, leading_number, whole_number


class Values(SynchronousTestCase):
    """Given, true, and numbers."""

    def test_given(self) -> None:
        """An empty value counts as missing; ``0`` is a fine one."""
        call = Call({"a": "", "b": "0", "c": "x"})
        self.assertEqual([call.given(name) for name in "abcd"], [None, "0", "x", None])
        self.assertEqual(call.required("b", NoKey), "0")
        for name in "ad":
            self.assertRaises(NoKey, call.required, name, NoKey)

    def test_true(self) -> None:
        """Only nothing and ``0`` are not true."""
        call = Call({"a": "", "b": "0", "c": "00", "d": "no"})
        self.assertEqual([call.true(name) for name in "abcde"], [0, 0, 1, 1, 0])

    def test_numbers(self) -> None:
        """Leading digits count, or all of it must be digits."""
        rows = {
            "": (0, None),
            "7": (7, 7),
            "007": (7, 7),
            " 7x": (7, None),
            "-3": (-3, None),
            "+3": (3, None),
            "x": (0, None),
            "1.5": (1, None),
            "\xb2": (0, None),
            "9" * 19: (int("9" * 18), int("9" * 19)),
            "9" * 5000: (int("9" * 18), None),
        }
        for text, numbers in rows.items():
            self.assertEqual((leading_number(text), whole_number(text)), numbers, text)
        self.assertTrue(begins_with_number("-1"))
        self.assertFalse(begins_with_number("\xb2"))

    def test_zone(self) -> None:
        """Only the exact word asks for the other addresses."""
        zones = ("alt", "ALT", "1", "alternative")
        self.assertEqual([Call({"zone": z}).alt for z in zones], [1, 0, 0, 0])
