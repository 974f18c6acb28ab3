"""The limits: what simpler things reach on the same machine, in the same run."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.exchange import Address
from test.functional.ports import free_port
from test.functional.postgresql import PROGRAMS, PostgreSQL

ADDRESS = "127.0.0.1"
#: A server of ours or of others, from its start to its first answer.
START_SECONDS = 15.0
#: pgbench's tables: 200,000 rows.
PGBENCH_SCALE = 2
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")

NGINX_CONFIG = """\
daemon off; worker_processes 2; pid {folder}/pid; error_log {folder}/error.log;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; keepalive_requests 10000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi; client_max_body_size 0;
    server {{
        listen {address}:{port}; root {folder}/files;
        location / {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""

TWISTED_ECHO = """
import sys
from twisted.internet import protocol, reactor
from twisted.protocols.basic import LineReceiver

class Echo(LineReceiver):
    delimiter = b"\\n"
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
    def lineReceived(self, line):
        self.sendLine(line)

reactor.listenTCP(int(sys.argv[1]), protocol.Factory.forProtocol(Echo), interface="{0}")
reactor.run()
""".replace("{0}", ADDRESS)

BARE_REACTOR = "from twisted.internet import reactor; reactor.run()"


def wait_for(address: Address) -> None:
    """Until somebody listens; raises TimeoutError."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(address, 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody listens on {address}") from None
            time.sleep(0.02)


@contextlib.contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def twisted_echo() -> Iterator[Address]:
    """A LineReceiver that sends every line back: what Twisted alone can do."""
    with twisted_echo_process() as (_, address):
        yield address


@contextlib.contextmanager
def twisted_echo_process() -> Iterator[tuple[int, Address]]:
    """The same, with its process id."""
    port = free_port(ADDRESS)
    with running(sys.executable, "-c", TWISTED_ECHO, str(port)) as process:
        wait_for((ADDRESS, port))
        yield process.pid, (ADDRESS, port)


@contextlib.contextmanager
def bare_echo() -> Iterator[Address]:
    """Epoll, recv, send and nothing else: what the load generator can do."""
    with bare_server(bytes) as address:
        yield address


@contextlib.contextmanager
def bare_server(answer: Callable[[bytes], bytes]) -> Iterator[Address]:
    """The same, but what is sent is what `answer` makes of each piece received."""
    port = free_port(ADDRESS)
    pid = os.fork()
    if pid == 0:
        try:
            _serve_echo(port, answer)
        finally:
            os._exit(0)
    try:
        wait_for((ADDRESS, port))
        yield ADDRESS, port
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def _serve_echo(port: int, answer: Callable[[bytes], bytes] = bytes) -> None:
    server = socket.create_server((ADDRESS, port))
    epoll = select.epoll()
    epoll.register(server.fileno(), select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor == server.fileno():
                peer, _address = server.accept()
                peers[peer.fileno()] = peer
                epoll.register(peer.fileno(), select.EPOLLIN)
                continue
            received = peers[descriptor].recv(65536)
            if received:
                peers[descriptor].send(answer(received))
            else:
                epoll.unregister(descriptor)
                peers.pop(descriptor).close()


@contextlib.contextmanager
def nginx() -> Iterator[tuple[Address, Path] | None]:
    """nginx with two workers on an empty folder that takes PUT; None without nginx."""
    if NGINX is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="koboldfs-bench-nginx-"))
    port = free_port(ADDRESS)
    try:
        (folder / "files").mkdir()
        user = "user root;" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(
            NGINX_CONFIG.format(folder=folder, address=ADDRESS, port=port, user=user)
        )
        with running(NGINX, "-p", str(folder), "-c", str(config)):
            wait_for((ADDRESS, port))
            yield (ADDRESS, port), folder / "files"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class PgBench:
    """PostgreSQL's own load generator, on the same server with the same settings."""

    def __init__(self, server: PostgreSQL, seconds: float) -> None:
        self._server = server
        self._seconds = max(1, round(seconds))
        self._url = server.new_database()
        self._run("-i", "-q", "-s", str(PGBENCH_SCALE), self._url)
        server.execute(self._url, "create table kept (a int, b text, c int)")

    def selects(self, clients: int) -> float:
        """Single-row selects by key, prepared, a second."""
        return self._rate(clients, "-S", "-M", "prepared")

    def inserts(self, clients: int) -> float:
        """Single-row inserts, each a transaction of its own, a second."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write("insert into kept values (1, 'some text', 2);\n")
            script.flush()
            os.chmod(script.name, 0o644)
            return self._rate(clients, "-M", "prepared", "-f", script.name, "-n")

    def rows(self, count: int) -> float:
        """Rows a second of an ordered select of `count` rows, one client."""
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
            script.write(
                "select aid, filler from pgbench_accounts where aid > 5000 "
                f"order by aid limit {count};\n"
            )
            script.flush()
            os.chmod(script.name, 0o644)
            return count * self._rate(1, "-M", "prepared", "-f", script.name, "-n")

    def _rate(self, clients: int, *arguments: str) -> float:
        workers = ["-c", str(clients), "-j", "2", "-T", str(self._seconds)]
        told = self._run(*workers, *arguments, self._url)
        found = re.search(r"^tps = ([0-9.]+)", told, re.MULTILINE)
        if found is None:
            raise RuntimeError(f"pgbench said no rate:\n{told}")
        return float(found[1])

    def _run(self, *arguments: str) -> str:
        assert PROGRAMS is not None
        ended = subprocess.run(
            [str(PROGRAMS / "pgbench"), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=START_SECONDS * 4 + self._seconds,
        )
        return ended.stdout


def durable_files(folder: Path, body: bytes, threads: int, seconds: float) -> float:
    """Files a second that threads make on this disk: write, fsync, rename, fsync."""
    done = [0] * threads
    until = time.monotonic() + seconds
    folder_descriptor = os.open(folder, os.O_RDONLY)

    def work(number: int) -> None:
        while time.monotonic() < until:
            path = folder / f"{number}.{done[number]}"
            with open(path.with_suffix(".new"), "wb") as stream:
                stream.write(body)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(path.with_suffix(".new"), path)
            os.fsync(folder_descriptor)
            done[number] += 1

    workers = [
        threading.Thread(target=work, args=(number,)) for number in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    os.close(folder_descriptor)
    return sum(done) / seconds


def write_rate(folder: Path, size: int, times: int) -> float:
    """MB a second (10**6 bytes) of writing a file of `size` bytes and one fsync."""
    block = bytes(1 << 20)
    began = time.perf_counter()
    for number in range(times):
        with open(folder / f"large{number % 2}", "wb") as stream:
            for _ in range(size // len(block)):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
    return size * times / 1e6 / (time.perf_counter() - began)


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, by the clock that Linux keeps for it: finer
    than the ticks in ``/proc``."""
    return time.clock_gettime((~pid << 3) | 2)


def resident_mb(pid: int) -> float:
    """Memory that a process holds now, in MB (2**20 bytes)."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def processor_seconds(pid: int) -> float:
    """How long a process has had a processor, in its own code and the system's."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def private_mb(pid: int) -> float:
    """Memory of a process that is its own, in MB, also what the system put elsewhere:
    what grows by objects, and does not shrink while others need memory."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.findall(r"^(?:RssAnon|VmSwap):\s+(\d+) kB", text, re.MULTILINE)
    return sum(map(int, found)) / 1024


def bare_reactor_mb() -> float:
    """Memory of a Twisted process that does nothing."""
    with running(sys.executable, "-c", BARE_REACTOR) as process:
        time.sleep(1.5)
        return resident_mb(process.pid)
