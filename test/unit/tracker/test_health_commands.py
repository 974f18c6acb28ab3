"""The commands that tell whether files are safe."""

from __future__ import annotations

from test.unit.tracker.exchange import ExchangeCase


class Healths(ExchangeCase):
    """Of the cluster and of one file."""

    def test_cluster(self) -> None:
        """What is counted, promised and done, as fields."""
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["short_none"], fields["short_capped"]), ("0", "0"))
        self.assertEqual((fields["promised"], fields["able_hosts"]), ("1", "3"))
        self.assertEqual(fields["jobs"], "2")
        self.assertEqual((fields["job_1_name"], fields["job_1_done"]), ("delete", "7"))
        self.assertEqual((fields["away"], fields["unsynced"]), ("0", "0"))

    def test_away_and_unsynced(self) -> None:
        """A host that does not answer, and one that is not ours."""
        self.city.nodes.unreachable.add(1)
        self.city.nodes.foreign.add(2)
        self.city.look()
        fields = self.city.done("cluster_health")
        self.assertEqual((fields["away"], fields["away_1_devid"]), ("2", "1"))
        self.assertEqual((fields["unsynced"], fields["unsynced_1"]), ("1", "host2"))

    def test_file(self) -> None:
        """Where it is, and what its bytes are now."""
        fid = self.city.store("key", b"data")
        fields = self.city.done("file_health domain=d1&key=key")
        self.assertEqual((fields["fid"], fields["length"]), (str(fid), "4"))
        self.assertEqual(fields["copy_1_verdict"], "good")
        self.assertEqual(fields["copy_1_checksum"], fields["checksum"])
        unread = self.city.done("file_health domain=d1&key=key&noread=1")
        self.assertEqual(unread["copy_1_verdict"], "unread")

    def test_errors(self) -> None:
        """As the other commands of one file."""
        self.assert_errors(
            {
                "file_health": "no_domain",
                "file_health domain=x": "unreg_domain",
                "file_health domain=d1": "no_key",
                "file_health domain=d1&key=nope": "unknown_key",
            }
        )
