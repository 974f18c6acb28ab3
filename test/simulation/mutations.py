"""Faults of ours, put into the product on purpose, that the simulation must find.

Each breaks a promise in the way a careless change might, and names the rules of which
one must catch it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, succeed

from koboldfs.cluster import namespace
from koboldfs.cluster.copies import Copies as ClusterCopies
from koboldfs.cluster.moving import Moving
from koboldfs.cluster.rebalancing import Rebalancing
from koboldfs.jobs.delete import DeleteWorker
from koboldfs.jobs.fsck import FsckWorker
from koboldfs.jobs.housekeeping import Reaper, Sweep
from koboldfs.jobs.mending import Mending
from koboldfs.jobs.rebalance import RebalanceWorker
from koboldfs.jobs.replicate import ReplicateWorker
from koboldfs.model.entities import Checked, FsckEvent, ReplicationDone
from koboldfs.model.policy import Question
from koboldfs.model.promise import Promise
from koboldfs.model.scrub import Counts
from koboldfs.model.view import View
from koboldfs.storage import batch, devices, pull
from koboldfs.storage.copies import Copies as NodeCopies
from koboldfs.storage.temporary import TemporaryFile
from koboldfs.storage.upload import Upload
from koboldfs.store.files import Files
from koboldfs.store.queues import Queues
from koboldfs.tracker.native_session import Session
from koboldfs.tracker.protocol import TrackerProtocol
from test.simulation.database import Server
from test.simulation.disk import Handle

#: (where, name, what is there instead)
Change = tuple[Any, str, Any]


@frozen
class Mutation:
    """What is broken (`changes` makes it anew for each run), and who must notice."""

    name: str
    rules: tuple[str, ...]
    changes: Callable[[], list[Change]]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The product, broken."""
        with ExitStack() as stack:
            for where, name, value in self.changes():
                stack.enter_context(patch.object(where, name, value))
            yield


def _sql(text: str, *params: Any) -> None:
    assert Server._current is not None
    Server._current.connection.execute(text, params)


def _nothing(*arguments: Any, **words: Any) -> None:
    return None


async def _idle(*arguments: Any, **words: Any) -> bool:
    return False


def _no_file_flush() -> list[Change]:
    def flush(disk: Any, root: str, before: Any, written: Any, done: Any) -> Any:
        return written

    return [(batch, "_flush", flush), (Upload, "_flush", _nothing)]


def _no_name_flush() -> list[Change]:
    def flush(disk: Any, root: str, placed: Any) -> Any:
        return [one.stored for one in placed]

    return [(batch, "_flush_names", flush)]


def _early_answer() -> list[Change]:
    def close_upload(self: Files, closing: Any) -> Any:
        self._close.ask(closing).addErrback(_nothing)
        return succeed("closed")

    return [(Files, "close_upload", close_upload)]


def _too_few_copies() -> list[Change]:
    return [(ClusterCopies, "promised_hosts", lambda self: 1)]


def _bad_promise() -> list[Change]:
    async def promise(self: Any, located: Any, *arguments: Any) -> tuple[int, ...]:
        devids = sorted(self.live.view.devices)
        return (*located.devids, *(d for d in devids if d not in located.devids))[:2]

    return [(ClusterCopies, "promise", promise)]


def _forgotten_deletion() -> list[Change]:
    def delete(self: Files, dmid: int, key: str) -> Any:
        found = bool(Server._current.rows("SELECT 1 FROM file WHERE dkey = ?", key))
        _sql("DELETE FROM file WHERE dkey = ?", key)
        return succeed(found)

    return [(Files, "delete", delete)]


def _stale_find() -> list[Change]:
    known: dict[str, Any] = {}
    find = Files.find

    def stale(self: Files, dmid: int, key: str) -> Any:
        if key in known:
            return succeed(known[key])

        def learn(located: Any) -> Any:
            known[key] = located
            return located

        return find(self, dmid, key).addCallback(learn)

    return [(Files, "find", stale)]


def _swapped_replies() -> list[Change]:
    kept: list[bytes] = []
    reply = TrackerProtocol._reply

    def swapped(self: TrackerProtocol, data: bytes) -> None:
        if data.startswith(b"OK paths="):
            kept.append(data)
            data = kept.pop(0) if len(kept) > 1 else data
        reply(self, data)

    return [(TrackerProtocol, "_reply", swapped)]


def _wrong_bytes() -> list[Change]:
    whole = NodeCopies._whole

    def wrong(self: NodeCopies, fd: int, size: int) -> bytes:
        return whole(self, fd, size)[::-1]

    def uncached(self: NodeCopies, target: Any, limit: int) -> None:
        return None

    return [(NodeCopies, "_whole", wrong), (NodeCopies, "cached", uncached)]


def _unchecked_copies() -> list[Change]:
    fetch = pull.Puller._fetch

    async def unchecked(self: Any, request: Any) -> Any:
        await fetch(self, request)
        return request.checksum

    return [(TemporaryFile, "check", _nothing), (pull.Puller, "_fetch", unchecked)]


def _offered_dead_device() -> list[Change]:
    def may_receive(self: View, devid: int, size_bytes: int = 0) -> bool:
        device = self.devices.get(devid)
        return device is not None and device.status in ("alive", "dead")

    return [(View, "may_receive", may_receive)]


def _dropped_replication() -> list[Change]:
    async def work(self: ReplicateWorker, row: Any) -> Any:
        return ReplicationDone(row.fid)

    return [(ReplicateWorker, "work", work)]


def _deleted_copy() -> list[Change]:
    work = ReplicateWorker.work

    async def worse(self: ReplicateWorker, row: Any) -> Any:
        done = await work(self, row)
        if row.located is not None:
            for devid in row.located.devids:
                place = self._copies.live.view.place(devid)
                await self._copies.nodes.remove(place, row.fid)
        return done

    return [(ReplicateWorker, "work", worse)]


def _fid_again() -> list[Change]:
    open_upload = Files.open_upload
    last: list[int] = []

    def again(self: Files, *arguments: Any) -> Any:
        if len(last) == 2:
            return succeed(last[0])
        return open_upload(self, *arguments).addCallback(
            lambda fid: last.append(fid) or fid
        )

    return [(Files, "open_upload", again)]


def _renamed_over() -> list[Change]:
    def rename(self: Files, dmid: int, old: str, new: str) -> Any:
        _sql("DELETE FROM file WHERE dkey = ?", new)
        _sql("UPDATE file SET dkey = ? WHERE dkey = ?", new, old)
        return succeed(None)

    return [(Files, "rename", rename)]


def _listed_for_ever() -> list[Change]:
    seen: set[str] = set()
    delete, list_keys = Files.delete, Files.list_keys

    def noticed(self: Files, dmid: int, key: str) -> Any:
        def learn(found: bool) -> bool:
            if found:
                seen.add(key)
            return found

        return delete(self, dmid, key).addCallback(learn)

    def longer(self: Files, dmid: int, prefix: str, *arguments: Any) -> Any:
        more = {key for key in seen if key.startswith(prefix)}
        return list_keys(self, dmid, prefix, *arguments).addCallback(
            lambda keys: sorted(more.union(keys))
        )

    return [(Files, "delete", noticed), (Files, "list_keys", longer)]


def _unreadable() -> list[Change]:
    async def missing(self: NodeCopies, target: Any, **words: Any) -> None:
        return None

    def uncached(self: NodeCopies, target: Any, limit: int) -> None:
        return None

    return [(NodeCopies, "open", missing), (NodeCopies, "cached", uncached)]


def _no_paths() -> list[Change]:
    async def paths(self: Any, *arguments: Any, **words: Any) -> list[str]:
        return []

    return [(namespace.Namespace, "paths", paths)]


def _never_answers() -> list[Change]:
    async def paths(self: Any, *arguments: Any, **words: Any) -> list[str]:
        await Deferred()
        return []

    return [(namespace.Namespace, "paths", paths)]


def _defect() -> list[Change]:
    async def unit(self: Sweep) -> bool:
        raise RuntimeError("a defect")

    return [(Sweep, "__call__", unit)]


def _kept_uploads() -> list[Change]:
    return [(Queues, "expire_uploads", lambda self, age, limit: succeed(0))]


def _kept_temporary_files() -> list[Change]:
    return [(devices, "remove_abandoned", lambda disk, folder: 0)]


def _claimed_deletion() -> list[Change]:
    async def remove(self: DeleteWorker, row: Any, devid: int) -> int:
        return 0

    return [(DeleteWorker, "_remove", remove)]


def _kept_rows() -> list[Change]:
    def finish(self: Queues, done: Any) -> Any:
        for one in done:
            _sql("DELETE FROM file_to_delete2 WHERE fid = ?", one.fid)
        return succeed(None)

    return [(Queues, "finish_deletions", finish)]


def _unscrubbed(name: str) -> list[Change]:
    async def believe(self: Mending, *arguments: Any) -> Counts:
        return Counts()

    return [(Mending, name, believe)]


def _not_reaped() -> list[Change]:
    return [(Reaper, "__call__", _idle)]


def _nothing_flushed_at_start() -> list[Change]:
    return [(Handle, "sync_all", _nothing)]


def _not_drained() -> list[Change]:
    return [(RebalanceWorker, "_drain", _idle)]


def _moved_without_copies() -> list[Change]:
    async def make(self: Moving, *arguments: Any) -> set[int]:
        return set()

    return [(Moving, "_make", make), (Moving, "_as_good", lambda *arguments: True)]


def _taken_from_hosts() -> list[Change]:
    return [(View, "with_alive", lambda self, devid: self)]


def _not_given_back() -> list[Change]:
    set_device = Rebalancing._set_device

    async def keep(self: Rebalancing, devid: int, before: str, after: str) -> None:
        if after == "drain":
            await set_device(self, devid, before, after)

    return [(Rebalancing, "_set_device", keep)]


def _devices_for_hosts() -> list[Change]:
    def hosts(self: Any, devids: Any = None) -> set[int]:
        return set(self.on if devids is None else devids)

    return [(Question, "hosts", hosts), (ClusterCopies, "hosts_of", hosts)]


def _fsck_believes() -> list[Change]:
    def conclude(self: FsckWorker, row: Any) -> Checked:
        return Checked(row.task.fid)

    return [(FsckWorker, "_conclude", conclude)]


def _fsck_invents() -> list[Change]:
    conclude = FsckWorker._conclude

    def invent(self: FsckWorker, row: Any) -> Checked:
        event = FsckEvent(row.task.fid, "POVI", None)
        return evolve(conclude(self, row), events=(event,))

    return [(FsckWorker, "_conclude", invent)]


def _always_kept() -> list[Change]:
    def promise(self: Session, closing: Any) -> Promise:
        return Promise(1, 1)

    return [(Session, "promise", promise)]


DURABLE, SAFE = "acknowledged_is_durable", "acknowledged_files_are_safe"
BYTES, ROWS = "after_quiet_no_orphan_bytes", "after_quiet_no_orphan_rows"
GOOD, POLICY = "after_quiet_copies_are_good", "after_quiet_policy_is_satisfied"
DRAIN, READ = "after_quiet_queues_drain", "after_quiet_every_file_is_read"
SPREAD, DWINDLE = "bad_copies_do_not_spread", "copies_do_not_dwindle"
DRAINED = "after_quiet_a_draining_device_is_empty"
GIVEN_BACK = "after_quiet_devices_are_given_back"
FSCK = "after_quiet_fsck_finds_nothing"
PROMISED, BYTES_READ = "a_key_is_what_was_promised", "reads_give_the_bytes"

MUTATIONS = (
    Mutation("a file is answered before it is flushed", (DURABLE,), _no_file_flush),
    Mutation("a file's name is not flushed", (DURABLE, SAFE), _no_name_flush),
    Mutation("a close is answered before it is recorded", (DURABLE,), _early_answer),
    Mutation("a store makes one copy only", (DURABLE,), _too_few_copies),
    Mutation("copies are recorded that were not made", (DURABLE, GOOD), _bad_promise),
    Mutation("a deletion is not queued", (ROWS, BYTES), _forgotten_deletion),
    Mutation("a deletion is claimed and not done", (BYTES,), _claimed_deletion),
    Mutation("the rows of a deleted file stay", (ROWS,), _kept_rows),
    Mutation("a deleted file is found a while longer", (PROMISED,), _stale_find),
    Mutation("an answer is given to another request", (PROMISED,), _swapped_replies),
    Mutation("a node gives wrong bytes", (BYTES_READ,), _wrong_bytes),
    Mutation("no copy is found to be readable", (READ,), _no_paths),
    Mutation("nodes give no bytes", ("requests_succeed_in_peace",), _unreadable),
    Mutation("copies are not compared", (SPREAD, GOOD), _unchecked_copies),
    Mutation("the scrub leaves bad copies", (GOOD,), lambda: _unscrubbed("examine")),
    Mutation(
        "the scrub leaves what no row knows", (BYTES,), lambda: _unscrubbed("clear")
    ),
    Mutation(
        "a dead device is offered",
        ("no_url_for_a_dead_device",),
        _offered_dead_device,
    ),
    Mutation("a dead device is not reaped", (DRAIN,), _not_reaped),
    Mutation("replication is dropped", (POLICY,), _dropped_replication),
    Mutation("copies of a live file are deleted", (SAFE, GOOD), _deleted_copy),
    Mutation("a fid is handed out twice", ("fids_are_handed_out_once",), _fid_again),
    Mutation("a renaming overwrites", ("renames_do_not_overwrite",), _renamed_over),
    Mutation("a deleted key is listed", ("lists_are_true",), _listed_for_ever),
    Mutation("a request has no answer", ("every_request_ends",), _never_answers),
    Mutation("a job fails inside", ("nothing_fails_inside",), _defect),
    Mutation("abandoned uploads stay", (DRAIN,), _kept_uploads),
    Mutation("abandoned temporary files stay", (BYTES,), _kept_temporary_files),
    Mutation(
        "a node's start flushes nothing",
        (DURABLE, SAFE, SPREAD, DWINDLE),
        _nothing_flushed_at_start,
    ),
    Mutation("a draining device is not emptied", (DRAINED,), _not_drained),
    Mutation("copies are moved and not made", (DWINDLE,), _moved_without_copies),
    Mutation("a rebalance empties hosts", (DWINDLE,), _taken_from_hosts),
    Mutation("a rebalance leaves devices draining", (GIVEN_BACK,), _not_given_back),
    Mutation("devices count as hosts", (DURABLE, POLICY), _devices_for_hosts),
    Mutation("fsck believes what is recorded", ("fsck_mends",), _fsck_believes),
    Mutation("fsck tells what is not so", (FSCK,), _fsck_invents),
    Mutation("a native answer promises too much", (DURABLE,), _always_kept),
)
