"""A PostgreSQL primary is killed and its standby promoted, during a load.

Two servers with synchronous replication, one URL with both. Nothing acknowledged is
lost, and every tracker stores again soon after the promotion.
"""

from __future__ import annotations

import time

from test.functional.cluster import DOMAIN, wait_until
from test.functional.postgresql import ADDRESS, PostgreSQL
from test.torture.audit import audit
from test.torture.estate import Estate
from test.torture.ledger import Load, digest_of
from test.torture.scenario import Outcome, Scenario, wanted

#: From the promotion to the first store through each tracker.
BACK_SECONDS = 10.0
#: Before the kill, between kill and promotion, and after all are back.
LOAD_SECONDS, HEADLESS_SECONDS, AFTER_SECONDS = 2.0, 1.0, 1.0
ROUNDS = 10
#: What a probe stores.
EMPTY = digest_of(b"")


class Pair:
    """A primary and its standby; the names change places with each promotion."""

    def __init__(self) -> None:
        self.primary, self.standby = PostgreSQL(), PostgreSQL()
        self.primary.start()
        database = self.primary.new_database().rpartition("/")[2]
        try:
            self.follow()
        except BaseException:
            self.primary.stop()
            raise
        ports = (self.primary.port, self.standby.port)
        hosts = ",".join(f"{ADDRESS}:{port}" for port in ports)
        options = "target_session_attrs=read-write"
        self.url = f"postgresql://postgres@{hosts}/{database}?{options}"

    def follow(self, port: int = 0) -> None:
        """A new standby, for which the primary waits from now on."""
        self.standby.start_standby(self.primary, port)
        here = self.primary.url("postgres")
        self.primary.execute(here, "alter system set synchronous_standby_names = '*'")
        self.primary.execute(here, "select pg_reload_conf()")
        query = "select count(*) from pg_stat_replication where sync_state = 'sync'"
        wait_until(
            lambda: self.primary.execute(here, query) == [(1,)],
            30,
            "the standby follows",
        )

    def kill(self) -> None:
        """The primary is gone, with all of its processes."""
        self.primary.kill_all()

    def promote(self) -> None:
        """Make the standby the primary."""
        self.standby.execute(self.standby.url("postgres"), "select pg_promote()")

    def replace(self) -> None:
        """What was the standby gets one of its own, in the place of the dead."""
        port = self.primary.port
        self.primary.stop()
        self.primary, self.standby = self.standby, PostgreSQL()
        self.follow(port)

    def stop(self) -> None:
        """End both."""
        self.primary.stop()
        self.standby.stop()


def back_seconds(estate: Estate, number: int) -> float:
    """How long it takes until every tracker has stored a file."""
    began = time.monotonic()
    for node in estate.trackers:

        def stored(node=node) -> bool:  # type: ignore[no-untyped-def]
            with node.tracker(2) as tracker:
                tracker.store(DOMAIN, f"probe/{number}/{node.name}", b"")
            return True

        wait_until(stored, 60, f"{node.name} stores again")
    return time.monotonic() - began


def failover(rounds: int, seed: int) -> Outcome:
    """So many promotions."""
    pair = Pair()
    estate = Estate(database=pair.url)
    outcome = Outcome()
    waits = []
    try:
        estate.start()
        load = Load([n for n in estate.nodes if n.is_tracker], seed).start()
        for number in range(rounds):
            if number:
                pair.replace()
            time.sleep(LOAD_SECONDS)
            pair.kill()
            time.sleep(HEADLESS_SECONDS)
            pair.promote()
            waits.append(back_seconds(estate, number))
            if waits[-1] > BACK_SECONDS:
                outcome.faults.append(f"round {number}: back after {waits[-1]:.1f} s")
            time.sleep(AFTER_SECONDS)
        load.stop()
        for number in range(rounds):
            for node in estate.trackers:
                load.ledger.begin(f"probe/{number}/{node.name}", EMPTY)
        found = audit(estate, load.ledger)
        outcome.faults += load.broken + found.faults
        outcome.times = (
            f"{rounds} promotions, {load.ledger.stored} files and"
            f" {load.ledger.deleted} deletes acknowledged, seed {seed}"
        )
        outcome.notes.append(
            f"every tracker stored again after {max(waits):.1f} s at most,"
            f" {sum(waits) / len(waits):.1f} s on average"
        )
        outcome.notes.append(found.words())
    finally:
        estate.stop()
        pair.stop()
        if outcome.faults:
            print(estate.story)
    return outcome


def _scenario() -> Outcome:
    asked = wanted()
    return failover(asked.kills or ROUNDS, asked.seed)


SCENARIOS: dict[str, Scenario] = {"postgresql-failover": _scenario}
