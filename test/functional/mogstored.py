"""A stand-in for MogileFS's storage daemon: what it was seen to answer, no more.

HTTP/1.0 with kept connections; folders are made by PUT and MKCOL is a bad request;
chunked bodies; a wrong Content-MD5 is refused; 404 below a device that is not there.
Beside it the lines of its side channel, on port 7501 of the same address.
"""

from __future__ import annotations

import hashlib
import shutil
import socketserver
import tempfile
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from koboldfs.model.fid import relative_path
from test.functional.web_servers import USAGE

SIDECHANNEL_PORT = 7501
DIGESTS = {"MD5": "md5", "SHA-1": "sha1"}


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    timeout = 60
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    def _answer(self, status: int, body: bytes = b"", length: int = -1) -> None:
        keep = "keep-alive" in self.headers.get("Connection", "").lower()
        self.close_connection = not keep
        self.send_response_only(status)
        self.send_header("Server", "Perlbal")
        if status != 204:
            self.send_header("Content-Length", str(len(body) if length < 0 else length))
        self.send_header("Connection", "keep-alive" if keep else "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            if size:
                self.rfile.readline()
                continue
            while self.rfile.readline().strip():
                pass
            return body

    def do_GET(self) -> None:
        """The file, or 404."""
        path = self.server.docroot / self.path[1:]
        if not path.is_file():
            self._answer(404, b"Not found")
            return
        self._answer(200, path.read_bytes(), path.stat().st_size)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """200, folders made."""
        body, path = self._body(), self.server.docroot / self.path[1:]
        announced = self.headers.get("Content-MD5")
        if not (self.server.docroot / self.path.split("/")[1]).is_dir():
            self._answer(404, b"Base directory does not exist")
        elif announced not in (None, b64encode(hashlib.md5(body).digest()).decode()):
            self._answer(400, b"Bad request")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            self._answer(200, b"<html><body><h1>200 - OK</h1></body></html>")

    def do_DELETE(self) -> None:
        """204 or 404."""
        path = self.server.docroot / self.path[1:]
        if path.is_file():
            path.unlink()
            self._answer(204)
        else:
            self._answer(404, b"Not found")

    def do_MKCOL(self) -> None:
        """It has none."""
        self._body()
        self._answer(400, b"Bad request")


class _Lines(socketserver.StreamRequestHandler):
    timeout = 60
    server: Any

    def handle(self) -> None:
        """Line by line, in order."""
        for line in self.rfile:
            name, uri = line.decode().split()[:2]
            self.server.asked.append(line.decode().strip())
            path = self.server.docroot / uri[1:]
            value = "-1"
            if path.is_file():
                value = hashlib.new(DIGESTS[name], path.read_bytes()).hexdigest()
            self.wfile.write(f"{uri} {name}={value}\r\n".encode())


class _Quiet(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Peers hang up; what else goes wrong fails the test by itself."""


class MogstoredDouble:
    """One daemon with one device; `asked` is what its side channel was asked."""

    kind = "mogstored"

    def __init__(self, address: str, devid: int) -> None:
        self.address = address
        self.devid = devid
        self.folder = Path(tempfile.mkdtemp(prefix="koboldfs-mogstored-"))
        self.device = self.folder / f"dev{devid}"
        self.device.mkdir()
        (self.device / "usage").write_text(USAGE)
        self._http: Any = _Quiet((address, 0), _Request)
        self._side: Any = _Quiet((address, SIDECHANNEL_PORT), _Lines)
        self.asked: list[str] = []
        self._side.asked = self.asked
        self.port = self._http.server_address[1]
        for server in (self._http, self._side):
            server.docroot = self.folder
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def copy(self, fid: int) -> Path:
        """Where a copy lies."""
        return self.device / relative_path(fid)

    def remove(self) -> None:
        """End it and remove its folder."""
        for server in (self._http, self._side):
            server.shutdown()
            server.server_close()
        shutil.rmtree(self.folder, ignore_errors=True)
