"""A database that may be taken over: what was found in it, as values.

`koboldfs.store.inspection` finds the facts, `koboldfs.model.adoption_rules` says what
they mean, and `steps` which commands lead over and back.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import field, frozen

from koboldfs.model.entities import Host, Located, Topology

#: How sure a number is.
EXACT, ESTIMATED, AT_LEAST = "exact", "estimated", "at_least"
_SURE = {EXACT: "", ESTIMATED: "about ", AT_LEAST: "at least "}

#: The port of a node that says no other.
NODE_PORT = 7500


@frozen
class Amount:
    """How many, and how sure that is."""

    number: int
    kind: str = EXACT

    def __str__(self) -> str:
        return f"{_SURE[self.kind]}{self.number:,}"


@frozen
class Group:
    """A domain and class that files name; `empty`: files whose count of copies is 0,
    some of which are `fids`. None: it took too long to tell."""

    dmid: int
    classid: int
    empty: Amount | None = None
    fids: tuple[int, ...] = ()


@frozen
class Queue:
    """Rows of a table of work. `overdue`: due for an hour; `failing`: tried in vain
    many times; `given_up`: never to be tried again."""

    name: str
    rows: Amount
    overdue: int = 0
    failing: int = 0
    given_up: Amount = Amount(0)


@frozen
class Server:
    """What PostgreSQL says of itself and of the account."""

    encoding: str
    collation: str
    standby: bool
    may_create: bool
    #: Tables that the account may not change.
    locked: tuple[str, ...] = ()


@frozen
class Facts:
    """What was found. None: there is none, or it took too long to tell; `unanswered`
    says which."""

    engine: str
    made_by_mogilefs: bool
    schema_version: str
    served_before: bool = False
    #: ``table.column`` that the schema version has and the database has not.
    missing_columns: tuple[str, ...] = ()
    #: The same, without which only checks and rebalances do not work.
    missing_late_columns: tuple[str, ...] = ()
    topology: Topology = Topology()
    files: Amount | None = None
    copies: Amount | None = None
    size_bytes: Amount | None = None
    highest_fid: int | None = None
    #: The last fid that `tempfile` can number, and the widest key that `file` takes.
    last_fid: int | None = None
    key_chars: int | None = None
    groups: tuple[Group, ...] = ()
    #: How many copies are recorded on devices that are dead or not there.
    stray_copies: dict[int, Amount | None] = field(factory=dict)
    queues: tuple[Queue, ...] = ()
    #: Uploads that were begun, and those of them that are a day old.
    uploads: Amount | None = None
    old_uploads: int = 0
    #: Files from all over the range of fids, and whether that is all of them.
    sample: tuple[Located, ...] = ()
    sample_is_all: bool = False
    server: Server | None = None
    unanswered: tuple[str, ...] = ()


@frozen
class Step:
    """Something that the operator does; `command` may be empty."""

    words: str
    command: str = ""


def steps_over(facts: Facts, url: str) -> Iterator[Step]:
    """The way from MogileFS to us; the `url` is shown as it is."""
    tracker = f"twistd koboldfs --tracker --database {url}"
    yield Step("Make a backup of the database.")
    yield Step("A tracker that answers clients, and works on nothing:")
    yield Step("", f"{tracker} --jobs none")
    yield Step("See that it knows the cluster, and read some files through it:")
    yield Step("", "koboldfs --trackers TRACKER:7001 status")
    yield Step("Then let it work as well:")
    yield Step("", tracker)
    yield Step(
        "Point one client to it, then the others, and stop MogileFS's trackers one by"
        " one."
    )
    yield Step("On each storage host in turn, stop mogstored and start in its place:")
    for host in facts.topology.hosts:
        if host.status != "dead":
            yield Step("", _node(host))
    yield Step("When no tracker of MogileFS runs any more, promise two copies:")
    yield Step("", "koboldfs admin settings set kobold_ack_copies 2")
    yield Step("and have files copied elsewhere when a host stays away for an hour:")
    yield Step("", "koboldfs admin settings set kobold_lost_after_seconds 3600")
    yield Step("Look for files that lack copies, and mend them:")
    yield Step("", "koboldfs fsck start")


def _node(host: Host) -> str:
    name = host.name.encode("latin-1", "replace").decode("utf-8", "replace")
    port = host.http_port
    listen = "" if port == NODE_PORT else f" --storage-listen tcp:{port}"
    return (
        f"twistd koboldfs --storage --docroot /var/mogdata --host-name {name}"
        f" --host-ip {host.ip}{listen} --join TRACKER:7001"
    )


def steps_back() -> Iterator[Step]:
    """The way back, at any time."""
    yield Step(
        "Give every class a policy that MogileFS knows, should one have AllHosts() or"
        " Union(...) by then:"
    )
    yield Step(
        "", "koboldfs admin class modify DOMAIN CLASS --policy 'MultipleHosts()'"
    )
    yield Step(
        "Stop fsck and rebalance, start MogileFS's trackers, point the clients to them,"
        " stop ours."
    )
    yield Step("On each storage host in turn, stop our node and start mogstored.")
    yield Step("What is left of us in the database harms nobody; to remove it:")
    yield Step("", "DROP TABLE kobold_checksum, kobold_scrub, kobold_lost;")
    yield Step("", "DELETE FROM server_settings WHERE field LIKE 'kobold%';")
