"""What every tracker command is made of: its arguments, its services, its place in
the table.

A command is a function ``async def name(services, call) -> pairs``; its docstring is
its documentation. It checks words (missing, not a number, unknown state) in the order
of MogileFS and leaves existence to the city hall.

MogileFS's notions of a value: it is *given* when it is there and not empty, *true*
when it is given and not ``0``, and a number is what its leading digits say.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from twisted.internet.interfaces import IReactorTime

from koboldfs.errors import KoboldError
from koboldfs.tracker.ports import IJobControl

if TYPE_CHECKING:
    from koboldfs.cluster.admin import Admin
    from koboldfs.cluster.by_hand import ByHand
    from koboldfs.cluster.checks import Checks
    from koboldfs.cluster.file_report import FileReports
    from koboldfs.cluster.namespace import Namespace
    from koboldfs.cluster.numbering import Numbering
    from koboldfs.cluster.overview import Overview
    from koboldfs.cluster.rebalancing import Rebalancing
    from koboldfs.cluster.scrubbing import Scrubbing
    from koboldfs.model.view import View

#: The fields of an OK reply, in order; None is an empty value.
Pairs = list[tuple[str, Any]]

_LEADING_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18})", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)


@frozen
class Services:
    """The rest of the house, as the commands see it."""

    namespace: Namespace
    admin: Admin
    checks: Checks
    balance: Rebalancing
    scrubbing: Scrubbing
    by_hand: ByHand
    jobs: IJobControl
    clock: IReactorTime
    overview: Overview
    reports: FileReports
    numbering: Numbering

    @property
    def view(self) -> View:
        """The picture of the cluster at this moment."""
        return self.namespace.live.view


@frozen
class Call:
    """The arguments of one request, and where it came from."""

    arguments: dict[str, str]
    client_ip: str = ""

    def given(self, name: str) -> str | None:
        """The value, or None if it is missing or empty."""
        return self.arguments.get(name) or None

    def required(self, name: str, missing: type[KoboldError]) -> str:
        """The value; raises `missing` if there is none, or an empty one."""
        value = self.arguments.get(name)
        if not value:
            raise missing()
        return value

    def true(self, name: str) -> bool:
        """Whether the value is neither missing nor empty nor ``0``."""
        return self.arguments.get(name, "") not in ("", "0")

    def leading_number(self, name: str) -> int:
        """What the leading digits say; 0 if there are none."""
        return leading_number(self.arguments.get(name, ""))

    def whole_number(self, name: str) -> int | None:
        """The number that the value is, digit by digit, else None."""
        return whole_number(self.arguments.get(name, ""))

    @property
    def alt(self) -> bool:
        """Whether URLs shall have the hosts' other addresses."""
        return self.arguments.get("zone") == "alt"


def leading_number(text: str) -> int:
    """What the leading digits of a text say, with their sign; 0 without any."""
    match = _LEADING_NUMBER.match(text)
    return int(match[1]) if match else 0


def begins_with_number(text: str) -> bool:
    """Whether `leading_number` finds any digit."""
    return _LEADING_NUMBER.match(text) is not None


def whole_number(text: str) -> int | None:
    """The number that a text of digits is, else None. At most 19 digits."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


def always(arguments: Mapping[str, str]) -> bool:
    """The rule of commands whose requests never get in each other's way."""
    return True


@frozen
class Argument:
    """One argument of a command, for the documentation."""

    name: str
    meaning: str
    needed: bool = False


@frozen
class TrackerCommand:
    """A row of the command table.

    `together` says, by the arguments, whether requests of this command that one client
    sends without waiting may be under way at once: they must have the same outcome in
    whatever order they are done. None: never.
    """

    name: str
    function: Callable[[Services, Call], Awaitable[Pairs]]
    arguments: tuple[Argument, ...] = field(default=())
    together: Callable[[Mapping[str, str]], bool] | None = None

    @property
    def documentation(self) -> str:
        """The function's docstring."""
        return self.function.__doc__ or ""


def needed(name: str, meaning: str) -> Argument:
    """An argument without which the command does nothing."""
    return Argument(name, meaning, needed=True)


def optional(name: str, meaning: str) -> Argument:
    """An argument that may be left out."""
    return Argument(name, meaning)
