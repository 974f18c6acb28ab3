"""The table of the tracker's commands, and the two ways to run one.

A command is added by adding its `TrackerCommand` to one of the lists of `COMMAND_LISTS`
(or a list to that). What is in no list is answered with `unknown_command`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from koboldfs.errors import DatabaseFault, KoboldError, UnknownCommand
from koboldfs.interfaces import ITrackerCall
from koboldfs.tracker.call import Call, Pairs, Services, TrackerCommand
from koboldfs.tracker.class_commands import CLASS_COMMANDS
from koboldfs.tracker.device_commands import DEVICE_COMMANDS
from koboldfs.tracker.file_commands import FILE_COMMANDS
from koboldfs.tracker.fsck_commands import FSCK_COMMANDS
from koboldfs.tracker.hand_commands import HAND_COMMANDS
from koboldfs.tracker.health_commands import HEALTH_COMMANDS
from koboldfs.tracker.host_commands import HOST_COMMANDS
from koboldfs.tracker.list_commands import LIST_COMMANDS
from koboldfs.tracker.plain_commands import PLAIN_COMMANDS
from koboldfs.tracker.rebalance_commands import REBALANCE_COMMANDS
from koboldfs.tracker.scrub_commands import SCRUB_COMMANDS
from koboldfs.tracker.setting_commands import SETTING_COMMANDS

COMMAND_LISTS: tuple[tuple[TrackerCommand, ...], ...] = (
    FILE_COMMANDS,
    LIST_COMMANDS,
    HOST_COMMANDS,
    DEVICE_COMMANDS,
    CLASS_COMMANDS,
    SETTING_COMMANDS,
    HAND_COMMANDS,
    FSCK_COMMANDS,
    REBALANCE_COMMANDS,
    SCRUB_COMMANDS,
    PLAIN_COMMANDS,
    HEALTH_COMMANDS,
)


def command_table(
    lists: Iterable[Iterable[TrackerCommand]],
) -> dict[str, TrackerCommand]:
    """The commands by name. Raises `ValueError` if two have the same name."""
    table: dict[str, TrackerCommand] = {}
    for commands in lists:
        for command in commands:
            if command.name in table:
                raise ValueError(f"two commands are called {command.name}")
            table[command.name] = command
    return table


class Commands:
    """Runs commands by name."""

    def __init__(
        self,
        services: Services,
        lists: Iterable[Iterable[TrackerCommand]] = COMMAND_LISTS,
    ) -> None:
        self.table = command_table(lists)
        self._services = services
        self._functions = {name: row.function for name, row in self.table.items()}
        self._together = {
            name: row.together for name, row in self.table.items() if row.together
        }

    def together(self, name: str, arguments: dict[str, str]) -> bool:
        """Whether a request may be under way beside others of its command."""
        rule = self._together.get(name)
        return rule is not None and rule(arguments)

    async def run(self, name: str, arguments: dict[str, str], client_ip: str) -> Pairs:
        """The fields of OK, in order. `name` in lower case, `arguments` without the
        callid. Raises `UnknownCommand`, and what the command raises."""
        function = self._functions.get(name)
        if function is None:
            raise UnknownCommand()
        return await function(self._services, Call(arguments, client_ip))


def error_words(error: KoboldError) -> tuple[str, str]:
    """Code and text of an ERR reply. Of a database's fault only the kind is told."""
    if isinstance(error, DatabaseFault):
        return error.code, error.text
    return error.code, error.message


@implementer(ITrackerCall)
class LocalCalls:
    """Tracker commands run inside this process, without a socket."""

    log = Logger()

    def __init__(self, commands: Commands, client_ip: str = "127.0.0.1") -> None:
        self._commands = commands
        self._client_ip = client_ip

    def call(
        self, command: str, arguments: Mapping[str, str]
    ) -> Deferred[dict[str, str]]:
        """See `ITrackerCall`. A defect of ours is logged and raised as `KoboldError`
        (``failure``), as it would be answered."""
        return Deferred.fromCoroutine(self._call(command, arguments))

    async def _call(self, command: str, arguments: Mapping[str, str]) -> dict[str, str]:
        try:
            pairs = await self._commands.run(
                command.lower(), dict(arguments), self._client_ip
            )
        except KoboldError:
            raise
        except Exception as error:
            self.log.failure("the command {command} failed", command=command)
            raise KoboldError() from error
        return {name: "" if value is None else str(value) for name, value in pairs}
