"""How many descriptors (connections, files) this process may have open at once.

Systems give a process two limits: a soft one, often 1,024, which it runs into, and a
hard one up to which it may raise the soft one by itself.
"""

from __future__ import annotations

from types import ModuleType

#: Some systems call any number their hard limit; more than this is no use to us: three
#: doors of 10,000 connections each, connections to nodes, and files being read.
MAX_DESCRIPTORS = 1 << 17


def raise_limit(resource: ModuleType) -> int:
    """Raise the soft limit to the hard one, at most to `MAX_DESCRIPTORS`.

    `resource` is the module of that name. Returns the limit that holds now; where the
    system does not let us raise it, that is the one that was there.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    wanted = MAX_DESCRIPTORS if hard == endless else min(hard, MAX_DESCRIPTORS)
    if soft == endless or soft >= wanted:
        return int(soft)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return int(soft)
    return wanted
