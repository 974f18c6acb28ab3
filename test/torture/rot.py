"""Files that change on the disk: a bit flipped in every 10th copy, copies swapped.

Files are flipped on all devices, never all copies of one. What finds it is fsck with
KoboldFS's own checksums, what mends it is replication; then every copy is compared.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from test.functional.cluster import DOMAIN, wait_until
from test.torture.audit import audit, on_disks, rows, wait_quiet
from test.torture.estate import Estate
from test.torture.ledger import Ledger, digest_of
from test.torture.scenario import Outcome, Scenario, wanted

FILES = 2_000
EVERY = 10
#: A file whose copy cannot be asked for is left for later, and counted as `stalled`.
MOST_CHECKS = 5
#: Few, so that swapped files mostly have the same.
SIZES = (900, 900, 900, 5_000)
#: A check of as many files, and the mending of a tenth of them.
CHECK_SECONDS = 300.0


def fill(estate: Estate, files: int, seed: int) -> Ledger:
    """So many acknowledged files, with all their copies."""
    chance, ledger = random.Random(seed), Ledger()
    with estate.tracker() as tracker:
        for number in range(files):
            key, content = f"file/{number}", chance.randbytes(chance.choice(SIZES))
            tracker.store(DOMAIN, key, content)
            ledger.begin(key, digest_of(content))
            ledger.sure(key, digest_of(content))
    missing = wait_quiet(estate, 3)
    assert not missing, missing
    return ledger


def flip(path: Path, chance: random.Random) -> None:
    """One bit of a file that is not empty; nothing else tells."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    _overwrite(path, bytes(content))


def _overwrite(path: Path, content: bytes) -> None:
    """In place, and at a time that does not show."""
    found = path.stat()
    with path.open("r+b") as stream:
        stream.write(content)
        stream.truncate(len(content))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def swap(one: Path, other: Path) -> None:
    """Each has the other's bytes."""
    first, second = one.read_bytes(), other.read_bytes()
    _overwrite(one, second)
    _overwrite(other, first)


def check(estate: Estate) -> dict[str, str]:
    """One fsck over all files from the first on, with our checksums; its status when
    it is over."""
    with estate.tracker() as tracker:
        tracker.ask("fsck_start", own_checksums=1)

        def over() -> dict[str, str] | None:
            status = tracker.ask("fsck_status")
            ended = status["running"] == "0" and status["stop_time"] != "0"
            return status if ended else None

        return wait_until(over, CHECK_SECONDS, "fsck ends", 0.2)


def rot(files: int, seed: int, swaps: int = 1) -> Outcome:
    """A bit in every 10th copy of `files` files, and `swaps` pairs of copies."""
    estate, outcome = Estate(), Outcome()
    chance = random.Random(seed)
    try:
        estate.start()
        ledger = fill(estate, files, seed)
        by_fid: dict[int, list[Path]] = {}
        for _, fid, path in sorted(on_disks(estate)):
            by_fid.setdefault(fid, []).append(path)
        fids = sorted(by_fid)
        bad = fids[::EVERY]
        for fid in bad:
            flip(chance.choice(by_fid[fid]), chance)
        left = [fid for fid in fids if fid not in set(bad)]
        pairs = [chance.sample(left, 2) for _ in range(swaps)]
        for one, other in pairs:
            device = chance.randrange(3)
            swap(by_fid[one][device], by_fid[other][device])
        wrong = len(set(bad)) + len({fid for pair in pairs for fid in pair})
        checks = 1
        while check(estate)["stalled"] != "0" and checks < MOST_CHECKS:
            checks += 1  # a node did not answer for a moment: it says so
        query = "select count(distinct fid) from fsck_log where evcode in"
        told = rows(estate.url, f"{query} ('BSUM', 'BLEN')")[0][0]
        if told < wrong:
            outcome.faults.append(f"{wrong} files were made bad, {told} were found")
        found = audit(estate, ledger)
        outcome.faults += found.faults
        outcome.times = (
            f"{len(bad)} of {files} files with a flipped bit, {swaps} pairs swapped,"
            f" seed {seed}"
        )
        outcome.notes += [f"{told} of {wrong} found by {checks} fsck", found.words()]
    finally:
        estate.stop()
        if outcome.faults:
            print(estate.story)
    return outcome


def _scenario() -> Outcome:
    asked = wanted()
    files = asked.files or FILES
    return rot(files, asked.seed, max(1, files // 100))


SCENARIOS: dict[str, Scenario] = {"bit-rot": _scenario}
