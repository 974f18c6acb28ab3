"""MogileFS's policy MultipleHosts(): where the next copy goes, if one is wanted."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping

from attrs import frozen

GOOD, TOO_GOOD, NO_SUGGESTIONS = "good", "too good", "no suggestions"


@frozen
class Device:
    """A device with its host; what is dead or down says `status`, or the host's."""

    devid: int
    hostid: int
    status: str
    host_status: str
    base: str

    @property
    def takes_files(self) -> bool:
        """Whether it may get new copies."""
        return self.status == "alive" and self.host_status == "alive"

    @property
    def readable(self) -> bool:
        """Whether copies may be read from it."""
        here = self.status in ("alive", "readonly", "drain")
        return here and self.host_status in ("alive", "readonly")

    @property
    def deletable(self) -> bool:
        """Whether copies may be removed from it."""
        return self.status in ("alive", "drain") and self.host_status == "alive"

    def url(self, fid: int) -> str:
        """Where a fid lies on it."""
        digits = f"{fid:010d}"
        folders = f"{digits[0]}/{digits[1:4]}/{digits[4:7]}"
        return f"{self.base}/dev{self.devid}/{folders}/{digits}.fid"


def multiple_hosts(
    copies: Collection[int],
    devices: Mapping[int, Device],
    failed: Collection[int],
    least: int,
) -> tuple[str, int]:
    """What the policy says, and the device that it wants (0: none)."""
    living = {one for one in devices.values() if one.status != "dead"}
    have = [one for one in living if one.devid in copies]
    hosts = {one.hostid for one in have}
    all_hosts = {one.hostid for one in living if one.status == "alive"}
    if least == 1 and len(have) == 1:
        return GOOD, 0
    if len(hosts) > least or len(have) > least:
        return TOO_GOOD, 0
    if len(hosts) == least:
        return GOOD, 0
    if len(hosts) >= len(all_hosts) and len(have) >= least:
        return GOOD, 0
    if len(have) >= 2 and len(have) == len(living):
        return GOOD, 0
    barred = {*copies, *failed}
    free = [one for one in living if one.takes_files and one.devid not in barred]
    ideal = [one.devid for one in free if one.hostid not in hosts]
    desperate = [one.devid for one in free if one.hostid in hosts]
    if len(hosts) >= len(all_hosts):
        ideal, desperate = ideal + desperate, []
    if not ideal and (len(have) >= least or not desperate):
        return NO_SUGGESTIONS, 0
    return "", random.choice(ideal or desperate)
