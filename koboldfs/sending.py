"""Small answers on TCP, sent at once.

Twisted's transports take bytes, ask the reactor to tell when the socket has room, and
send then: two calls of the system and a turn of the reactor for each answer, though the
socket of who waits for an answer is all but always empty. Here the socket is tried
first; what it does not take goes Twisted's way, and so does everything while that has
bytes waiting, so that the order is kept.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp

#: More than this is not sent at once (bytes): it would be sent in two parts.
MAX_DIRECT_BYTES = tcp.Connection.SEND_LIMIT


def is_direct(transport: object) -> bool:
    """Whether bytes given to this transport go to a socket as they are."""
    return isinstance(transport, tcp.Connection) and not transport.TLS


def unsent(transport: Any) -> bool:
    """Whether bytes wait in a direct transport."""
    return bool(transport._tempDataLen or len(transport.dataBuffer))


def send(transport: Any, data: bytes) -> None:
    """Write `data`, which should be small, to any transport.

    What an `ITransport.write` promises holds: order, buffering, a producer is paused
    when too much waits. Nothing is raised; that the peer is gone is told by
    `connectionLost`, later.
    """
    if (
        len(data) <= MAX_DIRECT_BYTES
        and is_direct(transport)
        and transport.connected
        and not transport.disconnecting
        and not transport._writeDisconnected
        and not unsent(transport)
    ):
        sent = transport.writeSomeData(data)
        if sent == len(data):
            return
        # What went wrong will go wrong again, where it is dealt with.
        if isinstance(sent, int):
            data = data[sent:]
    transport.write(data)
