"""The other processes of the same installation, as one of them knows them.

What one tells, all the others hear within moments; a process that starts later hears
the last of what still matters (see `processes.records`). A process that is alone has a
`Siblings` too, and tells nobody.

    want       {"job", "count"}       an operator wants so many workers of a job
    distrust   {"devid", "reason"}    a device takes no more writes
    requests   {"number", "count"}    how many requests came through a process so far
    jobs       {"number", "jobs"}     what a process did of each job so far
    metrics    {"number", "name", ..} what a process counted so far, a part of it
    changed    {}                     hosts, devices, domains, classes or settings did
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger

#: What is told, by name: what, values.
Tell = Callable[[str, Mapping[str, Any]], None]


class Siblings:
    """This process's place among its siblings: `number` of `count`, from 1."""

    _log = Logger()

    def __init__(
        self,
        number: int = 1,
        count: int = 1,
        tell: Tell = lambda what, values: None,
        past: Mapping[str, list[Mapping[str, Any]]] | None = None,
    ) -> None:
        self.number = number
        self.count = count
        self._tell = tell
        self._observers: dict[str, Callable[..., None]] = {}
        self._past = {what: list(told) for what, told in (past or {}).items()}

    @property
    def leads(self) -> bool:
        """Whether this is the one that does what only one can."""
        return self.number == 1

    @property
    def alone(self) -> bool:
        """Whether there are no others."""
        return self.count == 1

    def tell(self, what: str, **values: Any) -> None:
        """Have all the others hear it."""
        if not self.alone:
            self._tell(what, values)

    def observe(self, what: str, observer: Callable[..., None]) -> None:
        """Call `observer` with the values of each that is heard, also of what was
        told before this process was."""
        self._observers[what] = observer
        for values in self._past.pop(what, []):
            self._hear(what, values)

    def hear(self, what: str, values: Mapping[str, Any]) -> None:
        """One of the others told this."""
        if what in self._observers:
            self._hear(what, values)
        else:
            self._past.setdefault(what, [])[:-1000] = []
            self._past[what].append(values)

    def _hear(self, what: str, values: Mapping[str, Any]) -> None:
        try:
            self._observers[what](**values)
        except Exception:
            self._log.failure("what another process told was not understood")


class Requests:
    """How many requests came in, through all processes."""

    def __init__(self, siblings: Siblings, own: Callable[[], int]) -> None:
        self._siblings = siblings
        self._own = own
        self._told = 0
        self._others: dict[int, int] = {}
        siblings.observe("requests", self._hear)

    def total(self) -> int:
        """All of them, as far as it is known here."""
        return self._own() + sum(self._others.values())

    def tell(self) -> None:
        """Have the others know, if there is news."""
        own = self._own()
        if own != self._told:
            self._told = own
            self._siblings.tell("requests", number=self._siblings.number, count=own)

    def _hear(self, number: int, count: int) -> None:
        self._others[number] = count
