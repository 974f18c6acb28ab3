"""doc/native-protocol says what the door does: its examples, tables and limits."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.native import IDLE_SECONDS, STALL_SECONDS
from koboldfs.tracker.native_commands import MAX_URLS, WORDS
from koboldfs.tracker.native_factory import MAX_CONNECTIONS
from koboldfs.tracker.native_session import MAX_CHANGES, TRANSACTION_SECONDS
from koboldfs.wire import native
from koboldfs.wire.native import Code, Command
from test.fakes.native_door import Door

TEXT = (Path(__file__).parents[2] / "doc" / "native-protocol").read_text("utf-8")
#: A line of an example: whose it is, if it begins a turn, and bytes.
TURN = re.compile(r"^    ([<> ])((?: +(?:[0-9a-f]{2}\b|\"[^\"]*\"|\([^)]*\)))+)$", re.M)
TOKEN = re.compile(r"[0-9a-f]{2}\b|\"[^\"]*\"|\([^)]*\)")


def examples() -> list[list[tuple[str, bytes]]]:
    """The turns of each example, (``>`` or ``<``, bytes)."""
    found = []
    for block in re.split(r"\n(?=An example)", TEXT)[1:]:
        turns: list[tuple[str, bytes]] = []
        block = block.split("::\n\n", 1)[1].split("\n\n", 1)[0]
        for who, tokens in TURN.findall(block):
            data = b"".join(map(bytes_of, TOKEN.findall(tokens)))
            if who == " ":
                who, before = turns.pop()
                data = before + data
            turns.append((who, data))
        found.append(turns)
    return found


def bytes_of(token: str) -> bytes:
    """What a token stands for."""
    if token.startswith('"'):
        return token[1:-1].encode()
    if token.startswith("("):
        return sha256(b"hi").digest()
    return bytes.fromhex(token)


class Document(SynchronousTestCase):
    """The page, against the code."""

    def test_examples(self) -> None:
        """What the page says is sent and answered is so."""
        shown = examples()
        self.assertEqual([len(turns) for turns in shown], [4, 2])
        for turns in shown:
            door = Door()
            door.names.last_fid = 4
            line = door.connect()
            for asked, told in zip(turns[::2], turns[1::2], strict=True):
                self.assertEqual((asked[0], told[0]), (">", "<"))
                self.assertEqual(line.say(asked[1]), told[1])
            self.assertEqual(door.names.data("k"), b"hi")

    def test_tables(self) -> None:
        """Every command and code is there with its byte, and no other."""
        rows = re.findall(r"^([A-Z_]+) +([0-9a-f]{2}) ", TEXT, re.M)
        named = {(name, int(number, 16)) for name, number in rows}
        wanted = {(one.name.removesuffix("2"), int(one)) for one in Command}
        self.assertEqual(named, wanted)
        codes = re.findall(r"^([0-9]{2})    ([A-Z_]+) ", TEXT, re.M)
        self.assertEqual(
            {(name, int(number)) for number, name in codes},
            {(code.name, int(code)) for code in Code},
        )

    def test_limits(self) -> None:
        """The numbers are those of the code."""
        text = " ".join(TEXT.split())
        for sentence in (
            f"``count`` is at most {native.MAX_ARGUMENTS},",
            f"together have at most {native.MAX_REQUEST_BYTES:,} bytes",
            f"A domain has at most {native.MAX_DOMAIN_BYTES} bytes",
            f"a key at most {native.MAX_KEY_BYTES:,};",
            f"``values``, at most {native.MAX_FRAME_BYTES:,},",
            f"or beyond {native.MAX_PAGE_KEYS:,}, is {native.MAX_PAGE_KEYS:,}.",
            f"best first, at most {MAX_URLS}",
            f"``{','.join(native.FEATURES)}``",
            f"at most {MAX_CHANGES:,} changes",
            f"{TRANSACTION_SECONDS:,.0f} seconds since BEGIN",
            f"at most {MAX_CONNECTIONS:,} native connections",
            f"idle for {IDLE_SECONDS:,.0f} seconds",
            f"whole within {STALL_SECONDS:.0f} seconds",
        ):
            self.assertIn(sentence, text)

    def test_words(self) -> None:
        """The words of our own are explained."""
        for word in {*WORDS.values(), "bad_params", "abandoned", "bad_request"}:
            self.assertIn(f"``{word}``", TEXT)
