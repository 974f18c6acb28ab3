"""What the ``kobold`` verbs of the side channel do, and the codes of their errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from koboldfs import errors
from koboldfs.model.entities import HASH_TYPES
from koboldfs.model.fid import MAX_FID
from koboldfs.model.scrub import (
    BAD_COPY,
    LAST_FOLDER,
    MISSING,
    MOST_QUARANTINED,
    MOST_QUARANTINED_BEYOND,
    ORPHAN,
)
from koboldfs.storage.copies import Copies
from koboldfs.storage.disk import ReadOnly
from koboldfs.storage.pull import Puller, PullRequest
from koboldfs.storage.scrub import Scrubbing
from koboldfs.version import __version__
from koboldfs.wire.http import copy_target
from koboldfs.wire.sidechannel import (
    MAX_STATS,
    Request,
    SyntaxFault,
    parse_checksum,
)

#: No device number has more digits than MogileFS's tables hold; no size is larger.
_MAX_DEVID = 999_999_999
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (SyntaxFault, "bad_request"),
    (errors.UnknownHost, "unknown_host"),
    (errors.NoDevice, "no_device"),
    (ReadOnly, "not_writable"),
    (errors.DeviceUnavailable, "no_device"),
    (errors.DiskFull, "disk_full"),
    (errors.DiskFault, "disk_fault"),
    (errors.CopyMissing, "source_missing"),
    (errors.CopyCorrupt, "source_corrupt"),
    (errors.NodeFault, "source_unreachable"),
    (errors.TooBusy, "too_busy"),
)


def code_of(error: Exception) -> str:
    """The error code of an exception; ``failure`` for what is a defect of ours."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), "failure")


class Verbs:
    """What the ``kobold`` verbs do. Each takes a request and returns the fields."""

    def __init__(self, copies: Copies, puller: Puller, scrubbing: Scrubbing) -> None:
        self._copies = copies
        self._puller = puller
        self._scrubbing = scrubbing
        self.by_name: dict[str, Callable[[Request], Awaitable[dict[str, Any]]]] = {
            "hello": self._hello,
            "usage": self._usage,
            "stat": self._stat,
            "stats": self._stats,
            "digest": self._digest,
            "pull": self._pull,
            "delete": self._delete,
            "digests": self._digests,
            "setaside": self._set_aside,
            "list": self._list,
            "highest": self._highest,
        }

    async def _hello(self, request: Request) -> dict[str, Any]:
        folders = self._copies.folders
        return {
            "version": __version__,
            "cluster": folders.cluster,
            "host": folders.host_name,
            "fsync": int(self._copies.fsync),
        }

    async def _usage(self, request: Request) -> dict[str, Any]:
        devices = self._copies.folders.devices()
        fields: dict[str, Any] = {"devices": len(devices)}
        if not self._copies.fsync:
            fields["fsync"] = 0
        for number, device in enumerate(devices, 1):
            space, busy = device.space, device.utilization
            fields[f"dev{number}_devid"] = device.devid
            fields[f"dev{number}_observed"] = device.observed
            fields[f"dev{number}_kib_total"] = (
                None if space is None else space.kib_total
            )
            fields[f"dev{number}_kib_used"] = None if space is None else space.kib_used
            fields[f"dev{number}_utilization"] = None if busy is None else f"{busy:.2f}"
            latency = self._copies.lanes.latency_seconds(device.devid)
            fields[f"dev{number}_latency"] = f"{latency:.3f}"
            if device.failing:
                fields[f"dev{number}_failing"] = device.failing
            if device.quarantined:
                fields[f"dev{number}_quarantined"] = device.quarantined
            if device.full:
                fields[f"dev{number}_full"] = 1
            if device.highest_fid:
                fields[f"dev{number}_highest"] = device.highest_fid
        return fields

    async def _stat(self, request: Request) -> dict[str, Any]:
        found = await self._copies.copy_stat(_devid(request), _fid(request))
        if found is None:
            return {"size": -1}
        if found.checksum is None:
            return {"size": found.size}
        return {"size": found.size, "checksum": found.checksum}

    async def _stats(self, request: Request) -> dict[str, Any]:
        found = await self._copies.copy_stats(_devid(request), _fids(request))
        sums = [one.checksum if one else None for one in found]
        return {
            "sizes": ",".join(str(one.size) if one else "-1" for one in found),
            "checksums": ",".join(str(one) if one else "" for one in sums),
        }

    async def _digest(self, request: Request) -> dict[str, Any]:
        target = copy_target(_devid(request), _fid(request))
        hashtype = _hashtype(request)
        # Whoever asks for a digest by number is a job: one at a time on each device.
        found = await self._copies.digest(target, hashtype, background=True)
        return {"missing": 1} if found is None else {"checksum": found}

    async def _pull(self, request: Request) -> dict[str, Any]:
        text = request.arguments.get("checksum")
        host_name = request.arguments.get("host")
        if not host_name:
            raise SyntaxFault("no host")
        pull = PullRequest(
            devid=_devid(request),
            fid=_fid(request),
            size=_number(request, "size", 0, MAX_FID),
            host_name=host_name,
            fromdevid=_number(request, "fromdevid", 1, _MAX_DEVID),
            checksum=parse_checksum(text) if text else None,
        )
        return {"checksum": await self._puller.pull(pull)}

    async def _delete(self, request: Request) -> dict[str, Any]:
        await self._copies.remove(copy_target(_devid(request), _fid(request)))
        return {}

    async def _digests(self, request: Request) -> dict[str, Any]:
        found = await self._scrubbing.digests(
            _devid(request), _fids(request), _hashtype(request)
        )
        words = [MISSING if one is None else str(one) for one in found]
        return {"checksums": ",".join(words)}

    async def _set_aside(self, request: Request) -> dict[str, Any]:
        reason, unless = (request.arguments.get(n, "") for n in ("reason", "unless"))
        if reason not in (BAD_COPY, ORPHAN):
            raise SyntaxFault("no such reason")
        older = 0
        if "older" in request.arguments:
            older = _number(request, "older", 0, MAX_FID)
        beyond = "beyond" in request.arguments
        most = MOST_QUARANTINED_BEYOND if beyond else MOST_QUARANTINED
        word = await self._scrubbing.set_aside(
            _devid(request),
            _fid(request),
            reason,
            parse_checksum(unless) if unless else None,
            older,
            most,
        )
        return {"result": word}

    async def _list(self, request: Request) -> dict[str, Any]:
        found = await self._scrubbing.list_fids(
            _devid(request),
            _number(request, "folder", 0, LAST_FOLDER),
            _number(request, "after", 0, MAX_FID),
        )
        fields = {"folder": found.folder, "fids": ",".join(map(str, found.fids))}
        if found.more:
            fields["more"] = 1
        elif found.following is not None:
            fields["following"] = found.following
        return fields

    async def _highest(self, request: Request) -> dict[str, Any]:
        below = _number(request, "below", 0, MAX_FID)
        return {"fid": await self._scrubbing.highest_fid(_devid(request), below)}


def _devid(request: Request) -> int:
    return _number(request, "devid", 1, _MAX_DEVID)


def _fid(request: Request) -> int:
    return _number(request, "fid", 1, MAX_FID)


def _hashtype(request: Request) -> int:
    hashtype = HASH_TYPES.get(request.arguments.get("type", ""))
    if hashtype is None:
        raise SyntaxFault("no such type of digest")
    return hashtype


def _fids(request: Request) -> list[int]:
    words = request.arguments.get("fids", "").split(",", MAX_STATS)
    if len(words) > MAX_STATS:
        raise SyntaxFault("too many fids")
    return [_within(word, "fids", 1, MAX_FID) for word in words]


def _number(request: Request, name: str, low: int, high: int) -> int:
    return _within(request.arguments.get(name, ""), name, low, high)


def _within(text: str, name: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise SyntaxFault(f"{name} is not a number")
    number = int(text)
    if not low <= number <= high:
        raise SyntaxFault(f"{name} is out of range")
    return number
