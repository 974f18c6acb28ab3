"""A folder ``devN`` and what is known of its disk: see `devices`."""

from __future__ import annotations

from attrs import define, field

from koboldfs.storage.disk import Marker, Space


@define(eq=False)
class Device:
    """One folder ``devN`` and what is known of its health.

    `trouble` says why it cannot be read now (empty: it can); `refusal` why it takes no
    writes. `distrusted` stays until the process ends: a flush failed, and nobody knows
    what else the disk has dropped, or it could not read several files. `unwritable`:
    why its tests have failed for some time. `full`: it takes no writes for want of
    room, and gives room back. `utilization` in percent. `quarantined`: files in its
    quarantine, when that was last looked at. `highest_fid`: of the files on it;
    `listed_fid` when they were last listed, `stored_fid` of those stored since.
    """

    devid: int
    path: str
    trouble: str = "not looked at yet"
    refusal: str = "not tested yet"
    distrusted: str = ""
    unwritable: str = ""
    full: bool = False
    failed_tests: int = 0
    quarantined: int = 0
    listed_fid: int = 0
    stored_fid: int = 0
    searched_at: float | None = None
    #: Files that the disk failed to read, see `UNREADABLE_FILES`.
    unread: set[str] = field(factory=set)
    marker: Marker | None = None
    #: Device and inode numbers of the folder, when it was last found to be right.
    identity: tuple[int, int] = (0, 0)
    space: Space | None = None
    utilization: float | None = None
    usage_text: bytes = b""
    checking_since: float | None = None
    tested_at: float | None = None
    testing_since: float | None = None
    written_at: float | None = None

    @property
    def failing(self) -> str:
        """Why an operator should look at the disk; empty when there is no reason."""
        return self.distrusted or self.unwritable

    @property
    def highest_fid(self) -> int:
        """The highest fid of a file on it; 0 if none is known."""
        return max(self.listed_fid, self.stored_fid)

    @property
    def observed(self) -> str:
        """``writeable``, ``readable`` or ``unreachable``, as a monitor calls it."""
        if self.trouble:
            return "unreachable"
        return "readable" if self.refusal or self.distrusted else "writeable"
