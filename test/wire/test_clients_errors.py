"""Every error there is, read by every client."""

from __future__ import annotations

from collections.abc import Iterator

from koboldfs import errors
from test.wire.client_case import ClientCase
from test.wire.client_readers import (
    MOJI_WORDS,
    Refused,
    exception_name,
    expression_fields,
    guba_reply,
    moji_reply,
    pecl_text,
    php_reply,
    pymogile_fields,
    pymogilefs_text,
    ruby_fields,
)

#: What may stand in the text of an error: blanks, separators, a URL, and nothing.
TEXTS = (None, "a b=c&d%e: http://127.0.0.1:7500/dev1/x; \xe9", "")


def kinds() -> Iterator[type[errors.KoboldError]]:
    """The classes of errors that go on the wire."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.KoboldError):
            yield kind


class Errors(ClientCase):
    """The database has a file's look-up fail with each of them."""

    def replies(self) -> Iterator[tuple[str, bytes]]:
        """(code, ERR line) of all kinds of errors with all kinds of texts."""
        for kind in kinds():
            for text in TEXTS:
                self.city.database.failing["find"] = [kind(text)]
                reply = self.ask(b"get_paths domain=d1&key=k\r\n")
                self.assertTrue(reply.startswith(b"ERR "), reply)
                yield reply.split(b" ")[1].decode(), reply

    def test_code(self) -> None:
        """Each client finds the same code, and none takes the text for more of it."""
        readers = (
            expression_fields,
            pymogilefs_text,
            pymogile_fields,
            guba_reply,
            php_reply,
            pecl_text,
        )
        count = 0
        for code, reply in self.replies():
            for read in readers:
                with self.assertRaises(Refused) as raised:
                    read(reply)
                self.assertEqual(raised.exception.code, code, reply)
            with self.assertRaises(Refused) as raised:
                ruby_fields(reply)
            self.assertEqual(raised.exception.code, exception_name(code))
            count += 1
        self.assertGreater(count, 100)

    def test_text(self) -> None:
        """There is always a third word, and no fourth."""
        for _, reply in self.replies():
            words = reply.removesuffix(b"\r\n").split(b" ")
            self.assertEqual(len(words), 3, reply)
            self.assertTrue(words[2], reply)

    def test_words(self) -> None:
        """moji looks for its words in code and text: the text of one error has no word
        of another in it."""
        for code, reply in self.replies():
            with self.assertRaises(Refused) as raised:
                moji_reply(reply)
            own = [name for name, words in MOJI_WORDS.items() if code in words]
            self.assertEqual(raised.exception.code, ",".join(own), reply)
