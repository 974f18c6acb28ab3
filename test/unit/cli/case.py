"""The base of the tests of the command: it runs in this process, on fakes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import evolve
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.cli.context import Context
from koboldfs.cli.main import command
from koboldfs.native_link import ClientError, KeyExists
from koboldfs.wire.native import Stat
from test.fakes.tracker_server import TrackerServer


class FakeClient:
    """The Python client, on a dict. `trouble` is raised by whatever comes next."""

    def __init__(self) -> None:
        self.files: dict[bytes, tuple[bytes, str]] = {}
        self.trouble: BaseException | None = None
        #: After how many bytes of a `get` the trouble comes.
        self.trouble_after: int | None = None
        self.asked: list[object] = []
        self.answers = True
        self.opened = 0
        #: What is told of a promise that was not kept: hosts, promised.
        self.short: tuple[int, int] | None = None

    def __enter__(self) -> FakeClient:
        self.opened += 1
        return self

    def __exit__(self, *reason: object) -> None:
        self.opened -= 1

    def _ask(self, *what: object) -> None:
        self.asked.append(what)
        if self.trouble is not None and self.trouble_after is None:
            raise self.trouble

    def ping(self) -> bool:
        self._ask("ping")
        return self.answers

    def put_stat(self, key: bytes, source: Any, class_name: str = "") -> Stat:
        self._ask("put", key, class_name)
        first = source.read(3)
        if source.seekable():
            source.seek(0)
            first = b""
        parts = [first]
        while part := source.read(5):
            parts.append(part)
        self.files[key] = b"".join(parts), class_name or "default"
        found = self.stat(key)
        assert found is not None
        if self.short is not None:
            found = evolve(found, hosts=self.short[0], promised=self.short[1])
        return found

    def get(self, key: bytes, destination: Any) -> bool:
        self._ask("get", key)
        if key not in self.files:
            return False
        data = self.files[key][0]
        if self.trouble is not None:
            destination.write(data[: self.trouble_after])
            raise self.trouble
        destination.write(data)
        return True

    def get_url(self, key: bytes) -> str | None:
        self._ask("url", key)
        return "http://127.0.0.1:7500/dev1/x.fid" if key in self.files else None

    def delete(self, key: bytes) -> bool:
        self._ask("delete", key)
        return self.files.pop(key, None) is not None

    def list(self, prefix: bytes, after: bytes, limit: int | None) -> Iterator[str]:
        self._ask("list", prefix, after, limit)
        keys = sorted(k for k in self.files if k.startswith(prefix) and k > after)
        for key in keys[:limit]:
            yield key.decode("utf-8", "surrogateescape")

    def stat(self, key: bytes) -> Stat | None:
        self._ask("stat", key)
        if key not in self.files:
            return None
        data, class_name = self.files[key]
        return Stat(7, len(data), 2, "SHA-256:00", class_name)

    def rename(self, old: bytes, new: bytes) -> bool:
        self._ask("rename", old, new)
        if old not in self.files:
            return False
        if new in self.files:
            raise KeyExists("key_exists", "Target key name already exists")
        self.files[new] = self.files.pop(old)
        return True


class FakeContext(Context):
    """Hands out the fake client."""

    def __init__(self, client: FakeClient) -> None:
        super().__init__()
        self.fake = client
        self.pinged: list[str] = []

    def client(self) -> Any:
        self.domain_needed()
        return self.fake

    def pinger(self, server: str) -> Any:
        self.pinged.append(server)
        return self.fake


class CommandCase(SynchronousTestCase):
    """A test that runs the command."""

    def setUp(self) -> None:
        """A client without files, and no environment."""
        self.client = FakeClient()
        self.environment: dict[str, str | None] = {
            f"KOBOLDFS_{name}": None for name in ("SERVERS", "TRACKERS", "DOMAIN")
        }

    def tracker(self, **replies: Any) -> TrackerServer:
        """A tracker that answers so, which the command will ask."""
        server = TrackerServer(replies)
        self.addCleanup(server.stop)
        self.environment["KOBOLDFS_TRACKERS"] = server.address
        return server

    def run_raw(self, *words: str | bytes, stdin: bytes = b"") -> Result:
        """Run the command line."""
        self.context = FakeContext(self.client)
        return CliRunner().invoke(
            command, list(words), input=stdin, obj=self.context, env=self.environment
        )

    def files(self, *words: str | bytes, stdin: bytes = b"", status: int = 0) -> Result:
        """Run a command on the files of the domain d; check its exit status."""
        result = self.run_raw("--domain", "d", *words, stdin=stdin)
        self.check(result, status)
        return result

    def done(self, *words: str, status: int = 0) -> Result:
        """Run a command; check its exit status."""
        result = self.run_raw(*words)
        self.check(result, status)
        return result

    def json(self, *words: str) -> Any:
        """Run a command with ``--json``; its only line."""
        return json.loads(self.done("--json", *words).stdout)

    def check(self, result: Result, status: int) -> None:
        """The status; nothing on stderr if it was done, one line if it was not; never
        a traceback; every client closed."""
        self.assertEqual(result.exit_code, status, result.output)
        self.assertNotIn("Traceback", result.output)
        if status == 0:
            self.assertEqual(result.stderr, "")
        if status == 1:
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertTrue(result.stderr.startswith("koboldfs: "), result.stderr)
        self.assertEqual(self.client.opened, 0)


class ClientTrouble(ClientError):
    """For tests: what the client says of a cluster that fails."""
