"""A stand-in for MogileFS's tracker, for tests: what it does to the database and the
nodes, in its order, and none of its own doors.

It is written from what was seen of MogileFS-Server 2.73. An instance is one process of
it, with one session: threads need one each. Files as a client sees them are called as
those of `TrackerLine`, so that a test may use either.
"""

from __future__ import annotations

import http.client
import random
from socket import gethostname
from urllib.parse import urlsplit

from attrs import frozen

from test.functional.mogile_database import Rows, open_session
from test.functional.mogile_policy import (
    GOOD,
    NO_SUGGESTIONS,
    TOO_GOOD,
    Device,
    multiple_hosts,
)
from test.functional.tracker_line import Refused, get, put

END_OF_TIME = 2147483647
#: After so many failures as the place in the list, the next try is so far away.
BACK_OFF = (15, 60, 300, 1800, 3600, 7200, 14400, 28800, 86400)
NODE_SECONDS = 5.0
ABANDONED_SECONDS = 3600
DEFAULT_MINDEVCOUNT = 2

#: What became of a row that was worked on.
DONE, LOCKED, LATER = "done", "locked", "later"


@frozen
class Opened:
    """An upload as create_open offers it."""

    fid: int
    places: dict[int, str]


class MogileTracker:
    """See the module. `host_name` is that of the machine it would run on."""

    def __init__(self, url: str, host_name: str = "") -> None:
        self.session = open_session(url, host_name or gethostname())
        self.highest = self._highest()
        #: How often a key was taken by somebody else between two statements of a
        #: close: each time one file is lost, which is MogileFS's own weakness.
        self.overruns = 0

    def close(self) -> None:
        """End the process."""
        self.session.close()

    # --- the picture of the cluster, looked at anew each time

    def devices(self) -> dict[int, Device]:
        """By devid."""
        rows = self.session.ask(
            "select devid, device.hostid, device.status, host.status, hostip,"
            " http_port from device join host on host.hostid = device.hostid"
        )
        return {
            devid: Device(devid, hostid, status, host_status, f"http://{ip}:{port}")
            for devid, hostid, status, host_status, ip, port in rows
        }

    def _dmid(self, domain: str) -> int:
        rows = self.session.ask("select dmid from domain where namespace = %s", domain)
        if not rows:
            raise Refused("unreg_domain", "Domain name invalid/not found")
        return int(rows[0][0])

    def _file(self, dmid: int, key: str | bytes) -> tuple[int, int]:
        """Fid and length of a key."""
        rows = self.session.ask(
            "select fid, length from file where dmid = %s and dkey = %s",
            *(dmid, characters(key)),
        )
        if not rows:
            raise Refused("unknown_key", "unknown_key")
        return int(rows[0][0]), int(rows[0][1])

    def _highest(self) -> int:
        return int(self.session.ask("select max(fid) from file")[0][0] or 0)

    def _copies(self, fid: int) -> list[int]:
        rows = self.session.ask("select devid from file_on where fid = %s", fid)
        return [row[0] for row in rows]

    # --- the life of a file

    def create_open(self, domain: str, key: str | bytes, count: int = 1) -> Opened:
        """A fid, and up to `count` devices for its first copy."""
        dmid = self._dmid(domain)
        able = [one for one in self.devices().values() if one.takes_files]
        if not able:
            raise Refused("no_devices", "No devices found to store file")
        chosen = random.sample(able, min(count, len(able)))
        devids = ",".join(str(one.devid) for one in chosen)
        row = (0, dmid, characters(key), devids)
        fid = self.session.draw(*row)
        while fid <= self.highest or self._is_file(fid):
            # The counter is behind.
            self.session.run("delete from tempfile where fid = %s", fid)
            self._push(row)
            fid = self.session.draw(*row)
        return Opened(fid, {one.devid: one.url(fid) for one in chosen})

    def _is_file(self, fid: int) -> bool:
        return bool(self.session.ask("select 1 from file where fid = %s", fid))

    def _push(self, row: tuple[int, int, str, str]) -> None:
        """A row with the highest fid is tried, which moves the counter of MySQL; on
        PostgreSQL it moves by drawing alone."""
        highest = max(self._highest(), self.highest)
        columns = "tempfile (fid, createtime, classid, dmid, dkey, devids)"
        if self.session.insert_new(columns, highest, self.session.time(), *row):
            self.session.run("delete from tempfile where fid = %s", highest)

    def create_close(
        self, domain: str, key: str | bytes, fid: int, devid: int, path: str, size: int
    ) -> None:
        """Make an upload the file of the key; statement by statement."""
        dmid = self._dmid(domain)
        device = self.devices().get(devid)
        if device is None or device.url(fid) != path:
            raise Refused("bogus_args", "bogus_args")
        say = self.session
        rows = say.ask("select classid, devids from tempfile where fid = %s", fid)
        if not rows or not say.run("delete from tempfile where fid = %s", fid):
            raise Refused("no_temp_file", "No tempfile or file already closed")
        classid, devids = rows[0]
        if str(devid) not in devids.split(","):
            self._fail(fid, devid)
            raise Refused("invalid_destdev", f"Valid devices were: {devids}")
        length = length_at(path)
        if length is None:
            self._fail(fid, devid)
            raise Refused("size_verify_error", f"Expected: {size}; actual: 0")
        if size and length != size:
            self._fail(fid, devid)
            raise Refused("size_mismatch", f"Expected: {size}; actual: {length}")
        old = say.ask(
            "select fid from file where dmid = %s and dkey = %s",
            *(dmid, characters(key)),
        )
        if old:
            self._delete_fid(old[0][0])
        say.insert_new("file_on (fid, devid)", fid, devid)
        say.recount(fid)
        if not say.put_file(fid, dmid, characters(key), length, classid):
            self.overruns += 1
        say.insert_new("file_to_replicate (fid, nexttry)", fid, 0)

    def _fail(self, fid: int, devid: int) -> None:
        self.session.insert_new("file_on (fid, devid)", fid, devid)
        self._queue_deletion(fid)

    def _delete_fid(self, fid: int) -> None:
        self.session.run("delete from file where fid = %s", fid)
        self._queue_deletion(fid)

    def _queue_deletion(self, fid: int) -> None:
        now = self.session.time()
        self.session.insert_new("file_to_delete2 (fid, nexttry)", fid, now)

    def delete(self, domain: str, key: str | bytes) -> None:
        """Remove a key."""
        self._delete_fid(self._file(self._dmid(domain), key)[0])

    def rename(self, domain: str, old: str | bytes, new: str | bytes) -> None:
        """Give a file another key, which nobody has."""
        dmid = self._dmid(domain)
        fid, _ = self._file(dmid, old)
        try:
            other, _ = self._file(dmid, new)
        except Refused:
            other = fid
        if other != fid:
            raise Refused("key_exists", "Target key name already exists")
        self.session.run(
            "update file set dkey = %s where fid = %s", characters(new), fid
        )

    def paths(self, domain: str, key: str | bytes) -> list[str]:
        """The URLs of a file's copies, the first of which was looked at."""
        fid, length = self._file(self._dmid(domain), key)
        devices = self.devices()
        found: list[str] = []
        for devid in random.sample(copies := self._copies(fid), len(copies)):
            if devid in devices and devices[devid].readable:
                url = devices[devid].url(fid)
                if found or length_at(url) == length:
                    found.append(url)
        return found

    # --- whole files, as a client library does it

    def store(self, domain: str, key: str | bytes, content: bytes) -> None:
        """create_open, PUT to the first place that takes it, create_close."""
        opened = self.create_open(domain, key, 3)
        refusal: OSError | None = None
        for devid, path in opened.places.items():
            try:
                put(path, content, NODE_SECONDS)
            except OSError as error:
                refusal = error
                continue
            self.create_close(domain, key, opened.fid, devid, path, len(content))
            return
        raise refusal or OSError("no path was offered")

    def fetch(self, domain: str, key: str | bytes) -> bytes:
        """The file's bytes, from the first copy that can be read."""
        refusal: OSError | None = None
        for path in self.paths(domain, key):
            try:
                return get(path, NODE_SECONDS)
            except OSError as error:
                refusal = error
        raise refusal or OSError(f"{key!r} has no path")

    # --- the jobs

    def grab_replications(self, limit: int = 100) -> Rows:
        """Due rows of (fid, fromdevid, failcount), which are ours now."""
        columns = "fid, fromdevid, failcount"
        return self.session.grab("file_to_replicate", columns, limit)

    def grab_deletions(self, limit: int = 50) -> Rows:
        """Due rows of (fid, failcount), which are ours now."""
        return self.session.grab("file_to_delete2", "fid, failcount", limit)

    def replicate(self, fid: int, failcount: int = 0) -> str:
        """Work on a row that was grabbed."""
        with self.session.lock(file_lock(fid), 1) as had:
            if not had:
                return LOCKED
            result = self._replicate(fid)
        if result == DONE:
            self.session.run("delete from file_to_replicate where fid = %s", fid)
            return DONE
        if result == "no_source":
            when = END_OF_TIME
        else:
            failcount = failcount + 1 if result != TOO_GOOD else 0
            pause = BACK_OFF[max(0, min(failcount, len(BACK_OFF)) - 1)]
            when = self.session.time() + int(pause * random.uniform(0.8, 1.2))
        self.session.run(
            "update file_to_replicate set nexttry = %s, failcount = %s where fid = %s",
            *(when, failcount, fid),
        )
        return LATER

    def _replicate(self, fid: int) -> str:
        file = self.session.ask(
            "select length, coalesce(mindevcount, %s) from file left join class"
            " on class.dmid = file.dmid and class.classid = file.classid"
            " where fid = %s",
            *(DEFAULT_MINDEVCOUNT, fid),
        )
        if not file:
            return DONE
        length, least = file[0]
        copies, devices, failed = self._copies(fid), self.devices(), set[int]()
        if not copies:
            return "no_source"
        while True:
            verdict, target = multiple_hosts(copies, devices, failed, least)
            if verdict == GOOD:
                return DONE
            if verdict == TOO_GOOD:
                return self._trim(fid, copies, devices)
            if verdict == NO_SUGGESTIONS:
                return verdict
            sources = [d for d in copies if d in devices and devices[d].readable]
            try:
                source = devices[random.choice(sources)].url(fid)
                content = get(source, NODE_SECONDS)
            except (OSError, IndexError):
                return "source_down"
            if len(content) != length:
                return "copy_error"
            try:
                put(devices[target].url(fid), content, NODE_SECONDS)
            except OSError:
                failed.add(target)
                continue
            self.session.insert_new("file_on (fid, devid)", fid, target)
            self.session.recount(fid)
            copies.append(target)

    def _trim(self, fid: int, copies: list[int], devices: dict[int, Device]) -> str:
        devid = random.choice([d for d in copies if devices[d].deletable])
        if status_of("DELETE", devices[devid].url(fid)) != 204:
            return "copy_error"
        self._forget_copy(fid, devid)
        self.session.recount(fid)
        return TOO_GOOD

    def _forget_copy(self, fid: int, devid: int) -> None:
        self.session.run(
            "delete from file_on where fid = %s and devid = %s", fid, devid
        )

    def remove(self, fid: int, failcount: int = 0) -> str:
        """Work on a row of the delete queue that was grabbed."""
        with self.session.lock(file_lock(fid), 1) as had:
            if had:
                self.session.run("delete from checksum where fid = %s", fid)
                self.session.run("delete from tempfile where fid = %s", fid)
                pauses = [self._remove(fid, d, failcount) for d in self._copies(fid)]
                pause = max(pauses, default=0)
                if not pause:
                    self.session.run("delete from file_to_delete2 where fid = %s", fid)
                    return DONE
                self._put_off(fid, pause, failcount + 1)
                return LATER
        self._put_off(fid, 1, failcount)
        return LOCKED

    def _remove(self, fid: int, devid: int, failcount: int) -> int:
        """Seconds to wait before the next try for a copy; 0: it is gone."""
        device = self.devices().get(devid)
        if device is None:
            return 1
        if device.status != "dead":
            if not device.deletable:
                return 3600 * (1 + failcount)
            status = status_of("DELETE", device.url(fid))
            if status is None:
                return 60 * (10 + failcount)
            if status // 100 != 2 and status != 404:
                return 1800 * (1 + failcount)
        self._forget_copy(fid, devid)
        return 0

    def _put_off(self, fid: int, seconds: int, failcount: int) -> None:
        self.session.run(
            "update file_to_delete2 set nexttry = %s, failcount = %s where fid = %s",
            *(self.session.time() + seconds, failcount, fid),
        )

    def clean_uploads(self) -> int:
        """Give abandoned uploads to the delete queue; how many there were."""
        with self.session.lock("mgfs:tempfiles", 0) as had:
            if not had:
                return 0
            rows = self.session.ask(
                "select fid, devids from tempfile where createtime < %s limit 50",
                self.session.time() - ABANDONED_SECONDS,
            )
            for fid, devids in rows:
                if not self._is_file(fid):
                    for devid in devids.split(","):
                        self.session.insert_new("file_on (fid, devid)", fid, int(devid))
                    self._queue_deletion(fid)
                self.session.run("delete from tempfile where fid = %s", fid)
            return len(rows)

    def work(self, limit: int = 100) -> int:
        """One round of the jobs; how many rows there were."""
        copies = self.grab_replications(limit)
        for fid, _source, failcount in copies:
            self.replicate(fid, failcount)
        deletions = self.grab_deletions(limit)
        for fid, failcount in deletions:
            self.remove(fid, failcount)
        return len(copies) + len(deletions) + self.clean_uploads()


def file_lock(fid: int) -> str:
    """The name of the lock for a file that is copied or deleted."""
    return f"mgfs:fid:{fid}:replicate"


def characters(key: str | bytes) -> str:
    """A key as the driver hands it to the database: a character for each byte."""
    return (key if isinstance(key, bytes) else key.encode()).decode("latin-1")


def _answer(method: str, url: str) -> tuple[int, int] | None:
    """Status and Content-Length; None from a node that does not answer."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=NODE_SECONDS)
    try:
        link.request(method, parts.path)
        answer = link.getresponse()
        answer.read()
        return answer.status, int(answer.headers.get("Content-Length") or 0)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


def status_of(method: str, url: str) -> int | None:
    """The status of an answer; None from a node that does not answer."""
    answer = _answer(method, url)
    return None if answer is None else answer[0]


def length_at(url: str) -> int | None:
    """What HEAD says; None if nothing can be read there."""
    answer = _answer("HEAD", url)
    return answer[1] if answer is not None and answer[0] == 200 else None
