"""Listing files and telling what is known of one, on the real city hall."""

from __future__ import annotations

from koboldfs.model.entities import MD5, Checksum
from test.unit.tracker.exchange import ExchangeCase


class ListKeys(ExchangeCase):
    """Pages of keys."""

    def setUp(self) -> None:
        super().setUp()
        for key in ("dir/a", "dir/b", "dir/c_1", "DIR/z", "other"):
            self.city.store(key, b"1")

    def keys(self, more: str) -> list[str]:
        """The keys of a reply that must be OK, checked against its other fields."""
        fields = self.city.done(f"list_keys domain=d1{more}")
        count = int(fields["key_count"])
        keys = [fields[f"key_{index}"] for index in range(1, count + 1)]
        self.assertEqual(fields["next_after"], keys[-1])
        self.assertEqual(len(fields), count + 2)
        return keys

    def test_pages(self) -> None:
        """All keys once, in the order of bytes, by following next_after."""
        self.assertEqual(self.keys(""), ["DIR/z", "dir/a", "dir/b", "dir/c_1", "other"])
        self.assertEqual(self.keys("&limit=2"), ["DIR/z", "dir/a"])
        self.assertEqual(self.keys("&limit=2&after=dir/a"), ["dir/b", "dir/c_1"])
        self.assertEqual(self.keys("&prefix=dir/&after=dir/b"), ["dir/c_1"])

    def test_limits(self) -> None:
        """None, 0 and too much are a thousand; leading digits count."""
        for limit in (
            "",
            "&limit=",
            "&limit=0",
            "&limit=1001",
            "&limit=7x",
            "&limit=1",
        ):
            self.keys(limit)
        limits = [limit for _, _, limit in self.city.database.asked]
        self.assertEqual(limits, [1000, 1000, 1000, 1000, 7, 1])

    def test_errors(self) -> None:
        """A mismatched after comes first, then the limit, then nothing found."""
        self.assert_errors(
            {
                "list_keys domain=d1&prefix=dir/&after=oth&limit=-1": "after_mismatch",
                "list_keys domain=d1&prefix=d.r/&after=dir/": "after_mismatch",
                "list_keys domain=d1&limit=-1": "failure",
                "list_keys domain=d1&limit=x": "none_match",
                "list_keys domain=d1&after=zzz": "none_match",
                "list_keys domain=d1&prefix=dir%25": "none_match",
                "list_keys domain=d2": "none_match",
            }
        )

    def test_broken_expression(self) -> None:
        """A prefix is text, not a regular expression."""
        self.city.store("a(b", b"1")
        self.assertEqual(self.keys("&prefix=a%28&after=a%28"), ["a%28b"])

    def test_empty_after(self) -> None:
        """With an empty `after` any prefix will do."""
        self.assertEqual(self.keys("&prefix=oth&after="), ["other"])


class ListFids(ExchangeCase):
    """Files by number, of all domains."""

    def test_files(self) -> None:
        """All that is known of each, ascending; `to` is a count."""
        self.city.store("a+b", b"12")
        self.city.store("c", b"", domain="d2")
        first = (
            "fid_1_fid=1&fid_1_domain=d1&fid_1_class=default&fid_1_key=a+b"
            "&fid_1_length=2&fid_1_devcount=1"
        )
        self.assert_replies(
            {
                "list_fids from=0&to=1": f"OK fid_count=1&{first}",
                "list_fids": (
                    f"OK fid_count=2&{first}&fid_2_fid=2&fid_2_domain=d2"
                    "&fid_2_class=default&fid_2_key=c&fid_2_length=0&fid_2_devcount=1"
                ),
                "list_fids from=2": "OK fid_count=0",
            }
        )

    def test_counts(self) -> None:
        """A hundred, at most five hundred; negative is as many as there may be."""
        for more in ("", "to=0", "to=7", "to=501", "to=-1&from=-4", "from=9&to=x"):
            self.assert_replies({f"list_fids {more}": "OK fid_count=0"})
        asked = [pair for _, *pair in self.city.database.asked]
        self.assertEqual(
            asked, [[0, 100], [0, 100], [0, 7], [0, 500], [0, 500], [9, 100]]
        )


class FileInfo(ExchangeCase):
    """What is recorded of one file."""

    def test_plain(self) -> None:
        """Without a hashtype there is no word of a checksum."""
        fid = self.city.store("k", b"12345")
        self.city.database.copies[fid] = (5, 1)
        whole = f"OK fid={fid}&domain=d1&class=default&key=k&length=5&devcount=1"
        self.assert_replies(
            {
                "file_info domain=d1&key=k": whole,
                "file_info domain=d1&key=k&devices=0": whole,
                "file_info domain=d1&key=k&devices=1": f"{whole}&devids=1,5",
            }
        )

    def test_checksum(self) -> None:
        """With a hashtype, the checksum or MISSING."""
        fid = self.city.store("k", b"1", more="&class=md5c")
        self.city.database.checksums[fid] = Checksum(MD5, bytes(16))
        info = "file_info domain=d1&key=k"
        self.assertEqual(self.city.done(info)["checksum"], f"MD5:{'0' * 32}")
        del self.city.database.checksums[fid]
        self.assertEqual(self.city.done(info)["checksum"], "MISSING")


class FileDebug(ExchangeCase):
    """Everything that the database has of a file."""

    def test_all_parts(self) -> None:
        """By key and by fid the same; rows of queues only where there are any."""
        fid = self.city.store("k", b"12345")
        self.city.database.copies[fid] = (5, 1)
        path = "0/000/000/0000000001.fid"
        self.city.database.queues[fid] = {
            "replqueue": {
                "fid": fid,
                "nexttry": 0,
                "fromdevid": None,
                "failcount": 2,
                "flags": 0,
            },
            "tempfile": {
                "fid": fid,
                "createtime": 7,
                "classid": 1,
                "dmid": 1,
                "dkey": "k",
                "devids": "1,2",
            },
        }
        reply = (
            f"OK fid_fid={fid}&fid_dmid=1&fid_dkey=k&fid_length=5&fid_classid=0"
            "&fid_devcount=1&fid_domain=d1&fid_class=default&devids=1,5"
            f"&devpath_1=http://127.0.0.1:7500/dev1/{path}"
            f"&devpath_5=http://127.0.0.3:7500/dev5/{path}&checksum=NONE"
            "&tempfile_classid=1&tempfile_dmid=1&tempfile_dkey=k&tempfile_devids=1,2"
            f"&replqueue_fid={fid}&replqueue_nexttry=0&replqueue_fromdevid="
            "&replqueue_failcount=2&replqueue_flags=0"
        )
        self.assert_replies(
            {"file_debug domain=d1&key=k": reply, f"file_debug fid={fid}": reply}
        )

    def test_deleted(self) -> None:
        """A file that waits for its deletion still has its copies."""
        fid = self.city.store("k", b"1")
        (devid,) = self.city.database.copies[fid]
        self.city.done("delete domain=d1&key=k")
        self.city.database.queues[fid] = {
            "delqueue": {"fid": fid, "nexttry": 9, "failcount": 1}
        }
        fields = self.city.done(f"file_debug fid={fid}")
        self.assertEqual(
            list(fields),
            [
                "devids",
                f"devpath_{devid}",
                "checksum",
                "delqueue_fid",
                "delqueue_nexttry",
                "delqueue_failcount",
            ],
        )

    def test_unknown(self) -> None:
        """A fid that is not known is no error, whatever is written."""
        for fid in ("77", "x", "9999999999999999999"):
            self.assert_replies({f"file_debug fid={fid}": "OK checksum=NONE"})
        self.assert_errors({"file_debug fid=0": "no_domain"})
