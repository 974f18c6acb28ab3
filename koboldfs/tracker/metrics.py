"""What a tracker has to tell for the page of metrics (`koboldfs.metrics_page`).

`own` are the numbers of this process; `common` are the same whichever tracker is asked:
files at risk, queues, devices, the scrub.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from koboldfs.errors import KoboldError
from koboldfs.interfaces import ITrackerCall
from koboldfs.tracker.call import Services
from koboldfs.tracker.stats import Statistics
from koboldfs.wire.metrics import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    Family,
    labelled,
    single,
)

#: What ``scrub_status`` tells of a device that is a count.
_SCRUB_COUNTS = (
    *("files", "bytes", "bad", "mended", "missing", "orphans", "lost"),
    *("running", "ended"),
)
#: No cluster has more devices.
_MAX_DEVICES = 10_000


class TrackerMetrics:
    """See the module."""

    def __init__(
        self,
        services: Services,
        statistics: Statistics,
        native_requests: Callable[[], Counter[str]],
        calls: ITrackerCall,
    ) -> None:
        self._services = services
        self._statistics = statistics
        self._native_requests = native_requests
        self._calls = calls

    async def own(self) -> list[Family]:
        """Requests, stores, bytes and jobs of this process."""
        promises = self._services.namespace.promises
        keeping = promises.keeping
        numbers = (
            ("stored", "Files stored.", keeping.stored),
            (
                "stored_short",
                "Files that were answered with fewer copies than promised.",
                keeping.short,
            ),
            (
                "stored_unsynced",
                "Files counted with a copy on a node without fsync.",
                keeping.unsynced,
            ),
            ("stored_bytes", "Bytes of the files stored.", keeping.stored_bytes),
            (
                "read_bytes",
                "Bytes of files that were read through trackers.",
                self._services.namespace.copies.read_bytes,
            ),
        )
        return [
            self._requests(),
            labelled(
                "koboldfs_native_requests_total",
                COUNTER,
                "Requests of the native protocol.",
                "command",
                self._native_requests(),
            ),
            *(
                single(f"koboldfs_{name}_total", COUNTER, meaning, number)
                for name, meaning, number in numbers
            ),
        ]

    def _requests(self) -> Family:
        samples = [
            sample
            for name, timed in sorted((self._statistics.timings or {}).items())
            if any(timed.counts)
            for sample in timed.samples((("command", name),))
        ]
        meaning = "Requests of the tracker protocol, from when they came (seconds)."
        return Family("koboldfs_request_seconds", HISTOGRAM, meaning, samples)

    async def common(self) -> list[Family]:
        """Of the whole cluster. Without a database, what is known without it."""
        return [*self._jobs(), *self._devices(), *await self._cluster()]

    def _jobs(self) -> list[Family]:
        progress = self._services.jobs.progress()
        kinds: tuple[tuple[str, str, str, Mapping[str, float]], ...] = (
            (
                "koboldfs_job_done_total",
                COUNTER,
                "Units of jobs done.",
                {name: one.done for name, one in progress.items()},
            ),
            (
                "koboldfs_job_failed_total",
                COUNTER,
                "Units of jobs that failed.",
                {name: one.failed for name, one in progress.items()},
            ),
            (
                "koboldfs_job_under_way",
                GAUGE,
                "Units of jobs under way.",
                {name: one.under_way for name, one in progress.items()},
            ),
        )
        return [labelled(*kind[:3], "job", kind[3]) for kind in kinds]

    def _devices(self) -> list[Family]:
        view = self._services.view
        states = [
            (
                "",
                (
                    ("device", f"dev{devid}"),
                    ("state", device.status),
                    ("observed", view.observed(devid)),
                ),
                1.0,
            )
            for devid, device in view.devices.items()
        ]
        used = {f"dev{d}": 1 - view.free_share(d) for d in view.devices}
        lost = {f"dev{d}": float(d in view.lost) for d in view.devices}
        quarantined = {
            f"dev{d}": seen.quarantined for d, seen in view.health.devices.items()
        }
        return [
            Family("koboldfs_device", GAUGE, "Devices, by state.", states),
            labelled(
                "koboldfs_device_lost",
                GAUGE,
                "1: the device was away so long that its copies count as none.",
                "device",
                lost,
            ),
            labelled(
                "koboldfs_device_quarantined",
                GAUGE,
                "Files in the device's quarantine.",
                "device",
                quarantined,
            ),
            labelled(
                "koboldfs_device_used_ratio",
                GAUGE,
                "How full devices are, 0 to 1.",
                "device",
                used,
            ),
        ]

    async def _cluster(self) -> list[Family]:
        try:
            standing = await self._services.overview.standing()
        except KoboldError:
            return [_database(0)]
        short, census = standing.shortages, standing.census
        families = [
            _database(1),
            labelled(
                "koboldfs_waiting",
                GAUGE,
                "Rows that wait in queues, counted to a limit.",
                "queue",
                standing.queues,
            ),
            labelled(
                "koboldfs_files_short",
                GAUGE,
                "Files with fewer copies than wanted, counted to a limit.",
                "copies",
                {"none": short.none, "one": short.one, "fewer": short.fewer},
            ),
            single(
                "koboldfs_files_unreadable",
                GAUGE,
                "Files seen without a copy that can be read now.",
                standing.unreadable,
            ),
        ]
        if census is not None:
            families += [
                single("koboldfs_files", GAUGE, "Files, by census.", census.files),
                single("koboldfs_bytes", GAUGE, "Their bytes.", census.bytes),
                single(
                    "koboldfs_census_ended_seconds",
                    GAUGE,
                    "When that census ended (Unix time).",
                    census.ended,
                ),
            ]
        return [*families, *await self._scrub(), *await self._lost()]

    async def _lost(self) -> list[Family]:
        try:
            found = await self._services.scrubbing.lost(0)
        except KoboldError:
            return []
        meaning = "Files without a good copy, by the scrub, counted to 100."
        return [single("koboldfs_files_lost", GAUGE, meaning, len(found))]

    async def _scrub(self) -> list[Family]:
        try:
            fields = await self._calls.call("scrub_status", {})
        except KoboldError:
            return []
        count = fields.get("count", "0")
        most = min(int(count) if count.isdecimal() else 0, _MAX_DEVICES)
        families = []
        for name in _SCRUB_COUNTS:
            numbers = {
                f"dev{fields[f'scrub_{n}_devid']}": float(fields[f"scrub_{n}_{name}"])
                for n in range(1, most + 1)
                if fields.get(f"scrub_{n}_{name}", "").isdecimal()
                and f"scrub_{n}_devid" in fields
            }
            meaning = f"The scrub of a device, this or the last pass: {name}."
            families.append(
                labelled(f"koboldfs_scrub_{name}", GAUGE, meaning, "device", numbers)
            )
        return families


def _database(answers: int) -> Family:
    meaning = "Whether the database answered."
    return single("koboldfs_database_up", GAUGE, meaning, answers)
