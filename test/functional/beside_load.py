"""Clients of our tracker and of MogileFS's who change the same keys, and know at every
moment what each of them has to hold."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from test.functional.cluster import DOMAIN
from test.functional.load import Threads
from test.functional.mogile_tracker import MogileTracker, Opened
from test.functional.tracker_line import Refused, TrackerLine, put

PATIENCE_SECONDS = 15.0
LARGEST_BYTES = 5000
#: Plain ones, UTF-8, bytes that are no text in any encoding, blanks, signs.
SHAPES = (b"plain/%d", "caf\u00e9 %d".encode(), b"\xff\x80 %d \xfe", b" a  b&=%%+%d c ")
KEYS = [shape % number for number in range(5) for shape in SHAPES]
#: Keys that everybody overwrites without waiting for anybody.
HOT_KEYS = [b"hot/%d" % number for number in range(2)]


class Ours:
    """Our tracker, called as `MogileTracker` is."""

    def __init__(self, line: TrackerLine) -> None:
        self._line = line
        self.store = line.store
        self.fetch = line.fetch

    def close(self) -> None:
        """Disconnect."""
        self._line.close()

    def create_open(self, domain: str, key: bytes, count: int = 1) -> Opened:
        """One upload, with as many places as the tracker gives."""
        found = self._line.ask("create_open", domain=domain, key=key, multi_dest=1)
        numbers = range(1, int(found["dev_count"]) + 1)
        places = {int(found[f"devid_{n}"]): found[f"path_{n}"] for n in numbers}
        return Opened(int(found["fid"]), places)

    def create_close(
        self, domain: str, key: bytes, fid: int, devid: int, path: str, size: int
    ) -> None:
        """Make an upload the file of the key."""
        named = {"domain": domain, "key": key, "fid": fid, "devid": devid}
        self._line.ask("create_close", **named, path=path, size=size)

    def delete(self, domain: str, key: bytes) -> None:
        """Remove a key."""
        self._line.ask("delete", domain=domain, key=key)

    def rename(self, domain: str, old: bytes, new: bytes) -> None:
        """Give a file another key, which nobody has."""
        self._line.ask("rename", domain=domain, from_key=old, to_key=new)


Side = Ours | MogileTracker


class Load(Threads):
    """Threads that store, overwrite, rename, delete and read until stopped.

    `sides` makes what a thread talks to: each step takes any of them. Two threads are
    never at one key, but for the hot ones. `contents` is what was acknowledged. A
    tracker that dies ends its thread, which is well if `ends` says so; `doubts` has
    what the keys may hold (None: nothing) whose last change was not answered. `broken`
    is what must not happen.
    """

    def __init__(
        self, sides: Callable[[], list[Side]], threads: int = 4, *, ends: bool = False
    ) -> None:
        jobs = [partial(self._run, number) for number in range(threads)]
        super().__init__(jobs, PATIENCE_SECONDS * 2)
        self.contents: dict[bytes, bytes] = {}
        self.doubts: dict[bytes, set[bytes | None]] = {}
        self.hot: dict[bytes, set[bytes]] = {key: set() for key in HOT_KEYS}
        self.steps = 0
        #: Over all threads that ended: see `MogileTracker`.
        self.overruns = 0
        self._ends = ends
        self._sides = sides
        self._locks = {key: threading.Lock() for key in KEYS}

    def settle(self, side: Side) -> None:
        """Look up what has become of the keys in doubt, which must be one of two."""
        for key, allowed in self.doubts.items():
            found = read(side, key)
            if found not in allowed:
                self.broken.append(f"{key!r} has neither the old content nor the new")
            self.contents.pop(key, None)
            if found is not None:
                self.contents[key] = found
        self.doubts.clear()

    def settle_hot(self, side: Side) -> None:
        """Hot keys have what somebody stored."""
        for key, stored in self.hot.items():
            found = read(side, key)
            if found is None and stored:
                self.broken.append(f"{key!r} is gone")
            elif found is not None:
                if found not in stored:
                    self.broken.append(f"{key!r} has what nobody stored")
                self.contents[key] = found

    def read_all(self, side: Side) -> None:
        """Every key through this tracker: what it should have, or nothing."""
        for key in [*KEYS, *HOT_KEYS]:
            if read(side, key) != self.contents.get(key):
                self.broken.append(f"{key!r} differs through {type(side).__name__}")

    # --- a thread

    def _run(self, number: int) -> None:
        chance = random.Random(number)
        sides = self._sides()
        acts = [self._store, self._delete, self._rename, self._read, self._store_hot]
        try:
            while not self.stopped.is_set():
                act = chance.choices(acts, weights=(6, 2, 3, 4, 1))[0]
                act(chance, sides)
                self.steps += 1
                time.sleep(0.005)
        except OSError as error:
            if not self._ends:
                self.broken.append(f"thread {number}: {error!r}")
        except Exception as error:
            self.broken.append(f"thread {number}: {error!r}")
        finally:
            for side in sides:
                if isinstance(side, MogileTracker):
                    self.overruns += side.overruns
                side.close()

    @contextmanager
    def _alone(self, *keys: bytes) -> Iterator[None]:
        """Nobody else is at the keys, which are in doubt if that ends badly."""
        for key in sorted(keys):
            self._locks[key].acquire()
        try:
            yield
        finally:
            for key in keys:
                self._locks[key].release()

    def _store(self, chance: random.Random, sides: list[Side]) -> None:
        key, content = chance.choice(KEYS), self._content(chance)
        with self._alone(key):
            self._doubt(key, content)
            self._upload(chance, sides, key, content)
            self._sure(key, content)

    def _store_hot(self, chance: random.Random, sides: list[Side]) -> None:
        key, content = chance.choice(HOT_KEYS), self._content(chance)
        self.hot[key].add(content)
        self._upload(chance, sides, key, content)

    def _upload(
        self, chance: random.Random, sides: list[Side], key: bytes, content: bytes
    ) -> None:
        """Opened by one tracker and closed by the same or another."""
        opened = chance.choice(sides).create_open(DOMAIN, key, 2)
        devid, path = next(iter(opened.places.items()))
        put(path, content)
        closer = chance.choice(sides)
        closer.create_close(DOMAIN, key, opened.fid, devid, path, len(content))

    def _delete(self, chance: random.Random, sides: list[Side]) -> None:
        key = chance.choice(KEYS)
        with self._alone(key):
            self._doubt(key, None)
            code = _refusal(chance.choice(sides).delete, key)
            self._expect(f"delete {key!r}", code, self._missing(key))
            self._sure(key, None)

    def _rename(self, chance: random.Random, sides: list[Side]) -> None:
        old, new = chance.sample(KEYS, 2)
        with self._alone(old, new):
            content = self.contents.get(old)
            expected = self._missing(old)
            if not expected and new in self.contents:
                expected = "key_exists"
            if not expected:
                self._doubt(old, None)
                self._doubt(new, content)
            code = _refusal(chance.choice(sides).rename, old, new)
            self._expect(f"rename {old!r} {new!r}", code, expected)
            if not expected:
                self._sure(old, None)
                self._sure(new, content)

    def _read(self, chance: random.Random, sides: list[Side]) -> None:
        key = chance.choice(KEYS)
        with self._alone(key):
            if read(chance.choice(sides), key) != self.contents.get(key):
                self.broken.append(f"{key!r} has other bytes than were stored")

    def _content(self, chance: random.Random) -> bytes:
        return chance.randbytes(chance.randrange(1, LARGEST_BYTES))

    def _missing(self, key: bytes) -> str:
        return "" if key in self.contents else "unknown_key"

    def _expect(self, what: str, code: str, expected: str) -> None:
        if code != expected:
            self.broken.append(f"{what}: {code or 'OK'}, not {expected or 'OK'}")

    def _doubt(self, key: bytes, content: bytes | None) -> None:
        # In doubt already: its tracker died, and another thread does not know it yet.
        known = self.doubts.get(key, {self.contents.get(key)})
        self.doubts[key] = known | {content}

    def _sure(self, key: bytes, content: bytes | None) -> None:
        del self.doubts[key]
        self.contents.pop(key, None)
        if content is not None:
            self.contents[key] = content


def read(side: Side, key: bytes) -> bytes | None:
    """A key's bytes; None if there is no such key."""
    try:
        return side.fetch(DOMAIN, key)
    except Refused as refused:
        if refused.code != "unknown_key":
            raise
        return None


def _refusal(act: Callable[..., None], *keys: bytes) -> str:
    try:
        act(DOMAIN, *keys)
    except Refused as refused:
        return refused.code
    return ""
