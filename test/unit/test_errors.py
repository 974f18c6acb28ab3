"""Tests of the error tree: what front doors rely on when they translate."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from koboldfs import errors
from koboldfs.errors import CallerError, ConfigError, KoboldError, WorldError


def below(parent: type[KoboldError]) -> Iterator[type[KoboldError]]:
    """All classes under one."""
    for child in parent.__subclasses__():
        yield child
        yield from below(child)


class Tree(SynchronousTestCase):
    """Every class of the module."""

    def test_whose_fault(self) -> None:
        """Every error is the caller's, the world's, or a setting's."""
        branches = (CallerError, WorldError, ConfigError)
        for found in below(KoboldError):
            if found.__module__ == errors.__name__:
                self.assertEqual(sum(issubclass(found, one) for one in branches), 1)

    def test_codes(self) -> None:
        """Each caller's error has a code of its own, one word without escapes."""
        codes = [
            one.code
            for one in below(CallerError)
            if one.__module__ == "koboldfs.errors"
        ]
        self.assertEqual(len(codes), len(set(codes)))
        for code in codes:
            self.assertRegex(code, r"\A[a-z0-9_]+\Z")

    def test_message(self) -> None:
        """The message is the class's text, or what was said of this one case."""
        self.assertEqual(errors.NoDomain().message, "No domain provided")
        self.assertEqual(errors.SizeMismatch("3 is not 4").message, "3 is not 4")

    def test_database_faults_tell_nothing(self) -> None:
        """A fault of the database goes out as `db` whatever the database said."""
        for found in (errors.DatabaseFault, errors.DatabaseAway, errors.ValueRefused):
            self.assertEqual(found.code, "db")
            self.assertTrue(found.text.startswith("Database error"))
