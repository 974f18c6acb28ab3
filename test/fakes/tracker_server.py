"""A tracker that says what a test tells it to, on a real socket, in a thread."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable
from typing import Any

#: What a test may say for a command: the whole reply, or a function of the line.
Reply = bytes | Callable[[str], bytes | None]


class TrackerServer(socketserver.ThreadingTCPServer):
    """Answers lines by their first word; None as an answer closes the connection.

    `lines` are the requests in their order. An unknown word is ``unknown_command``.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, replies: dict[str, Reply] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.replies: dict[str, Reply] = replies or {}
        self.lines: list[str] = []
        self.connections = 0
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    @property
    def address(self) -> str:
        """``HOST:PORT``."""
        return f"127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        """End the thread; at most a second."""
        self.shutdown()
        self.server_close()
        self._thread.join(1.0)

    def reply(self, line: str) -> bytes | None:
        """What to say to a line."""
        self.lines.append(line)
        said = self.replies.get(line.split(" ")[0], _UNKNOWN)
        return said(line) if callable(said) else said


_UNKNOWN = b"ERR unknown_command Unknown+server+command\r\n"


class _Connection(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        self.server.connections += 1
        for raw in self.rfile:
            answer = self.server.reply(raw.decode("latin-1").rstrip("\r\n"))
            if answer is None:
                return
            self.wfile.write(answer)
