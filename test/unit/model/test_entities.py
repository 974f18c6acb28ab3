"""The values: how a checksum is written, and that the tables of types agree."""

from __future__ import annotations

import hashlib

from attrs.exceptions import FrozenInstanceError
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model import entities
from koboldfs.model.entities import MD5, SHA1, SHA256, Checksum, Host


class Checksums(SynchronousTestCase):
    """Digests and their types."""

    def test_text(self) -> None:
        """A checksum is written as the tracker protocol writes it."""
        self.assertEqual(str(Checksum(MD5, b"\x0a" * 16)), "MD5:" + "0a" * 16)
        self.assertEqual(str(Checksum(SHA1, b"\xff" * 20)), "SHA-1:" + "ff" * 20)
        self.assertEqual(str(Checksum(SHA256, bytes(32))), "SHA-256:" + "00" * 32)

    def test_repr_is_readable(self) -> None:
        """In logs a digest is hexadecimal, not escaped bytes."""
        self.assertIn("0aff", repr(Checksum(MD5, b"\x0a\xff")))

    def test_equal_only_with_its_type(self) -> None:
        """The same bytes of another type are another checksum."""
        self.assertEqual(Checksum(MD5, b"x"), Checksum(MD5, b"x"))
        self.assertNotEqual(Checksum(MD5, b"x"), Checksum(SHA1, b"x"))

    def test_numbers(self) -> None:
        """The numbers are those in MogileFS's tables."""
        self.assertEqual((MD5, SHA1, SHA256), (1, 2, 4))
        self.assertEqual(entities.OWN_HASHTYPE, SHA256)

    def test_tables_agree(self) -> None:
        """Every type has a name both ways, an algorithm, and its digest's length."""
        for kind, name in entities.HASH_NAMES.items():
            self.assertEqual(entities.HASH_TYPES[name], kind)
            digest = hashlib.new(entities.HASHLIB_NAMES[kind], b"").digest()
            self.assertEqual(len(digest), entities.DIGEST_BYTES[kind])


class Values(SynchronousTestCase):
    """What everybody holds, nobody changes."""

    def test_frozen(self) -> None:
        """A value cannot be changed in place."""
        host = Host(1, "a", "alive", "10.0.0.1", 7500)
        with self.assertRaises(FrozenInstanceError):
            host.status = "down"  # type: ignore[misc]

    def test_end_of_time(self) -> None:
        """A row that was given up has the largest time that MogileFS's column holds."""
        self.assertEqual(entities.END_OF_TIME, 2**31 - 1)
