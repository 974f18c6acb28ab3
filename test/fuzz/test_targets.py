"""Some thousands of mutated inputs, always the same ones, and all that once failed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from test.fuzz.campaign import KEPT, SUITE_SEED, campaign, kept
from test.fuzz.target import examine, watching
from test.fuzz.targets import TARGETS


class Campaigns(SynchronousTestCase):
    """One test for each target."""

    def assert_withstands(self, name: str) -> None:
        """The samples, mutations of them, and what once failed do no harm."""
        target = TARGETS[name]
        with watching() as logged:
            for path, data in kept(target):
                fault = examine(target, data, logged)
                self.assertIsNone(fault, f"{path.name}: {fault and fault.details}")
        found = campaign(target, target.inputs, SUITE_SEED)
        if found is not None:
            self.fail(
                f"{found.fault.kind}: python -m test.fuzz {name} --seed {SUITE_SEED}"
                f" --first {found.number or 0} --inputs 1\n{found.fault.details}"
            )

    def test_tracker_lines(self) -> None:
        """The tracker's lines."""
        self.assert_withstands("tracker-lines")

    def test_tracker_door(self) -> None:
        """A connection to the tracker."""
        self.assert_withstands("tracker-door")

    def test_native_parser(self) -> None:
        """The native protocol's requests."""
        self.assert_withstands("native-parser")

    def test_native_frames(self) -> None:
        """The native protocol's replies."""
        self.assert_withstands("native-frames")

    def test_native_door(self) -> None:
        """A connection to the native door."""
        self.assert_withstands("native-door")

    def test_native_client(self) -> None:
        """The synchronous Python client."""
        self.assert_withstands("native-client")

    def test_side_lines(self) -> None:
        """The side channel's lines."""
        self.assert_withstands("side-lines")

    def test_side_server(self) -> None:
        """A connection to a node's side channel."""
        self.assert_withstands("side-server")

    def test_side_client(self) -> None:
        """The tracker's end of a side channel."""
        self.assert_withstands("side-client")

    def test_http_door(self) -> None:
        """A connection to a storage node."""
        self.assert_withstands("http-door")

    def test_node_http(self) -> None:
        """What a tracker reads of a storage node's answers."""
        self.assert_withstands("node-http")

    def test_fetch(self) -> None:
        """What a storage node reads of another one's answers."""
        self.assert_withstands("fetch")

    def test_complete(self) -> None:
        """Every target has a test here, and what is kept belongs to a target."""
        named = {f"test_{name.replace('-', '_')}" for name in TARGETS}
        self.assertEqual(named - set(dir(self)), set())
        self.assertEqual({path.name for path in KEPT.iterdir()} - set(TARGETS), set())
