"""A node whose disks fall ill and get well when a test says so.

The program is twistd, with `LocalDisk` made to look, before each of its calls, whether
the file ``sick`` in the node's folder says that something is wrong:

    slow SECONDS     everything that writes or flushes takes that long
    broken           flushes fail with EIO
"""

from __future__ import annotations

import os

from test.functional.cluster import Node

SICK_NAME = "sick"
PROGRAM = (
    "-c",
    """\
import errno, os, time
from koboldfs.storage.disk import LocalDisk

sick = os.path.abspath("sick")

def ail(flushing):
    try:
        with open(sick) as file:
            words = file.read().split()
    except FileNotFoundError:
        return
    if words[0] == "slow":
        time.sleep(float(words[1]))
    elif flushing:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

def ailing(name):
    well = getattr(LocalDisk, name)
    def call(self, *arguments, **named):
        ail(name == "sync")
        return well(self, *arguments, **named)
    setattr(LocalDisk, name, call)

for name in ("write", "sync"):
    ailing(name)

from twisted.scripts.twistd import run
run()
""",
)


def fall_ill(node: Node, words: str) -> None:
    """From now on; see the module."""
    new = node.folder / "sick.new"
    new.write_text(words)
    os.replace(new, node.folder / SICK_NAME)


def get_well(node: Node) -> None:
    """All is as it was."""
    (node.folder / SICK_NAME).unlink(missing_ok=True)
