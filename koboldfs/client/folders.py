"""Folders on foreign storage nodes that do not make them by themselves.

A folder that was made is remembered for `REMEMBER_SECONDS`, and so is a node that does
not know MKCOL at all (400, 405, 501: Perlbal and nginx make folders on PUT).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from koboldfs.client.http import Address, NodeHttp
from koboldfs.errors import NodeFault
from koboldfs.model.fid import uri

REMEMBER_SECONDS = 3600.0
#: Longer than this (seconds) no client that opens a file waits for one folder.
STEP_SECONDS = 2.0
#: Folders remembered, over all nodes; one is some 100 bytes. Beyond, all are forgotten.
MAX_REMEMBERED = 50_000
_NOT_KNOWN = (400, 405, 501)


class Folders:
    """What was made with MKCOL, and where that works."""

    def __init__(self, clock: IReactorTime, http: NodeHttp) -> None:
        self._clock = clock
        self._http = http
        #: Whether an operator said that no node needs MKCOL.
        self.skip: Callable[[], bool] = lambda: False
        self._made: dict[tuple[Address, str], float] = {}
        self._without: dict[Address, float] = {}

    async def for_fid(self, address: Address, devid: int, fid: int) -> None:
        """Make the folders for a copy; failures are ignored (the PUT will tell)."""
        device, first, second, third = uri(devid, fid).split("/")[1:5]
        path = f"/{device}/"
        for name in (first, second, third):
            path = f"{path}{name}/"
            if not await self.make(address, path):
                return

    async def make(self, address: Address, path: str) -> bool:
        """Make one folder; whether trying to make one within it makes sense."""
        now = self._clock.seconds()
        if self.skip() or self._without.get(address, 0.0) > now:
            return False
        if self._made.get((address, path), 0.0) > now:
            return True
        try:
            answer = await self._http.request(
                address, b"MKCOL", path, timeout_seconds=STEP_SECONDS
            )
        except NodeFault:
            return False
        if answer.status in _NOT_KNOWN:
            self._without[address] = now + REMEMBER_SECONDS
            return False
        if answer.ok:
            if len(self._made) >= MAX_REMEMBERED:
                self._made.clear()
            self._made[address, path] = now + REMEMBER_SECONDS
        return True
