"""Looking at a host and its devices: what can be read and written there now.

Usage is read where copies are read, as MogileFS does it; of a node of ours it is also
taken from where copies are written.

ours      GET /dev<N>/usage says ``kobold: 1`` and ``sidechannel: <port>``; from then
          on one request of the side channel tells about all devices
foreign   GET /dev<N>/usage and, every `TEST_WRITE_SECONDS`, a file that is written
          and read back

usage text = *( word blanks ":" blanks value LF ); ``used`` and ``total`` are in KiB
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from random import Random
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FirstError,
    gatherResults,
)
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from koboldfs.client.channels import Channels
from koboldfs.client.folders import Folders
from koboldfs.client.http import Address, NodeHttp
from koboldfs.client.sidechannel import SideChannel
from koboldfs.errors import NodeFault
from koboldfs.model.entities import DeviceReport, Host, HostReport
from koboldfs.model.numbering import HIGHEST_LISTED

#: A survey is over after this time (seconds), whatever is still missing: trackers look
#: at every host about that often.
SURVEY_SECONDS = 2.5
#: One step of it (seconds).
STEP_SECONDS = 2.0
#: How often a test file is written to a foreign device (seconds).
TEST_WRITE_SECONDS = 15.0
#: Test files have a number below this, so that they do not pile up.
TEST_WRITE_NAMES = 100
#: No disk is larger (KiB): a longer number is nonsense.
MAX_KIB = 2**60
#: Why a device is failing is told in a sentence.
MAX_REASON_CHARS = 200
_LINE = re.compile(r"^(\w+)[ \t]*:[ \t]*(.*?)[ \t\r]*$", re.ASCII | re.MULTILINE)
_OBSERVED = ("writeable", "readable", "unreachable")


def read_address(host: Host) -> Address:
    """Where copies on a host are read."""
    return host.ip, host.get_port or host.http_port


def write_address(host: Host) -> Address:
    """Where copies on a host are written and deleted."""
    return host.ip, host.http_port


def parse_usage(text: bytes) -> dict[str, str]:
    """The lines of a usage text; others are ignored."""
    return dict(_LINE.findall(text.decode("latin-1")))


def kib(text: str) -> int | None:
    """A size in KiB, or another number, or None if the text does not say one."""
    if not re.fullmatch("[0-9]{1,19}", text, re.ASCII) or int(text) > MAX_KIB:
        return None
    return int(text)


def port_of_ours(usage: Mapping[str, str]) -> int | None:
    """The port of the side channel, if the usage text is one of ours."""
    port = usage.get("sidechannel", "")
    if usage.get("kobold") != "1" or not re.fullmatch("[0-9]{1,5}", port, re.ASCII):
        return None
    return int(port) if 0 < int(port) < 65536 else None


def reports_of_ours(
    fields: Mapping[str, str], devids: Sequence[int]
) -> dict[int, DeviceReport]:
    """What a reply to ``usage`` says of the devices that were asked for."""
    found: dict[int, DeviceReport] = {}
    count = min(kib(fields.get("devices", "")) or 0, len(fields))
    for number in range(count + 1):  # counted from 0 or from 1
        devid = kib(fields.get(f"dev{number}_devid", ""))
        if devid is not None and devid in devids:
            found[devid] = _report_of_ours(fields, f"dev{number}_", devid)
    return found


def _report_of_ours(fields: Mapping[str, str], prefix: str, devid: int) -> DeviceReport:
    observed = fields.get(f"{prefix}observed", "")
    busy = fields.get(f"{prefix}utilization", "")
    known = re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", busy, re.ASCII)
    latency = fields.get(f"{prefix}latency", "")
    told = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", latency, re.ASCII)
    highest = kib(fields.get(f"{prefix}highest", ""))
    failing = re.sub("[^ -~]", "?", fields.get(f"{prefix}failing", ""))
    return DeviceReport(
        devid,
        observed if observed in _OBSERVED else "unreachable",
        kib(fields.get(f"{prefix}kib_total", "")),
        kib(fields.get(f"{prefix}kib_used", "")),
        float(busy) if known else None,
        failing[:MAX_REASON_CHARS],
        float(latency) if told else None,
        kib(fields.get(f"{prefix}quarantined", "")) or 0,
        highest if highest is not None and highest <= HIGHEST_LISTED else 0,
        fields.get(f"{prefix}full") == "1",
    )


@define(eq=False)
class Findings:
    """What a survey has found so far."""

    host: Host
    devids: Sequence[int]
    reachable: bool = False
    kobold: bool = False
    fsync: bool = True
    devices: dict[int, DeviceReport] = field(factory=dict)

    def report(self) -> HostReport:
        """All of it; what was not found is unreachable."""
        return HostReport(
            self.host.hostid,
            self.reachable,
            self.kobold,
            tuple(
                self.devices.get(devid, DeviceReport(devid, "unreachable"))
                for devid in self.devids
            ),
            self.fsync,
        )


class Surveyor:
    """Looks at hosts; remembers which are ours and when it last wrote a test file."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        http: NodeHttp,
        channels: Channels,
        folders: Folders,
        random: Random,
    ) -> None:
        self._clock = clock
        self._http = http
        self._channels = channels
        self._folders = folders
        self._random = random
        self._tested: dict[tuple[Address, int], tuple[float, bool]] = {}

    async def survey(self, host: Host, devids: Sequence[int]) -> HostReport:
        """See `INodes.survey`."""
        findings = Findings(host, tuple(devids))
        work = Deferred.fromCoroutine(self._look(findings))
        work.addTimeout(SURVEY_SECONDS, self._clock)
        try:
            await work
        except (NodeFault, DeferredTimeout, CancelledError):
            pass  # what was found by then is the answer
        except Exception:
            self.log.failure("survey of {host} failed", host=host.name)
        return findings.report()

    async def _look(self, findings: Findings) -> None:
        host = findings.host
        self._http.eager(read_address(host))
        self._http.eager(write_address(host))
        channel = self._channels.of(host)
        if channel is not None:
            channel.eager()
            try:
                await self._look_at_ours(findings, channel)
                return
            except NodeFault:
                self._channels.forget(host)
        if findings.devids:
            await self._all(self._usage(findings, devid) for devid in findings.devids)
            channel = self._channels.of(host)
            if channel is not None:
                await self._look_at_ours(findings, channel)
                return
            await self._all(
                self._test(findings, devid) for devid in list(findings.devices)
            )
        else:
            await self._http.request(
                read_address(host), b"GET", "/", timeout_seconds=STEP_SECONDS
            )
            findings.reachable = True

    async def _look_at_ours(self, findings: Findings, channel: SideChannel) -> None:
        fields = await channel.call("usage", {}, STEP_SECONDS)
        findings.reachable = findings.kobold = True
        findings.fsync = fields.get("fsync") != "0"
        findings.devices = reports_of_ours(fields, findings.devids)

    async def _all(self, works: Any) -> None:
        """Do them at the same time; one that fails does not end the others."""

        async def one(work: Awaitable[None]) -> None:
            try:
                await work
            except NodeFault:
                pass  # what did not answer is missing in the findings

        tasks = [Deferred.fromCoroutine(one(work)) for work in works]
        try:
            await gatherResults(tasks, consumeErrors=True)
        except FirstError as error:  # the time is over, or a defect
            error.subFailure.raiseException()

    # --- foreign nodes

    async def _usage(self, findings: Findings, devid: int) -> None:
        host = findings.host
        usage = await self._usage_at(read_address(host), devid)
        findings.reachable = True
        if usage is None and host.get_port not in (None, host.http_port):
            # A web server that only hands out copies may stand before a node of ours.
            usage = await self._usage_at(write_address(host), devid)
            if usage is None or port_of_ours(usage) is None:
                return
        if usage is None:
            return
        port = port_of_ours(usage)
        if port is not None:
            self._channels.learn(host, port)
        total, used = kib(usage.get("total", "")), kib(usage.get("used", ""))
        findings.devices[devid] = DeviceReport(devid, "readable", total, used)

    async def _usage_at(self, address: Address, devid: int) -> dict[str, str] | None:
        """What a web server says of a device's usage; None if it does not."""
        answer = await self._http.request(
            address, b"GET", f"/dev{devid}/usage", timeout_seconds=STEP_SECONDS
        )
        if answer.status != 200 or answer.truncated:
            return None
        return parse_usage(answer.body)

    async def _test(self, findings: Findings, devid: int) -> None:
        address = write_address(findings.host)
        now = self._clock.seconds()
        tested_at, writeable = self._tested.get((address, devid), (None, False))
        if tested_at is None or now - tested_at >= TEST_WRITE_SECONDS:
            # Remembered as failed until it has succeeded: it may be cut off.
            self._tested[address, devid] = now, False
            writeable = await self._write_and_read(findings.host, devid)
            self._tested[address, devid] = now, writeable
        if writeable:
            report = findings.devices[devid]
            findings.devices[devid] = evolve(report, observed="writeable")

    async def _write_and_read(self, host: Host, devid: int) -> bool:
        number = self._random.randrange(TEST_WRITE_NAMES)
        stamp = f"time={self._clock.seconds()} rand={self._random.random()}\n"
        body, folder = stamp.encode("ascii"), f"/dev{devid}/test-write/"
        path = f"{folder}test-write-{number}"
        await self._folders.make(write_address(host), folder)
        written = await self._http.request(
            write_address(host), b"PUT", path, body, timeout_seconds=STEP_SECONDS
        )
        if not written.ok:
            return False
        read = await self._http.request(
            read_address(host), b"GET", path, timeout_seconds=STEP_SECONDS
        )
        return read.status == 200 and read.body == body
