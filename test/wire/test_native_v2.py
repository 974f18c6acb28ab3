"""Exchanges of protocol 2, byte for byte, split at every byte."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from koboldfs import __version__
from koboldfs.errors import DatabaseAway, NoDevices
from test.fakes.namespace import MemoryNamespace
from test.fakes.native_door import Door, Line
from test.wire.test_native_v1 import (
    BIG,
    DATA,
    big_file,
    damaged_file,
    nothing,
    one_file,
)
from test.wire.test_native_v1 import failing as failing_with_file

NUMBER = b"\x2a\0\0\0"
ANY = b""


def four(number: int) -> bytes:
    """A number of four bytes."""
    return number.to_bytes(4, "little")


def eight(number: int) -> bytes:
    """A number of eight bytes."""
    return number.to_bytes(8, "little")


def says(command: int, *values: bytes) -> bytes:
    """A request with the number 42."""
    parts = [bytes((command, 1 + len(values))), four(4), NUMBER]
    for value in values:
        parts += [four(len(value)), value]
    return b"".join(parts)


def hears(code: int, *values: bytes) -> bytes:
    """A frame with the number 42."""
    payload = b"".join(four(len(value)) + value for value in values)
    return bytes((code,)) + NUMBER + four(len(payload)) + payload


def checksum(data: bytes) -> bytes:
    """A checksum as text."""
    return b"SHA-256:" + sha256(data).hexdigest().encode()


def stat(data: bytes, *, fid: int = 1, kind: bytes = b"default") -> tuple[bytes, ...]:
    """The five values for a file on two devices."""
    return eight(fid), eight(len(data)), four(2), checksum(data), kind


def chunks(*pieces: bytes, digest: bytes | None = None) -> bytes:
    """Data with their end and their sha256."""
    whole = sha256(b"".join(pieces)).digest() if digest is None else digest
    parts = b"".join(four(len(piece)) + piece for piece in pieces)
    return parts + four(0) + whole


def transferred(data: bytes, whole: bytes, start: int = 0) -> bytes:
    """The reply to a GET of a small range; the stat's checksum comes at the end."""
    head = (*stat(whole)[:3], b"", b"default", eight(start), eight(len(data)))
    chunk = four(len(data)) + data if data else b""
    verdict = hears(1, sha256(data).digest(), checksum(whole))
    return hears(3, *head) + chunk + four(0) + verdict


def failing(method: str, error: Exception) -> Callable[[MemoryNamespace], None]:
    """City hall fails once."""

    def arrange(names: MemoryNamespace) -> None:
        names.failing[method] = [error]

    return arrange


def three_files(names: MemoryNamespace) -> None:
    """Keys with and without a common beginning."""
    for key in ("a/1", "a/2", "b"):
        names.store(key, DATA)


@frozen
class Exchange:
    """What a client sends, after what, and what it is answered."""

    name: str
    says: bytes
    hears: bytes
    before: Callable[[MemoryNamespace], None] = nothing
    after: bytes | None = None  # the bytes of "key" then


UNKNOWN_KEY = hears(7, b"unknown_key", b"unknown_key")
UNKNOWN_DOMAIN = hears(5, b"unreg_domain", b"Domain name invalid/not found")
BUSY_NODES = hears(9, b"no_devices", b"No devices found to store file")
AWAY = hears(9, b"db", b"Database error: not reachable, try again")

EXCHANGES = (
    Exchange(
        "HELLO",
        says(0x30, four(2), b"x,y"),
        hears(
            1,
            four(2),
            b"begin,class,list,range,rename,stat,urls",
            four(1024),
            four(255),
            four(1000),
            f"KoboldFS/{__version__}".encode(),
        ),
    ),
    Exchange("PING", says(0x90), hears(1)),
    Exchange(
        "PUT",
        says(0x91, b"d", b"key", b"", b"") + chunks(DATA),
        hears(1, *stat(DATA)),
        after=DATA,
    ),
    Exchange(
        "PUT in chunks, with size and class",
        says(0x91, b"d", b"key", b"gold", eight(10)) + chunks(DATA[:4], DATA[4:]),
        hears(1, *stat(DATA, kind=b"gold")),
        after=DATA,
    ),
    Exchange(
        "PUT of nothing",
        says(0x91, b"d", b"key", b"", eight(0)) + chunks(),
        hears(1, *stat(b"")),
        after=b"",
    ),
    Exchange(
        "PUT with another sha256, and the next request",
        says(0x91, b"d", b"key", b"", b"")
        + chunks(DATA, digest=bytes(32))
        + says(0x90),
        hears(4, b"checksum_mismatch", b"the bytes are not what was sent") + hears(1),
    ),
    Exchange(
        "PUT of another size",
        says(0x91, b"d", b"key", b"", eight(11)) + chunks(DATA),
        hears(4, b"size_mismatch", b"size_mismatch"),
    ),
    Exchange(
        "PUT given up, and the next request",
        says(0x91, b"d", b"key", b"", b"")
        + four(4)
        + DATA[:4]
        + b"\xff" * 4
        # and then
        + says(0x90),
        hears(4, b"abandoned", b"The upload was given up") + hears(1),
    ),
    Exchange(
        "PUT nowhere, whose bytes are dropped",
        says(0x91, b"x", b"key", b"", b"") + chunks(DATA) + says(0x90),
        UNKNOWN_DOMAIN + hears(1),
    ),
    Exchange(
        "PUT into no class",
        says(0x91, b"d", b"key", b"tin", b"") + chunks(DATA),
        hears(4, b"unreg_class", b"unreg_class"),
    ),
    Exchange(
        "PUT of a size that is no number",
        says(0x91, b"d", b"key", b"", b"12") + chunks(DATA) + says(0x90),
        hears(4, b"bad_params", b"a number of 64 bits has eight bytes") + hears(1),
    ),
    Exchange(
        "PUT of a size beyond all",
        says(0x91, b"d", b"key", b"", b"\xff" * 8) + chunks(DATA),
        hears(4, b"bad_params", b"a size has 63 bits"),
    ),
    Exchange(
        "PUT of a long key",
        says(0x91, b"d", b"k" * 1025, b"", b"") + chunks(DATA),
        hears(4, b"key_too_long", b"The key is longer than this database can hold"),
    ),
    Exchange(
        "PUT that no node takes",
        says(0x91, b"d", b"key", b"", b"") + chunks(DATA),
        BUSY_NODES,
        failing("begin_put", NoDevices()),
    ),
    Exchange("GET", says(0x92, b"d", b"key", eight(0), b"", ANY), b"", one_file, DATA),
    Exchange(
        "GET of a range",
        says(0x92, b"d", b"key", eight(3), eight(4), eight(1)),
        transferred(DATA[3:7], DATA, 3),
        one_file,
        DATA,
    ),
    Exchange(
        "GET beyond the end",
        says(0x92, b"d", b"key", eight(8), eight(99), ANY),
        transferred(DATA[8:], DATA, 8),
        one_file,
        DATA,
    ),
    Exchange(
        "GET after the end",
        says(0x92, b"d", b"key", eight(99), b"", ANY),
        transferred(b"", DATA, 10),
        one_file,
        DATA,
    ),
    Exchange(
        "GET of another file",
        says(0x92, b"d", b"key", eight(0), b"", eight(5)),
        hears(4, b"changed", b"The key has another file now"),
        one_file,
        DATA,
    ),
    Exchange(
        "GET of a missing key",
        says(0x92, b"d", b"key", eight(0), b"", ANY),
        UNKNOWN_KEY,
    ),
    Exchange(
        "GET of damage, and the next request",
        says(0x92, b"d", b"key", eight(0), b"", ANY) + says(0x90),
        hears(9, b"copy_corrupt", b"the copies that were read are not the file")
        + hears(1),
        damaged_file,
        DATA,
    ),
    Exchange(
        "URLS",
        says(0x93, b"d", b"key"),
        hears(
            1,
            b"http://127.0.0.1:7500/dev1/1.fid",
            b"http://127.0.0.2:7500/dev2/1.fid",
        ),
        one_file,
        DATA,
    ),
    Exchange("URLS of a missing key", says(0x93, b"d", b"key"), UNKNOWN_KEY),
    Exchange("DELETE", says(0x94, b"d", b"key"), hears(1), one_file),
    Exchange("DELETE of a missing key", says(0x94, b"d", b"key"), UNKNOWN_KEY),
    Exchange(
        "DELETE without database",
        says(0x94, b"d", b"key"),
        AWAY,
        failing_with_file("delete", DatabaseAway()),
        DATA,
    ),
    Exchange(
        "LIST",
        says(0x95, b"d", b"", b"", four(0)),
        hears(1, b"\0", b"a/1", b"a/2", b"b"),
        three_files,
    ),
    Exchange(
        "LIST of a full page",
        says(0x95, b"d", b"a/", b"", four(2)),
        hears(1, b"\1", b"a/1", b"a/2"),
        three_files,
    ),
    Exchange(
        "LIST of what comes after",
        says(0x95, b"d", b"a/", b"a/2", four(2)),
        hears(1, b"\0"),
        three_files,
    ),
    Exchange(
        "LIST of a long prefix",
        says(0x95, b"d", b"p" * 1025, b"", four(2)),
        hears(4, b"key_too_long", b"The key is longer than this database can hold"),
    ),
    Exchange("LIST nowhere", says(0x95, b"x", b"", b"", four(2)), UNKNOWN_DOMAIN),
    Exchange(
        "LIST without a number",
        says(0x95, b"d", b"", b"", b""),
        hears(4, b"bad_params", b"a number of 32 bits has four bytes"),
    ),
    Exchange("STAT", says(0x96, b"d", b"key"), hears(1, *stat(DATA)), one_file, DATA),
    Exchange("STAT of a missing key", says(0x96, b"d", b"key"), UNKNOWN_KEY),
    Exchange("RENAME", says(0x97, b"d", b"key", b"new"), hears(1), one_file),
    Exchange(
        "RENAME onto a file",
        says(0x97, b"d", b"a/1", b"b"),
        hears(4, b"key_exists", b"Target key name already exists; can't overwrite."),
        three_files,
    ),
    Exchange(
        "RENAME in a transaction",
        says(0xA3) + says(0x97, b"d", b"key", b"new") + says(0xA2),
        hears(1)
        + hears(4, b"in_transaction", b"Not possible between BEGIN and COMMIT")
        + hears(1),
        one_file,
        DATA,
    ),
    Exchange(
        "BEGIN, PUT, STAT, PREPARE, COMMIT",
        says(0xA3)
        + says(0x91, b"d", b"key", b"", b"")
        + chunks(DATA)
        + says(0x96, b"d", b"key")
        + says(0xA0)
        + says(0xA1),
        hears(1) + hears(1, *stat(DATA)) + UNKNOWN_KEY + hears(1) + hears(1),
        after=DATA,
    ),
    Exchange(
        "BEGIN, DELETE, ABORT",
        says(0xA3) + says(0x94, b"d", b"key") + says(0xA2),
        hears(1) * 3,
        one_file,
        DATA,
    ),
    Exchange("an unknown command", says(200) + says(0x90), b"\6" + hears(1)),
    Exchange(
        "a wrong count",
        says(0x96, b"d") + says(0x90),
        hears(4, b"bad_params", b"not the arguments of this command") + hears(1),
    ),
)


class Recorded(SynchronousTestCase):
    """Each of the exchanges above, on a name space of its own."""

    def run_one(self, exchange: Exchange, pieces: list[bytes]) -> Line:
        """The exchange in these pieces, and what is left of it."""
        door = Door()
        exchange.before(door.names)
        line = door.connect()
        wanted = exchange.hears or transferred(DATA, DATA)
        self.assertEqual(line.say(*pieces), wanted, exchange.name)
        self.assertEqual(door.names.data("key"), exchange.after, exchange.name)
        self.assertEqual(line.closed, False, exchange.name)
        line.leave()
        self.assertEqual(door.names.uploads, set(), exchange.name)
        return line

    def test_whole(self) -> None:
        """In one piece."""
        for exchange in EXCHANGES:
            self.run_one(exchange, [exchange.says])

    def test_byte_by_byte(self) -> None:
        """One byte at a time."""
        for exchange in EXCHANGES:
            told = exchange.says
            self.run_one(exchange, [told[at : at + 1] for at in range(len(told))])

    def test_split_at_every_byte(self) -> None:
        """In any two pieces."""
        for exchange in EXCHANGES:
            told = exchange.says
            for at in range(1, min(len(told), 200)):
                self.run_one(exchange, [told[:at], told[at:]])

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

    def test_large_file(self) -> None:
        """A large file comes in chunks as its copy gives them."""
        door = Door()
        big_file(door.names)
        told = door.connect().say(says(0x92, b"d", b"key", eight(0), b"", ANY))
        head = (*stat(BIG)[:3], b"", b"default", eight(0), eight(len(BIG)))
        pieces = [BIG[at : at + 1024] for at in range(0, len(BIG), 1024)]
        body = b"".join(four(len(piece)) + piece for piece in pieces) + four(0)
        verdict = hears(1, sha256(BIG).digest(), checksum(BIG))
        self.assertEqual(told, hears(3, *head) + body + verdict)

    def test_large_range(self) -> None:
        """A large part of a file cannot be checked against the whole file's sum."""
        door = Door()
        big_file(door.names)
        told = door.connect().say(says(0x92, b"d", b"key", eight(1), b"", ANY))
        part = BIG[1:]
        verdict = hears(1, sha256(part).digest(), checksum(BIG))
        self.assertTrue(told.endswith(four(0) + verdict))

    def test_large_file_that_breaks(self) -> None:
        """When its last copy breaks off, the verdict says so; the connection stays."""
        door = Door()
        big_file(door.names)
        door.names.cut[1] = 2048
        told = door.connect().say(
            says(0x92, b"d", b"key", eight(0), b"", ANY), says(0x90)
        )
        head = (*stat(BIG)[:3], b"", b"default", eight(0), eight(len(BIG)))
        body = four(1024) + BIG[:1024] + four(1024) + BIG[1024:2048] + four(0)
        verdict = hears(9, b"node", b"no copy is left")
        self.assertEqual(told, hears(3, *head) + body + verdict + hears(1))

    def test_large_file_that_is_damaged(self) -> None:
        """Wrong bytes are never followed by a good verdict."""
        door = Door()
        big_file(door.names)
        door.names.damaged.add(1)
        told = door.connect().say(says(0x92, b"d", b"key", eight(0), b"", ANY))
        text = b"the copies that were read are not the file"
        self.assertTrue(told.endswith(four(0) + hears(9, b"copy_corrupt", text)))

    def test_unreadable_put(self) -> None:
        """A PUT with other arguments ends the connection: its body has no begin."""
        line = Door().connect()
        told = line.say(says(0x91, b"d", b"key") + chunks(DATA))
        values = hears(8, b"bad_request", b"not the arguments of this command")
        self.assertEqual(told, values.replace(NUMBER, bytes(4), 1))
        self.assertTrue(line.closed)
