"""Bytes to a TCP socket at once, without asking the reactor whether it takes them.

Twisted's transports wait until the socket is known to be writable, which costs two
calls of the kernel and a turn of the reactor for each answer. It nearly always is. What
this room leans on in Twisted is `writeSomeData` and the names of the buffers;
``test/unit/storage/test_direct.py`` notices when they change.
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


def write(transport: Any, data: bytes) -> None:
    """Send the bytes of a direct transport, those at once that the socket takes; the
    others, and all that come behind others, as `ITransport.write` does."""
    if (
        len(data) <= MAX_DIRECT_BYTES
        and transport.connected
        and not (transport.disconnecting or unsent(transport))
    ):
        sent = transport.writeSomeData(data)
        if sent == len(data):
            return
        # What went wrong will go wrong again, where it is dealt with.
        if isinstance(sent, int):
            data = data[sent:]
    transport.write(data)
