"""The native door (port 9876): connections, their limits and their deadlines.

A connection runs one request at a time. What arrives meanwhile waits in the socket: at
most one read of it is held here. The factory sweeps over all connections every few
seconds, instead of a timer for each request.

    a connection is      it is ended when
    idle                 nothing came for `IDLE_SECONDS`, or room is needed for another
    in a request         the request was not whole after `STALL_SECONDS`
    in an upload         we wait for bytes and none came for `STALL_SECONDS`
    choked               the client took none of its replies for `STALL_SECONDS`
    in a transaction     it is older than `TRANSACTION_SECONDS`
    closing              what is left to send was not taken in `STALL_SECONDS`
    at work              (never: city hall and the outer walls have deadlines)
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.running import run_now
from koboldfs.sending import send
from koboldfs.tracker.native_body import Body, ClientLost
from koboldfs.tracker.native_commands import (
    V1,
    V2,
    BrokenTransfer,
    Entry,
    is_defect,
    v1_code,
    v2_error,
)
from koboldfs.tracker.native_download import Download
from koboldfs.tracker.native_session import TRANSACTION_SECONDS, Session
from koboldfs.wire import native
from koboldfs.wire.native import Code, Command, SyntaxFault, ValueFault
from koboldfs.wire.native_parser import End, Request, RequestParser, Size

if TYPE_CHECKING:
    from koboldfs.tracker.native_factory import NativeFactory

#: A client that is in the middle of something and does nothing is given up after this.
STALL_SECONDS = 60.0
#: A client that asks nothing is let go after this; pools keep connections for long.
IDLE_SECONDS = 3600.0
#: Replies to requests that were sent ahead are gathered, up to this size (bytes).
REPLIES_BYTES = 64 * 1024
#: Linux only: acknowledge at once, see `NativeProtocol._acknowledge`.
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


@implementer(IPushProducer)
class NativeProtocol(Protocol):
    """One connection; an `Exchange` for its commands.

    It is its transport's producer all the time: a client that does not take its replies
    gets no further ones, be they files or the replies to requests it sent ahead.
    """

    log = Logger()
    factory: NativeFactory
    transport: Any
    session: Session

    def __init__(self) -> None:
        self.active_at = 0.0
        self._running: str | None = None
        self._lost = False  # the transport is gone
        self._closed = False  # nothing more is read
        self._ending = False  # close when the request under way is done
        self._choked_at: float | None = None  # since then the client takes nothing
        self._version = 1
        self._parser = RequestParser()
        self._body: Body | None = None
        self._download: Download | None = None
        self._advancing = False
        self._replies: list[bytes] = []
        self._replies_bytes = 0
        self._reading = True

    # --- events of the transport

    def connectionMade(self) -> None:
        """Let it in if there is room."""
        clock = self.factory.clock
        self.active_at = clock.seconds()
        peer = self.transport.getPeer()
        host = peer.host if isinstance(peer, (IPv4Address, IPv6Address)) else ""
        self.session = Session(
            self.factory.namespace, self.factory.checksums, clock.seconds, host
        )
        if not self.factory.admit(self):
            self.end()
            return
        self.transport.registerProducer(self, True)
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)

    def dataReceived(self, data: bytes) -> None:
        """Bytes of a request or of a body."""
        if self._closed:
            return
        parser = self._parser
        if parser.idle or self._body is not None:
            # Not for each piece of a request: it has its time as a whole.
            self.active_at = self.factory.clock.seconds()
        parser.feed(data)
        self._advance()
        if self._version == 1 and not parser.idle and not parser.held:
            self._acknowledge()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The client is gone: its upload and its transaction are thrown away."""
        self._lost = self._closed = True
        if not self.factory.forget(self):
            return
        if self._body is not None:
            self._body.fail(ClientLost())
        self.session.lost()
        if self._running is None:
            self._forget_transaction()

    # --- IPushProducer, towards the transport

    def pauseProducing(self) -> None:
        """The client does not take its replies."""
        self._choked_at = self.factory.clock.seconds()
        if self._download is not None:
            self._download.pause()

    def resumeProducing(self) -> None:
        """The client took them."""
        self._choked_at = None
        if self._download is not None:
            self._download.resume()
        self._advance()

    def stopProducing(self) -> None:
        """The client is gone; `connectionLost` follows."""
        self._choked_at = None
        if self._download is not None:
            self._download.stop()

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge what came without waiting for our reply.

        A 0.3 client sends a PUT in small pieces, without TCP_NODELAY: each piece waits
        for the acknowledgement of the one before, which would take 40 ms.
        """
        if _QUICKACK is not None and hasattr(self.transport, "getHandle"):
            try:
                self.transport.getHandle().setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            except OSError:  # it is closed, or no TCP socket
                pass

    # --- from bytes to requests

    def _advance(self) -> None:
        """Take from the parser what can be taken; never runs inside itself."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not (self._closed or self._waits_for_client()):
                event = self._parser.next()
                if event is None:
                    break
                self._take(event)
        except SyntaxFault as fault:
            self._reset(str(fault))
        finally:
            self._advancing = False
            self._flush()
        self._update_reading()

    def _waits_for_client(self) -> bool:
        """Whether no request is begun before earlier replies were taken."""
        return self._running is None and self._choked_at is not None

    def _take(self, event: Request | Size | End | bytes) -> None:
        if isinstance(event, Request):
            self._start(event)
            return
        body = self._body
        assert body is not None  # only `sized_body` and `chunked_body` lead here
        if isinstance(event, bytes):
            body.push(event)
        elif isinstance(event, Size):
            body.begin(event.size)
        else:
            body.end(event.trailer)

    def _update_reading(self) -> None:
        """Pause the client while its bytes have no place to go."""
        if self._lost or self._closed:
            return
        body = self._body
        blocked = self._parser.held or self._waits_for_client()
        wanted = not (
            (blocked and self._parser.unread_bytes > 0)
            or (body is not None and body.full)
        )
        if body is not None and body.awaited and wanted:
            self.active_at = self.factory.clock.seconds()
        if wanted != self._reading:
            self._reading = wanted
            if wanted:
                self.transport.resumeProducing()
            else:
                self.transport.pauseProducing()

    def _reset(self, why: str) -> None:
        """These bytes are no protocol of ours: say so and end."""
        if self._version == 1:
            self.send(bytes((Code.ERR_RESET,)))
        else:
            values = native.error_values("bad_request", why)
            self.send(native.frame(Code.ERR_RESET, 0, values))
        self._closed = True
        self.close()

    # --- requests

    def _start(self, request: Request) -> None:
        command = request.command
        if command == Command.HELLO or command >= native.FIRST_V2_COMMAND:
            entry, self._version = V2.get(command), 2
        else:
            entry = V1.get(command)
        if entry is None:
            self.send(bytes((Code.ERR_COMMAND,)))
            self._parser.next_request()
            return
        self._running = entry.run.__name__
        self.factory.requests[self._running] += 1
        run_now(self._run(entry, request), self._defect)

    async def _run(self, entry: Entry, request: Request) -> None:
        if entry is V1.get(request.command):
            await self._run_v1(entry, request.arguments)
        else:
            await self._run_v2(entry, request)
        self._running = self._body = self._download = None
        self.active_at = self.factory.clock.seconds()
        if self._lost:
            self._forget_transaction()
        elif self._ending:
            self.close()
        elif not self._closed:
            self._parser.next_request()
            self._advance()

    async def _run_v1(self, entry: Entry, arguments: tuple[bytes, ...]) -> None:
        try:
            if len(arguments) != entry.arguments:
                raise ValueFault("not the arguments of this command")
            reply = await entry.run(self, *arguments)
        except (BrokenTransfer, ClientLost) as error:
            self._break(error)
            return
        except Exception as error:
            self._log_defect(error)
            # The reply comes after the body: the client would not read it before.
            if not await self._discard():
                return
            reply = bytes((v1_code(error),))
        self.send(reply)

    async def _run_v2(self, entry: Entry, request: Request) -> None:
        number = 0
        try:
            number = native.number32(b"".join(request.arguments[:1]))
            if len(request.arguments) != entry.arguments:
                raise ValueFault("not the arguments of this command")
        except ValueFault as fault:
            if request.command == Command.PUT2:
                self._reset(str(fault))  # nobody knows whether a body follows
                return
            self.send(native.frame(Code.KO, number, v2_error(fault)[1:]))
            return
        try:
            reply = await entry.run(self, number, *request.arguments[1:])
        except ClientLost:
            return
        except Exception as error:
            self._log_defect(error)
            code, word, text = v2_error(error)
            self.send(native.frame(code, number, (word, text)))
            await self._discard()
            return
        self.send(reply)

    async def _discard(self) -> bool:
        """Let the rest of a body go by; False when the client went away."""
        if self._body is not None and not self._body.ended:
            try:
                await self._body.discard()
            except ClientLost:
                return False
        return True

    def _break(self, error: Exception) -> None:
        """The client cannot be told that its file is not whole: hang up on it."""
        if not self._lost:
            self.log.warn("a GET was broken off: {error!r}", error=error.__cause__)
            self.end()

    def _log_defect(self, error: Exception) -> None:
        if is_defect(error) and not self._lost:
            self.log.failure(
                "native {command} failed",
                failure=Failure(error),
                command=self._running,
            )

    def _defect(self, failure: Failure) -> None:
        """An error in this room itself: the connection cannot be trusted any more."""
        self.log.failure("the native door failed", failure=failure)
        self._running = None
        if self._lost:
            self._forget_transaction()
        else:
            self.end()

    def _forget_transaction(self) -> None:
        if self.session.transaction is not None:
            run_now(
                self.session.abort(),
                lambda failure: self.log.failure(
                    "a transaction stays", failure=failure
                ),
            )

    # --- Exchange

    def send(self, data: bytes) -> None:
        """See `Exchange`; leaves when no further request can be begun."""
        self._replies.append(data)
        self._replies_bytes += len(data)
        if not self._advancing or self._replies_bytes >= REPLIES_BYTES:
            self._flush()

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        self._replies_bytes = 0
        if replies and not self._lost:
            send(self.transport, replies[0] if len(replies) == 1 else b"".join(replies))

    def sized_body(self) -> Body:
        """See `Exchange`."""
        self._parser.expect_sized_body()
        self._body = Body(self._update_reading)
        return self._body

    def chunked_body(self) -> Body:
        """See `Exchange`."""
        self._parser.expect_chunked_body()
        self._body = Body(self._update_reading)
        return self._body

    def download(self, head: bytes, digests: list[Any], *, chunked: bool) -> Download:
        """See `Exchange`."""
        self._flush()
        self._download = Download(
            self.transport,
            head,
            digests,
            chunked=chunked,
            paused=self._choked_at is not None,
        )
        return self._download

    # --- ends and limits

    def close(self) -> None:
        """End the connection when the request under way is answered."""
        self._ending = True
        if self._running is None and not self._lost:
            self._closed = True
            self.active_at = self.factory.clock.seconds()
            self._flush()
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def end(self) -> None:
        """End the connection now."""
        self._closed = True
        self.transport.abortConnection()

    @property
    def idle(self) -> bool:
        """Whether nothing is lost if the connection ends now."""
        waits = self._running is None and self._parser.idle and not self._closed
        return waits and self.session.transaction is None

    def overdue(self, now: float) -> str | None:
        """What the connection waited for too long, if anything."""
        quiet = now - self.active_at
        transaction = self.session.transaction
        if transaction is not None and now - transaction.began_at > TRANSACTION_SECONDS:
            return "the end of a transaction"
        if self._choked_at is not None:
            late = now - self._choked_at > STALL_SECONDS
            return "replies to be taken" if late else None
        if self._body is not None and self._body.awaited:
            return "the bytes of an upload" if quiet > STALL_SECONDS else None
        if self._running is not None:
            return None
        if self._closed:
            return "the last reply to be taken" if quiet > STALL_SECONDS else None
        if not self._parser.idle:
            return "the rest of a request" if quiet > STALL_SECONDS else None
        return "a request" if quiet > IDLE_SECONDS else None
