"""What the commands share: where the cluster is, and the options that say so.

Every shared option may stand before the command and after it:
``koboldfs --domain demo ls`` is ``koboldfs ls --domain demo``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from koboldfs.native_client import Client
    from koboldfs.tracker_client import TrackerClient

F = TypeVar("F", bound=Callable[..., Any])

NATIVE_PORT = 9876
TRACKER_PORT = 7001


class Failed(click.ClickException):
    """The command was not done; the message is the one line that says why."""

    exit_code = 1


class Context:
    """The options that were given, and how to reach what they name."""

    def __init__(self) -> None:
        self.servers: tuple[str, ...] = (f"127.0.0.1:{NATIVE_PORT}",)
        self.trackers: tuple[str, ...] = (f"127.0.0.1:{TRACKER_PORT}",)
        self.domain: str | None = None
        self.json = False
        self.timeout_seconds: float | None = None

    def client(self) -> Client:
        """A client of the native port. Raises a usage error without a domain."""
        from koboldfs.native_client import Client

        return self._made(Client, self.domain_needed(), self.servers)

    def domain_needed(self) -> str:
        """The domain. Raises a usage error when none was given."""
        if not self.domain:
            raise click.UsageError(
                "no domain: give --domain NAME, or set KOBOLDFS_DOMAIN."
            )
        return self.domain

    def pinger(self, server: str) -> Client:
        """A client of one native port, for a ping, which needs no domain."""
        from koboldfs.native_client import Client

        return self._made(Client, self.domain or "none", (server,))

    def _made(
        self, kind: type[Client], domain: str, servers: tuple[str, ...]
    ) -> Client:
        if self.timeout_seconds is None:
            return kind(os.fsencode(domain), servers)
        return kind(os.fsencode(domain), servers, self.timeout_seconds)

    def tracker(self, trackers: tuple[str, ...] | None = None) -> TrackerClient:
        """A client of the tracker port."""
        from koboldfs import tracker_client

        seconds = self.timeout_seconds or tracker_client.REQUEST_SECONDS
        return tracker_client.TrackerClient(trackers or self.trackers, seconds)

    def say(self, text: str) -> None:
        """Tell people what was done; programs that asked for JSON are not told."""
        if not self.json:
            click.echo(text)


pass_context = click.make_pass_decorator(Context, ensure=True)


class Servers(click.ParamType):  # type: ignore[type-arg]
    """``HOST:PORT,...``; the port may be left out."""

    name = "HOST:PORT,..."

    def __init__(self, port: int) -> None:
        self.port = port

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """The servers, each with its port."""
        from koboldfs.errors import ConfigError
        from koboldfs.tracker_client import parse_addresses

        if isinstance(value, tuple):
            return value
        try:
            return parse_addresses(value, self.port)
        except ConfigError as error:
            self.fail(error.message, param, ctx)


class Key(click.ParamType):  # type: ignore[type-arg]
    """A key: the very bytes that were typed, be they text or not."""

    name = "KEY"

    def convert(self, value: Any, param: Any, ctx: Any) -> bytes:
        """The bytes of the argument."""
        key = value if isinstance(value, bytes) else os.fsencode(value)
        if not key:
            self.fail("a key has at least one byte", param, ctx)
        return key


KEY = Key()


class Word(click.ParamType):  # type: ignore[type-arg]
    """A text for a tracker: one character per byte that was typed."""

    name = "TEXT"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The bytes of the argument, as Latin-1."""
        return os.fsencode(value).decode("latin-1")


WORD = Word()


def _keep(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            setattr(ctx.ensure_object(Context), name, value)

    return callback


def servers_option(function: F) -> F:
    """Add ``--servers``."""
    return click.option(
        "--servers",
        type=Servers(NATIVE_PORT),
        callback=_keep("servers"),
        expose_value=False,
        help="Native ports to talk to, tried in turn (default 127.0.0.1:9876; "
        "environment: KOBOLDFS_SERVERS).",
    )(function)


def domain_option(function: F) -> F:
    """Add ``--domain``."""
    return click.option(
        "--domain",
        metavar="NAME",
        callback=_keep("domain"),
        expose_value=False,
        help="The domain that the keys belong to (environment: KOBOLDFS_DOMAIN).",
    )(function)


def trackers_option(function: F) -> F:
    """Add ``--trackers``."""
    return click.option(
        "--trackers",
        type=Servers(TRACKER_PORT),
        callback=_keep("trackers"),
        expose_value=False,
        help="Tracker ports to talk to, tried in turn (default 127.0.0.1:7001; "
        "environment: KOBOLDFS_TRACKERS).",
    )(function)


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option(
        "--json",
        is_flag=True,
        callback=_keep("json"),
        expose_value=False,
        help="Answer in JSON, for programs.",
    )(function)


def timeout_option(function: F) -> F:
    """Add ``--timeout``."""
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0.0, min_open=True, max=86400.0),
        metavar="SECONDS",
        callback=_keep("timeout_seconds"),
        expose_value=False,
        help="How long a server may be silent before it counts as away.",
    )(function)


def file_options(function: F) -> F:
    """Add the options of every command that works on files."""
    return servers_option(domain_option(timeout_option(json_option(function))))


def tracker_options(function: F) -> F:
    """Add the options of every command that asks trackers."""
    return trackers_option(timeout_option(json_option(function)))
