"""How things look: JSON, tables, sizes, keys, and the progress bar.

Nothing that came from outside reaches a terminal unescaped: a key may hold any byte.
In a pipe, keys are written as they are.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Shorter transfers show no bar (seconds): it would only flicker.
BAR_AFTER_SECONDS = 1.0
#: A table in a pipe is not folded to a terminal's width (columns).
PIPE_COLUMNS = 10_000
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


#: Errors whose text on the wire is no more than their code.
_MEANINGS = {
    "bad_args": "these arguments do not go together",
    "domain_has_classes": "the domain has classes still; delete them first",
    "existing_devid": "there is a device of that number already",
    "invalid_devid": "that is no number for a device",
    "invalid_hashtype": "there is no such type of checksum",
    "invalid_key": "no such key",
    "invalid_replpolicy": "that is no replication policy",
    "invalid_state": "there is no such state",
    "no_key": "a key is needed",
    "not_writable": "there is no setting of that name, or it cannot be set",
    "unknown_hostid": "no such host",
    "unknown_key": "no such key",
    "unreg_class": "no such class",
    "Unknown server command": "the tracker does not know that command",
}


def meaning(text: str) -> str:
    """The text of an error, or what it means where it is only a code."""
    return _MEANINGS.get(text, text)


def printable(text: str) -> str:
    """The text with all that is not printable escaped, as Python would write it."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text
    )


def key_text(key: bytes) -> str:
    """A key for JSON: UTF-8; a byte that is none is a lone surrogate U+DC80..DCFF."""
    return key.decode("utf-8", "surrogateescape")


def key_shown(key: bytes) -> str:
    """A key for people: UTF-8, what is none or not printable escaped."""
    return printable(key.decode("utf-8", "backslashreplace"))


def word_text(word: str) -> str:
    """A Latin-1 text of a tracker for JSON."""
    return key_text(word.encode("latin-1", "replace"))


def word_shown(word: str) -> str:
    """A Latin-1 text of a tracker for people."""
    return key_shown(word.encode("latin-1", "replace"))


def write(data: str | bytes) -> None:
    """To the standard output, text as UTF-8; flushed when the command ends."""
    if isinstance(data, str):
        data = data.encode("utf-8", "backslashreplace")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def write_key(key: bytes, end: bytes = b"\n") -> None:
    """A key on a line of its own: raw in a pipe, escaped on a terminal."""
    write(key_shown(key).encode() if sys.stdout.isatty() else key)
    write(end)


def write_json(value: object) -> None:
    """One JSON value on a line of its own."""
    write(json.dumps(value, separators=(",", ":")) + "\n")


def size_text(size_bytes: float) -> str:
    """A size for people, as ``1.5 MiB``."""
    size = float(size_bytes)
    for unit in _UNITS:
        if abs(size) < 1024 or unit == _UNITS[-1]:
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def write_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], indent: str = ""
) -> None:
    """An aligned table; a column whose name begins with ``>`` is to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        right = name.startswith(">")
        table.add_column(
            name.removeprefix(">"), justify="right" if right else "left", no_wrap=True
        )
    for row in rows:
        cells = ("-" if cell in (None, "") else printable(str(cell)) for cell in row)
        table.add_row(*[Text(cell, style=_STYLES.get(cell, "")) for cell in cells])
    console = Console(width=None if terminal else PIPE_COLUMNS, highlight=False)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(f"{indent}{line}".rstrip())


_STYLES = {
    "alive": "green",
    "writeable": "green",
    "yes": "green",
    "readable": "yellow",
    "readonly": "yellow",
    "drain": "yellow",
    "down": "red",
    "dead": "red",
    "unreachable": "red",
    "no": "red",
}


class Meter:
    """Counts the bytes of a transfer and shows a bar if it takes long; a context
    manager. `total` in bytes, None when it is not known. `shown` False: never a bar."""

    def __init__(self, name: str, total: int | None, shown: bool = True) -> None:
        self.name = name
        self.total = total
        self.done_bytes = 0
        self._wanted = shown and sys.stderr.isatty() and sys.stdout.isatty()
        self._since = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None

    def advance(self, count: int) -> None:
        """That many bytes more have gone through."""
        self.done_bytes += count
        if not self._wanted:
            return
        if self._bar is None:
            if time.monotonic() - self._since < BAR_AFTER_SECONDS:
                return
            self._bar = _start_bar(self.name, self.total)
        progress, task = self._bar
        progress.update(task, completed=self.done_bytes)

    def __enter__(self) -> Meter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None


def _start_bar(name: str, total: int | None) -> tuple[Progress, TaskID]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    progress.start()
    return progress, progress.add_task(escape(printable(name)), total=total)


class MeteredSource:
    """A readable file whose bytes are counted, and counted anew after a seek."""

    def __init__(self, file: IO[bytes], meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def read(self, size: int = -1) -> bytes:
        """As the file's."""
        data = self._file.read(size)
        self._meter.advance(len(data))
        return data

    def seekable(self) -> bool:
        """As the file's."""
        return self._file.seekable()

    def tell(self) -> int:
        """As the file's."""
        return self._file.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """As the file's."""
        place = self._file.seek(offset, whence)
        self._meter.done_bytes = place
        return place


class MeteredDestination:
    """A writable file whose bytes are counted."""

    def __init__(self, file: IO[bytes], meter: Meter) -> None:
        self._file = file
        self._meter = meter

    def write(self, data: Any) -> int:
        """As the file's, but all of the data is written."""
        view = memoryview(data)
        done = 0
        while done < len(view):  # a raw pipe may take less at a time
            done += self._file.write(view[done:]) or 0
        self._meter.advance(done)
        return done
