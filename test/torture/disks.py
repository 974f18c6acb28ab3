"""Disks that go wrong under a load: full, read-only, swapped for an empty one, wiped.

The full and the read-only disk are real file systems in a file (``mount -o loop``),
which needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from test.functional.cluster import Node, devices, wait_until
from test.functional.tracker_line import put
from test.torture.audit import audit, rows
from test.torture.estate import Estate, scratch
from test.torture.ledger import Load
from test.torture.scenario import Outcome, Scenario, Skipped, wanted

#: The file system that gets full; a device with less than 100 MB of room gets no files.
LOOP_BYTES = 192 * 1024 * 1024
#: A program of the system.
COMMAND_SECONDS = 30.0
#: Until a tracker has noticed what became of a device.
NOTICE_SECONDS = 60.0
#: Until the copies of what was lost are made anew.
HEAL_SECONDS = 180.0
FILL_SECONDS = 600.0
PAUSE_SECONDS = 0.01
CLIENTS = 4
FILES = 3_000


@define
class LoopDisk:
    """An ext4 file system in a file, mounted at a folder."""

    image: Path
    folder: Path

    @classmethod
    def mounted(cls, folder: Path, size_bytes: int = LOOP_BYTES) -> LoopDisk:
        """Raises `Skipped` where that is not allowed."""
        if os.geteuid() != 0:
            raise Skipped("a loop file system needs root")
        image = folder.with_name(f"{folder.name}.ext4")
        folder.mkdir(parents=True)
        with image.open("wb") as stream:
            stream.truncate(size_bytes)
        try:
            _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
            _run("mount", "-o", "loop", str(image), str(folder))
        except (OSError, RuntimeError) as error:
            raise Skipped(f"no loop file system here: {error}") from None
        return cls(image, folder)

    def make_read_only(self) -> None:
        """As the kernel does it after an error. Waits for files that are being
        written."""

        def done() -> bool:
            try:
                _run("mount", "-o", "remount,ro", str(self.folder))
            except RuntimeError:
                return False
            return True

        wait_until(done, COMMAND_SECONDS, "the disk is read-only", 0.001)

    def make_writable(self) -> None:
        """Undo that."""
        _run("mount", "-o", "remount,rw", str(self.folder))

    def unmount(self) -> None:
        """When nobody uses it any more."""
        _run("umount", "-l", str(self.folder))


def _run(*command: str) -> None:
    ended = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ended.stdout.strip()}")


@contextmanager
def loop_estate() -> Iterator[tuple[Estate, LoopDisk, int]]:
    """A cluster whose last node has its one device on a loop file system; with that
    and the device's number."""
    disks: list[LoopDisk] = []

    def prepare(node: Node) -> None:
        if node.number == estate.size:
            disks.append(LoopDisk.mounted(node.folder / "data" / "devices"))

    estate = Estate(prepare=prepare, folder=scratch(), arguments=())
    try:
        estate.start()
        yield estate, disks[0], device_of(estate, estate.nodes[-1])
    finally:
        for node in estate.nodes:
            node.stop()
        for disk in disks:
            disk.unmount()
        estate.stop()


def device_of(estate: Estate, node: Node) -> int:
    """The number of a node's first device."""
    with estate.tracker() as tracker:
        found = [d for d in devices(tracker) if d["hostname"] == node.name]
    return min(int(one["devid"]) for one in found)


def wait_state(estate: Estate, devid: int, *states: str) -> None:
    """Until every tracker sees the device in one of the states."""
    for node in estate.trackers:

        def seen(node: Node = node) -> bool:
            with node.tracker(5) as tracker:
                found = {d["devid"]: d["observed_state"] for d in devices(tracker)}
            return found.get(str(devid)) in states

        wait_until(seen, NOTICE_SECONDS, f"{node.name} sees dev{devid} as {states}")


def load_on(estate: Estate, seed: int, **more: float) -> Load:
    """A gentle one, which is running."""
    trackers = [node for node in estate.nodes if node.is_tracker]
    return Load(trackers, seed, CLIENTS, 0, PAUSE_SECONDS, **more).start()


def goes_on(load: Load, stores: int = 30) -> None:
    """The load stores so many files from now on."""
    goal = load.ledger.stored + stores
    wait_until(lambda: load.ledger.stored >= goal, NOTICE_SECONDS, "stores go on")


def _told(outcome: Outcome, load: Load, estate: Estate, copies: int, what: str) -> None:
    load.stop()
    found = audit(estate, load.ledger, copies)
    outcome.faults += load.broken + found.faults
    outcome.times = f"{what}, {load.ledger.stored} files acknowledged"
    outcome.notes.append(found.words())


def fill_up(ballast: Path) -> None:
    """Leave no byte of room on a file system, at once."""
    with ballast.open("wb") as stream:
        step = LOOP_BYTES
        offset = 0
        while step >= 4096:
            try:
                os.posix_fallocate(stream.fileno(), offset, step)
            except OSError:
                step //= 2
            else:
                offset += step


def disk_full(seed: int, read_only: bool = True) -> Outcome:
    """One of three disks gets full under load: stores go on with the other two hosts,
    nothing on it is torn, and with room again its copies are made. Then, unless that is
    not wanted, it turns read-only: the trackers notice, its files can be read, stores
    go on with the others, and what is missing there is made up for."""
    outcome = Outcome()
    with loop_estate() as (estate, disk, devid):
        load = load_on(estate, seed)
        goes_on(load)
        node, ballast = estate.nodes[-1], disk.folder / "ballast"
        fill_up(ballast)
        where = f"http://{node.address}:{node.ports.storage}/dev{devid}"
        try:
            put(f"{where}/0/999/999/0999999999.fid", bytes(100_000))
        except OSError as error:
            if " 507 " not in str(error):
                outcome.faults.append(f"a full disk is no 507 but {error}")
        else:
            outcome.faults.append("a full disk took a file")
        goes_on(load, 60)
        ballast.unlink()
        goes_on(load)
        words = "once full"
        if read_only:
            words += ", once read-only"
            disk.make_read_only()
            wait_state(estate, devid, "readable")
            goes_on(load, 60)
            disk.make_writable()
            wait_state(estate, devid, "writeable")
            goes_on(load)
        _told(outcome, load, estate, 3, f"{words}, seed {seed}")
    return outcome


def bury(estate: Estate, node: Node, devids: list[int]) -> None:
    """What an operator does with disks that are gone for good."""
    with estate.tracker() as tracker:
        for devid in devids:
            tracker.ask("set_state", host=node.name, device=devid, state="dead")


def _lost(
    seed: int, lose: Callable[[Estate, Node], None], all_devices: bool, files: int
) -> Outcome:
    outcome = Outcome()
    estate = Estate(devices_each=2)
    try:
        estate.start()
        node = estate.nodes[-1]
        load = load_on(estate, seed)
        wait_until(
            lambda: load.ledger.stored >= files, FILL_SECONDS, "files are stored"
        )
        with estate.tracker() as tracker:
            mine = sorted(
                int(d["devid"]) for d in devices(tracker) if d["hostname"] == node.name
            )
        gone = mine if all_devices else mine[:1]
        query = f"select count(*) from file_on where devid in ({str(gone)[1:-1]})"
        copies = rows(estate.url, query)[0][0]
        lose(estate, node)
        wait_state(estate, gone[0], "unreachable", "readable", "")
        goes_on(load)
        bury(estate, node, gone)
        goes_on(load)
        wait_until(
            lambda: rows(estate.url, query) == [(0,)],
            HEAL_SECONDS,
            "they are forgotten",
        )
        began = time.monotonic()
        _told(outcome, load, estate, 3, f"{copies} copies lost, seed {seed}")
        outcome.notes.append(f"all made anew within {time.monotonic() - began:.0f} s")
    finally:
        estate.stop()
        if outcome.faults:
            print(estate.story)
    return outcome


def disk_swapped(seed: int, files: int = FILES) -> Outcome:
    """A disk is swapped for an empty one while its node runs: that is not taken for
    the old one, and after the old one is declared dead its copies are made anew."""

    def lose(estate: Estate, node: Node) -> None:
        device = estate.devices_of(device_of(estate, node))
        assert device is not None
        device.rename(device.parent / "in-a-drawer")
        device.mkdir()

    return _lost(seed, lose, False, files)


def node_wiped(seed: int, files: int = FILES) -> Outcome:
    """A node loses everything and starts with an empty folder: its files come back."""

    def lose(estate: Estate, node: Node) -> None:
        node.kill()
        shutil.rmtree(node.folder)
        node.start()

    return _lost(seed, lose, True, files)


SCENARIOS: dict[str, Scenario] = {
    "disk-full-read-only": lambda: disk_full(wanted().seed),
    "disk-swapped": lambda: disk_swapped(wanted().seed, wanted().files or FILES),
    "node-wiped": lambda: node_wiped(wanted().seed, wanted().files or FILES),
}
