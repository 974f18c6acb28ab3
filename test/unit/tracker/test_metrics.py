"""What a tracker tells for the page of metrics."""

from __future__ import annotations

from collections import Counter

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.tracker.commands import LocalCalls
from koboldfs.tracker.metrics import TrackerMetrics
from koboldfs.wire.metrics import exposition
from test.fakes.city import City


class Told(SynchronousTestCase):
    """Of a small cluster."""

    def setUp(self) -> None:
        self.city = City.furnished()
        statistics = self.city.factory.statistics
        statistics.time_commands(self.city.commands.table)
        self.metrics = TrackerMetrics(
            self.city.services,
            statistics,
            lambda: Counter(PUT=3),
            LocalCalls(self.city.commands),
        )

    def text(self) -> str:
        """All of it."""
        found = []
        for work in (self.metrics.own(), self.metrics.common()):
            found += self.successResultOf(Deferred.fromCoroutine(work))
        return exposition(found).decode()

    def test_all(self) -> None:
        """Requests by command, stores, jobs, devices, files at risk, queues."""
        self.city.store("key", b"data")
        self.city.say("no_such_command")
        text = self.text()
        for line in (
            'koboldfs_request_seconds_count{command="create_close"} 1',
            'koboldfs_request_seconds_count{command="unknown"} 1',
            'koboldfs_native_requests_total{command="PUT"} 3',
            "koboldfs_stored_total 1",
            "koboldfs_stored_bytes_total 4",
            "koboldfs_stored_short_total 0",
            'koboldfs_job_done_total{job="delete"} 7',
            'koboldfs_device{device="dev1",state="alive",observed="writeable"} 1',
            'koboldfs_waiting{queue="replicate"} 0',
            'koboldfs_files_short{copies="none"} 0',
            "koboldfs_database_up 1",
        ):
            self.assertIn(f"{line}\n", text)
        self.assertNotIn("no_such_command", text)
        self.assertNotIn('command="list_keys"', text)

    def test_lost(self) -> None:
        """Devices that count as lost, and what the scrub has to say."""
        self.city.database.topology = evolve(
            self.city.database.topology, settings=(("kobold_lost", "2"),)
        )
        self.city.look()
        text = self.text()
        for line in (
            'koboldfs_device_lost{device="dev1"} 0',
            'koboldfs_device_lost{device="dev2"} 1',
            'koboldfs_device_quarantined{device="dev1"} 0',
            'koboldfs_scrub_running{device="dev1"} 0',
            'koboldfs_scrub_ended{device="dev1"} 0',
            'koboldfs_scrub_bytes{device="dev1"} 0',
            'koboldfs_scrub_bad{device="dev6"} 0',
            "koboldfs_files_lost 0",
        ):
            self.assertIn(f"{line}\n", text)

    def test_database_away(self) -> None:
        """It is said, and the rest is told."""
        self.city.tasks.away = True
        text = self.text()
        self.assertIn("koboldfs_database_up 0\n", text)
        self.assertIn("koboldfs_device_used_ratio", text)
