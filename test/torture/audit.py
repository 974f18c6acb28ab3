"""Compares, after quiet, what was acknowledged with what is recorded and what is there.

Every acknowledged file is read from every disk that the database names for it, and a
sample over the network; every row is looked for on its disk, every file on a disk in
the database. Bytes that no row knows are counted: doc/architecture says which there may
be ("Left alone on purpose").
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from attrs import define, field

from test.functional.cluster import DOMAIN
from test.functional.tracker_line import Refused
from test.torture.estate import Estate
from test.torture.ledger import Held, Ledger, digest_of

#: From the last fault to all copies of all files.
QUIET_SECONDS = 180.0
#: How many files are also read through a tracker and a node.
MOST_FETCHED = 2_000


def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """Ask the database itself. Raises OSError while it is not there."""
    if url.startswith("sqlite:"):
        with sqlite3.connect(urlsplit(url).path) as file:
            return list(file.execute(query))
    try:
        connection = psycopg2.connect(url)
    except psycopg2.Error as error:
        raise ConnectionError(str(error)) from error
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())
    except psycopg2.Error as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()


@define
class Audit:
    """What was found; `faults` must be empty."""

    files: int = 0
    copies: int = 0
    fetched: int = 0
    #: Bytes on a disk that no row knows: of a file, and of no file at all.
    extra_copies: int = 0
    orphans: int = 0
    unknown: list[str] = field(factory=list)
    faults: list[str] = field(factory=list)

    def words(self) -> str:
        """In one line."""
        return (
            f"{self.files} files and {self.copies} copies compared, {self.fetched} also"
            f" fetched; bytes that no row knows: {self.extra_copies} copies of files,"
            f" {self.orphans} of no file {' '.join(self.unknown[:8])}".rstrip()
        )


def wait_quiet(
    estate: Estate, copies: int, seconds: float = QUIET_SECONDS
) -> list[str]:
    """Until every file has its copies and none waits; what is still missing after
    that time, as faults."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            missing = _unsettled(estate.url, copies)
        except OSError as error:
            missing = [str(error)]
        if not missing:
            return []
        if time.monotonic() > deadline:
            return [f"not quiet after {seconds:g} s: {one}" for one in missing]
        time.sleep(0.3)
        with suppress(OSError, Refused), estate.tracker() as tracker:
            # What a killed tracker had in work is its own until the lease ends.
            tracker.ask("replicate_now")


def _unsettled(url: str, copies: int) -> list[str]:
    few = rows(
        url,
        "select f.fid, count(o.devid) from file f left join file_on o on o.fid = f.fid"
        f" group by f.fid having count(o.devid) < {copies} limit 5",
    )
    waiting = rows(url, "select fid, nexttry, failcount from file_to_replicate limit 5")
    found = [f"fid {fid} has {count} of {copies} copies" for fid, count in few]
    return found + [f"fid {row[0]} waits to be replicated {row[1:]}" for row in waiting]


def settle(estate: Estate, seconds: float = QUIET_SECONDS) -> None:
    """Have everything that waits for its time done now: uploads that were never closed
    expire, leases of killed trackers end, deletions that were put off are tried."""
    deadline = time.monotonic() + seconds
    while True:
        rows(estate.url, "update tempfile set createtime = 0 returning 1")
        rows(estate.url, "update file_to_replicate set nexttry = 0 returning 1")
        rows(estate.url, "update file_to_delete2 set nexttry = 0 returning 1")
        left = [
            (table, rows(estate.url, f"select count(*) from {table}")[0][0])
            for table in ("tempfile", "file_to_replicate", "file_to_delete2")
        ]
        if not any(count for _, count in left):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not settled after {seconds:g} s: {left}")
        time.sleep(0.3)


def on_disks(estate: Estate) -> Iterator[tuple[int, int, Path]]:
    """Device, fid and path of every file on the disks of the nodes."""
    for node in estate.stores:
        for device in (node.folder / "data" / "devices").glob("dev*"):
            devid = int(device.name[3:])
            for folder, _, names in os.walk(device):
                for name in names:
                    if name.endswith(".fid"):
                        yield devid, int(name[:-4]), Path(folder, name)


def audit(estate: Estate, ledger: Ledger, copies: int = 3) -> Audit:
    """Wait for quiet and compare everything. Devices that are dead do not count."""
    found = Audit(faults=wait_quiet(estate, copies))
    dead = {devid for (devid,) in rows(estate.url, _DEAD)}
    there = {(fid, devid): path for devid, fid, path in on_disks(estate)}
    placed: dict[int, list[int]] = {}
    for fid, devid in rows(estate.url, "select fid, devid from file_on"):
        if devid not in dead:
            placed.setdefault(fid, []).append(devid)
    named = rows(estate.url, "select dkey, fid, length from file")
    sums = dict(rows(estate.url, "select fid, checksum from kobold_checksum"))
    fids = {}
    for key, fid, length in named:
        fids[key] = fid
        paths = [(devid, there.get((fid, devid))) for devid in placed.get(fid, [])]
        own = bytes(sums[fid]) if fid in sums else None
        _compare(found, (key, fid, length, own), paths, ledger.allowed)
    for key, allowed in ledger.allowed.items():
        if key not in fids and None not in allowed:
            found.faults.append(f"{key}: acknowledged, and lost")
    _unknown(found, estate.url, placed, set(fids.values()), there)
    _fetch(found, estate, ledger, sorted(fids))
    return found


_DEAD = "select devid from device where status = 'dead'"


def _compare(
    found: Audit,
    row: tuple[str, int, int, bytes | None],
    paths: list[tuple[int, Path | None]],
    allowed: dict[str, set[Held]],
) -> None:
    key, fid, length, own = row
    found.files += 1
    where = f"{key} (fid {fid})"
    if key not in allowed:
        found.faults.append(f"{where}: nobody stored it")
        return
    if not paths:
        found.faults.append(f"{where}: no copy is recorded")
    for devid, path in paths:
        found.copies += 1
        if path is None:
            found.faults.append(f"{where}: no bytes on dev{devid}")
            continue
        content = path.read_bytes()
        digest = digest_of(content)
        if digest not in allowed[key]:
            found.faults.append(f"{where}: wrong bytes on dev{devid}")
        elif len(content) != length:
            found.faults.append(f"{where}: {len(content)} bytes, recorded {length}")
        elif own is not None and digest != own:
            found.faults.append(f"{where}: another checksum is recorded")


def _unknown(
    found: Audit,
    url: str,
    placed: dict[int, list[int]],
    files: set[int],
    there: dict[tuple[int, int], Path],
) -> None:
    """Count what is on the disks and in no table."""
    waiting = {fid for (fid,) in rows(url, "select fid from tempfile")}
    waiting |= {fid for (fid,) in rows(url, "select fid from file_to_delete2")}
    for fid, devid in there:
        if devid in placed.get(fid, ()) or fid in waiting:
            continue
        found.unknown.append(f"{fid}@{devid}")
        if fid in files:
            found.extra_copies += 1
        else:
            found.orphans += 1


def _fetch(found: Audit, estate: Estate, ledger: Ledger, keys: list[str]) -> None:
    every = max(1, len(keys) // MOST_FETCHED)
    with estate.tracker() as tracker:
        for key in keys[::every]:
            try:
                content = tracker.fetch(DOMAIN, key)
            except (OSError, Refused) as error:
                found.faults.append(f"{key}: cannot be fetched: {error}")
                continue
            found.fetched += 1
            if digest_of(content) not in ledger.allowed.get(key, ()):
                found.faults.append(f"{key}: fetched other bytes than were stored")
