"""What facts about a database mean."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.model.adoption import AT_LEAST, Amount, Facts, Group, Queue, Server
from koboldfs.model.adoption_rules import (
    BEWARE,
    BLOCKS,
    BROKEN,
    LEVELS,
    NOTE,
    Finding,
    judge,
)
from koboldfs.model.entities import (
    Device,
    Domain,
    File,
    Host,
    Located,
    StorageClass,
    Topology,
)

SERVER = Server("UTF8", "C", False, True)
WELL = Topology(
    hosts=tuple(Host(n, f"h{n}", "alive", f"10.0.0.{n}", 7500) for n in (1, 2)),
    devices=tuple(Device(n, n, "alive", 100, 9_000, 10) for n in (1, 2)),
    domains=(Domain(1, "d"),),
    classes=(StorageClass(1, 0, "default", 2),),
    settings=(("schema_version", "17"),),
)
FACTS = Facts(
    "postgresql",
    True,
    "17",
    topology=WELL,
    files=Amount(5),
    highest_fid=9,
    last_fid=2**31 - 1,
    key_chars=255,
    groups=(Group(1, 0, Amount(0)),),
    queues=(Queue("file_to_replicate", Amount(3)),),
    server=SERVER,
)


def located(fid: int, *devids: int, key: str = "k") -> Located:
    """A file of the sample."""
    return Located(File(fid, 1, key, 10, 0, len(devids)), devids)


class Judging(SynchronousTestCase):
    """Each fact with what it means."""

    def found(self, **changes: Any) -> dict[str, Finding]:
        """The findings by code."""
        return {one.code: one for one in judge(evolve(FACTS, **changes))}

    def only(self, code: str, level: str, **changes: Any) -> str:
        """The text of the only finding, which must be this one."""
        found = self.found(**changes)
        self.assertEqual(list(found), [code])
        self.assertEqual(found[code].level, level)
        return found[code].text

    def topology(self, **changes: Any) -> Topology:
        """The good one with something changed."""
        return evolve(WELL, **changes)

    def test_all_is_well(self) -> None:
        """Of a good database there is nothing to say."""
        self.assertEqual(judge(FACTS), [])

    def test_worst_first(self) -> None:
        """What blocks comes first, and notes last."""
        found = judge(
            evolve(
                FACTS,
                schema_version="18",
                served_before=True,
                old_uploads=1,
                topology=self.topology(classes=()),
            )
        )
        self.assertEqual([one.level for one in found], list(LEVELS))

    def test_schema(self) -> None:
        """Versions 10 to 17 will do; whatever else is said there will not."""
        for version in range(10, 18):
            self.assertEqual(self.found(schema_version=str(version)), {})
        for text in ("9", "18", "", "None", "1e1", "\u00b2"):
            self.only("schema_version", BLOCKS, schema_version=text)

    def test_columns(self) -> None:
        """A column that is missing blocks, but for one that only checks need."""
        text = self.only("missing_columns", BLOCKS, missing_columns=("file.length",))
        self.assertIn("file.length", text)
        late = ("file_to_queue.arg",)
        self.only("no_tasks", BEWARE, missing_late_columns=late)

    def test_account(self) -> None:
        """An account that may not do what a tracker does; a standby; odd settings."""
        for code, level, changes in (
            ("may_not_write", BLOCKS, {"locked": ("file",)}),
            ("may_not_create", BLOCKS, {"may_create": False}),
            ("standby", BEWARE, {"standby": True}),
            ("encoding", BEWARE, {"encoding": "SQL_ASCII"}),
            ("collation", NOTE, {"collation": "en_US.UTF-8"}),
        ):
            self.only(code, level, server=evolve(SERVER, **changes))
        known = self.found(server=evolve(SERVER, may_create=False), served_before=True)
        self.assertEqual(list(known), ["served_before"])

    def test_ours(self) -> None:
        """A database of our own is nothing to take over, and no obstacle."""
        self.only("ours", NOTE, made_by_mogilefs=False, key_chars=1024)

    def test_fids(self) -> None:
        """fids that run out are told in time; when they have, nothing can be stored."""
        self.only("fids_run_out", BEWARE, highest_fid=1_800_000_000)
        self.only("fids_run_out", BLOCKS, highest_fid=2**31 - 1)
        self.assertEqual(self.found(highest_fid=2**40, last_fid=None), {})

    def test_devices(self) -> None:
        """A device without a host, and a cluster in which nothing can be stored."""
        lost = (*WELL.devices, Device(70, 9, "alive", 100, 9_000, 10))
        text = self.only(
            "device_without_host", BROKEN, topology=self.topology(devices=lost)
        )
        self.assertIn("70", text)
        full = tuple(evolve(one, mb_used=8_990) for one in WELL.devices)
        self.only("nowhere_to_store", BROKEN, topology=self.topology(devices=full))
        draining = (*WELL.devices, Device(3, 2, "drain", 100, 9_000, 10))
        self.only("drain_empties", BEWARE, topology=self.topology(devices=draining))
        large = (*WELL.devices, Device(40_000, 2, "alive", 100, 9_000, 10))
        text = self.only("large_numbers", BEWARE, topology=self.topology(devices=large))
        self.assertIn("40000", text)

    def test_stray_copies(self) -> None:
        """Copies recorded on devices that are dead, or are not there at all."""
        dead = self.topology(devices=(*WELL.devices, Device(3, 1, "dead")))
        text = self.only(
            "dead_device_has_files",
            BROKEN,
            topology=dead,
            stray_copies={3: Amount(100_000, AT_LEAST)},
        )
        self.assertIn("at least 100,000 copies", text)
        self.only("unknown_device_has_files", BROKEN, stray_copies={4: None})

    def test_classes(self) -> None:
        """Policies that are not known, cannot be met, or harm MogileFS; types of
        checksums; a class `default` of which nothing is written."""
        for code, level, one in (
            ("policy_unknown", BEWARE, StorageClass(1, 1, "c", 2, "Zoned(1)")),
            ("policy_not_met", BROKEN, StorageClass(1, 1, "c", 3)),
            ("policy_union", BEWARE, StorageClass(1, 1, "c", 2, "Union(AllHosts())")),
            ("hash_unknown", BEWARE, StorageClass(1, 1, "c", 2, None, 6)),
        ):
            classes = (*WELL.classes, one)
            text = self.only(code, level, topology=self.topology(classes=classes))
            self.assertIn("class 'c' of domain 'd'", text)
        self.only("default_class", BEWARE, topology=self.topology(classes=()))

    def test_groups(self) -> None:
        """Files whose domain or class is gone, and files without copies."""
        text = self.only("domain_missing", BROKEN, groups=(Group(3, 0),))
        self.assertIn("dmid 3", text)
        self.only("class_missing", BROKEN, groups=(Group(1, 4),))
        groups = (
            Group(1, 0, Amount(2), (5, 6)),
            Group(1, 0, Amount(10_000, AT_LEAST), (7,)),
        )
        text = self.only("no_copies", BROKEN, groups=groups)
        self.assertIn("at least 10,002 files", text)
        self.assertIn("5, 6, 7", text)

    def test_sample(self) -> None:
        """Files without recorded copies, with lost ones, or with impossible keys."""
        good = located(1, 1, 99)
        text = self.only("no_copies_recorded", BROKEN, sample=(good, located(2)))
        self.assertIn("of 2 files that were looked at, 1 have", text)
        text = self.only(
            "copies_on_dead_devices",
            BROKEN,
            sample=(located(3, 98, 99),),
            sample_is_all=True,
        )
        self.assertIn("of all 1 files", text)
        many = tuple(map(located, range(30, 36)))
        text = self.only("no_copies_recorded", BROKEN, sample=many)
        self.assertIn("(fid 30, 31, 32, 33, 34, ...)", text)
        for key in ("k" * 256, "\u0101", "a\0b"):
            self.only("keys_unfit", BEWARE, sample=(located(4, 1, key=key),))
        sample = (located(5, 1, key="\xff" * 255), located(6, 1, key=""))
        self.assertEqual(self.found(sample=sample), {})
        self.only("keys_wide", BEWARE, key_chars=700)

    def test_queues(self) -> None:
        """Rows that lie about, fail, or were given up."""
        for code, changes in (
            ("queue_overdue", {"overdue": 2}),
            ("queue_failing", {"failing": 2}),
            ("queue_given_up", {"given_up": Amount(2)}),
        ):
            queue = evolve(FACTS.queues[0], **changes)
            text = self.only(code, BROKEN, queues=(queue,))
            self.assertIn("file_to_replicate: 2", text)
        self.only("old_uploads", BROKEN, old_uploads=3)
        for name, code in (
            ("file_to_delete", "old_delete_queue"),
            ("file_to_delete_later", "old_delete_queue"),
            ("unreachable_fids", "unreachable_fids"),
        ):
            self.only(code, NOTE, queues=(Queue(name, Amount(1)),))
            self.assertEqual(self.found(queues=(Queue(name, Amount(0)),)), {})

    def test_runs(self) -> None:
        """A check or rebalance that runs stops with its tracker; rows that are left of
        one are worked off."""
        for kind, setting in (("fsck", "fsck_host"), ("rebalance", "rebal_host")):
            queues = (Queue(f"file_to_queue ({kind})", Amount(7)),)
            running = self.topology(settings=((setting, "tracker7"),))
            text = self.only(f"{kind}_running", BEWARE, queues=queues, topology=running)
            self.assertIn("tracker7", text)
            self.only(f"{kind}_left", NOTE, queues=queues)

    def test_settings(self) -> None:
        """Settings that do nothing here, if they say anything."""
        for name, value, level in (
            ("memcache_servers", "10.0.0.9:11211", BEWARE),
            ("slave_keys", "a", NOTE),
            ("zone_far", "10.0.0.0/8", NOTE),
            ("skip_devcount", "1", NOTE),
        ):
            set_one = self.topology(settings=((name, value),))
            text = self.only("setting_ignored", level, topology=set_one)
            self.assertIn(name, text)
        quiet = (
            ("skip_devcount", "0"),
            ("memcache_servers", ""),
            ("memcache_ttl", "9"),
        )
        self.assertEqual(self.found(topology=self.topology(settings=quiet)), {})

    def test_unanswered(self) -> None:
        """What could not be told is said."""
        text = self.only("unanswered", NOTE, unanswered=("how many files there are",))
        self.assertIn("how many files there are", text)
