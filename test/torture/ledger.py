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
import random
import threading
import time
from collections.abc import Callable, Sequence

from attrs import define, field

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
STEPS = (70, 12, 6, 12)
#: Keys that a client may overwrite, delete or read: the last ones.
RECENT_KEYS = 500

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
    stored: int = 0
    deleted: int = 0
    reads: int = 0
    unanswered: int = 0
    #: When the last acknowledgement came (monotonic), and the longest time without.
    last_answer: float = field(factory=time.monotonic)
    _lock: threading.Lock = field(factory=threading.Lock)

    def begin(self, key: str, held: Held) -> None:
        """A request is about to be sent."""
        with self._lock:
            self.allowed.setdefault(key, {None}).add(held)

    def sure(self, key: str, held: Held) -> None:
        """It was acknowledged."""
        with self._lock:
            self.allowed[key] = {held}
            self.last_answer = time.monotonic()
            if held is None:
                self.deleted += 1
            else:
                self.stored += 1

    def certain(self) -> int:
        """How many keys must hold a certain file."""
        return sum(None not in held for held in self.allowed.values())


class Client:
    """Does one thing with any tracker, again and again until it is acknowledged."""

    def __init__(self, nodes: Sequence[Node], stopped: threading.Event) -> None:
        self._lines = [node.tracker(PATIENCE_SECONDS) for node in nodes]
        self._stopped = stopped
        #: Whether an attempt of the last `do` may have been done without an answer.
        self.doubtful = False

    def do(self, act: Callable[[TrackerLine], bytes | None]) -> bytes | None:
        """Raises the last error after TROUBLE_SECONDS, or `Refused` for an unknown
        key at once."""
        deadline = time.monotonic() + TROUBLE_SECONDS
        self.doubtful = False
        while True:
            line = self._lines[0]
            try:
                return act(line)
            except (OSError, Refused) as error:
                if isinstance(error, Refused) and error.code == "unknown_key":
                    raise
                line.close()
                self.doubtful = True
                if time.monotonic() > deadline:
                    raise
                self._lines.append(self._lines.pop(0))
                time.sleep(0.02)

    def close(self) -> None:
        """Close all connections."""
        for line in self._lines:
            line.close()


class Load(Threads):
    """Clients that store, overwrite, delete and read until stopped, or until `files`
    stores are acknowledged. `broken` has what must not happen."""

    def __init__(
        self,
        trackers: Sequence[Node],
        seed: int,
        clients: int = 6,
        files: int = 0,
        pause_seconds: float = 0.0,
    ) -> None:
        jobs = [self._job(number, list(trackers), seed) for number in range(clients)]
        super().__init__(jobs, TROUBLE_SECONDS + PATIENCE_SECONDS * 3)
        self.ledger = Ledger()
        self.full = threading.Event()
        self._files = files
        self._pause_seconds = pause_seconds

    def _job(self, number: int, trackers: list[Node], seed: int) -> Callable[[], None]:
        def job() -> None:
            turned = trackers[number % len(trackers) :] + trackers
            client = Client(turned, self.stopped)
            try:
                _Worker(number, self, client, random.Random(f"{seed}/{number}")).run()
            except Exception as error:
                self.broken.append(f"client {number}: {error!r}")
            finally:
                client.close()

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
        return self._chance.randrange(max(0, len(self._keys) - RECENT_KEYS),
                                      len(self._keys))

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
            self._client.do(lambda line: _delete(line, key))
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


def _delete(line: TrackerLine, key: str) -> None:
    line.ask("delete", domain=DOMAIN, key=key)
