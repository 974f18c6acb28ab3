"""What a client knows of its files: what was promised to it, and what may be.

A key belongs to one client, which does one thing to it at a time. What an operation may
do is possible from its beginning on; once it was answered, what was before it is not
possible any more. An operation without an answer may still be done, at any time until
all is quiet: what it wanted stays possible.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from math import inf

from attrs import define, field

#: The key that an upload was begun for (empty: no such upload), and the sha256 that is
#: recorded of its file, if there is one.
Opened = tuple[str, bytes | None]


@define(eq=False)
class Version:
    """Bytes that were given to a fid. `copies`: on how many hosts it lay durably when
    it was acknowledged; 0: it was not. `most_hosts`: on how many it was seen since, and
    since the simulation last destroyed something. `excused`: why all its copies may be
    lost.

    A native client learns the fid with the answer (0 until then), and may have sent the
    bytes more than once: each time they have another fid."""

    fid: int
    key: str
    data: bytes
    copies: int = 0
    most_hosts: int = 0
    excused: str = ""


@define(eq=False)
class Possible:
    """A state of a key (None: absent) and when it may be seen."""

    version: Version | None
    since: float
    until: float = inf
    answered: bool = False


@define(eq=False)
class KeyTruth:
    """All that is known of a key. `wild`: a renaming may still move others' files to
    it or away, so that nothing can be said but what was ever written here or there."""

    name: str
    states: list[Possible] = field(factory=lambda: [Possible(None, 0.0, inf, True)])
    wild: list[KeyTruth] = field(factory=list)

    @property
    def certain(self) -> Possible | None:
        """The one state that is possible now, if there is but one."""
        now = [state for state in self.states if state.until == inf]
        return now[0] if len(now) == 1 and not self.wild else None


class Truth:
    """All keys and all versions."""

    def __init__(
        self, seconds: Callable[[], float], opened: Callable[[int], Opened]
    ) -> None:
        """`opened`: what is known of an upload by its fid."""
        self._seconds, self._opened = seconds, opened
        self.keys: dict[str, KeyTruth] = {}
        self.versions: dict[int, Version] = {}
        #: What was sent without a fid, by key.
        self._sent: dict[str, list[Version]] = {}

    def sent(self, version: Version) -> None:
        """These bytes are on their way; the fid will be told, or found."""
        self._sent.setdefault(version.key, []).append(version)

    def version(self, fid: int) -> Version | None:
        """What the fid stands for, None if nobody stored that."""
        found = self.versions.get(fid)
        if found is None:
            key, digest = self._opened(fid)
            sent = self._sent.get(key, [])
            if digest is not None:
                sent = [one for one in sent if sha256(one.data).digest() == digest]
            if sent and (digest is not None or len(sent) == 1):
                found = self.versions[fid] = sent[-1]
        return found

    def key(self, name: str) -> KeyTruth:
        """The truth about a key."""
        found = self.keys.get(name)
        if found is None:
            found = self.keys[name] = KeyTruth(name)
        return found

    def begin(self, key: KeyTruth, version: Version | None) -> Possible:
        """Something was asked for that leads to this."""
        state = Possible(version, self._seconds())
        key.states.append(state)
        return state

    def answered(self, key: KeyTruth, state: Possible) -> None:
        """It was done: what was certain before is past."""
        now = self._seconds()
        for other in key.states:
            if other is not state and other.answered and other.until == inf:
                other.until = now
        state.answered = True

    def refused(self, key: KeyTruth, state: Possible) -> None:
        """It was not done, for sure."""
        key.states.remove(state)

    def tie(self, one: KeyTruth, other: KeyTruth) -> None:
        """A renaming from one to the other had no answer."""
        one.wild.append(other)
        other.wild.append(one)

    def may_be(self, key: KeyTruth, fid: int | None, since: float) -> bool:
        """Whether the key may have been that fid (None: absent) at some time since."""
        version = None if fid is None else self.version(fid)
        if version is None and fid is not None:
            return False
        return any(one is version for one in self.possible(key, since))

    def possible(self, key: KeyTruth, since: float) -> list[Version | None]:
        """All that the key may have been at some time since."""
        if not key.wild:
            return [state.version for state in key.states if state.until >= since]
        known = {id(key): key}
        queue = [key]
        while queue:
            for other in queue.pop().wild:
                if id(other) not in known:
                    known[id(other)] = other
                    queue.append(other)
        states = [state for one in known.values() for state in one.states]
        return [None, *(state.version for state in states)]

    def settle(self, key: KeyTruth, fid: int | None) -> None:
        """All is quiet: what is there now stays."""
        version = None if fid is None else self.version(fid)
        key.wild = []
        key.states = [Possible(version, self._seconds(), inf, True)]
