"""The scrub commands."""

from __future__ import annotations

from koboldfs.model.entities import File
from test.fakes.world import start
from test.unit.tracker.exchange import ExchangeCase


class Exchanges(ExchangeCase):
    """Requests and replies."""

    def test_status(self) -> None:
        """All devices, with all fields, before any pass."""
        fields = self.city.done("scrub_status")
        self.assertEqual(fields["count"], "6")
        names = "devid began ended running position_percent files bytes bad mended"
        for name in [*names.split(), "missing", "orphans", "lost"]:
            self.assertRegex(fields.pop(f"scrub_1_{name}"), "^[0-9]+$")
        self.assertEqual([one for one in fields if one.startswith("scrub_1_")], [])

    def test_start(self) -> None:
        """On one device, on all, and on one that is not there."""
        first = self.city.done("scrub_status")["scrub_1_devid"]
        self.assert_replies({f"scrub_start devid={first}": "OK ", "scrub_start": "OK "})
        self.assertTrue(all(o.asked for o in self.city.tasks.scrubs.scrubs.values()))
        self.assert_errors(
            {
                "scrub_start devid=999": "no_device",
                "scrub_start devid=x": "no_device",
                "scrub_start devid=-1": "no_device",
            }
        )

    def test_lost(self) -> None:
        """Fid, domain, key and time; pages by fid."""
        self.assert_replies({"scrub_lost": "OK count=0"})
        dmid = self.city.live.view.domains["d1"].dmid
        for fid in (5, 6):
            self.city.tasks.tables.files[fid] = File(fid, dmid, f"a key/{fid}", 3, 0, 1)
        start(self.city.tasks.scrubs.note_lost([5, 6]))
        fields = self.city.done("scrub_lost")
        self.assertEqual(fields["count"], "2")
        self.assertEqual(
            [fields[f"lost_1_{name}"] for name in ("fid", "domain", "key")],
            ["5", "d1", "a+key/5"],
        )
        self.assertGreater(int(fields["lost_1_since"]), 0)
        self.assertEqual(self.city.done("scrub_lost after=5")["lost_1_fid"], "6")
        for after in ("6", "99999999999999999999"):
            self.assertEqual(self.city.done(f"scrub_lost after={after}")["count"], "0")
