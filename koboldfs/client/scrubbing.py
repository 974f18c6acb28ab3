"""The part of `Nodes` that provides `IScrubNodes`.

Of a foreign node copies are read through us, one after the other, a few a request.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from zope.interface import implementer

from koboldfs.client.channels import Channels
from koboldfs.errors import NodeFault, NodeUnreachable
from koboldfs.interfaces_scrub import IScrubNodes
from koboldfs.model.entities import HASH_NAMES, Checksum, Place
from koboldfs.model.fid import MAX_FID
from koboldfs.model.scrub import (
    FOREIGN,
    LAST_FOLDER,
    MISSING,
    SET_ASIDE_WORDS,
    UNREADABLE,
    Digest,
    Listing,
)
from koboldfs.wire.sidechannel import MAX_STATS, SyntaxFault, parse_checksum

#: A node reads no longer than some seconds, then one file to its end: the largest ones
#: at the pace of a disk that is busy with much else (seconds; an hour is 7 GB).
DIGESTS_TIMEOUT_SECONDS = 3600.0
#: To move a file, after reading it.
SET_ASIDE_TIMEOUT_SECONDS = 3600.0
LIST_TIMEOUT_SECONDS = 30.0
#: Copies of a foreign node that are read for one question.
FOREIGN_AT_ONCE = 8
_NUMBER = re.compile("[0-9]{1,19}", re.ASCII)


@implementer(IScrubNodes)
class ScrubCalls:
    """See the module."""

    _channels: Channels
    digest: Any

    async def digests(
        self, place: Place, fids: Sequence[int], hashtype: int
    ) -> Mapping[int, Digest]:
        """See `IScrubNodes`."""
        if not fids:
            return {}
        channel = self._channels.of(place.host)
        if channel is None:
            some = fids[:FOREIGN_AT_ONCE]
            return await digests_of(self.digest, place, some, hashtype)
        some = fids[:MAX_STATS]
        arguments = {
            "devid": place.devid,
            "fids": ",".join(map(str, some)),
            "type": HASH_NAMES[hashtype],
        }
        fields = await channel.call("digests", arguments, DIGESTS_TIMEOUT_SECONDS)
        words = fields.get("checksums", "").split(",")
        if len(words) > len(some):
            raise NodeFault(f"{channel.peer}: more answers than questions")
        return {
            fid: _digest(channel.peer, word, hashtype)
            for fid, word in zip(some, words, strict=False)
        }

    async def set_aside(
        self,
        place: Place,
        fid: int,
        reason: str,
        *,
        unless: Checksum | None = None,
        older_seconds: int = 0,
        beyond: bool = False,
    ) -> str:
        """See `IScrubNodes`."""
        channel = self._channels.of(place.host)
        if channel is None:
            return FOREIGN
        arguments: dict[str, object] = {
            "devid": place.devid,
            "fid": fid,
            "reason": reason,
        }
        if unless is not None:
            arguments["unless"] = unless
        if older_seconds:
            arguments["older"] = older_seconds
        if beyond:
            arguments["beyond"] = 1
        fields = await channel.call("setaside", arguments, SET_ASIDE_TIMEOUT_SECONDS)
        word = fields.get("result", "")
        if word not in SET_ASIDE_WORDS:
            raise NodeFault(f"{channel.peer}: not an answer to setaside")
        return word

    async def list_fids(self, place: Place, folder: int, after: int) -> Listing | None:
        """See `IScrubNodes`."""
        channel = self._channels.of(place.host)
        if channel is None:
            return None
        arguments = {"devid": place.devid, "folder": folder, "after": after}
        fields = await channel.call("list", arguments, LIST_TIMEOUT_SECONDS)
        try:
            found = _listing(fields)
        except ValueError as error:
            raise NodeFault(f"{channel.peer}: not a list of files") from error
        if _goes_back(found, folder, after):
            raise NodeFault(f"{channel.peer}: a list that goes back")
        return found

    async def highest_fid(self, place: Place, below: int) -> int:
        """See `IScrubNodes`."""
        channel = self._channels.of(place.host)
        if channel is None:
            return 0
        arguments = {"devid": place.devid, "below": below}
        fields = await channel.call("highest", arguments, LIST_TIMEOUT_SECONDS)
        try:
            return _number(fields.get("fid", ""), max(0, below - 1))
        except ValueError as error:
            raise NodeFault(f"{channel.peer}: not the highest fid") from error


async def digests_of(
    digest: Callable[[Place, int, int], Awaitable[Checksum]],
    place: Place,
    fids: Sequence[int],
    hashtype: int,
) -> dict[int, Digest]:
    """What `digest` says of each of some copies, one after the other. Raises
    `NodeUnreachable`."""
    found: dict[int, Digest] = {}
    for fid in fids:
        try:
            found[fid] = await digest(place, fid, hashtype)
        except NodeUnreachable:
            raise
        except NodeFault:
            found[fid] = UNREADABLE
    return found


def _goes_back(found: Listing, folder: int, after: int) -> bool:
    """Whether to go on with what it says would never come to an end."""
    if found.folder < folder or list(found.fids) != sorted(set(found.fids)):
        return True
    if found.more:
        low = after if found.folder == folder else 0
        return not found.fids or found.fids[0] <= low
    # After folders without a file the next one to be asked for may be the last seen.
    return found.following is not None and found.following <= folder


def _listing(fields: Mapping[str, str]) -> Listing:
    text = fields.get("fids", "")
    fids = [_number(word, MAX_FID) for word in text.split(",")] if text else []
    following = None
    if "following" in fields:
        following = _number(fields["following"], LAST_FOLDER)
    folder = _number(fields.get("folder", ""), LAST_FOLDER)
    return Listing(folder, tuple(fids), "more" in fields, following)


def _number(text: str, most: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) > most:
        raise ValueError("not a number")
    return int(text)


def _digest(peer: str, word: str, hashtype: int) -> Digest:
    if word == MISSING:
        return None
    if word == UNREADABLE:
        return UNREADABLE
    try:
        checksum = parse_checksum(word)
    except SyntaxFault as fault:
        raise NodeFault(f"{peer}: {fault}") from fault
    if checksum.hashtype != hashtype:
        raise NodeFault(f"{peer}: not the checksum that was asked for")
    return checksum
