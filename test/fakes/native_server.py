"""Servers for the synchronous client to talk to, each in a thread of this process.

    server = DoorServer()             # the native door, over city hall in memory
    server.names, server.address
    server.cut_after = 1000           # the next connections end after so many bytes out
    server.cut_after_in = 1000        # ... after so many bytes in
    server.silent = True              # accepts and says nothing
    server.refusing = True            # ends connections as soon as they come
    OldServer()                       # a server of 0.3, with its faults
    ScriptedServer(b"...")            # says that, whatever it is told

`stop` ends the thread and its connections. Everything has a deadline.
"""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from functools import partial

from koboldfs.wire import native
from koboldfs.wire.native import Command
from test.fakes.native_door import Door, Line, v2

#: No connection of a test is quiet for so long.
QUIET_SECONDS = 10.0
#: How long the door's reply to HELLO is.
HELLO_BYTES = len(Door().connect().say(v2(Command.HELLO, native.u32(2), b"")))


class ThreadServer:
    """Accepts on a free port of 127.0.0.1; `serve` has each connection."""

    def __init__(self) -> None:
        self.cut_after: int | None = None
        self.cut_after_in: int | None = None
        self.silent = False
        self.refusing = False
        self.accepted = 0
        self.sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._stopped = False
        host, port = self._listening.getsockname()
        self.address = f"{host}:{port}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            if self._stopped:
                connection.close()
                return
            self.accepted += 1
            connection.settimeout(QUIET_SECONDS)
            self.sockets.append(connection)
            self._start(partial(self._run, connection))

    def _run(self, connection: socket.socket) -> None:
        try:
            if self.refusing:
                return
            if self.silent:
                while connection.recv(65536):
                    pass
                return
            self.serve(connection)
        except OSError:
            pass
        finally:
            connection.close()

    def serve(self, connection: socket.socket) -> None:
        """One connection, to its end."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """End all connections; new ones are taken."""
        for connection in self.sockets:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(QUIET_SECONDS)
        self.sockets.clear()

    def stop(self) -> None:
        """No more connections."""
        self._stopped = True
        try:
            self._listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listening.close()
        self._accepting.join(QUIET_SECONDS)
        self.hang_up()


class DoorServer(ThreadServer):
    """The native door itself, one request of anybody at a time."""

    def __init__(self, door: Door | None = None) -> None:
        self.door = door or Door(max_connections=100)
        self.names = self.door.names
        self._lock = threading.Lock()
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        """See `ThreadServer`."""
        with self._lock:
            line = self.door.connect()
        left, left_in = self.cut_after, self.cut_after_in
        try:
            while data := connection.recv(65536):
                if left_in is not None:
                    left_in -= len(data)
                    if left_in <= 0:
                        return
                with self._lock:
                    reply = line.say(data)
                if left is not None:
                    reply, left = reply[:left], left - len(reply)
                connection.sendall(reply)
                if line.closed or (left is not None and left <= 0):
                    return
        finally:
            with self._lock:
                self._leave(line)

    def _leave(self, line: Line) -> None:
        line.leave()


class ScriptedServer(ThreadServer):
    """Says its piece to the first bytes that come, then waits for the end."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = list(replies)
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        """See `ThreadServer`."""
        for reply in self.replies:
            if not connection.recv(65536):
                return
            connection.sendall(reply)
        while connection.recv(65536):
            pass


class OldServer(ThreadServer):
    """A server of 0.3: what is not committed is lost with the connection."""

    def __init__(self) -> None:
        self.files: dict[bytes, bytes] = {}
        #: "host:port" to send readers to, instead of the file.
        self.redirect: bytes | None = None
        self.wrong_md5 = False
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        """See `ThreadServer`."""
        with connection.makefile("rb") as stream:
            pending = dict(self.files)
            while head := stream.read(2):
                command, count = head
                values = [stream.read(_number(stream.read(4))) for _ in range(count)]
                if command == 0x11:
                    connection.sendall(b"\2")
                    data = stream.read(_number(stream.read(4)))
                    good = hashlib.md5(data).hexdigest().encode() == stream.read(32)
                    if good:
                        pending[values[1]] = data
                    connection.sendall(b"\1" if good else b"\4")
                elif command in (0x21, 0x22):
                    if command == 0x21:
                        self.files = dict(pending)
                    pending = dict(self.files)
                    connection.sendall(b"\1")
                else:
                    connection.sendall(self._answer(command, values, pending))

    def _answer(
        self, command: int, values: list[bytes], pending: dict[bytes, bytes]
    ) -> bytes:
        if command in (0x10, 0x20):
            return b"\1"
        if command not in (0x12, 0x13, 0x14):
            return b"\6"
        if values[0] != b"d":
            return b"\5"
        if values[1] not in pending:
            return b"\7"
        if command == 0x14:
            del pending[values[1]]
            return b"\1"
        data = pending[values[1]]
        if command == 0x13:
            url = b"http://127.0.0.1/" + values[1]
            return b"\3" + native.u32(len(url)) + url
        if self.redirect is not None:
            return b"\0" + native.u32(len(self.redirect)) + self.redirect
        md5 = hashlib.md5(data).hexdigest().encode()
        if self.wrong_md5:
            md5 = b"0" * 32
        return b"\3" + native.u32(len(data)) + data + md5


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def dead_address() -> str:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
    return f"{host}:{port}"
