"""The table, and running commands without a socket."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from koboldfs import errors
from koboldfs.interfaces import ITrackerCall
from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand
from koboldfs.tracker.commands import (
    COMMAND_LISTS,
    Commands,
    LocalCalls,
    command_table,
    error_words,
)
from koboldfs.tracker.plain_commands import CrashOnPurpose
from test.fakes.city import City

#: What a tracker of this age understands.
EXPECTED = """create_open create_close get_paths delete rename updateclass list_keys
list_fids file_info file_debug noop test sleep clear_cache do_monitor_round
replicate_now get_hosts create_host update_host delete_host get_devices create_device
set_state set_weight get_domains create_domain delete_domain create_class update_class
delete_class set_server_setting server_setting server_settings""".split()


class Table(SynchronousTestCase):
    """All commands in one place."""

    def test_names(self) -> None:
        """Every command that is promised is there."""
        self.assertLessEqual(set(EXPECTED), set(command_table(COMMAND_LISTS)))

    def test_documented(self) -> None:
        """Every command and argument says what it is for, and names are words."""
        for name, command in command_table(COMMAND_LISTS).items():
            self.assertTrue(command.documentation, name)
            self.assertRegex(name, "^[a-z0-9_]+$")
            for argument in command.arguments:
                self.assertTrue(argument.meaning, argument)

    def test_twice(self) -> None:
        """Two commands of one name are a mistake that is seen at the start."""
        row = COMMAND_LISTS[0][0]
        self.assertRaises(ValueError, command_table, [[row], [row]])

    def test_adding(self) -> None:
        """A new command is a function in a list."""

        async def greet(services: Services, call: Call) -> Pairs:
            """Say hello."""
            return [("hello", call.arguments["name"])]

        row = TrackerCommand("greet", greet)
        commands = Commands(City().services, [*COMMAND_LISTS, [row]])
        work = commands.run("greet", {"name": "you"}, "127.0.0.1")
        pairs = self.successResultOf(Deferred.fromCoroutine(work))
        self.assertEqual(pairs, [("hello", "you")])

    def test_database_words(self) -> None:
        """What a database said stays inside; other errors' sentences go out."""
        words = error_words(errors.DatabaseFault("password=geheim refused"))
        self.assertEqual(words, ("db", "Database error"))
        words = error_words(errors.SizeMismatch("Expected: 1"))
        self.assertEqual(words, ("size_mismatch", "Expected: 1"))


class Local(SynchronousTestCase):
    """`LocalCalls` provides `ITrackerCall`."""

    def setUp(self) -> None:
        self.city = City.furnished()
        self.calls = LocalCalls(self.city.commands)

    def test_interface(self) -> None:
        """All its methods are there."""
        self.assertTrue(verifyObject(ITrackerCall, self.calls))

    def test_fields(self) -> None:
        """The fields of OK as texts, nothing as an empty one."""
        fields = self.successResultOf(self.calls.call("GET_HOSTS", {"hostid": "2"}))
        self.assertEqual(fields["host1_hostid"], "2")
        self.assertEqual(fields["host1_altip"], "")

    def test_errors(self) -> None:
        """ERR is raised as what it is."""
        for command, error in (("nosuch", "unknown_command"), ("delete", "no_domain")):
            failed = self.calls.call(command, {})
            failure = self.failureResultOf(failed, errors.CallerError)
            self.assertEqual(failure.value.code, error)

    def test_defect(self) -> None:
        """A defect is logged and raised as ``failure``, without its words."""
        failed = self.calls.call("test", {"crash": "1"})
        failure = self.failureResultOf(failed, errors.KoboldError)
        self.assertEqual(failure.value.code, "failure")
        self.assertEqual(failure.value.message, "Operation failed")
        self.assertEqual(len(self.flushLoggedErrors(CrashOnPurpose)), 1)
