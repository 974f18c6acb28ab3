"""Inputs that are nearly right: samples of a grammar, bent by chance.

    source = Source(samples, words)
    source.input(7, 0)      # the first input of seed 7; the same at any time

Each input has a generator of its own, so one can be made again without those before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from attrs import field, frozen

#: An input is cut to this (bytes), but for one in `LONG_EVERY`: a part of that is
#: repeated until it is longer than any limit of a line or a head, or at least half so.
MAX_INPUT_BYTES = 2048
LONG_EVERY = 500
LONG_BYTES = (8_000, 20_000, 70_000, 140_000, 300_000)
#: So many samples in a row, and so many steps: most inputs stay right for a good part,
#: or what is behind the first fault would never be reached.
JOINED = (1, 1, 2, 3)
STEPS = (1, 1, 1, 2, 2, 3, 6)
MAX_REPEATS = 40
#: Bytes and numbers at the edges of what formats hold.
EDGE_BYTES = (0, 1, 9, 10, 13, 32, 37, 45, 46, 47, 48, 58, 127, 128, 255)
EDGE_NUMBERS = (0, 1, 2**8, 2**16, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1)


@frozen
class Source:
    """Valid `samples`, and `words` that mean something in their grammar."""

    samples: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()
    _steps: tuple[Callable[[Random, bytearray], None], ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        steps = (
            _flip,
            _set_edge,
            _insert_random,
            _delete,
            _repeat,
            _cut_off,
            _swap,
            _number,
            _digits,
            self._insert_word,
            self._insert_word,
            self._splice,
        )
        object.__setattr__(self, "_steps", steps)

    def input(self, seed: int, number: int) -> bytes:
        """The input of that number (0 is the first) of a seed."""
        random = Random((seed << 40) + number)
        parts = random.choices(self.samples, k=random.choice(JOINED))
        data = bytearray(b"".join(parts))
        for _ in range(random.choice(STEPS)):
            random.choice(self._steps)(random, data)
        if random.randrange(LONG_EVERY) == 0:
            _lengthen(random, data)
        else:
            del data[MAX_INPUT_BYTES:]
        return bytes(data)

    def _insert_word(self, random: Random, data: bytearray) -> None:
        if self.words:
            at = random.randint(0, len(data))
            if random.randrange(2):
                at = data.find(b"\n", at) + 1  # of a line, if there are any
            data[at:at] = random.choice(self.words)

    def _splice(self, random: Random, data: bytearray) -> None:
        other = random.choice(self.samples)
        start, stop = _span(random, other)
        at = random.randint(0, len(data))
        data[at:at] = other[start:stop]


def _span(random: Random, data: Sequence[int]) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 2, 4, 16, len(data))))


def _flip(random: Random, data: bytearray) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set_edge(random: Random, data: bytearray) -> None:
    if data:
        data[random.randrange(len(data))] = random.choice(EDGE_BYTES)


def _insert_random(random: Random, data: bytearray) -> None:
    at = random.randint(0, len(data))
    data[at:at] = random.randbytes(random.randint(1, 8))


def _delete(random: Random, data: bytearray) -> None:
    start, stop = _span(random, data)
    del data[start:stop]


def _repeat(random: Random, data: bytearray) -> None:
    start, stop = _span(random, data)
    data[start:start] = data[start:stop] * random.choice((1, 1, 2, MAX_REPEATS))


def _cut_off(random: Random, data: bytearray) -> None:
    del data[random.randint(0, len(data)) :]


def _swap(random: Random, data: bytearray) -> None:
    start, stop = _span(random, data)
    part = data[start:stop]
    del data[start:stop]
    at = random.randint(0, len(data))
    data[at:at] = part


def _number(random: Random, data: bytearray) -> None:
    """A number as bytes, over what is there: lengths are of 4 and 8 bytes."""
    size = random.choice((4, 8))
    value = random.choice(EDGE_NUMBERS) + random.choice((-1, 0, 0, 1))
    at = random.randint(0, len(data))
    data[at : at + size] = (value % 2 ** (8 * size)).to_bytes(size, "little")


def _digits(random: Random, data: bytearray) -> None:
    """A number as text, in the place of one, if there is one."""
    places = [at for at, byte in enumerate(data) if 48 <= byte <= 57]
    if places:
        start = stop = random.choice(places)
        while stop < len(data) and 48 <= data[stop] <= 57:
            stop += 1
        data[start:stop] = b"%d" % random.choice(EDGE_NUMBERS)


def _lengthen(random: Random, data: bytearray) -> None:
    start, stop = _span(random, data)
    part = bytes(data[start:stop]) or b"a"
    data[start:start] = part * (random.choice(LONG_BYTES) // len(part))
