"""``koboldfs scrub``, against a scripted tracker."""

from __future__ import annotations

from test.unit.cli.case import CommandCase

STATUS = (
    b"OK count=2&scrub_1_devid=1&scrub_1_began=1795385037&scrub_1_ended=0"
    b"&scrub_1_running=1&scrub_1_position_percent=41&scrub_1_files=12345"
    b"&scrub_1_bytes=99&scrub_1_bad=3&scrub_1_mended=2&scrub_1_missing=1"
    b"&scrub_1_orphans=0&scrub_1_lost=1&scrub_2_devid=2&scrub_2_began=0\r\n"
)


class ScrubTests(CommandCase):
    """What is shown, and what is sent."""

    def test_status(self) -> None:
        """How far each device is, and what was found."""
        self.tracker(scrub_status=STATUS)
        text = self.done("scrub", "status").stdout
        for part in ("41 %", "2026-", "12345", "never"):
            self.assertIn(part, text)
        self.assertEqual(self.json("scrub", "status")["scrub_1_bad"], "3")

    def test_start(self) -> None:
        """All devices, or one."""
        server = self.tracker(scrub_start=b"OK \r\n")
        text = self.done("scrub", "start").stdout
        self.assertIn("every copy on every device is read again", text)
        self.assertIn("`koboldfs scrub status`", text)
        text = self.done("scrub", "start", "--device", "3").stdout
        self.assertIn("on dev3 is read", text)
        self.assertEqual(server.lines, ["scrub_start", "scrub_start devid=3"])
        self.assertEqual(self.json("scrub", "start"), {})

    def test_lost(self) -> None:
        """All pages; keys are shown so that a terminal can bear them."""

        def page(line: str) -> bytes:
            if "after=0" in line:
                return (
                    b"OK count=1&lost_1_fid=7&lost_1_domain=d&lost_1_key=a%1bb"
                    b"&lost_1_since=1795385037\r\n"
                )
            return b"OK count=0\r\n"

        server = self.tracker(scrub_lost=page)
        text = self.done("scrub", "lost").stdout
        self.assertIn(r"a\x1bb", text)
        self.assertEqual(server.lines, ["scrub_lost after=0", "scrub_lost after=7"])
        self.assertEqual(self.json("scrub", "lost")["key"], "a\x1bb")

    def test_lost_without_end(self) -> None:
        """A tracker that always gives the same page is not asked for ever."""
        server = self.tracker(scrub_lost=b"OK count=1&lost_1_fid=7\r\n")
        self.done("scrub", "lost")
        self.assertEqual(len(server.lines), 2)
