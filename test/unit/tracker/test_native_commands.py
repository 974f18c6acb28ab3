"""Errors to replies, and the tables of commands."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from koboldfs import errors
from koboldfs.tracker.native_body import ClientGaveUp, ClientLost
from koboldfs.tracker.native_commands import V1, V2, is_defect, v1_code, v2_error
from koboldfs.wire.native import FIRST_V2_COMMAND, Code, Command, ValueFault


class Errors(SynchronousTestCase):
    """What an error becomes on the wire."""

    def test_version_1(self) -> None:
        """The four codes that version 1 has."""
        for error, code in (
            (errors.UnknownDomain(), Code.ERR_DOMAIN),
            (errors.NoDomain(), Code.ERR_DOMAIN),
            (errors.UnknownKey(), Code.ERR_NOTFOUND),
            (errors.KeyExists(), Code.KO),
            (errors.DatabaseAway(), Code.KO),
            (RuntimeError(), Code.KO),
        ):
            self.assertEqual(v1_code(error), code)

    def test_version_2(self) -> None:
        """Whose fault it is decides whether another try can help."""
        for error, code, word in (
            (errors.UnknownDomain(), Code.ERR_DOMAIN, b"unreg_domain"),
            (errors.UnknownKey(), Code.ERR_NOTFOUND, b"unknown_key"),
            (errors.KeyExists(), Code.KO, b"key_exists"),
            (errors.ChecksumMismatch(), Code.KO, b"checksum_mismatch"),
            (errors.DatabaseAway(), Code.FAULT, b"db"),
            (errors.NodeUnreachable(), Code.FAULT, b"node"),
            (errors.CopyCorrupt(), Code.FAULT, b"copy_corrupt"),
            (errors.NoDevices(), Code.FAULT, b"no_devices"),
            (errors.TooBusy(), Code.FAULT, b"too_busy"),
            (errors.ValueRefused(), Code.KO, b"key_too_long"),
            (ValueFault("why"), Code.KO, b"bad_params"),
            (ClientGaveUp(), Code.KO, b"abandoned"),
            (RuntimeError("secret"), Code.FAULT, b"failure"),
        ):
            self.assertEqual(v2_error(error)[:2], (code, word))

    def test_text(self) -> None:
        """Our own sentences are told, a defect's are not."""
        self.assertEqual(v2_error(errors.KeyExists("why"))[2], b"why")
        self.assertEqual(v2_error(RuntimeError("secret"))[2], b"Operation failed")

    def test_defects(self) -> None:
        """What nobody expects is a defect, and only that."""
        expected = (errors.UnknownKey(), errors.NodeFault(), ValueFault(), ClientLost())
        for error in expected:
            self.assertFalse(is_defect(error))
        self.assertTrue(is_defect(RuntimeError()))


class Tables(SynchronousTestCase):
    """The commands."""

    def test_every_command(self) -> None:
        """Every command byte has its function, in the table of its version."""
        self.assertEqual(set(V1) | set(V2), set(Command))
        for command in V1:
            self.assertLess(command, Command.HELLO)
        for command in V2:
            self.assertTrue(command == Command.HELLO or command >= FIRST_V2_COMMAND)
