"""Replication policies: where a file is + the picture -> what to do about it.

A policy is written as text, ``Name(arguments)``; a name with colons is taken without
its Perl package. Known are

    AllHosts()          a copy on every host that takes files (our default)
    MultipleHosts(n)    n copies, on n hosts if there are as many
    MultipleDevices(n)  n copies on different devices
    Union(p, q, ...)    content when every one of p, q, ... is

An explicit number overrides the class's mindevcount; none or 0 means the mindevcount.
The rules of MultipleHosts and MultipleDevices are MogileFS's, rule by rule, so that
both may work on one database without undoing each other's copies.
"""

from __future__ import annotations

import re
from functools import lru_cache
from random import Random

from attrs import frozen

from koboldfs.model.placement import weighted_order
from koboldfs.model.view import View

SATISFIED, TOO_MANY, COPY, WAIT = "satisfied", "too_many", "copy", "wait"

#: A policy text is never longer (MogileFS's column) nor nested deeper.
MAX_POLICY_CHARS = 255
MAX_POLICY_DEPTH = 4


@frozen
class Question:
    """What a policy is asked about one file.

    `on`: the devices that hold it, without dead and lost ones. `failed`: devices that
    could not take it in this run. `size_bytes` decides which devices have room.
    """

    view: View
    on: frozenset[int]
    mindevcount: int
    size_bytes: int = 0
    failed: frozenset[int] = frozenset()

    def candidates(self) -> list[int]:
        """The devices that could take a copy now."""
        return [
            devid
            for devid in self.view.devices
            if devid not in self.on
            and devid not in self.failed
            and self.view.may_receive(devid, self.size_bytes)
        ]

    def hosts(self) -> set[int]:
        """The hosts that have a copy."""
        devices = self.view.devices
        return {devices[devid].hostid for devid in self.on if devid in devices}

    def wanting_hosts(self) -> set[int]:
        """The hosts that the operator lets have new files."""
        view = self.view
        return {d.hostid for d in view.devices.values() if view.wants_files(d.devid)}

    def with_copy(self, devid: int) -> Question:
        """The same question with one copy more."""
        return Question(
            self.view, self.on | {devid}, self.mindevcount, self.size_bytes, self.failed
        )


@frozen
class Verdict:
    """The answer: one of the four words, and for COPY the devices, best first."""

    word: str
    devids: tuple[int, ...] = ()


@frozen
class AllHosts:
    """A copy on every host that takes files."""

    def copies(self, question: Question) -> int:
        """How many copies the policy wants in the end."""
        return max(1, len(question.wanting_hosts()))

    def judge(self, question: Question, random: Random) -> Verdict:
        """One step: who should have the next copy."""
        have = question.hosts()
        missing = question.wanting_hosts() - have
        if not missing:
            if not question.on:
                return Verdict(WAIT)
            return Verdict(TOO_MANY if len(question.on) > len(have) else SATISFIED)
        view = question.view
        able = [d for d in question.candidates() if view.devices[d].hostid in missing]
        return _copy_to(weighted_order(able, view, random))

    def settled(self, question: Question) -> bool:
        """Never: one more host may come at any moment."""
        return False

    def __str__(self) -> str:
        return "AllHosts()"


@frozen
class MultipleHosts:
    """Copies on `count` hosts (0: the class's mindevcount)."""

    count: int = 0

    def copies(self, question: Question) -> int:
        """How many copies the policy wants in the end."""
        return self.count or question.mindevcount

    def judge(self, question: Question, random: Random) -> Verdict:
        """One step: who should have the next copy."""
        view, on = question.view, question.on
        wanted, devices, hosts = self.copies(question), len(on), question.hosts()
        if wanted == 1 and devices == 1:
            return Verdict(SATISFIED)
        if len(hosts) > wanted or devices > wanted:
            return Verdict(TOO_MANY)
        total_hosts = len(question.wanting_hosts())
        living = sum(map(view.counts, view.devices))
        if (
            len(hosts) == wanted
            or (len(hosts) >= total_hosts and devices >= wanted)
            or (devices >= 2 and devices == living)
        ):
            return Verdict(SATISFIED)
        candidates = question.candidates()
        ideal, desperate = candidates, list[int]()
        if len(hosts) < total_hosts:
            ideal = [d for d in candidates if view.devices[d].hostid not in hosts]
            desperate = [d for d in candidates if view.devices[d].hostid in hosts]
        ordered = weighted_order(ideal, view, random)
        if devices >= wanted and not ordered:
            # One more on a used host would be one too many, and hide what is missing.
            return Verdict(WAIT)
        return _copy_to(ordered or weighted_order(desperate, view, random))

    def settled(self, question: Question) -> bool:
        """Whether it will want nothing else, whatever hosts come or go: the copies are
        as many as it wants, on as many hosts."""
        return len(question.on) == len(question.hosts()) == self.copies(question)

    def __str__(self) -> str:
        return f"MultipleHosts({self.count or ''})"


@frozen
class MultipleDevices:
    """Copies on `count` devices (0: the class's mindevcount)."""

    count: int = 0

    def copies(self, question: Question) -> int:
        """How many copies the policy wants in the end."""
        return self.count or question.mindevcount

    def judge(self, question: Question, random: Random) -> Verdict:
        """One step: who should have the next copy."""
        view, devices = question.view, len(question.on)
        wanted = self.copies(question)
        if devices > wanted:
            return Verdict(TOO_MANY)
        living = sum(map(view.counts, view.devices))
        if devices == wanted or (devices >= 2 and devices == living):
            return Verdict(SATISFIED)
        # Any device will do, but one on a host without a copy is worth more.
        hosts = question.hosts()
        ordered = weighted_order(question.candidates(), view, random)
        ordered.sort(key=lambda devid: view.devices[devid].hostid in hosts)
        return _copy_to(ordered)

    def settled(self, question: Question) -> bool:
        """Whether it will want nothing else, whatever devices come or go."""
        return len(question.on) == self.copies(question)

    def __str__(self) -> str:
        return f"MultipleDevices({self.count or ''})"


@frozen
class Union:
    """Content when every part is; the first part that is not says what to do."""

    parts: tuple[Policy, ...]

    def copies(self, question: Question) -> int:
        """How many copies the policy wants in the end, at the least."""
        return max(part.copies(question) for part in self.parts)

    def judge(self, question: Question, random: Random) -> Verdict:
        """One step: who should have the next copy."""
        verdicts = [part.judge(question, random) for part in self.parts]
        words = {verdict.word for verdict in verdicts}
        if COPY in words:
            return next(verdict for verdict in verdicts if verdict.word == COPY)
        if WAIT in words:
            return Verdict(WAIT)
        return Verdict(TOO_MANY if words == {TOO_MANY} else SATISFIED)

    def settled(self, question: Question) -> bool:
        """Whether no part will want anything else, whatever hosts come or go."""
        return all(part.settled(question) for part in self.parts)

    def __str__(self) -> str:
        return f"Union({', '.join(map(str, self.parts))})"


Policy = AllHosts | MultipleHosts | MultipleDevices | Union


def plan(policy: Policy, question: Question, random: Random) -> Verdict:
    """All the copies to make, in order: the policy asked again after each one.

    The word is that of the first answer; `devids` are complete when every copy in
    turn can be made, and shorter when the policy must then wait.
    """
    first = verdict = policy.judge(question, random)
    chosen: list[int] = []
    while verdict.word == COPY:
        chosen.append(verdict.devids[0])
        question = question.with_copy(verdict.devids[0])
        verdict = policy.judge(question, random)
    return Verdict(first.word, tuple(chosen))


def _copy_to(devids: list[int]) -> Verdict:
    return Verdict(COPY, tuple(devids)) if devids else Verdict(WAIT)


# --- the text

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_:]*|[0-9]{1,4}|[(),])", re.ASCII)
_NUMBERED: dict[str, type[MultipleHosts] | type[MultipleDevices]] = {
    "MultipleHosts": MultipleHosts,
    "MultipleDevices": MultipleDevices,
}


@lru_cache(maxsize=256)
def parse_policy(text: str) -> Policy:
    """The policy that a text means; raises ValueError with a sentence if none."""
    if len(text) > MAX_POLICY_CHARS:
        raise ValueError(f"a policy has at most {MAX_POLICY_CHARS} characters")
    tokens: list[str] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"not understood from here on: {text[position:]!r}")
        tokens.append(match[1])
        position = match.end()
    policy, rest = _parse(tokens, 0)
    if rest:
        raise ValueError(f"nothing may follow the policy, but there is {rest[0]!r}")
    return policy


def _parse(tokens: list[str], depth: int) -> tuple[Policy, list[str]]:
    if depth > MAX_POLICY_DEPTH:
        raise ValueError(f"policies nest at most {MAX_POLICY_DEPTH} deep")
    if not tokens or not tokens[0][0].isalpha():
        raise ValueError("a policy begins with its name, as in MultipleHosts(2)")
    name, rest = tokens[0].rpartition("::")[2], tokens[1:]
    if not rest or rest[0] != "(":
        raise ValueError(f"{name} needs parentheses, as in {name}()")
    rest = rest[1:]
    if name == "Union":
        return _parse_union(rest, depth)
    if name == "AllHosts":
        policy: Policy = AllHosts()
    elif name in _NUMBERED:
        count = 0
        if rest and rest[0].isdigit():
            count, rest = int(rest[0]), rest[1:]
        policy = _NUMBERED[name](count)
    else:
        raise ValueError(
            f"no policy is called {name!r}; there are AllHosts(), MultipleHosts(n), "
            "MultipleDevices(n) and Union(...)"
        )
    return policy, _closed(name, rest)


def _parse_union(rest: list[str], depth: int) -> tuple[Policy, list[str]]:
    parts: list[Policy] = []
    while True:
        part, rest = _parse(rest, depth + 1)
        parts.append(part)
        if not rest or rest[0] != ",":
            return Union(tuple(parts)), _closed("Union", rest)
        rest = rest[1:]


def _closed(name: str, rest: list[str]) -> list[str]:
    if not rest or rest[0] != ")":
        found = rest[0] if rest else "the end"
        raise ValueError(f"{name}(...) should be closed, but there is {found!r}")
    return rest[1:]
