"""Every exchange of a 0.3 client, byte for byte, split at every byte."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.errors import DatabaseAway, NodeFault
from test.fakes.namespace import MemoryNamespace
from test.fakes.native_door import Door, Line

DATA = b"some bytes"
SUM = md5(DATA).hexdigest().encode()
BIG = bytes(range(256)) * 300
BIG_SUM = md5(BIG).hexdigest().encode()
LONG_KEY = b"k" * 1025


def nothing(names: MemoryNamespace) -> None:
    """An empty domain."""


def one_file(names: MemoryNamespace) -> None:
    """A file that was stored before."""
    names.store("key", DATA)


def empty_file(names: MemoryNamespace) -> None:
    """A file without bytes."""
    names.store("key", b"")


def big_file(names: MemoryNamespace) -> None:
    """A file that does not go out in one piece."""
    names.store("key", BIG)


def damaged_file(names: MemoryNamespace) -> None:
    """A small file whose copies are all wrong."""
    names.damaged.add(names.store("key", DATA))


def huge_file(names: MemoryNamespace) -> None:
    """A file whose size 32 bits cannot say."""
    from attrs import evolve

    fid = names.store("key", b"")
    names.closings[fid] = evolve(names.closings[fid], length=2**32)


def failing(method: str, error: Exception) -> Callable[[MemoryNamespace], None]:
    """City hall fails once, when it has a file."""

    def arrange(names: MemoryNamespace) -> None:
        one_file(names)
        names.failing[method] = [error]

    return arrange


def arguments(*values: bytes) -> bytes:
    """Count and arguments, as 0.3 sends them."""
    parts = [bytes((len(values),))]
    for value in values:
        parts += [len(value).to_bytes(4, "little"), value]
    return b"".join(parts)


KEY = arguments(b"d", b"key")
GONE = arguments(b"d", b"gone")
NOWHERE = arguments(b"nowhere", b"key")
TEN = b"\x0a\0\0\0"


@frozen
class Exchange:
    """What a client sends, after what, and what it is answered."""

    name: str
    says: bytes
    hears: bytes
    before: Callable[[MemoryNamespace], None] = nothing
    after: bytes | None = None  # the bytes of "key" then


EXCHANGES = (
    Exchange("PING", b"\x10\0", b"\1"),
    Exchange("PUT", b"\x11" + KEY + TEN + DATA + SUM, b"\2\1", after=DATA),
    Exchange(
        "PUT over a file", b"\x11" + KEY + TEN + DATA + SUM, b"\2\1", big_file, DATA
    ),
    Exchange("PUT with another md5", b"\x11" + KEY + TEN + DATA + b"0" * 32, b"\2\4"),
    Exchange("PUT without an md5", b"\x11" + KEY + TEN + DATA + b"?" * 32, b"\2\4"),
    Exchange(
        "PUT with an md5 in capitals",
        b"\x11" + KEY + TEN + DATA + SUM.upper(),
        b"\2\1",
        after=DATA,
    ),
    Exchange(
        "PUT of nothing",
        b"\x11" + KEY + bytes(4) + md5(b"").hexdigest().encode(),
        b"\2\1",
        after=b"",
    ),
    Exchange("PUT nowhere", b"\x11" + NOWHERE, b"\5"),
    Exchange("PUT without a key", b"\x11" + arguments(b"d", b""), b"\4"),
    Exchange("PUT of a long key", b"\x11" + arguments(b"d", LONG_KEY), b"\4"),
    Exchange(
        "PUT that no node takes, and the next request",
        b"\x11" + KEY + TEN + DATA + SUM + b"\x10\0",
        b"\2\4\1",
        failing("begin_put", NodeFault()),
        DATA,
    ),
    Exchange(
        "PUT that the database refuses",
        b"\x11" + KEY + TEN + DATA + SUM,
        b"\2\4",
        failing("close_recorded", DatabaseAway()),
        DATA,
    ),
    Exchange("GET", b"\x12" + KEY, b"\3" + TEN + DATA + SUM, one_file, DATA),
    Exchange(
        "GET of nothing",
        b"\x12" + KEY,
        b"\3\0\0\0\0" + md5(b"").hexdigest().encode(),
        empty_file,
        b"",
    ),
    Exchange(
        "GET of more", b"\x12" + KEY, b"\3\0\x2c\1\0" + BIG + BIG_SUM, big_file, BIG
    ),
    Exchange("GET of 4 GiB", b"\x12" + KEY, b"\4", huge_file, b""),
    Exchange("GET of a missing key", b"\x12" + GONE, b"\7"),
    Exchange("GET of a long key", b"\x12" + arguments(b"d", LONG_KEY), b"\7"),
    Exchange("GET nowhere", b"\x12" + NOWHERE, b"\5"),
    Exchange("GET of no domain", b"\x12" + arguments(b"", b"key"), b"\5"),
    Exchange("GET of damage", b"\x12" + KEY, b"\4", damaged_file, DATA),
    Exchange(
        "GET without database",
        b"\x12" + KEY,
        b"\4",
        failing("locate", DatabaseAway()),
        DATA,
    ),
    Exchange(
        "GET_URL",
        b"\x13" + KEY,
        b"\3\x20\0\0\0http://127.0.0.1:7500/dev1/1.fid",
        one_file,
        DATA,
    ),
    Exchange("GET_URL of a missing key", b"\x13" + GONE, b"\7"),
    Exchange("DELETE", b"\x14" + KEY, b"\1", one_file),
    Exchange("DELETE of a missing key", b"\x14" + GONE, b"\7"),
    Exchange("DELETE nowhere", b"\x14" + NOWHERE, b"\5"),
    Exchange("PREPARE without BEGIN", b"\x20\0", b"\1"),
    Exchange("COMMIT without BEGIN", b"\x21\0", b"\1", one_file, DATA),
    Exchange("ABORT without BEGIN", b"\x22\0", b"\1", one_file, DATA),
    Exchange(
        "PUT and COMMIT as 0.3 did",
        b"\x11" + KEY + TEN + DATA + SUM + b"\x20\0\x21\0",
        b"\2\1\1\1",
        after=DATA,
    ),
    Exchange(
        "BEGIN, PUT, PREPARE, COMMIT",
        b"\x23\0\x11" + KEY + TEN + DATA + SUM + b"\x20\0\x21\0",
        b"\1\2\1\1\1",
        after=DATA,
    ),
    Exchange(
        "BEGIN, PUT, GET, ABORT",
        b"\x23\0\x11" + KEY + TEN + DATA + SUM + b"\x12" + KEY + b"\x22\0",
        b"\1\2\1\7\1",
    ),
    Exchange(
        "BEGIN, DELETE twice, ABORT",
        b"\x23\0\x14" + KEY + b"\x14" + KEY + b"\x22\0",
        b"\1\1\7\1",
        one_file,
        DATA,
    ),
    Exchange("BEGIN twice", b"\x23\0\x23\0", b"\1\4"),
    Exchange("an unknown command", b"\x63" + KEY + b"\x10\0", b"\6\1"),
    Exchange("a wrong count", b"\x12" + arguments(b"d") + b"\x10\0", b"\4\1"),
    Exchange("a name for PING", b"\x10" + arguments(b"d") + b"\x10\0", b"\4\1"),
    Exchange("two requests at once", b"\x10\0\x12" + GONE, b"\1\7"),
)
NOT_THE_PROTOCOL = (
    b"\x12\xff",
    b"\x12\2\xff\xff\xff\xff",
    b"GET / HTTP/1.1\r\n\r\n",
)


#: What the client of KoboldFS 0.3.2 sent to this door on Python 2.7, packet by packet,
#: and took for an answer: ping, put, get, get_url, prepare, commit, abort, delete, get.
SESSION = (
    (b"\x10\x00", b"\x01"),
    (b"\x11\x02\x01\x00\x00\x00d\x03\x00\x00\x00key", b"\x02"),
    (b"\n\x00\x00\x00", b""),
    (b"some bytes9d0568469d206c1aedf1b71f12f474bc", b"\x01"),
    (
        b"\x12\x02\x01\x00\x00\x00d\x03\x00\x00\x00key",
        b"\x03\n\x00\x00\x00some bytes9d0568469d206c1aedf1b71f12f474bc",
    ),
    (
        b"\x13\x02\x01\x00\x00\x00d\x03\x00\x00\x00key",
        b"\x03 \x00\x00\x00http://127.0.0.1:7500/dev1/1.fid",
    ),
    (b" \x00", b"\x01"),
    (b"!\x00", b"\x01"),
    (b'"\x00', b"\x01"),
    (b"\x14\x02\x01\x00\x00\x00d\x03\x00\x00\x00key", b"\x01"),
    (b"\x12\x02\x01\x00\x00\x00d\x03\x00\x00\x00key", b"\x07"),
)


class Recorded(SynchronousTestCase):
    """Each of the exchanges above, on a name space of its own."""

    def run_one(self, exchange: Exchange, pieces: list[bytes]) -> Line:
        """The exchange in these pieces, and what is left of it."""
        door = Door()
        exchange.before(door.names)
        line = door.connect()
        self.assertEqual(line.say(*pieces), exchange.hears, exchange.name)
        self.assertEqual(door.names.data("key"), exchange.after, exchange.name)
        self.assertEqual(line.closed, False, exchange.name)
        line.leave()
        self.assertEqual(door.names.uploads, set(), exchange.name)
        self.assertEqual(set(door.factory.connections), set())
        return line

    def test_whole(self) -> None:
        """In one piece."""
        for exchange in EXCHANGES:
            self.run_one(exchange, [exchange.says])

    def test_byte_by_byte(self) -> None:
        """One byte at a time."""
        for exchange in EXCHANGES:
            says = exchange.says
            self.run_one(exchange, [says[at : at + 1] for at in range(len(says))])

    def test_split_at_every_byte(self) -> None:
        """In any two pieces."""
        for exchange in EXCHANGES:
            says = exchange.says
            for at in range(1, min(len(says), 200)):
                self.run_one(exchange, [says[:at], says[at:]])

    def test_cut_off_at_every_byte(self) -> None:
        """A client that leaves in the middle leaves nothing behind."""
        for exchange in EXCHANGES:
            for at in range(min(len(exchange.says), 200)):
                door = Door()
                exchange.before(door.names)
                line = door.connect()
                line.say(exchange.says[:at])
                line.leave()
                self.assertEqual(door.names.uploads, set(), (exchange.name, at))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_session_of_a_real_client(self) -> None:
        """A session that a published 0.3 client had, as it was recorded."""
        line = Door().connect()
        for sent, received in SESSION:
            self.assertEqual(line.say(sent), received)

    def test_what_is_no_protocol(self) -> None:
        """It is answered ERR_RESET, and the connection ends."""
        for says in NOT_THE_PROTOCOL:
            line = Door().connect()
            self.assertEqual(line.say(says), b"\x08", says)
            self.assertTrue(line.closed)
            self.assertEqual(line.say(b"\x10\0"), b"")
