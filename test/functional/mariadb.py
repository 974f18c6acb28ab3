"""A MariaDB server of our own, from Debian's mariadb-server, on a free port.

It is a child of this process: it ends by its pid, and with the group of the test run.
It refuses to run as root; there it runs as ``nobody``.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
from twisted.trial.unittest import SkipTest

from test.functional.ports import free_port

ADDRESS = "127.0.0.1"
#: A new server on a busy machine; both steps take about 2 s on an idle one.
START_SECONDS = 90.0
STOP_SECONDS = 30.0
USER = "nobody"
#: Programs of a server stand where only root looks.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"

_ACCESS_DENIED = 1045

MISSING = "MariaDB is missing: apt-get install mariadb-server"


class MariaDB:
    """One server with its data in a temporary folder. `settings` are its own."""

    def __init__(self, *, fsync: bool = False, **settings: str) -> None:
        self.fsync = fsync
        self.settings = settings
        self.port = 0
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases = 0

    def start(self) -> None:
        """Make the data folder and start; returns when connections are taken."""
        install = shutil.which("mariadb-install-db", path=_PATH)
        if install is None or shutil.which("mariadbd", path=_PATH) is None:
            raise SkipTest(MISSING)
        self.folder = Path(tempfile.mkdtemp(prefix="koboldfs-mariadb-"))
        try:
            if os.geteuid() == 0:
                os.chown(self.folder, pwd.getpwnam(USER).pw_uid, -1)
            self._install(install)
            self.port = free_port(ADDRESS)
            self.restart()
            account = f"'kobold'@'{ADDRESS}'"
            self.administer(f"grant all on *.* to {account} identified by 'secret'")
            # Else it may write where nobody else may any more.
            self.administer(f"revoke super, read only admin on *.* from {account}")
        except BaseException:
            self.stop()
            raise

    def _install(self, install: str) -> None:
        ended = subprocess.run(
            [
                install,
                "--no-defaults",
                f"--datadir={self.folder / 'data'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            timeout=START_SECONDS,
            user=self._user(),
        )
        if ended.returncode != 0:
            said = ended.stdout.decode("utf-8", "replace")
            raise RuntimeError(f"mariadb-install-db ended badly:\n{said}")

    def _user(self) -> str | None:
        return USER if os.geteuid() == 0 else None

    def restart(self) -> None:
        """Start again on the same data and port, after `stop_server` or `kill`."""
        settings = {
            "bind-address": ADDRESS,
            "port": str(self.port),
            "socket": str(self.folder / "socket"),
            "pid-file": str(self.folder / "pid"),
            "datadir": str(self.folder / "data"),
            "innodb-flush-log-at-trx-commit": "1" if self.fsync else "0",
            "innodb-buffer-pool-size": "64M",
            "innodb-log-file-size": "48M",
            "debug-no-sync": "0" if self.fsync else "1",
            "skip-name-resolve": "1",
            **self.settings,
        }
        program = shutil.which("mariadbd", path=_PATH)
        assert program is not None
        command = [program, "--no-defaults"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", user=self._user()
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                # The account is not there yet, or is.
                self.execute("select 1")
                return
            except pymysql.OperationalError as error:
                if error.args[0] == _ACCESS_DENIED:
                    return
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text("utf-8", "replace")
                    raise RuntimeError(f"MariaDB did not start:\n{log}") from None
                time.sleep(0.05)

    def url(self, database: str) -> str:
        """The URL of a database on this server."""
        return f"mysql://kobold:secret@{ADDRESS}:{self.port}/{database}"

    def new_database(self, *words: str) -> str:
        """Make an empty database; returns its URL. `words` say more of it."""
        self._databases += 1
        name = f"kobold{self._databases}"
        self.execute(" ".join(("create database", name, *words)))
        return self.url(name)

    def execute(
        self,
        statement: str,
        params: Sequence[Any] = (),
        database: str = "",
        **account: str,
    ) -> list[tuple[Any, ...]]:
        """Run one statement outside any transaction; returns its rows, if any."""
        where: dict[str, Any] = account or {
            "host": ADDRESS,
            "port": self.port,
            "user": "kobold",
            "password": "secret",
        }
        # Without the certificates of the system, which take 50 ms to be read.
        connection = pymysql.connect(
            **where,
            database=database or None,
            autocommit=True,
            charset="latin1",
            ssl_disabled=True,
        )
        # A byte is a character; what MySQL calls latin1 Python has no name for.
        connection.encoding = "latin-1"
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, params or None)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def administer(self, statement: str) -> None:
        """Run a statement that only root may."""
        socket = str(self.folder / "socket")
        self.execute(statement, user="root", unix_socket=socket)

    def drop(self, url: str) -> None:
        """Remove a database; with a server that has been stopped it is gone already."""
        if self._process is not None and self._process.poll() is None:
            name = urlsplit(url).path.lstrip("/")
            self.execute(f"drop database if exists {name}")

    def kill(self) -> None:
        """As a power cut."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def stop_server(self) -> None:
        """End it, and keep its data."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def stop(self) -> None:
        """End it and remove its data."""
        self.stop_server()
        shutil.rmtree(self.folder, ignore_errors=True)


_shared: list[MariaDB] = []


def shared() -> MariaDB:
    """A server that all tests of this process use, each with databases of its own."""
    if not _shared:
        server = MariaDB()
        server.start()
        atexit.register(server.stop)
        _shared.append(server)
    return _shared[0]
