"""Where connections come in: endpoint strings, and sockets that processes share.

A process that stands alone opens what its options say. Of several processes of one
installation, the parent opens the sockets once (`open_shared`) and each child is handed
them and accepts from the same queue (`SharedPort`): while a child is dead its share
goes to the others, and what waits in the queue is lost to nobody. (With SO_REUSEPORT
each process would have a queue of its own, and who waits in that of a dead one is cut
off.)
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IReadDescriptor,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from koboldfs.config import with_backlog
from koboldfs.errors import ConfigError
from koboldfs.turns import Turn, Turns

#: Endpoints whose sockets can be shared: what makes a connection is the kernel alone.
SHARED_KINDS = ("tcp", "tcp6", "unix")
#: So long a connection is left to the process whose turn it is.
YIELD_SECONDS = 0.002
#: When so many were left to it in vain, it hangs, or is far too busy: for so long (in
#: seconds) it is not waited for.
MAX_VAIN, HURRY_SECONDS = 16, 0.5
#: A process without a free descriptor leaves its siblings the queue for this long.
PAUSE_SECONDS = 0.2

_NOBODY_THERE = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR)
_GONE_AGAIN = (errno.ECONNABORTED, errno.EPERM)


class Doors:
    """Opens the ports that options name. `inherited` are descriptors of listening
    sockets by option, which are taken instead of opening anything; who accepts from
    them says `turns`, to process `number`."""

    def __init__(
        self,
        reactor: Any,
        inherited: Mapping[str, int] | None = None,
        turns: Turns | None = None,
        number: int = 1,
    ) -> None:
        self._reactor = reactor
        self._inherited = dict(inherited or {})
        self._turns = turns
        self._number = number

    def listen(
        self, option: str, text: str, factory: IProtocolFactory
    ) -> Deferred[IListeningPort]:
        """Listen as `text` says; fails with `ConfigError` that names `option`."""
        fd = self._inherited.get(option)
        if fd is not None:
            turn = None
            if self._turns is not None:
                index = sorted(self._inherited).index(option)
                turn = Turn(self._turns, index, self._number)
            listening = socket.socket(fileno=os.dup(fd))
            port = SharedPort(self._reactor, listening, factory, turn)
            port.startListening()
            return succeed(port)
        return _opened(self._reactor, option, text, factory)


def _opened(
    reactor: Any, option: str, text: str, factory: IProtocolFactory
) -> Deferred[IListeningPort]:
    try:
        endpoint = serverFromString(reactor, with_backlog(text))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return fail(_no_endpoint(option, text, error))

    def explained(failure: Failure) -> Any:
        error = failure.value
        if isinstance(error, CannotListenError):
            reason = getattr(error.socketError, "strerror", None) or error.socketError
            raise ConfigError(
                f"{option} {text}: cannot listen ({reason}); choose a free port"
            ) from error
        if isinstance(error, ArithmeticError | TypeError | ValueError | OSError):
            raise _no_endpoint(option, text, error) from error
        return failure

    listening: Deferred[IListeningPort] = maybeDeferred(endpoint.listen, factory)
    return listening.addErrback(explained)


def _no_endpoint(option: str, text: str, error: Exception) -> ConfigError:
    words = " ".join(str(error).split())
    return ConfigError(
        f"{option} {text}: not an endpoint ({words}); right would be, for example,"
        " tcp:7500 or tcp:7500:interface=10.0.0.1"
    )


def open_shared(reactor: Any, option: str, text: str) -> Deferred[Any]:
    """Open a port and accept nothing: its `fileno` is for others to accept from, and
    its `stopListening` the end of it. Fails with `ConfigError`."""
    if text.partition(":")[0] not in SHARED_KINDS:
        return fail(
            ConfigError(
                f"{option} {text}: several processes share ports of the kinds"
                f" {', '.join(SHARED_KINDS)} only; give one of these, or --processes 1"
            )
        )
    quiet = Factory()
    quiet.noisy = False

    def rest(port: Any) -> Any:
        port.stopReading()
        return port

    return _opened(reactor, option, text, quiet).addCallback(rest)


def address_words(address: Any) -> str:
    """An address as an operator writes it."""
    if isinstance(address, UNIXAddress):
        return os.fsdecode(address.name or b"")
    host, port = getattr(address, "host", ""), getattr(address, "port", "")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _address(listening: socket.socket) -> IAddress:
    name = listening.getsockname()
    if listening.family == socket.AF_UNIX:
        return UNIXAddress(os.fsencode(name))
    if listening.family == socket.AF_INET6:
        return IPv6Address("TCP", *name)
    return IPv4Address("TCP", *name)


@implementer(IListeningPort, IReadDescriptor)
class SharedPort:
    """Accepts from a listening socket that other processes accept from as well.

    One connection at a time, and when it is another's turn not at once: whoever is
    quick would have them all, and a connection of a client of a tracker lasts for days.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listening: socket.socket,
        factory: IProtocolFactory,
        turn: Turn | None = None,
    ) -> None:
        self._turn = turn
        #: Whether a connection was left to another; how many in a row were in vain;
        #: and until when nothing is left to anybody.
        self._yielded = False
        self._vain = 0
        self._hurry_until = float("-inf")
        self._reactor = reactor
        self._socket = listening
        self._socket.setblocking(False)
        self._host = _address(self._socket)
        self._factory = factory
        self._listening = False
        self._pause: Any = None

    def startListening(self) -> None:
        """See `IListeningPort`."""
        self._factory.doStart()
        if self._turn is not None:
            self._turn.begin()
        self._listening = True
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """See `IListeningPort`; the socket itself stays open for the others."""
        if self._listening:
            self._listening = False
            self._reactor.removeReader(self)
            if self._pause is not None:
                self._pause.cancel()
                self._pause = None
            self._socket.close()
            self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        """See `IListeningPort`."""
        return self._host

    # --- IReadDescriptor

    def fileno(self) -> int:
        """See `IFileDescriptor`."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """See `ILoggingContext`."""
        return type(self._factory).__name__

    def doRead(self) -> None:
        """Somebody waits; another process may be faster, or is to be."""
        if self._turn is not None and self._lets_go_first(self._turn):
            self._rest(YIELD_SECONDS)
            return
        try:
            connection, _ = self._socket.accept()
        except OSError as error:
            if error.errno not in (*_NOBODY_THERE, *_GONE_AGAIN):
                self._cannot(error)
            return
        self._yielded = False
        if self._turn is not None:
            self._turn.took()
        with connection:
            connection.setblocking(False)
            try:
                # That makes a copy of the descriptor, and asks for the peer's name.
                self._reactor.adoptStreamConnection(
                    connection.fileno(), connection.family, self._factory
                )
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._cannot(error)
            except Exception:
                # Raised to the reactor, it would close the port for all others, too.
                self._log.failure("a connection could not be begun")

    def _lets_go_first(self, turn: Turn) -> bool:
        """Whether to leave a connection to the others, for a moment and once."""
        if turn.is_mine():
            self._vain = 0
            return False
        now = self._reactor.seconds()
        if now < self._hurry_until:
            return False
        if not self._yielded:
            self._yielded = True
            return True
        self._vain += 1
        if self._vain >= MAX_VAIN:
            self._vain, self._hurry_until = 0, now + HURRY_SECONDS
        return False

    def _cannot(self, error: OSError) -> None:
        self._log.error(
            "no connection can be accepted now: {words}", words=error.strerror
        )
        self._rest(PAUSE_SECONDS)

    def _rest(self, seconds: float) -> None:
        self._reactor.removeReader(self)
        self._pause = self._reactor.callLater(seconds, self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._reactor.addReader(self)

    def connectionLost(self, reason: Failure) -> None:
        """See `IFileDescriptor`: the reactor ends, or the socket is broken."""
        self.stopListening()
