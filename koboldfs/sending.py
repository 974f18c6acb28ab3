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


def send(transport: Any, data: bytes) -> None:
    """Write `data`, which should be small, to any transport.

    What an `ITransport.write` promises holds: order, buffering, a producer is paused
    when too much waits. Nothing is raised; that the peer is gone is told by
    `connectionLost`, later.
    """
    if (
        isinstance(transport, tcp.Connection)
        and transport.connected
        and not transport.TLS
        and not transport.disconnecting
        and not transport._tempDataLen
        and not transport.dataBuffer
        and not transport._writeDisconnected
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0  # the socket is full, or broken, which the reactor finds out
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)
