"""A case for tables of request lines and their replies."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import CallerError, DatabaseFault, KoboldError
from koboldfs.wire.tracker import format_error
from test.fakes.city import City


class ExchangeCase(SynchronousTestCase):
    """A furnished city, and ways to talk with it."""

    def setUp(self) -> None:
        self.city = City.furnished()

    def assert_replies(self, rows: Mapping[str, str]) -> None:
        """Each request in order has exactly that reply."""
        for line, reply in rows.items():
            self.assertEqual(self.city.say(line), reply, line)

    def assert_errors(self, rows: Mapping[str, str]) -> None:
        """Each request in order has an ERR reply of that code, with its text unless a
        command has a text of its own."""
        texts = {one.code: one.text for one in known_errors()}
        for line, code in rows.items():
            reply = self.city.say(line)
            self.assertEqual(reply.split(" ")[:2], ["ERR", code], line)
            usual = format_error(code, texts[code]).decode().rstrip()
            if code not in OWN_TEXTS:
                self.assertEqual(reply, usual, line)


#: Codes that come with a text of the command.
OWN_TEXTS = {
    "bad_args",
    "bad_params",
    "checksum_mismatch",
    "failure",
    "invalid_destdev",
    "invalid_format",
    "invalid_replpolicy",
    "size_mismatch",
    "size_verify_error",
}


def known_errors() -> list[type[KoboldError]]:
    """Every class of error that a command may answer with."""
    return [
        KoboldError,
        *CallerError.__subclasses__(),
        DatabaseFault,
        *[one for one in DatabaseFault.__subclasses__() if one.code == "dup"],
    ]
