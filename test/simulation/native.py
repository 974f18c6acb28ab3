"""A simulated client that is KoboldFS's own, synchronous one, with the native protocol.

It connects to any tracker, and says again what is safe to say again. What it has said
more than once, or has no answer to, may be done later than it thinks: what it wanted
stays possible until all is quiet.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from koboldfs.native_client import Client as Synchronous
from koboldfs.native_link import (
    ClientError,
    KeyExists,
    KeyMissing,
    ServerError,
)
from test.simulation import checkers
from test.simulation.client import DOMAIN, PATIENCE_SECONDS, UNSURE, Client, content
from test.simulation.processes import NATIVE_PORT
from test.simulation.speaking import NoAnswer
from test.simulation.truth import KeyTruth, Possible, Version


class NativeClient(Client):
    """See the module. What it does has the meaning that it has in `Client`."""

    def __init__(self, world: Any, number: int) -> None:
        super().__init__(world, number)
        self._sockets = world.sockets
        self._sockets.reactor = self.reactor
        servers = [f"{ip}:{NATIVE_PORT}" for ip in world.tracker_ips]
        self.random.shuffle(servers)
        self.client = Synchronous(DOMAIN, servers, PATIENCE_SECONDS)

    def hang_up(self) -> None:
        """See `Client`."""
        self.client.close()

    def _ask(self, act: Callable[[], Any]) -> tuple[Any, int]:
        """What it comes to, an error of the client being an answer, too; and how often
        it was asked for."""
        self._sockets.asked.clear()
        try:
            result = act()
        except ClientError as error:
            result = error
        return result, len(self._sockets.asked)

    def _sure(self, result: Any, times: int) -> bool:
        """Whether an error means that it was not done and will not be."""
        known = isinstance(result, ServerError) and result.word not in UNSURE
        return not times or (known and times == 1)

    def _in_peace(self, what: str, result: Any, began: float) -> None:
        self.note(f"{what}: {_words(result)}")
        done = not isinstance(result, ClientError)
        done = done or isinstance(result, (KeyExists, KeyMissing))
        checkers.requests_succeed_in_peace(self.world, f"{what}: {result}", done, began)

    def _done(self, key: KeyTruth, state: Possible, times: int) -> None:
        """It was answered; what was asked before that may be done again."""
        self.truth.answered(key, state)
        for _ in range(times - 1):
            self.truth.begin(key, state.version)

    # --- what it does

    async def store(self) -> None:
        """See `Client`."""
        name = self.random.choice(self.keys)
        key = self.truth.key(name)
        data = content(self.random, self.random.getrandbits(40))
        version = Version(0, name, data)
        self.truth.sent(version)
        state = self.truth.begin(key, version)
        stored, times = self._ask(lambda: self.client.put_stat(name, BytesIO(data)))
        self._in_peace(f"put {name} {len(data)} bytes", stored, state.since)
        if isinstance(stored, ClientError):
            if self._sure(stored, times):
                self.truth.refused(key, state)
            return
        checkers.fids_are_handed_out_once(self.world, version, stored.fid)
        self.truth.versions[stored.fid] = version
        version.fid = stored.fid
        self._done(key, state, times)
        if times == 1:
            checkers.acknowledged_is_durable(self.world, version, said=not stored.short)

    async def read(self, name: str, *, must: bool = False) -> int | None:
        """See `Client`."""
        began, key, came = self.world.clock.now, self.truth.key(name), BytesIO()
        found, _ = self._ask(lambda: self.client.get(name, came))
        if must and found is not False:
            stat, _ = self._ask(lambda: self.client.stat(name))
            if stat is None or isinstance(stat, ClientError):
                raise NoAnswer
            version = self.truth.version(stat.fid)
            if found is not True:
                checkers.after_quiet_every_file_is_read(self.world, name, stat.fid)
            elif version is None or version.data != came.getvalue():
                checkers.broken("reads_give_the_bytes", f"{name}, fid {stat.fid}")
            checkers.a_key_is_what_was_promised(self.world, key, stat.fid, began)
            return int(stat.fid)
        self.note(f"get {name}: {_words(found)}")
        if found is False:
            checkers.a_key_is_what_was_promised(self.world, key, None, began)
        elif found is True:
            data = came.getvalue()
            possible = self.truth.possible(key, began)
            if not any(one is not None and one.data == data for one in possible):
                checkers.broken("a_key_is_what_was_promised", f"{name}: {data[:40]!r}")
        return None

    async def delete(self) -> None:
        """See `Client`."""
        key = self.truth.key(self.random.choice(self.keys))
        state = self.truth.begin(key, None)
        done, times = self._ask(lambda: self.client.delete(key.name))
        self._in_peace(f"delete {key.name}", done, state.since)
        if done is True:
            self._done(key, state, times)
        elif done is False:
            checkers.a_key_is_what_was_promised(self.world, key, None, state.since)
        if done is not True and (self._sure(done, times) or done is False):
            self.truth.refused(key, state)

    async def rename(self) -> None:
        """See `Client`."""
        old, new = map(self.truth.key, self.random.sample(self.keys, 2))
        certain, free = old.certain, new.certain
        if certain is None or certain.version is None or free is None:
            return
        states = [self.truth.begin(old, None), self.truth.begin(new, certain.version)]
        done, times = self._ask(lambda: self.client.rename(old.name, new.name))
        self._in_peace(f"rename {old.name} to {new.name}", done, states[0].since)
        if done is True:
            checkers.renames_do_not_overwrite(self.world, free)
            self.truth.answered(old, states[0])
            self.truth.answered(new, states[1])
        elif done is not False and not self._sure(done, times):
            self.truth.tie(old, new)
        else:
            self.truth.refused(old, states[0])
            self.truth.refused(new, states[1])
            if done is False:
                checkers.broken("a_key_is_what_was_promised", f"{old.name}: absent")

    async def list(self) -> None:
        """See `Client`."""
        client = self.random.choice(self.world.clients)
        began = self.world.clock.now
        found, _ = self._ask(lambda: list(self.client.list(client.name)))
        self.note(f"list {client.name}: {_words(found)}")
        if isinstance(found, ClientError):
            return
        for name in client.keys:
            checkers.lists_are_true(self.world, name, name in found, began)


def _words(result: Any) -> str:
    return f"{type(result).__name__} {result}"
