"""Whatever comes in: no exception gets out, nothing grows without end, files stay."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.native_body import FULL_BYTES
from koboldfs.wire import native
from koboldfs.wire.native import MAX_REQUEST_BYTES, Command, SyntaxFault, ValueFault
from koboldfs.wire.native_parser import RequestParser
from test.fakes.native_door import Door, v2

FEW = settings(max_examples=300, derandomize=True, deadline=None, database=None)
WORDS = st.sampled_from([b"", b"d", b"key", b"a", b"nowhere", b"k" * 1025, b"\xff\0"])
NUMBERS = st.sampled_from([b"", b"\0" * 4, b"\1\0\0\0\0\0\0\0", b"\xff" * 8, b"123"])
COMMANDS = st.sampled_from([int(command) for command in Command])


def requests() -> st.SearchStrategy[bytes]:
    """Requests that follow the grammar, sensible or not."""
    arguments = st.lists(WORDS | NUMBERS, max_size=6)
    plain = st.builds(lambda c, a: native.request(c, *a), COMMANDS, arguments)
    numbered = st.builds(lambda c, a: v2(c, *a), COMMANDS, arguments)
    return plain | numbered


def bodies() -> st.SearchStrategy[bytes]:
    """Bodies of either version, whole or not, right or not."""
    data = st.binary(max_size=40)
    chunk = st.builds(lambda d: native.u32(len(d)) + d, data)
    end = st.builds(lambda d: native.u32(0) + sha256(d).digest(), data)
    return chunk | end | st.just(b"\xff" * 4) | st.just(b"0" * 32)


STREAMS = st.lists(requests() | bodies() | st.binary(max_size=20), max_size=12)


class Fuzz(SynchronousTestCase):
    """The door and the grammar, on what nobody meant."""

    @FEW
    @given(STREAMS, st.integers(1, 50))
    def test_door(self, parts: list[bytes], piece_bytes: int) -> None:
        """Any stream in any pieces: replies or an end, and nothing left behind."""
        door = Door()
        door.names.store("key", b"data")
        line = door.connect()
        data = b"".join(parts)
        for at in range(0, len(data), piece_bytes):
            line.say(data[at : at + piece_bytes])
            held = line.protocol._parser.unread_bytes
            self.assertLessEqual(held, MAX_REQUEST_BYTES + piece_bytes)
        line.leave()
        self.assertEqual(door.names.uploads, set())
        self.assertEqual(len(door.factory.connections), 0)
        self.assertEqual(self.flushLoggedErrors(), [])

    @FEW
    @given(st.binary(max_size=200), st.integers(1, 200))
    def test_pieces_make_no_difference(self, data: bytes, at: int) -> None:
        """What is answered does not depend on how the bytes were cut."""
        whole, halves = Door(), Door()
        line = halves.connect()
        told = line.say(data[:at]) + line.say(data[at:])
        self.assertEqual(whole.connect().say(data), told)

    @FEW
    @given(st.binary(max_size=100))
    def test_parser(self, data: bytes) -> None:
        """The parser answers with an event, with None, or with `SyntaxFault`."""
        parser = RequestParser()
        parser.feed(data)
        try:
            while parser.next() is not None:
                parser.next_request()
        except SyntaxFault:
            pass
        self.assertLessEqual(parser.unread_bytes, len(data))

    @FEW
    @given(st.binary(max_size=60))
    def test_frames(self, data: bytes) -> None:
        """A client that is sent anything raises its own errors only."""
        try:
            values = native.frame_values(data)
        except SyntaxFault:
            return
        self.assertEqual(sum(4 + len(value) for value in values), len(data))
        try:
            native.Stat.of(values)
        except ValueFault:
            pass

    def test_endless_upload(self) -> None:
        """An upload without end is held to what is on its way, however long it is."""
        door = Door()
        held: list[int] = []
        line = door.connect()
        line.say(v2(Command.PUT2, b"nowhere", b"key", b"", b""))
        piece = native.u32(65536) + bytes(65536)
        for _ in range(200):
            line.say(piece)
            body = line.protocol._body
            assert body is not None
            held.append(body._held_bytes + line.protocol._parser.unread_bytes)
        self.assertLess(max(held), FULL_BYTES)
