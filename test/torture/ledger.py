"""The log of what was acknowledged, and a load that keeps it.

No two clients are ever at one key, so that what a key has to hold is known: the last
content that was acknowledged, or nothing after a delete. A request that got no answer,
or an error, may have been done or not: until the next acknowledgement either will do. A
key that was in doubt is not changed again, because the request without an answer may
still be on its way; if it was repeated until it was acknowledged, it holds what it was
asked for, however often.
"""

from __future__ import annotations

import hashlib
import io
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from attrs import define, field

from koboldfs import Client as Native
from koboldfs import ClientError
from test.functional.cluster import DOMAIN, Node
from test.functional.load import Threads
from test.functional.tracker_line import Refused, TrackerLine

#: A client gives up on one tracker or node after this and tries the next.
PATIENCE_SECONDS = 5.0
#: How long a client tries to do one thing before it leaves it in doubt.
TROUBLE_SECONDS = 60.0
#: Up to how many bytes, and how often of 100: one packet, several, a large file.
SIZES = ((2_000, 88), (20_000, 10), (300_000, 2))
#: Of 100 steps of a client: new files, overwrites, deletes, reads.
STEPS = (68, 12, 8, 12)
#: Keys that a client may overwrite, delete or read: the last ones.
RECENT_KEYS = 500
#: Keys that are watched: those that were changed last, or are being changed.
WATCHED_KEYS = 20

#: What a key may hold: a digest, or None for nothing.
Held = bytes | None


def digest_of(content: bytes) -> bytes:
    """How contents are compared."""
    return hashlib.sha256(content).digest()


def content_of(chance: random.Random) -> bytes:
    """Any bytes, of any size."""
    (most,) = chance.choices([size for size, _ in SIZES], [often for _, often in SIZES])
    return chance.randbytes(chance.randrange(most))


@define
class Ledger:
    """What every key may hold, and how much was acknowledged."""

    allowed: dict[str, set[Held]] = field(factory=dict)
    #: What every key was ever asked to hold, in order.
    begun: dict[str, list[Held]] = field(factory=dict)
    stored: int = 0
    deleted: int = 0
    reads: int = 0
    unanswered: int = 0
    #: The longest that a tracker took for an answer (old protocol; seconds).
    slowest: float = 0.0
    _recent: deque[str] = field(factory=lambda: deque(maxlen=WATCHED_KEYS))
    _lock: threading.Lock = field(factory=threading.Lock)

    def begin(self, key: str, held: Held) -> None:
        """A request is about to be sent."""
        with self._lock:
            self.allowed.setdefault(key, {None}).add(held)
            self.begun.setdefault(key, []).append(held)
            self._recent.append(key)

    def sure(self, key: str, held: Held) -> None:
        """It was acknowledged."""
        with self._lock:
            self.allowed[key] = {held}
            if held is None:
                self.deleted += 1
            else:
                self.stored += 1

    def recent(self) -> list[str]:
        """Some keys that were changed last."""
        with self._lock:
            return list(self._recent)

    def look(self, key: str) -> tuple[set[Held], int]:
        """Before a key is read that somebody else may change: for `seen`."""
        with self._lock:
            return set(self.allowed[key]), len(self.begun[key])

    def seen(self, key: str, held: Held, before: tuple[set[Held], int]) -> bool:
        """Whether the key may have held that at some moment since `look`."""
        allowed, count = before
        with self._lock:
            self.reads += 1
            return held in allowed or held in self.begun[key][count:]


class Line(Protocol):
    """A connection to one tracker, in either protocol. All raise OSError or
    `Refused`."""

    def store(self, domain: str, key: str, content: bytes) -> None:
        """Store a file."""

    def fetch(self, domain: str, key: str) -> bytes:
        """A file's bytes."""

    def delete(self, domain: str, key: str) -> None:
        """Delete a file."""

    def close(self) -> None:
        """Disconnect; the next call connects again."""


class OldLine(TrackerLine):
    """Of MogileFS's protocol. A tracker is waited for longer than a storage node, so
    that its own deadlines are seen."""

    #: The longest that a tracker took (seconds).
    slowest = 0.0
    answer_seconds = PATIENCE_SECONDS

    def line(self, line: bytes) -> bytes:
        """See `TrackerLine.line`."""
        seconds, self.seconds = self.seconds, self.answer_seconds
        began = time.monotonic()
        try:
            return super().line(line)
        finally:
            self.seconds = seconds
            self.slowest = max(self.slowest, time.monotonic() - began)

    def delete(self, domain: str, key: str) -> None:
        """See `Line`."""
        self.ask("delete", domain=domain, key=key)


class NativeLine:
    """Of the native protocol: the bytes go through the tracker."""

    def __init__(self, address: str, port: int, seconds: float) -> None:
        self._client = Native(DOMAIN, [f"{address}:{port}"], timeout=seconds)
        self.close = self._client.close

    def store(self, domain: str, key: str, content: bytes) -> None:
        """See `Line`."""
        with _as_oserror():
            self._client.put(key, io.BytesIO(content))

    def fetch(self, domain: str, key: str) -> bytes:
        """See `Line`."""
        found = io.BytesIO()
        with _as_oserror():
            if not self._client.get(key, found):
                raise Refused("unknown_key", "there is no such file")
        return found.getvalue()

    def delete(self, domain: str, key: str) -> None:
        """See `Line`."""
        with _as_oserror():
            if not self._client.delete(key):
                raise Refused("unknown_key", "there is no such file")


@contextmanager
def _as_oserror() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise ConnectionError(str(error)) from error


class Client:
    """Does one thing with one tracker after the other until it is acknowledged; each
    thing begins with the next tracker."""

    def __init__(
        self, nodes: Sequence[Node], native: bool, answer_seconds: float
    ) -> None:
        self._lines: list[Line] = [
            NativeLine(node.address, node.ports.native, PATIENCE_SECONDS)
            if native
            else OldLine(node.address, node.ports.tracker, PATIENCE_SECONDS)
            for node in nodes
        ]
        for line in self._lines:
            if isinstance(line, OldLine):
                line.answer_seconds = answer_seconds
        #: Whether an attempt of the last `do` may have been done without an answer.
        self.doubtful = False

    def do(self, act: Callable[[Line], bytes | None]) -> bytes | None:
        """Raises the last error after TROUBLE_SECONDS, or `Refused` for an unknown
        key at once."""
        deadline = time.monotonic() + TROUBLE_SECONDS
        self.doubtful = False
        while True:
            self._lines.append(self._lines.pop(0))
            line = self._lines[-1]
            try:
                return act(line)
            except (OSError, Refused) as error:
                if isinstance(error, Refused) and error.code == "unknown_key":
                    raise
                line.close()
                self.doubtful = True
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    @property
    def slowest(self) -> float:
        """The longest that a tracker took for an answer of the old protocol."""
        return max(getattr(line, "slowest", 0.0) for line in self._lines)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()


class Load(Threads):
    """Clients that store, overwrite, delete and read until stopped, or until `files`
    stores are acknowledged; every third speaks the native protocol, the others
    MogileFS's. A last one reads what the others are changing, which must be the old
    file or the new one, whole. `broken` has what must not happen."""

    def __init__(
        self,
        trackers: Sequence[Node],
        seed: int,
        clients: int = 6,
        files: int = 0,
        pause_seconds: float = 0.0,
        answer_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._answer_seconds = answer_seconds
        jobs = [
            self._job(
                number, list(trackers), seed, _Watcher if number == clients else _Worker
            )
            for number in range(clients + 1)
        ]
        super().__init__(jobs, TROUBLE_SECONDS + answer_seconds * 3)
        self.ledger = Ledger()
        self.full = threading.Event()
        self._files = files
        self._pause_seconds = pause_seconds

    def _job(
        self,
        number: int,
        trackers: list[Node],
        seed: int,
        kind: type[_Worker] | type[_Watcher],
    ) -> Callable[[], None]:
        def job() -> None:
            turned = trackers[number % len(trackers) :] + trackers
            client = Client(turned, number % 3 == 2, self._answer_seconds)
            try:
                kind(number, self, client, random.Random(f"{seed}/{number}")).run()
            except Exception as error:
                self.broken.append(f"client {number}: {error!r}")
            finally:
                client.close()
                self.ledger.slowest = max(self.ledger.slowest, client.slowest)

        return job

    def step_done(self) -> bool:
        """Whether the clients are to go on."""
        if self._files and self.ledger.stored >= self._files:
            self.full.set()
        if self._pause_seconds:
            time.sleep(self._pause_seconds)
        return not (self.full.is_set() or self.stopped.is_set())


class _Worker:
    """One client of a load, with keys of its own."""

    def __init__(
        self, number: int, load: Load, client: Client, chance: random.Random
    ) -> None:
        self._number = number
        self._load = load
        self._ledger = load.ledger
        self._client = client
        self._chance = chance
        self._count = 0
        #: Keys of ours that are not in doubt.
        self._keys: list[str] = []

    def run(self) -> None:
        steps = [self._store, self._overwrite, self._delete, self._read]
        while self._load.step_done():
            (step,) = self._chance.choices(steps, STEPS)
            step()

    def _store(self) -> None:
        self._count += 1
        key = f"{self._number}/{self._count}"
        if self._put(key) and len(self._keys) < 10 * RECENT_KEYS:
            self._keys.append(key)

    def _overwrite(self) -> None:
        if self._keys:
            key = self._keys.pop(self._any())
            if self._put(key):
                self._keys.append(key)

    def _any(self) -> int:
        return self._chance.randrange(
            max(0, len(self._keys) - RECENT_KEYS), len(self._keys)
        )

    def _put(self, key: str) -> bool:
        """Store something new; returns whether the key may be changed again."""
        content = content_of(self._chance)
        held = digest_of(content)
        self._ledger.begin(key, held)
        try:
            self._client.do(lambda line: line.store(DOMAIN, key, content))
        except (OSError, Refused) as error:
            self._give_up(f"store {key}", error)
            return False
        self._ledger.sure(key, held)
        return not self._client.doubtful

    def _delete(self) -> None:
        if not self._keys:
            return
        key = self._keys.pop(self._any())
        self._ledger.begin(key, None)
        try:
            self._client.do(lambda line: line.delete(DOMAIN, key))
        except Refused as refused:
            if refused.code != "unknown_key":
                self._give_up(f"delete {key}", refused)
                return
            if not self._client.doubtful:
                self._load.broken.append(f"{key}: gone before it was deleted")
        except OSError as error:
            self._give_up(f"delete {key}", error)
            return
        self._ledger.sure(key, None)

    def _read(self) -> None:
        if not self._keys:
            return
        key = self._keys[self._any()]
        try:
            found = self._client.do(lambda line: line.fetch(DOMAIN, key))
        except (OSError, Refused) as error:
            self._load.broken.append(f"read {key}: {error}")
            return
        assert found is not None
        self._ledger.reads += 1
        if digest_of(found) not in self._ledger.allowed[key]:
            self._load.broken.append(f"read {key}: other bytes than were stored")

    def _give_up(self, what: str, error: Exception) -> None:
        self._ledger.unanswered += 1
        self._load.broken.append(f"{what}: not within {TROUBLE_SECONDS:g} s: {error}")


class _Watcher:
    """Reads what the others have just changed, or are changing."""

    def __init__(
        self, number: int, load: Load, client: Client, chance: random.Random
    ) -> None:
        self._load = load
        self._ledger = load.ledger
        self._client = client
        self._chance = chance

    def run(self) -> None:
        """Until the load ends."""
        while self._load.step_done():
            keys = self._ledger.recent()
            if not keys:
                time.sleep(0.05)
                continue
            key = self._chance.choice(keys)
            before = self._ledger.look(key)
            held: Held = None
            try:
                content = self._client.do(lambda line, key=key: line.fetch(DOMAIN, key))
                assert content is not None
                held = digest_of(content)
            except (OSError, Refused) as error:
                if not isinstance(error, Refused) or error.code != "unknown_key":
                    self._load.broken.append(f"watch {key}: {error}")
                    continue
            if not self._ledger.seen(key, held, before):
                self._load.broken.append(f"watch {key}: neither old nor new")
