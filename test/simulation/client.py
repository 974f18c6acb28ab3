"""A simulated client: what it does to its files, and what it makes of the answers."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.internet.defer import Deferred

from koboldfs.model.fid import parse_uri
from test.simulation import checkers
from test.simulation.clock import ProcessReactor
from test.simulation.speaking import NoAnswer, NotSent, Speaker
from test.simulation.truth import KeyTruth, Version

DOMAIN = "d"
KEYS = 3
#: A client waits so long for an answer, and longer where the cluster waits for others.
PATIENCE_SECONDS = 14.0
#: Sizes of files (bytes): mostly short, some beyond one piece, some beyond what is
#: written in one step.
SIZES = (0, 1, 30, 700, 700, 5000, 70_000)
#: How often a close without an answer is asked again.
CLOSES = 3


def content(random: Any, fid: int) -> bytes:
    """Bytes that no other file has."""
    size = random.choice(SIZES)
    if not size:
        return b""
    word = b"%d:%d;" % (fid, random.getrandbits(32))
    return (word * (size // len(word) + 1))[: max(size, len(word))]


class Client:
    """One client with keys of its own."""

    def __init__(self, world: Any, number: int) -> None:
        self.world, self.truth = world, world.truth
        self.random = world.random
        self.name = f"client{number}"
        host = world.network.host(f"10.0.9.{number}")
        reactor = ProcessReactor(world.clock, world.network, host)
        self.reactor = reactor
        self.speaker = Speaker(reactor, PATIENCE_SECONDS)
        self.tracker_ip = self.random.choice(world.tracker_ips)
        self.keys = [f"{self.name}/{n}" for n in range(KEYS)]

    async def live(self, operations: int) -> None:
        """Do so many things, with pauses."""
        for _ in range(operations):
            await self._pause(self.random.random() * self.world.plan.pause_seconds)
            action = self.random.choices(
                (self.store, self.look, self.delete, self.rename, self.list),
                (10, 6, 3, 2, 2),
            )[0]
            try:
                await action()
            except (NoAnswer, NotSent):
                self.note(f"{action.__name__}: no answer")
                self._other_tracker()

    def hang_up(self) -> None:
        """Use no connection again that was made before now."""
        self.speaker.hang_up()

    async def _pause(self, seconds: float) -> None:
        pause: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, pause.callback, None)
        await pause

    def note(self, text: str) -> None:
        """A line of the trace, and a look at all that must be true."""
        self.world.note(f"{self.name}: {text}")
        self.world.check()

    def _other_tracker(self) -> None:
        ips = self.world.tracker_ips
        self.tracker_ip = ips[(ips.index(self.tracker_ip) + 1) % len(ips)]

    async def ask(self, command: str, **words: Any) -> tuple[str, dict[str, str]]:
        """One question to the tracker of this client."""
        return await self.speaker.tracker(
            self.tracker_ip, command, domain=DOMAIN, **words
        )

    # --- what it does

    async def store(self) -> None:
        """Store a new file, over an old one if there is one."""
        name = self.random.choice(self.keys)
        began = self.world.clock.now
        code, fields = await self.ask("create_open", key=name)
        opened, checked = code == "OK", checkers.requests_succeed_in_peace
        checked(self.world, f"open: {code}", opened, began)
        if not opened:
            self.note(f"open {name}: {code}")
            return
        fid, devid, url = int(fields["fid"]), int(fields["devid"]), fields["path"]
        version = Version(fid, name, content(self.random, fid))
        checkers.fids_are_handed_out_once(self.world, version, fid)
        checkers.no_url_for_a_dead_device(self.world, [url])
        self.truth.versions[fid] = version
        try:
            status = await self.speaker.put(url, version.data)
        except (NoAnswer, NotSent):
            status = 0
        self.note(
            f"put {name} fid {fid} {len(version.data)} bytes to {devid}: {status}"
        )
        stored = status in (200, 201)
        checked(self.world, f"put: {status}", stored, began)
        if not stored:
            return
        await self._close(self.truth.key(name), version, devid, url)

    async def _close(
        self, key: KeyTruth, version: Version, devid: int, url: str
    ) -> None:
        state = self.truth.begin(key, version)
        words = {"fid": version.fid, "devid": devid, "path": url, "key": key.name}
        words["size"] = len(version.data)
        if self.random.random() < 0.5:
            words["checksum"] = f"MD5:{hashlib.md5(version.data).hexdigest()}"
            words["checksumverify"] = 1
        asked = False
        for _ in range(CLOSES):
            try:
                code, _ = await self.ask("create_close", **words)
            except NotSent:
                self._other_tracker()
                continue
            except NoAnswer:
                asked = True
                self._other_tracker()
                continue
            if code == "OK":
                self.truth.answered(key, state)
                checkers.acknowledged_is_durable(self.world, version)
                self.note(f"close {key.name} fid {version.fid}: OK")
                return
            self.note(f"close {key.name} fid {version.fid}: {code}")
            checkers.requests_succeed_in_peace(
                self.world, f"close: {code}", False, state.since
            )
            if code in UNSURE or asked:
                return
            break
        if not asked:
            self.truth.refused(key, state)

    async def look(self) -> None:
        """Find any client's file, and read it."""
        client = self.random.choice(self.world.clients)
        await self.read(self.random.choice(client.keys))

    async def read(self, name: str, *, must: bool = False) -> int | None:
        """The fid that is there, or None. With `must` the bytes must be had."""
        began, key = self.world.clock.now, self.truth.key(name)
        code, fields = await self.ask("get_paths", key=name)
        if code == "unknown_key":
            self.note(f"look {name}: absent")
            checkers.a_key_is_what_was_promised(self.world, key, None, began)
            return None
        if code != "OK":
            self.note(f"look {name}: {code}")
            if must:
                raise NoAnswer
            return None
        urls = [fields[f"path{n}"] for n in range(1, int(fields["paths"]) + 1)]
        checkers.no_url_for_a_dead_device(self.world, urls)
        fids = {_fid(url) for url in urls}
        self.note(f"look {name}: {sorted(fids)}")
        if len(fids) != 1:
            certain = key.certain.version if key.certain is not None else None
            if not urls and certain is not None and certain.excused:
                return certain.fid
            if not must:
                return None
            checkers.broken("after_quiet_every_file_is_read", f"{name}: {urls}")
        fid = fids.pop()
        checkers.a_key_is_what_was_promised(self.world, key, fid, began)
        for url in urls:
            try:
                status, body = await self.speaker.get(url)
            except (NoAnswer, NotSent):
                continue
            if status == 200:
                checkers.reads_give_the_bytes(self.world, url, fid, body)
                return fid
        if must:
            checkers.after_quiet_every_file_is_read(self.world, name, fid)
        return fid

    async def delete(self) -> None:
        """Delete a file of its own."""
        key = self.truth.key(self.random.choice(self.keys))
        state = self.truth.begin(key, None)
        try:
            code, _ = await self.ask("delete", key=key.name)
        except NotSent:
            self.truth.refused(key, state)
            raise
        if code == "OK":
            self.truth.answered(key, state)
        elif code not in UNSURE:
            self.truth.refused(key, state)
            checkers.a_key_is_what_was_promised(self.world, key, None, state.since)
        self.note(f"delete {key.name}: {code}")

    async def rename(self) -> None:
        """Rename a file of its own."""
        old, new = map(self.truth.key, self.random.sample(self.keys, 2))
        certain, free = old.certain, new.certain
        if certain is None or certain.version is None or free is None:
            return
        states = [
            self.truth.begin(old, None),
            self.truth.begin(new, certain.version),
        ]
        words = {"from_key": old.name, "to_key": new.name}
        try:
            code, _ = await self.ask("rename", **words)
        except NotSent:
            self.truth.refused(old, states[0])
            self.truth.refused(new, states[1])
            raise
        except NoAnswer:
            self.truth.tie(old, new)
            raise
        self.note(f"rename {old.name} to {new.name}: {code}")
        if code == "OK":
            checkers.renames_do_not_overwrite(self.world, free)
            self.truth.answered(old, states[0])
            self.truth.answered(new, states[1])
        elif code in UNSURE:
            self.truth.tie(old, new)
        else:
            self.truth.refused(old, states[0])
            self.truth.refused(new, states[1])
            if code == "unknown_key":
                checkers.broken("a_key_is_what_was_promised", f"{old.name}: {code}")

    async def list(self) -> None:
        """List the keys of a client."""
        client = self.random.choice(self.world.clients)
        began = self.world.clock.now
        code, fields = await self.ask("list_keys", prefix=client.name, limit=100)
        found: set[str] = set()
        if code == "OK":
            count = int(fields["key_count"])
            found = {fields[f"key_{n}"] for n in range(1, count + 1)}
        elif code != "none_match":
            return
        self.note(f"list {client.name}: {sorted(found)}")
        for name in client.keys:
            checkers.lists_are_true(self.world, name, name in found, began)


#: Errors after which it may be done all the same, or may be done later.
UNSURE = ("db", "failure", "busy")


def _fid(url: str) -> int:
    found = parse_uri(url.partition(":7500")[2].encode())
    assert found is not None, url
    return found[1]
