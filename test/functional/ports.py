"""Ports that are free on this machine's loopback addresses."""

from __future__ import annotations

import errno
import os
import random
import socket

#: Below the range from which the kernel takes ports of outgoing connections (32768 on
#: Linux), so that no connection can take a port between the look and the use.
LOWEST_PORT, HIGHEST_PORT = 20000, 32000
#: What part of them this process has, if others have the other parts: ``1/3``.
PART = os.environ.get("KOBOLDFS_TEST_PART", "1/1")
ATTEMPTS = 200

_given: set[int] = set()
_random = random.Random()


def _own_range() -> tuple[int, int]:
    number, _, count = PART.partition("/")
    share = (HIGHEST_PORT - LOWEST_PORT) // int(count)
    lowest = LOWEST_PORT + share * (int(number) - 1)
    return lowest, lowest + share


def free_ports(count: int, addresses: list[str]) -> list[int]:
    """`count` neighbouring ports that are free on every one of `addresses`.

    No number is given out twice in this process, so that a node that was ended can
    come back to its own.
    """
    lowest, highest = _own_range()
    for _ in range(ATTEMPTS):
        first = _random.randrange(lowest, highest - count)
        ports = range(first, first + count)
        if _given.isdisjoint(ports) and all(
            _is_free(address, port) for address in addresses for port in ports
        ):
            _given.update(ports)
            return list(ports)
    raise RuntimeError(f"no {count} neighbouring ports are free on {addresses}")


def free_port(address: str) -> int:
    """One free port of `address`."""
    return free_ports(1, [address])[0]


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            return False
        return True
