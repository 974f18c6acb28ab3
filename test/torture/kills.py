"""Processes are killed at random during a load, and nothing acknowledged is lost.

Two trackers, three storage nodes and a PostgreSQL server; what is killed comes back
after a moment. Of the server either one of its processes is killed, which makes it cut
every connection and recover, or the first one, which ends it.
"""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from test.functional.cluster import Node
from test.functional.postgresql import PostgreSQL
from test.torture.audit import audit, settle
from test.torture.estate import Estate
from test.torture.ledger import Load
from test.torture.scenario import Outcome, Scenario, say, wanted

#: What is killed, how often of 100.
VICTIMS = {"tracker": 30, "storage": 45, "postgres process": 20, "postmaster": 5}
#: Between two kills, and until what was killed is started again, at random (seconds).
PAUSE_SECONDS = (0.1, 1.2)
AWAY_SECONDS = (0.0, 0.8)
#: A server that was killed waits for its last processes; it is started as often.
RESTARTS = 50
KILLS = 1_000
#: A line is said after so many.
SAY_EVERY = 50
#: Files that one kill is meant to hit.
FILES_A_KILL = 100
#: Kills wait for the load when it has stored less than this part of those.
LEAST_SHARE = 5


class Supervisor:
    """Kills at random, and starts again."""

    def __init__(self, estate: Estate, server: PostgreSQL, seed: int) -> None:
        self._estate = estate
        self._server = server
        self._chance = random.Random(seed)
        self.killed: Counter[str] = Counter()

    def kill_one(self) -> None:
        """One kill; what was killed before is back by now."""
        (kind,) = self._chance.choices(list(VICTIMS), list(VICTIMS.values()))
        if kind == "tracker":
            self._kill_node([n for n in self._estate.nodes if n.is_tracker])
        elif kind == "storage":
            self._kill_node(list(self._estate.stores))
        elif kind == "postgres process":
            if not self._kill_backend():
                return
        else:
            self._kill_server()
        self.killed[kind] += 1

    def _kill_node(self, nodes: list[Node]) -> None:
        node = self._chance.choice(nodes)
        node.must_run()
        node.kill()
        time.sleep(self._chance.uniform(*AWAY_SECONDS))
        node.start()

    def _kill_backend(self) -> bool:
        first = self._server.pid
        try:
            words = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        except OSError:
            return False
        if not words:
            return False
        with suppress(ProcessLookupError):
            os.kill(int(self._chance.choice(words)), signal.SIGKILL)
        return True

    def _kill_server(self) -> None:
        self._server.kill_hard()
        time.sleep(self._chance.uniform(*AWAY_SECONDS))
        for attempt in range(RESTARTS):
            try:
                self._server.restart()
                return
            except RuntimeError:
                # Its last processes are still there, and hold its memory.
                if attempt == RESTARTS - 1:
                    raise
                time.sleep(0.1)

    def pause(self) -> None:
        """Until the next kill."""
        time.sleep(self._chance.uniform(*PAUSE_SECONDS))


def kills(
    count: int,
    files: int,
    seed: int,
    clients: int = 6,
    seconds: float = math.inf,
    hurry: bool = False,
) -> Outcome:
    """`count` kills or more during a load, which ends with `files` acknowledged ones;
    or as many as there were after `seconds`. In a `hurry` no lease is waited for."""
    server = PostgreSQL()
    server.start()
    estate = Estate(database=server.new_database())
    outcome = Outcome()
    try:
        estate.start()
        load = Load([n for n in estate.nodes if n.is_tracker], seed, clients, files)
        supervisor = Supervisor(estate, server, seed)
        load.start()
        began = time.monotonic()
        pace = files / count / LEAST_SHARE
        while supervisor.killed.total() < count or not load.full.is_set():
            if time.monotonic() - began > seconds:
                break
            supervisor.kill_one()
            total, stored = supervisor.killed.total(), load.ledger.stored
            if total % SAY_EVERY == 0:
                say(f"{total} kills, {stored} files, {time.monotonic() - began:.0f} s")
            supervisor.pause()
            while total * pace > load.ledger.stored and not load.full.wait(0.05):
                if time.monotonic() - began > seconds:
                    break
        load.stop()
        lasted = time.monotonic() - began
        estate.wait_ready()
        if hurry:
            settle(estate)
        found = audit(estate, load.ledger)
        ledger = load.ledger
        killed = ", ".join(f"{n} {name}" for name, n in supervisor.killed.items())
        outcome.times = (
            f"{supervisor.killed.total()} kills ({killed}), {ledger.stored} files and"
            f" {ledger.deleted} deletes acknowledged, {lasted:.0f} s, seed {seed}"
        )
        outcome.faults = load.broken + found.faults
        outcome.notes.append(found.words())
        outcome.notes.append(f"{ledger.reads} reads, {ledger.unanswered} left in doubt")
    finally:
        estate.stop()
        if outcome.faults:
            print(estate.story)
        server.stop()
    return outcome


def _scenario() -> Outcome:
    asked = wanted()
    count = asked.kills or KILLS
    files = asked.files or count * FILES_A_KILL
    return kills(count, files, asked.seed, seconds=asked.seconds or math.inf)


SCENARIOS: dict[str, Scenario] = {"kills": _scenario}
