"""The server of the side channel; `koboldfs.wire.sidechannel` has its grammar.

Requests of MogileFS's kind are answered one after another, in order. Ours carry a
number and run side by side; when too many are under way, ``too_busy`` is the answer.
After ``watch`` a connection only tells how busy the devices are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs import errors
from koboldfs.model.entities import HASH_NAMES, MD5, SHA1
from koboldfs.running import run_now
from koboldfs.sending import is_direct, send
from koboldfs.storage.copies import Copies
from koboldfs.storage.digests import ReadFailed
from koboldfs.storage.pull import Puller
from koboldfs.storage.scrub import Scrubbing
from koboldfs.storage.verbs import Verbs, code_of
from koboldfs.wire.http import parse_target
from koboldfs.wire.sidechannel import (
    MAX_LINE_BYTES,
    Reply,
    Request,
    SyntaxFault,
    parse_request,
)

#: Requests under way on one connection, and on all: a tracker has one connection and
#: its jobs ask for hundreds of copies at a time.
MAX_UNDER_WAY = 1024
MAX_UNDER_WAY_IN_TOTAL = 4096
#: Requests of MogileFS's kind that wait on one connection, before it is paused.
MAX_WAITING_LINES = 64
MAX_CONNECTIONS = 1000
#: How often a connection that watches is told (seconds).
WATCH_SECONDS = 1.0
_DIGESTS = {b"MD5": MD5, b"SHA-1": SHA1}


@define(eq=False)
class _Load:
    """Requests under way on all connections."""

    requests: int = 0
    connections: int = 0


@implementer(IPushProducer)
class SideChannel(LineOnlyReceiver):
    """One connection."""

    _log = Logger()
    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE_BYTES
    factory: SideChannelFactory

    def __init__(self) -> None:
        self._under_way = 0
        self._lines: deque[bytes] = deque()
        self._answering = False
        self._watching: LoopingCall | None = None
        self._gone = False
        self._direct = False
        self._together: list[bytes] | None = None
        self._full = False  # the peer does not read
        self._behind = False  # we do not answer as fast as it asks

    def connectionMade(self) -> None:
        """A peer that does not read what we say is not read from."""
        self._direct = is_direct(self.transport)
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.transport.setTcpKeepAlive(True)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Lines; what is answered at once is sent together."""
        together: list[bytes] = []
        self._together = together
        try:
            super().dataReceived(data)
        finally:
            self._together = None
        if together:
            self._send(b"".join(together))

    def lineReceived(self, line: bytes) -> None:
        """One request."""
        if self._watching is not None or self._gone:
            return
        line = line.rstrip(b"\r")
        if line.startswith(b"kobold "):
            self._begin(line)
            return
        self._lines.append(line)
        if len(self._lines) >= MAX_WAITING_LINES:
            self._behind = True
            self._pace()
        if not self._answering:
            self._answering = True
            self._run(self._answer_lines())

    def lineLengthExceeded(self, line: bytes) -> None:
        """No request is that long."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """What is under way goes on: a pull that was asked for is still wanted."""
        self._gone, self._direct = True, False
        self._lines.clear()
        self.factory.load.connections -= 1
        if self._watching is not None and self._watching.running:
            self._watching.stop()

    def _run(self, answering: Any) -> None:
        run_now(answering, self._defect)

    def _defect(self, failure: Failure) -> None:
        self._log.failure("a side channel request failed", failure=failure)
        if not self._gone:
            self.transport.abortConnection()  # type: ignore[union-attr]

    # --- flow of bytes

    def pauseProducing(self) -> None:
        """The peer does not read."""
        self._full = True
        self._pace()

    def resumeProducing(self) -> None:
        """The peer reads again."""
        self._full = False
        self._pace()

    def stopProducing(self) -> None:
        """The peer is gone."""

    def _pace(self) -> None:
        if self._gone:
            return
        if self._full or self._behind:
            self.transport.pauseProducing()  # type: ignore[union-attr]
        else:
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def _say(self, line: bytes) -> None:
        self._send(line + b"\r\n")

    def _send(self, data: bytes) -> None:
        if self._together is not None:
            self._together.append(data)
        elif self._direct:
            send(self.transport, data)
        elif not self._gone:
            self.transport.write(data)  # type: ignore[union-attr]

    # --- ours

    def _begin(self, line: bytes) -> None:
        try:
            request = parse_request(line)
        except SyntaxFault as error:
            self._say(b"ERROR: " + str(error).encode("latin-1"))
            return
        load = self.factory.load
        if self._under_way >= MAX_UNDER_WAY or load.requests >= MAX_UNDER_WAY_IN_TOTAL:
            self._refuse(request, errors.TooBusy())
            return
        self._under_way += 1
        load.requests += 1
        self._run(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            verb = self.factory.verbs.by_name.get(request.verb)
            if verb is None:
                raise SyntaxFault("there is no such verb")
            fields = await verb(request)
            reply = Reply(request.number, {k: _text(v) for k, v in fields.items()})
            self._say(reply.line())
        except (SyntaxFault, errors.KoboldError) as error:
            self._refuse(request, error)
        except Exception:
            self._log.failure("the verb {verb} failed", verb=request.verb)
            self._refuse(request, errors.KoboldError())
        finally:
            self._under_way -= 1
            self.factory.load.requests -= 1

    def _refuse(self, request: Request, error: Exception) -> None:
        text = str(error).encode("latin-1", "replace").decode("latin-1")
        self._say(Reply(request.number, code=code_of(error), text=text).line())

    # --- MogileFS's

    async def _answer_lines(self) -> None:
        try:
            while self._lines and not self._gone and self._watching is None:
                await self._answer(self._lines.popleft())
                if self._behind and len(self._lines) < MAX_WAITING_LINES // 2:
                    self._behind = False
                    self._pace()
        finally:
            self._answering = False

    async def _answer(self, line: bytes) -> None:
        words = line.split()
        command = words[0] if words else b""
        if words == [b"watch"]:
            self._watching = LoopingCall(self._tell)
            self._watching.clock = self.factory.clock
            self._watching.start(WATCH_SECONDS).addErrback(self._defect)
        elif command == b"size" and len(words) == 2:
            await self._answer_path(words[1], None, background=False)
        elif command in _DIGESTS and (
            len(words) == 2 or (len(words) == 3 and words[2] == b"fsck")
        ):
            await self._answer_path(
                words[1], _DIGESTS[command], background=len(words) == 3
            )
        else:
            word = bytes(byte for byte in command[:64] if 0x20 < byte < 0x7F)
            self._say(b"ERROR: unknown command: " + word)

    async def _answer_path(
        self, path: bytes, hashtype: int | None, *, background: bool
    ) -> None:
        if b".." in path:
            self._say(b"ERROR: uri invalid (contains ..)")
            return
        target = parse_target(path)
        copies = self.factory.copies
        equals = b"" if hashtype is None else HASH_NAMES[hashtype].encode() + b"="
        value: object = -1
        try:
            if target is None or target.kind == "folder":
                pass
            elif hashtype is None:
                stat = await copies.stat(target)
                value = -1 if stat is None else stat.size
            else:
                digest = await copies.digest(target, hashtype, background=background)
                value = -1 if digest is None else digest.digest.hex()
        except ReadFailed as error:
            self._say(b"ERR read %s at %d failed" % (path, error.offset))
            return
        except errors.KoboldError as error:
            self._say(b"ERROR: " + error.message.encode("latin-1", "replace"))
            return
        self._say(b"%s %s%s" % (path, equals, str(value).encode("ascii")))

    def _tell(self) -> None:
        lines = []
        for device in self.factory.copies.folders.devices():
            if device.trouble:
                continue
            busy = device.utilization
            share = "-" if busy is None else f"{busy:.2f}"
            lines.append(f"{device.devid}\t{share}\n")
        lines.append(".\n")
        if not self._full:
            self._send("".join(lines).encode("ascii"))


def _text(value: object) -> str:
    return "" if value is None else str(value)


class SideChannelFactory(ServerFactory):
    """Makes side channel connections, up to `MAX_CONNECTIONS`."""

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        copies: Copies,
        puller: Puller,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.copies = copies
        scrubbing = Scrubbing(copies, clock.seconds, unix_time)
        self.verbs = Verbs(copies, puller, scrubbing)
        self.load = _Load()

    def buildProtocol(  # type: ignore[override]
        self, addr: IAddress | None
    ) -> SideChannel | None:
        """A connection, or None when there are too many."""
        if self.load.connections >= MAX_CONNECTIONS:
            return None
        self.load.connections += 1
        channel = SideChannel()
        channel.factory = self
        return channel
