"""Two things that Twisted does well for all cases, and dearly for the small ones.

`send_now`  a transport queues what is written, has itself watched for room, is woken
            in the reactor's next turn, sends, and has the watch ended: three system
            calls and a turn for a reply that the kernel would have taken at once
`run_now`   a Deferred for a coroutine copies a context and keeps books at every step,
            also for one that never waits

Both are for what happens with each request. Whoever streams, or has use for a Deferred,
does it in the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import tcp
from twisted.python.failure import Failure

#: Transports whose `write` ends in the `send` of their socket with nothing in between.
_PLAIN = frozenset((tcp.Client, tcp.Server))


def send_now(transport: Any, data: bytes) -> None:
    """Write to a transport: what the kernel takes goes out before this returns.

    Bytes leave in the order in which they were written, by this or by `write`. A
    connection that is found broken is left to the transport, which tells its protocol
    in a later turn, as always.
    """
    if (
        type(transport) in _PLAIN
        and transport.connected
        and not (transport.TLS or transport.dataBuffer or transport._tempDataLen)
        and not (transport._writeDisconnected or transport._writeDisconnecting)
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


def run_now(
    work: Coroutine[Any, Any, object], failed: Callable[[Failure], object]
) -> None:
    """Run a coroutine: at once as far as it does not wait, then as its Deferreds fire.

    `failed` is given what it raises; what it returns goes nowhere.
    """
    _step(None, work, failed)


def _step(
    result: object,
    work: Coroutine[Any, Any, object],
    failed: Callable[[Failure], object],
) -> None:
    """To the next Deferred that the coroutine waits for; a callback of the last one.

    The coroutine takes a result by itself, a failure has to be thrown into it.
    """
    try:
        if isinstance(result, Failure):
            waited_for = result.throwExceptionIntoGenerator(work)
        else:
            waited_for = work.send(None)
    except StopIteration:
        return
    except BaseException:
        failed(Failure())
        return
    waited_for.addBoth(_step, work, failed)
