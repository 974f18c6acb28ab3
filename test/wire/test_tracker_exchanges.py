"""Conversations with a tracker, byte for byte, in every way that TCP may cut them.

Each row is a request without its line end, and the whole reply without its own. A
script is played request by request, each cut in two at every byte; one byte at a time;
and pipelined in one piece: the bytes that come back are the same.
"""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from koboldfs.cluster.live import RENEW_SECONDS
from koboldfs.model.entities import FsckEvent
from koboldfs.tracker.plain_commands import CrashOnPurpose
from koboldfs.tracker.protocol import TrackerProtocol
from test.fakes.city import City

Script = tuple[tuple[bytes, bytes], ...]

#: Requests that change nothing.
FRAMING: Script = (
    (b"noop", b"OK "),
    (b"NoOp", b"OK "),
    (b"  noop   a=1&b=2", b"OK "),
    (b"noop&a=1", b"OK "),
    (b"noop-x", b"OK "),
    (b"noop callid=a%20b&", b"OK callid=a+b"),
    (b"noop callid=", b"OK callid="),
    (b"nosuch", b"ERR unknown_command Unknown+server+command"),
    (b"nosuch callid=7", b"ERR unknown_command Unknown+server+command 7"),
    (b"-noop callid=7", b"ERR unknown_command Unknown+server+command"),
    (b"!", b"ERR unknown_command Unknown+server+command"),
    (b"! version", b"ERR unknown_command Unknown+server+command"),
    (b"&", b"ERR unknown_command Unknown+server+command"),
    (b"delete callid=x%26y", b"ERR no_domain No+domain+provided x%26y"),
    (b"test crash=1&callid=%0d%0a", b"ERR failure Operation+failed %0D%0A"),
    (
        b"server_setting key=caf%C3%A9~!*()'\"@$;?",
        b"OK key=caf%C3%A9%7E%21%2A%28%29%27%22%40%24%3B%3F&value=",
    ),
    (b"server_setting key=caf\xc3\xa9", b"OK key=caf%C3%A9&value="),
    (b"server_setting key=a&key=b", b"OK key=a%00b&value="),
    (b"server_setting &&0&key=q&", b"OK key=q&value="),
    (b"server_setting key=a=b", b"OK key=a%3Db&value="),
    (b"server_setting key=50%&x", b"OK key=50%25&value="),
    (b"server_setting key=%e4%7e%2B+%2f:", b"OK key=%E4%7E%2B+/:&value="),
    (
        b"server_setting key",
        b"ERR bad_params Invalid+parameters+to+command%3B+please+see+documentation",
    ),
    (
        b"server_setting KEY=q",
        b"ERR bad_params Invalid+parameters+to+command%3B+please+see+documentation",
    ),
    (b"clear_cache devices=1&x", b"OK devices=1&x="),
    (b"!want x y", b"ERROR: usage: !want <count> <jobclass>\r\n."),
    (b"!watch", b"Added you to watcher list.\r\n."),
    (b"!watch", b"Removed you from watcher list.\r\n."),
    (b"get_paths domain=d1&key=nokey", b"ERR unknown_key unknown_key"),
    (
        b"rename domain=D1&from_key=a&to_key=b",
        b"ERR unreg_domain Domain+name+invalid/not+found",
    ),
)

#: A cluster is made, used and taken down; beginning with nothing.
LIFE: Script = (
    (b"get_hosts", b"OK hosts=0"),
    (b"get_domains", b"OK domains=0"),
    (b"create_open domain=x&key=a", b"ERR unreg_domain Domain+name+invalid/not+found"),
    (b"create_host", b"ERR no_host No+host+provided"),
    (b"create_host host=h1", b"ERR no_ip IP+required+to+create+host"),
    (b"create_host host=h1&ip=127.0.0.1", b"ERR no_port Port+required+to+create+host"),
    (
        b"create_host host=h1&ip=127.0.0.1&port=7500&status=drain",
        b"ERR unknown_state Invalid/unknown+state",
    ),
    (
        b"create_host host=h1&ip=127.0.0.1&port=7500&status=alive",
        b"OK hostid=1&hostname=h1",
    ),
    (
        b"create_host host=h2&ip=127.0.0.1&port=7500",
        b"ERR dup Duplicate+name/number+used.",
    ),
    (b"create_device", b"ERR invalid_devid invalid_devid"),
    (b"create_device devid=1", b"ERR bad_args No+hostid/hostname+parameter"),
    (b"create_device devid=1&hostname=h9", b"ERR unknown_host Host+not+found"),
    (b"create_device devid=1&hostname=h1", b"OK "),
    (b"create_device devid=1&hostname=h1", b"ERR existing_devid existing_devid"),
    (
        b"delete_host host=h1",
        b"ERR host_not_empty Unable+to+delete+host%3B+it+contains+devices+still",
    ),
    (b"set_state host=h1&device=1&state=dead", b"OK "),
    (
        b"set_state host=h1&device=1&state=alive",
        b"ERR state_too_high Status+cannot+go+from+dead+to+alive%3B+must+use+down",
    ),
    (b"set_state host=h1&device=1&state=down", b"OK "),
    (b"set_state host=h1&device=1&state=alive", b"OK "),
    (
        b"set_state host=h2&device=1&state=down",
        (
            b"ERR host_mismatch "
            b"The+device+specified+doesn%27t+belong+to+the+host+specified"
        ),
    ),
    (b"create_domain domain=d+1", b"OK domain=d+1"),
    (b"create_domain domain=d%201", b"ERR domain_exists That+domain+already+exists"),
    (
        b"create_class domain=d+1&class=c&mindevcount=0",
        b"ERR invalid_mindevcount The+mindevcount+must+be+at+least+1",
    ),
    (
        b"create_class domain=d+1&class=c&mindevcount=2",
        b"OK domain=d+1&class=c&mindevcount=2",
    ),
    (
        b"create_class domain=d+1&class=c&mindevcount=2",
        b"ERR class_exists That+class+already+exists+in+that+domain",
    ),
    (
        b"create_open domain=d+1&key=k&class=c",
        b"OK fid=1&devid=1&path=http://127.0.0.1:7500/dev1/0/000/000/0000000001.fid",
    ),
    (
        b"CREATE_OPEN&domain=d+1&key=k&multi_dest=1",
        (
            b"OK fid=2&dev_count=1&devid_1=1"
            b"&path_1=http://127.0.0.1:7500/dev1/0/000/000/0000000002.fid"
        ),
    ),
    (
        (
            b"create_close domain=d+1&fid=2&devid=1&key=k"
            b"&path=http://127.0.0.1:7500/dev1/0/000/000/0000000001.fid"
        ),
        b"ERR bogus_args bogus_args",
    ),
    (
        (
            b"create_close domain=d+1&fid=2&devid=1&key=k&size=5"
            b"&path=http://127.0.0.1:7500/dev1/0/000/000/0000000002.fid"
        ),
        (
            b"ERR size_verify_error Expected:+5%3B+actual:+0+%28missing%29%3B+path:"
            b"+http://127.0.0.1:7500/dev1/0/000/000/0000000002.fid"
            b"%3B+error:+no+such+file"
        ),
    ),
    (
        (
            b"create_close domain=d+1&fid=2&devid=1&key=k&size=5"
            b"&path=http://127.0.0.1:7500/dev1/0/000/000/0000000002.fid"
        ),
        b"ERR no_temp_file No+tempfile+or+file+already+closed",
    ),
    (
        (
            b"create_close domain=d+1&fid=1&devid=1&key="
            b"&path=http%3A%2F%2F127.0.0.1:7500/dev1/0/000/000/0000000001.fid"
        ),
        b"OK ",
    ),
    (
        b"list_keys domain=d+1",
        b"ERR none_match No+keys+match+that+pattern+and+after-value+%28if+any%29.",
    ),
    (
        b"list_keys domain=d+1&prefix=a&after=b",
        b"ERR after_mismatch Pattern+does+not+match+the+after-value%3F",
    ),
    (b"list_fids", b"OK fid_count=0"),
    (b"replicate_now", b"OK count=0"),
    (
        b"delete_class domain=d+1&class=default",
        b"ERR nodel_default_class Cannot+delete+the+default+class",
    ),
    (b"delete_domain domain=d+1", b"ERR domain_has_classes domain_has_classes"),
    (b"delete_class domain=d+1&class=c", b"OK domain=d+1&class=c"),
    (b"delete_domain domain=d+1", b"OK domain=d+1"),
)

_STATUS = (
    b"OK running=%d&host=%s&max_fid_checked=%d&policy_only=%d&end_fid=0"
    b"&start_time=%d&stop_time=%d&current_time=1800000000&max_logid=%d"
    b"%s&queued=0&stalled=0&fids_checked=0%s"
)
_NOW = 1800000000

#: fsck, as MogileFS's tracker was recorded to answer, with our further fields.
CHECKS: Script = (
    (b"fsck_getlog", b"OK row_count=0"),
    (b"fsck_reset policy_only=1&startpos=5", b"OK "),
    (b"fsck_status", _STATUS % (0, b"", 5, 1, 0, 0, 0, b"", b"")),
    (b"fsck_reset", b"OK "),
    (b"fsck_start", b"OK "),
    (b"fsck_start", b"ERR fsck_running fsck+is+already+running"),
    (
        b"fsck_status",
        _STATUS
        % (
            *(1, b"vm", 0, 0, _NOW, 0, 0),
            *(b"", b"&seconds_left=0&fids_per_second=0.0"),
        ),
    ),
    (
        b"rebalance_start",
        b"ERR fsck_running fsck+running%3B+cannot+run+rebalance+at+same+time",
    ),
    (b"fsck_stop", b"OK "),
    (b"fsck_stop", b"OK "),
    (
        b"fsck_status",
        _STATUS % (*(0, b"", 0, 0, _NOW, _NOW, 0), *(b"", b"&fids_per_second=0.0")),
    ),
    (b"fsck_clearlog", b"OK "),
    (b"fsck_start domain=d9", b"ERR unreg_domain Domain+name+invalid/not+found"),
    (b"fsck_reset domain=d1&class=c9", b"ERR unreg_class unreg_class"),
    (b"fsck_reset prefix=a", b"ERR no_domain No+domain+provided"),
    (b"fsck_reset domain=d1&class=c1&prefix=a%2Fb&own_checksums=1", b"OK "),
    (
        b"fsck_status",
        _STATUS
        % (
            *(0, b"", 0, 0, 0, 0, 0),
            *(b"", b"&domain=d1&class=c1&prefix=a/b&own_checksums=1"),
        ),
    ),
)
#: What was found, page by page.
LOG: Script = (
    (
        b"fsck_getlog",
        (
            b"OK row_count=2&row_1_logid=1&row_1_utime=1800000000&row_1_fid=25"
            b"&row_1_evcode=MISS&row_1_devid=5&row_2_logid=2&row_2_utime=1800000000"
            b"&row_2_fid=25&row_2_evcode=REPL"
        ),
    ),
    (b"fsck_getlog after_logid=2", b"OK row_count=0"),
    (
        b"fsck_status",
        _STATUS % (0, b"", 0, 0, 0, 0, 2, b"&num_MISS=1&num_REPL=1", b""),
    ),
)


class Exchanges(SynchronousTestCase):
    """The same bytes come back however they were cut."""

    def talk(self, city: City) -> tuple[TrackerProtocol, StringTransport]:
        """A new connection."""
        return city.connect()

    def replies(self, script: Script) -> list[bytes]:
        """What must come back."""
        return [reply + b"\r\n" for _, reply in script]

    def play_apart(self, city: City, script: Script, end: bytes) -> None:
        """Request by request, one byte at a time."""
        connection, transport = self.talk(city)
        for request, reply in script:
            transport.clear()
            for byte in request + end:
                self.assertEqual(transport.value(), b"", request)
                connection.dataReceived(bytes([byte]))
            self.assertEqual(transport.value(), reply + b"\r\n", request)

    def play_together(self, city: City, script: Script, end: bytes) -> None:
        """All requests in one piece."""
        connection, transport = self.talk(city)
        connection.dataReceived(b"".join(request + end for request, _ in script))
        city.clock.pump([0] * len(script))
        self.assertEqual(transport.value(), b"".join(self.replies(script)))

    def test_framing_cut_anywhere(self) -> None:
        """Every request cut in two at every byte, the pieces of two in one read."""
        city = City.furnished()
        connection, transport = self.talk(city)
        for request, reply in FRAMING:
            if request == b"!watch":
                continue  # its reply depends on how often it was asked
            line = request + b"\r\n"
            for cut in range(1, len(line)):
                transport.clear()
                connection.dataReceived(line[:cut])
                connection.dataReceived(line[cut:] + b"noop callid=")
                connection.dataReceived(b"next\n")
                # Names that are not known are looked up again, after a moment.
                city.clock.advance(RENEW_SECONDS)
                self.assertEqual(
                    transport.value(), reply + b"\r\nOK callid=next\r\n", request
                )
        self.flushLoggedErrors(CrashOnPurpose)

    def test_framing(self) -> None:
        """One byte at a time and all at once, with either line end."""
        for end in (b"\n", b"\r\n"):
            self.play_apart(City.furnished(), FRAMING, end)
            self.play_together(City.furnished(), FRAMING, end)
        self.assertEqual(len(self.flushLoggedErrors(CrashOnPurpose)), 4)

    def test_life(self) -> None:
        """A cluster's life, one byte at a time and all at once."""
        for end in (b"\n", b"\r\n"):
            self.play_apart(City(), LIFE, end)
            self.play_together(City(), LIFE, end)

    def test_checks(self) -> None:
        """The commands of fsck, and its log."""
        for end in (b"\n", b"\r\n"):
            self.play_apart(City.furnished(), CHECKS, end)
            self.play_together(City.furnished(), CHECKS, end)
            city = City.furnished()
            city.tasks.log([FsckEvent(25, "MISS", 5), FsckEvent(25, "REPL")])
            self.play_apart(city, LOG, end)
            self.play_together(city, LOG, end)

    def test_half_closed(self) -> None:
        """All at once, and the client's side closed behind it."""
        city = City()
        connection, transport = self.talk(city)
        connection.dataReceived(b"".join(request + b"\n" for request, _ in LIFE))
        connection.readConnectionLost()
        city.clock.pump([0] * len(LIFE))
        self.assertEqual(transport.value(), b"".join(self.replies(LIFE)))
        self.assertTrue(transport.disconnecting)
