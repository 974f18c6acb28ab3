"""Calls and habits that have bitten somebody, each with what to do instead."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.python.reflect import namedAny
from twisted.trial import unittest

from test.tree.source import Module, all_modules, modules, name_of, texts

#: Names that no module of koboldfs may use, and what to write instead.
BANNED_NAMES = {
    "inlineCallbacks": "async def, and Deferred.fromCoroutine at the rim",
    "returnValue": "return",
    "deferToThread": "deferToThreadPool with the pool that was handed in",
    "DeferredSemaphore": "koboldfs.slots.Slots: many may wait for it",
    "DeferredLock": "koboldfs.slots.Slots(1)",
}
#: Where a program talks to a human: the command, and a service that cannot start.
SPEAKERS = ("koboldfs.cli", "koboldfs.demo", "koboldfs.tap")
#: Who may name the global reactor.
REACTOR_OWNERS = (
    "koboldfs.tap",
    "koboldfs.processes.child",
    "koboldfs.cli",
    "koboldfs.demo",
)
#: Words that mean that something is not finished; split so that this file has none.
LEFTOVERS = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
#: Places that exist only where this was written.
ELSEWHERE = re.compile(
    r"\.\./" + "shared|" + r"\.lib" + r"rary\b|(?<![\w.])/wo" + "rk/"
)
ADDERS = ("addCallback", "addErrback", "addBoth", "addCallbacks", "runInteraction")


def calls(module: Module) -> Iterator[ast.Call]:
    """Every call in a module."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            yield node


def within(module: Module, rooms: tuple[str, ...]) -> bool:
    """Whether the module is one of `rooms` or in one."""
    return f"{module.name}.".startswith(tuple(f"{room}." for room in rooms))


def coroutines_as_callbacks(module: Module) -> list[int]:
    """Lines on which an ``async def`` of the module is added as a callback."""
    if not any(adder in module.text for adder in ADDERS):
        return []
    awaited = {
        function.name
        for function in module.functions()
        if isinstance(function, ast.AsyncFunctionDef)
    }
    return [
        call.lineno
        for call in calls(module)
        if name_of(call.func) in ADDERS
        and any(name_of(argument) in awaited for argument in call.args)
    ]


def unawaited_tests(case: type) -> list[str]:
    """Names of the coroutine tests of a class whose tests are run synchronously."""
    if issubclass(case, unittest.TestCase):
        return []
    return [
        name
        for name, value in inspect.getmembers(case)
        if name.startswith("test") and inspect.iscoroutinefunction(value)
    ]


class Bans(unittest.SynchronousTestCase):
    """Over koboldfs, and where it says so over the tests."""

    def test_names(self) -> None:
        """Nothing that there are better words for today."""
        wrong = [
            f"{module.path}:{node.lineno}: {name}: write {BANNED_NAMES[name]}"
            for module in modules("koboldfs")
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Name | ast.Attribute)
            and (name := name_of(node)) in BANNED_NAMES
            and module.name != "koboldfs.slots"
        ]
        self.assertEqual(wrong, [])

    def test_no_sleeping(self) -> None:
        """Nothing in a server's process sleeps: time is handed in."""
        wrong = [
            f"{module.path}:{call.lineno}"
            for module in modules("koboldfs")
            if not within(module, (*SPEAKERS, "koboldfs.native_client"))
            for call in calls(module)
            if ast.unparse(call.func) == "time.sleep"
        ]
        self.assertEqual(wrong, [])

    def test_print(self) -> None:
        """Only the command and the demo print; a server logs."""
        wrong = [
            f"{module.path}:{call.lineno}"
            for module in modules("koboldfs")
            if not within(module, SPEAKERS)
            for call in calls(module)
            if ast.unparse(call.func) == "print"
        ]
        self.assertEqual(wrong, [])

    def test_global_reactor(self) -> None:
        """Only the roof names the reactor; all others are handed one."""
        wrong = [
            f"{module.path}:{line}"
            for module in modules("koboldfs")
            if not within(module, REACTOR_OWNERS)
            for line, target in module.imports()
            if target == "twisted.internet.reactor"
        ]
        self.assertEqual(wrong, [])

    def test_coroutine_as_callback(self) -> None:
        """A coroutine function is no callback: nobody would await its result."""
        wrong = [
            f"{module.path}:{line}"
            for module in all_modules()
            for line in coroutines_as_callbacks(module)
        ]
        self.assertEqual(wrong, [])

    def test_coroutine_as_callback_is_seen(self) -> None:
        """The test above sees what it is there for."""
        text = "async def act(): pass\ndeferred.addCallback(act)\n"
        module = Module(Path("sample.py"), "sample", text)
        self.assertEqual(coroutines_as_callbacks(module), [2])

    def test_coroutine_tests(self) -> None:
        """No synchronous test is ``async``: it would pass without having run."""
        wrong = []
        for module in modules("test"):
            if not module.path.name.startswith("test_"):
                continue
            for name, value in vars(namedAny(module.name)).items():
                is_case = isinstance(value, type) and value.__module__ == module.name
                if is_case:
                    wrong += [f"{name}.{test}" for test in unawaited_tests(value)]
        self.assertEqual(wrong, [])

    def test_coroutine_tests_are_seen(self) -> None:
        """The test above sees an inherited one, and leaves asynchronous cases alone."""

        class Mixin:
            async def test_inherited(self) -> None:
                """Would never run."""

        synchronous = type("Case", (Mixin, unittest.SynchronousTestCase), {})
        asynchronous = type("Case", (Mixin, unittest.TestCase), {})
        self.assertEqual(unawaited_tests(synchronous), ["test_inherited"])
        self.assertEqual(unawaited_tests(asynchronous), [])

    def test_leftovers(self) -> None:
        """Nothing is marked as unfinished: do it, or open an issue."""
        self.assert_nowhere(LEFTOVERS)

    def test_stands_alone(self) -> None:
        """Nothing names a place that a reader of this tree does not have."""
        self.assert_nowhere(ELSEWHERE)

    def assert_nowhere(self, pattern: re.Pattern[str]) -> None:
        """No line of ours matches."""
        wrong = [
            f"{path}:{number}: {line.strip()}"
            for path, text in texts()
            for number, line in enumerate(text.splitlines(), 1)
            if pattern.search(line)
        ]
        self.assertEqual(wrong, [])
