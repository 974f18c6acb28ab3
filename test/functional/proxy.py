"""A TCP proxy that fails in the ways in which networks fail."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time

#: How bytes fare: they pass; each piece is late; nothing passes, on connections old and
#: new, and nobody is told; every connection is reset.
PASS, SLOW, SILENT, RESET = "pass", "slow", "silent", "reset"
#: How late a piece is.
DELAY_SECONDS = 0.3
PIECE_BYTES = 65536
POLL_SECONDS = 0.05
_LINGER_NOT = struct.pack("ii", 1, 0)


class Proxy:
    """Listens at an address and passes on to another, as `mode` says at the moment.

    What waits while it is silent is delivered later, when it passes again.
    """

    def __init__(self, here: tuple[str, int], there: tuple[str, int]) -> None:
        self.mode = PASS
        self._there = there
        self._stopped = False
        self._listener = socket.create_server(here)
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    def _begin(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(
            target=work,  # type: ignore[arg-type]
            args=arguments,
            daemon=True,
        )
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped:
            if select.select([self._listener], [], [], POLL_SECONDS)[0]:
                self._begin(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        try:
            while self.mode == SILENT and not self._stopped:
                time.sleep(POLL_SECONDS)
            if self.mode != RESET and not self._stopped:
                with contextlib.closing(
                    socket.create_connection(self._there, 5)
                ) as far:
                    self._pass_on(client, far)
        except OSError:
            pass
        finally:
            _reset(client)

    def _pass_on(self, client: socket.socket, far: socket.socket) -> None:
        other = {client: far, far: client}
        while self.mode != RESET and not self._stopped:
            if self.mode == SILENT:
                time.sleep(POLL_SECONDS)
                continue
            for one in select.select(list(other), [], [], POLL_SECONDS)[0]:
                if self.mode == SLOW:
                    time.sleep(DELAY_SECONDS)
                data = one.recv(PIECE_BYTES)
                if not data:
                    return
                other[one].sendall(data)

    def stop(self) -> None:
        """Cut all connections and listen no more."""
        self._stopped = True
        for thread in self._threads:
            thread.join(10)
        self._listener.close()


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    one.close()
