"""The commands that work on files, through the native port."""

from __future__ import annotations

import contextlib
import os
import stat as modes
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any

import click

from koboldfs.cli import output
from koboldfs.cli.context import KEY, Context, Failed, file_options, pass_context

if TYPE_CHECKING:
    from koboldfs.native_client import Client, Stat

PATH = click.Path(allow_dash=True)


def not_found(*keys: bytes) -> Failed:
    """The failure of a command that was given keys that name nothing."""
    return Failed(f"no such key: {', '.join(output.key_shown(key) for key in keys)}")


@click.command()
@file_options
@click.option(
    "--class", "class_name", default="", metavar="NAME", help="Store it in this class."
)
@click.argument("file", type=PATH)
@click.argument("key", type=KEY, required=False)
@pass_context
def put(context: Context, file: str, key: bytes | None, class_name: str) -> None:
    """Store FILE under KEY (if left out: under its own name).

    FILE may be - for the standard input. An older file of that key is replaced once the
    new one is safe. No answer comes before there are as many copies as the cluster
    promises.
    """
    if key is None:
        key = os.fsencode(os.path.basename(file))
        if file == "-" or not key:
            raise click.UsageError("say under which KEY to store it.")
    with contextlib.ExitStack() as stack:
        total: int | None = None
        if file == "-":
            source: IO[bytes] = sys.stdin.buffer
        else:
            source = stack.enter_context(open(file, "rb"))
            found = os.fstat(source.fileno())
            total = found.st_size if modes.S_ISREG(found.st_mode) else None
        client = stack.enter_context(context.client())
        meter = stack.enter_context(output.Meter(output.key_shown(key), total))
        metered: Any = output.MeteredSource(source, meter)
        stored = client.put_stat(key, metered, class_name)
    if stored.short:
        name = output.key_shown(key)
        click.echo(f"koboldfs: {name}: {_short(stored)}", err=True)
    if context.json:
        record = _record(key, stored)
        if stored.short:
            record |= {"hosts": stored.hosts, "promised": stored.promised}
        output.write_json(record)
    elif sys.stdout.isatty():
        click.echo(
            f"{output.key_shown(key)}: {output.size_text(stored.size)}, "
            f"{_copies(stored.copies)}"
        )


@click.command()
@file_options
@click.argument("key", type=KEY)
@click.argument("file", type=PATH, required=False)
@pass_context
def get(context: Context, key: bytes, file: str | None) -> None:
    """Fetch KEY into FILE (if left out: the last part of KEY).

    FILE may be a folder, or - for the standard output. A file appears only when all of
    it is there and its checksum is right; if that fails, what was there before stays.
    """
    if file == "-":
        _get_to_stream(context, key, sys.stdout.buffer)
        return
    path = _target(key, file)
    if _is_special(path):
        with open(path, "wb", buffering=0) as destination:
            _get_to_stream(context, key, destination)
        return
    with (
        context.client() as client,
        _appearing(path) as destination,
        output.Meter(output.key_shown(key), _size(client, key)) as meter,
    ):
        if not client.get(key, output.MeteredDestination(destination, meter)):
            raise not_found(key)


def _is_special(path: str) -> bool:
    """Whether it is a device or a named pipe: those are written to, not replaced."""
    try:
        return not modes.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _get_to_stream(context: Context, key: bytes, stream: IO[bytes]) -> None:
    with context.client() as client, output.Meter("", None, shown=False) as meter:
        if not client.get(key, output.MeteredDestination(stream, meter)):
            raise not_found(key)
        stream.flush()


def _size(client: Client, key: bytes) -> int | None:
    """How many bytes there are to come, if anybody is looking."""
    if not sys.stderr.isatty():
        return None
    found = client.stat(key)
    if found is None:
        raise not_found(key)
    return found.size


def _target(key: bytes, file: str | None) -> str:
    """The path to write to."""
    name = os.fsdecode(key.rstrip(b"/").rpartition(b"/")[2])
    path = name if file is None else file
    if file is not None and (os.path.isdir(file) or file.endswith("/")):
        path = os.path.join(file, name)
    if os.path.basename(path) in ("", ".", "..") or "\0" in path:
        raise click.UsageError("the key makes no file name: say which FILE to write.")
    return os.path.realpath(path)


@contextlib.contextmanager
def _appearing(path: str) -> Iterator[IO[bytes]]:
    """A file to write that gets its name when the block ends well, and else is gone."""
    try:
        mode = modes.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    folder, name = os.path.split(path)
    number, temporary = tempfile.mkstemp(prefix=f".{name[:100]}.", dir=folder)
    try:
        with open(number, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@click.command()
@file_options
@click.option("-l", "--long", is_flag=True, help="Also size in bytes, copies, class.")
@click.option("--after", type=KEY, help="Begin after this key.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="At most N keys."
)
@click.option("-0", "--null", is_flag=True, help="End keys with a NUL, not a newline.")
@click.argument("prefix", type=click.UNPROCESSED, default="")
@pass_context
def ls(
    context: Context,
    prefix: str,
    long: bool,
    after: bytes | None,
    limit: int | None,
    null: bool,
) -> None:
    """List keys: all of them, or those beginning with PREFIX.

    They come in the order of their bytes, and in a pipe byte for byte. With --json
    every key is an object on a line of its own.
    """
    end = b"\0" if null else b"\n"
    with context.client() as client:
        for text in client.list(os.fsencode(prefix), after or b"", limit):
            key = text.encode("utf-8", "surrogateescape")
            record: dict[str, object] = {"key": output.key_text(key)}
            if long:
                found = client.stat(key)
                if found is None:  # deleted while we list
                    continue
                record = _record(key, found)
                if not context.json:
                    name = output.word_shown(found.class_name)
                    output.write(f"{found.size:>14} {found.copies:>3} {name:<10} ")
            if context.json:
                output.write_json(record)
            else:
                output.write_key(key, end)


@click.command()
@file_options
@click.option("-f", "--force", is_flag=True, help="A key that is not there is fine.")
@click.argument("keys", type=KEY, nargs=-1, required=True, metavar="KEY...")
@pass_context
def rm(context: Context, keys: tuple[bytes, ...], force: bool) -> None:
    """Delete keys.

    Keys that are not there do not keep the others from being deleted; they are named at
    the end, with exit status 1.
    """
    with context.client() as client:
        missing = [key for key in keys if not client.delete(key)]
    if context.json:
        gone = set(missing)
        for key in keys:
            done = {"key": output.key_text(key), "deleted": key not in gone}
            output.write_json(done)
    if missing and not force:
        raise not_found(*missing)


@click.command()
@file_options
@click.argument("old", type=KEY, metavar="OLD")
@click.argument("new", type=KEY, metavar="NEW")
@pass_context
def mv(context: Context, old: bytes, new: bytes) -> None:
    """Rename the key OLD to NEW. A file that is already there is never replaced."""
    with context.client() as client:
        if client.rename(old, new) is False:
            raise not_found(old)


@click.command()
@file_options
@click.argument("keys", type=KEY, nargs=-1, required=True, metavar="KEY...")
@pass_context
def stat(context: Context, keys: tuple[bytes, ...]) -> None:
    """Show size, copies, class, fid and checksum of keys."""
    missing, found = [], []
    with context.client() as client:
        for key in keys:
            one = client.stat(key)
            if one is None:
                missing.append(key)
            elif context.json:
                output.write_json(_record(key, one))
            else:
                found.append((key, one))
    for key, one in found:
        rows = (
            ("key", output.key_shown(key)),
            ("size", f"{one.size} bytes"),
            ("copies", one.copies),
            ("class", output.word_shown(one.class_name)),
            ("fid", one.fid),
            ("checksum", one.checksum or "-"),
        )
        for name, value in rows:
            click.echo(f"{name:<9} {value}")
    if missing:
        raise not_found(*missing)


@click.command()
@file_options
@click.argument("key", type=KEY)
@pass_context
def url(context: Context, key: bytes) -> None:
    """Show an http URL where KEY can be read now."""
    with context.client() as client:
        where = client.get_url(key)
    if where is None:
        raise not_found(key)
    if context.json:
        output.write_json({"key": output.key_text(key), "url": where})
    else:
        click.echo(where)


@click.command()
@file_options
@pass_context
def ping(context: Context) -> None:
    """Ask every server whether it is there, and how fast it is.

    Exit status 1 if one of them does not answer.
    """
    silent = []
    for server in context.servers:
        with context.pinger(server) as client:
            # The second one is timed: a connection is not what is asked for.
            answers, began = client.ping(), time.perf_counter()
            answers = answers and client.ping()
            milliseconds = round((time.perf_counter() - began) * 1000, 3)
        if not answers:
            silent.append(server)
        if context.json:
            taken = milliseconds if answers else None
            record = {"server": server, "answers": answers, "milliseconds": taken}
            output.write_json(record)
        elif answers:
            click.echo(f"{server} answers in {milliseconds:.2f} ms")
    if silent:
        raise Failed(f"no answer from {', '.join(silent)}")


def _record(key: bytes, found: Stat) -> dict[str, object]:
    """What ``--json`` tells of a file."""
    return {
        "key": output.key_text(key),
        "fid": found.fid,
        "size": found.size,
        "copies": found.copies,
        "class": output.word_text(found.class_name),
        "checksum": found.checksum,
    }


def _short(stored: Stat) -> str:
    return (
        f"stored, for now on {stored.hosts} of {stored.promised} hosts that the"
        " cluster promises"
    )


def _copies(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


COMMANDS = (put, get, ls, rm, mv, stat, url, ping)
