"""KoboldFS for Python programs: synchronous, and nothing but the standard library.

    >>> client = Client('demo', servers=['192.0.2.1:9876', '192.0.2.2:9876'])
    >>> client.put('motd', '/etc/motd')
    True

Any of the servers may be dead. What is safe to repeat is tried on the next one, and
the one that works is remembered. Keys and the domain are text (sent as UTF-8) or bytes.
A source is a path or a file open for reading; a destination is a path or a file open
for writing. What is not there is False or None; what went wrong is a `ClientError`.
"""

from __future__ import annotations

import io
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from koboldfs.native_exchange import Exchange, Old
from koboldfs.native_files import (
    DEFAULT_TIMEOUT_SECONDS,
    Destination,
    Key,
    Readable,
    RemoteFile,
    Source,
    Writable,
    fetch,
    key_bytes,
    key_text,
)
from koboldfs.native_link import (
    Address,
    ChecksumError,
    ClientError,
    ConnectionBroken,
    FileChanged,
    KeyExists,
    KeyMissing,
    NoServer,
    ProtocolError,
    ServerError,
    ServerTrouble,
    TransactionLost,
    UnknownDomain,
    Unsupported,
    parse_address,
)
from koboldfs.native_servers import Servers
from koboldfs.wire.native import MAX_PAGE_KEYS, Stat

#: Connections of a pool, unless the program says otherwise.
DEFAULT_POOL_SIZE = 8
DEFAULT_SERVERS = ("127.0.0.1:9876",)

T = TypeVar("T")
#: A page of keys, and whether there may be more (`Files.list` hides the builtin).
Page = tuple[list[bytes], bool]


def addresses_of(servers: Sequence[str] | str) -> list[Address]:
    """``HOST:PORT`` texts, or one with commas, as addresses; raises `ValueError`."""
    if isinstance(servers, str):
        servers = servers.split(",")
    return [parse_address(server) for server in servers]


class Files(ABC):
    """What can be done with the files of a domain; see `Client`.

    Whoever provides it says how something is run on a server, in `_run`.
    """

    _domain: bytes

    @abstractmethod
    def _run(self, act: Callable[[Exchange], T], *, repeatable: bool = True) -> T:
        """What `act` returns when it is run on a server."""

    def _change(self, act: Callable[[Exchange], T], *, repeatable: bool = True) -> T:
        """As `_run`, for what belongs into a transaction if there is one."""
        return self._run(act, repeatable=repeatable)

    # --- the five, and ping

    def ping(self) -> bool:
        """Whether any server answers."""
        try:
            self._run(lambda exchange: exchange.ping())
        except ClientError:
            return False
        return True

    def put(self, key: Key, source: Readable, class_name: str = "") -> bool:
        """Store a file; True when it is stored and checked, else it raises."""
        self._put(key, source, class_name)
        return True

    def put_stat(self, key: Key, source: Readable, class_name: str = "") -> Stat:
        """As `put`; returns what was stored (fid, size, copies, checksum)."""
        stat = self._put(key, source, class_name)
        if stat is None:
            raise Unsupported("the server cannot tell about a file; it is stored")
        return stat

    def _put(self, key: Key, source: Readable, class_name: str) -> Stat | None:
        name, class_value = key_bytes(key), class_name.encode("utf-8")
        with Source(source) as taken:

            def put(exchange: Exchange) -> Stat | None:
                taken.rewind()
                if isinstance(exchange, Old):
                    taken.measure()
                return exchange.put(
                    self._domain, name, class_value, taken.size, taken.read
                )

            return self._change(put)

    def get(self, key: Key, destination: Writable) -> bool:
        """Fetch a file; True when all of it came and was checked, False if there is
        none (nothing is written then). A path is replaced only by a whole file."""
        name = key_bytes(key)
        with Destination(destination) as target:
            try:
                fetch(self._run, self._domain, name, target)
            except KeyMissing:
                return False
            target.keep()
        return True

    def get_url(self, key: Key) -> str | None:
        """A URL from which the file can be read now; None if there is none."""
        found = self.get_urls(key)
        return found[0] if found else None

    def get_urls(self, key: Key) -> list[str]:
        """The URLs of all copies, best first; empty if there is no such file."""
        name = key_bytes(key)
        try:
            return self._run(lambda one: one.urls(self._domain, name))
        except KeyMissing:
            return []

    def delete(self, key: Key) -> bool:
        """Delete a file; False if there was none. If a connection broke before the
        answer, or the answer was that the cluster failed, the deletion is repeated,
        and True means that the file is gone."""
        name, asked = key_bytes(key), False

        def delete(exchange: Exchange) -> None:
            nonlocal asked
            try:
                exchange.delete(self._domain, name)
            except (ConnectionBroken, ServerTrouble):
                asked = True
                raise

        try:
            self._change(delete)
        except KeyMissing:
            return asked
        return True

    # --- further

    def list(
        self, prefix: Key = "", after: Key = "", limit: int | None = None
    ) -> Iterator[str]:
        """The keys that begin with `prefix` and come after `after`, in the order of
        their bytes; at most `limit`. They are asked for in pages, as needed."""
        start, last = key_bytes(prefix), key_bytes(after)
        more = True
        while more and limit != 0:
            count = MAX_PAGE_KEYS if limit is None else min(limit, MAX_PAGE_KEYS)
            keys, more = self._page(start, last, count)
            if limit is not None:
                limit -= len(keys)
            for key in keys:
                last = key
                yield key_text(key)

    def _page(self, prefix: bytes, after: bytes, limit: int) -> Page:
        return self._run(lambda one: one.list_page(self._domain, prefix, after, limit))

    def stat(self, key: Key) -> Stat | None:
        """What is known of a file: fid, size, copies, checksum; None if none is."""
        name = key_bytes(key)
        try:
            return self._run(lambda one: one.stat(self._domain, name))
        except KeyMissing:
            return None

    def rename(self, old: Key, new: Key) -> bool:
        """Give a file another key; False if there is none. Raises `KeyExists`: a
        rename never overwrites. Raises `ConnectionBroken` if nobody can know."""
        names = key_bytes(old), key_bytes(new)
        try:
            self._run(lambda one: one.rename(self._domain, *names), repeatable=False)
        except KeyMissing:
            return False
        return True

    def open(self, key: Key) -> io.BufferedReader:
        """The file for reading, seekable; only what is read is fetched. Raises
        `KeyMissing` (a `FileNotFoundError`), and `FileChanged` from a later read when
        the key was given another file meanwhile."""
        return RemoteFile.opened(self._run, self._domain, key_bytes(key))


class Client(Files):
    """Files of one domain. For one thread; see `ClientPool` for many.

    `timeout` is in seconds and for each step: a connection, a reply, a piece of a file.
    Nothing is connected before the first call. Between `begin` and `commit` the client
    stays with one server; when that is lost, `TransactionLost` is raised and nothing
    took effect.
    """

    def __init__(
        self,
        domain: Key,
        servers: Sequence[str] | str = DEFAULT_SERVERS,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._domain = key_bytes(domain)
        self._servers = Servers(addresses_of(servers), timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _run(self, act: Callable[[Exchange], T], *, repeatable: bool = True) -> T:
        return self._servers.run(act, repeatable=repeatable)

    @property
    def in_transaction(self) -> bool:
        """Whether `begin` was called and neither `commit` nor `abort` was."""
        return self._servers.in_transaction

    def begin(self) -> None:
        """What is put and deleted from now on takes effect together, at `commit`."""
        self._run(lambda exchange: exchange.begin())
        self._servers.in_transaction = True

    def prepare(self) -> bool:
        """True when `commit` has all that it needs, else it raises. Does nothing
        without a transaction."""
        if self.in_transaction:
            self._run(lambda exchange: exchange.prepare())
        return True

    def commit(self) -> bool:
        """All changes since `begin` take effect, or it raises and none does; but
        after `ConnectionBroken` nobody knows which. Does nothing without a
        transaction."""
        if self.in_transaction:
            try:
                self._run(lambda one: one.commit(), repeatable=False)
            finally:
                self._servers.in_transaction = False
        return True

    def abort(self) -> bool:
        """No change since `begin` takes effect. Does nothing without a transaction."""
        if self.in_transaction:
            try:
                self._run(lambda exchange: exchange.abort())
            except TransactionLost:
                pass
            finally:
                self._servers.in_transaction = False
        return True

    @contextmanager
    def transaction(self) -> Iterator[Client]:
        """``with client.transaction():`` commits at the end, aborts on an exception."""
        self.begin()
        try:
            yield self
        except BaseException:
            self.abort()
            raise
        self.commit()

    def close(self) -> None:
        """End the connection, and with it a transaction. The client can be used again:
        it connects anew."""
        self._servers.close()


class ClientPool(Files):
    """The same calls for any number of threads, over at most `size` connections.

    A thread that finds all of them busy waits for up to `timeout` seconds and is then
    told so by a `ClientError`. The first connections go to different servers.
    """

    def __init__(
        self,
        domain: Key,
        servers: Sequence[str] | str = DEFAULT_SERVERS,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        size: int = DEFAULT_POOL_SIZE,
    ) -> None:
        if size < 1:
            raise ValueError("a pool has at least one connection")
        self._domain = key_bytes(domain)
        self._addresses = addresses_of(servers)
        self._size = size
        self._timeout_seconds = timeout
        self._places = threading.BoundedSemaphore(size)
        self._lock = threading.RLock()
        self._free: list[Servers] = []
        self._made = 0

    def __enter__(self) -> ClientPool:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    def _run(self, act: Callable[[Exchange], T], *, repeatable: bool = True) -> T:
        servers = self._take()
        try:
            return servers.run(act, repeatable=repeatable)
        finally:
            self._give_back(servers)

    def _take(self) -> Servers:
        if not self._places.acquire(timeout=self._timeout_seconds):
            raise ClientError(f"all {self._size} connections of the pool are busy")
        with self._lock:
            if self._free:
                return self._free.pop()
            first = self._made % max(1, len(self._addresses))
            self._made += 1
        turned = [*self._addresses[first:], *self._addresses[:first]]
        return Servers(turned, self._timeout_seconds)

    def _give_back(self, servers: Servers) -> None:
        with self._lock:
            self._free.append(servers)
        self._places.release()

    def close(self) -> None:
        """End the connections that are not in use. The pool can be used again."""
        with self._lock:
            free, self._free = self._free, []
        for servers in free:
            servers.close()


class TransactionalClientPool(ClientPool):
    """As `ClientPool`, but what a thread changes takes effect when it calls `commit`.

    The first change of a thread takes a connection for it and says BEGIN; `commit` or
    `abort` gives it back, and so does the end of the thread, as an abort. What was not
    committed is not seen by reading, not even by the thread itself. With `twophase`,
    `commit` calls `prepare` first if the thread did not.
    """

    def __init__(
        self,
        domain: Key,
        servers: Sequence[str] | str = DEFAULT_SERVERS,
        timeout: float | None = DEFAULT_TIMEOUT_SECONDS,
        size: int = DEFAULT_POOL_SIZE,
        twophase: bool = False,
    ) -> None:
        super().__init__(domain, servers, timeout, size)
        self._twophase = twophase
        self._mine = threading.local()

    def _run(self, act: Callable[[Exchange], T], *, repeatable: bool = True) -> T:
        held = self._held()
        if held is None:
            return super()._run(act, repeatable=repeatable)
        return held.servers.run(act, repeatable=repeatable)

    def _change(self, act: Callable[[Exchange], T], *, repeatable: bool = True) -> T:
        held = self._held()
        if held is None:
            servers = self._take()
            try:
                servers.run(lambda exchange: exchange.begin())
            except BaseException:
                self._give_back(servers)
                raise
            servers.in_transaction = True
            held = self._mine.held = _Held(self, servers)
        return held.servers.run(act, repeatable=repeatable)

    def rename(self, old: Key, new: Key) -> bool:
        """See `Client`; takes effect at once. Raises `ServerError` when the thread
        has changes that are not committed."""
        if self._held() is not None:
            raise ServerError("in_transaction", "commit before you rename")
        return super().rename(old, new)

    def prepare(self) -> bool:
        """True when `commit` has all that it needs, else it raises."""
        held = self._held()
        if held is not None:
            held.servers.run(lambda exchange: exchange.prepare())
            held.prepared = True
        return True

    def commit(self) -> bool:
        """The thread's changes take effect together; see `Client.commit`."""
        held = self._held()
        if held is None:
            return True
        try:
            if self._twophase and not held.prepared:
                self.prepare()
            held.servers.run(lambda exchange: exchange.commit(), repeatable=False)
            held.servers.in_transaction = False
        finally:
            self._release()
        return True

    def abort(self) -> bool:
        """None of the thread's changes takes effect."""
        held = self._held()
        if held is None:
            return True
        try:
            held.servers.run(lambda exchange: exchange.abort())
            held.servers.in_transaction = False
        except TransactionLost:
            pass
        finally:
            self._release()
        return True

    def _held(self) -> _Held | None:
        found: _Held | None = getattr(self._mine, "held", None)
        return found

    def _release(self) -> None:
        held = self._held()
        self._mine.held = None
        if held is not None:
            held.give_back()


class _Held:
    """A thread's connection between its first change and its commit."""

    def __init__(self, pool: ClientPool, servers: Servers) -> None:
        self.servers = servers
        self.prepared = False
        self._pool: ClientPool | None = pool

    def give_back(self) -> None:
        """Let others have the connection; an open transaction ends with it."""
        pool, self._pool = self._pool, None
        if pool is not None:
            if self.servers.in_transaction:
                self.servers.close()
            pool._give_back(self.servers)

    def __del__(self) -> None:
        self.give_back()  # its thread ended


__all__ = [
    "ChecksumError",
    "Client",
    "ClientError",
    "ClientPool",
    "ConnectionBroken",
    "FileChanged",
    "KeyExists",
    "KeyMissing",
    "NoServer",
    "ProtocolError",
    "ServerError",
    "ServerTrouble",
    "Stat",
    "TransactionLost",
    "TransactionalClientPool",
    "UnknownDomain",
    "Unsupported",
]
