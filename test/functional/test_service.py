"""The service as an operator meets it: first start, wrong options, restarts."""

from __future__ import annotations

import resource
import signal
import socket
import sqlite3
import time

from attrs import asdict

from koboldfs.descriptors import MAX_DESCRIPTORS
from test.functional.case import FunctionalCase
from test.functional.cluster import (
    STOP_SECONDS,
    Cluster,
    Node,
    Ports,
    devices,
    hosts,
    wait_until,
)
from test.functional.postgresql import PostgreSQL
from test.functional.tracker_line import get, put

#: A lone node, from its start to the first answer.
START_SECONDS = 40.0


class OneNode(FunctionalCase):
    """``twistd -n koboldfs --tracker --storage`` alone."""

    def node(self, *arguments: str) -> Node:
        """A node in an empty folder, with no option but what keeps tests apart."""
        cluster = Cluster(1)
        self.clusters.append(cluster)
        self.addCleanup(cluster.stop)
        node = Node(1, cluster.folder / "empty", cluster.ports, list(arguments))
        cluster.nodes.append(node)
        return node

    def wait_writable(self, node: Node) -> None:
        """Until the node's one tracker sees its one device."""
        with node.tracker() as tracker:

            def writable() -> bool:
                node.must_run()
                states = [one["observed_state"] for one in devices(tracker)]
                return states == ["writeable"]

            wait_until(writable, START_SECONDS, "one writable device")

    def stop(self, node: Node) -> None:
        """End a node in order; that it was in order is checked."""
        # twistd ends itself with the signal that asked it to end, after it has closed.
        self.assertIn(node.stop(), (0, -signal.SIGTERM))
        self.assertIn("Server Shut Down", node.log.read_text())
        self.assertNotIn("Traceback", node.log.read_text())

    def test_empty_folder(self) -> None:
        """In an empty folder a start makes a complete system that keeps files."""
        node = self.node("--domain=demo")
        node.start()
        self.wait_writable(node)
        with node.tracker() as tracker:
            tracker.store("demo", "a/b", b"content")
            self.assertEqual(tracker.fetch("demo", "a/b"), b"content")
        kept = node.folder / "koboldfs-data"
        self.assertTrue((kept / "koboldfs.db").exists())
        files = list((kept / "devices" / "dev1").rglob("*.fid"))
        self.assertEqual([file.read_bytes() for file in files], [b"content"])

    def test_restart(self) -> None:
        """A second start finds host, device, domain and files; nothing is doubled."""
        node = self.node("--domain=demo")
        node.start()
        self.wait_writable(node)
        with node.tracker() as tracker:
            tracker.store("demo", "kept", b"still here")
        self.stop(node)
        node.start()
        self.wait_writable(node)
        with node.tracker() as tracker:
            self.assertEqual(tracker.fetch("demo", "kept"), b"still here")
            self.assertEqual([host["hostname"] for host in hosts(tracker)], ["node1"])
            self.assertEqual([one["devid"] for one in devices(tracker)], ["1"])
            self.assertEqual(tracker.ask("get_domains")["domains"], "1")

    def test_ends_in_order(self) -> None:
        """SIGTERM ends a node at once, also while it starts and while it works."""
        node = self.node("--domain=demo")
        node.start()
        wait_until(
            lambda: node.log.exists() and "starting up" in node.log.read_text(),
            START_SECONDS,
            "the node has begun to start",
        )
        # So early the signal may come before there is anything to be closed.
        self.assertIn(node.stop(), (0, -signal.SIGTERM))
        node.start()
        self.wait_writable(node)
        with node.tracker() as tracker:
            tracker.store("demo", "key", b"content")
        began = time.monotonic()
        self.stop(node)
        self.assertLess(time.monotonic() - began, STOP_SECONDS)

    def test_told_to_end_again(self) -> None:
        """Further signals change nothing, and are no defect in the log."""
        node = self.node("--domain=demo")
        node.start()
        self.wait_writable(node)
        # Both wait for a process that is held, so that they come one upon the other.
        node.pause()
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        node.process.send_signal(signal.SIGINT)
        node.resume()
        ended = node.process.wait(STOP_SECONDS)
        self.assertIn(ended, (-signal.SIGINT, -signal.SIGTERM))
        text = node.log.read_text()
        self.assertIn("it is ending already", text)
        self.assertNotIn("Traceback", text)

    def test_config_file(self) -> None:
        """A config file gives options by name; the command line wins over it."""
        folder = self.temporary_folder()
        config = folder / "koboldfs.ini"
        config.write_text(
            "[koboldfs]\nhost-name = loser\ndevices = 2\ndomain = one, two\n"
        )
        node = self.node(f"--config={config}")
        node.start()
        with node.tracker() as tracker:

            def two() -> bool:
                node.must_run()
                return len(devices(tracker)) == 2

            wait_until(two, START_SECONDS, "two devices")
            names = {one["hostname"] for one in devices(tracker)}
            self.assertEqual(names, {"node1"})
            domains = tracker.ask("get_domains")
        self.assertEqual({domains["domain1"], domains["domain2"]}, {"one", "two"})

    def test_storage_alone(self) -> None:
        """``--storage`` alone serves the devN folders that it finds, marked or not."""
        ports = Ports.free(["127.0.0.1"])
        node = Node(1, self.temporary_folder() / "store", ports, is_tracker=False)
        (node.folder / "koboldfs-data" / "devices" / "dev7").mkdir(parents=True)
        self.addCleanup(node.stop)
        node.start()
        url = f"http://127.0.0.1:{ports.storage}/dev7/0/000/000/0000000042.fid"

        def stored() -> bool:
            put(url, b"by hand")
            return True

        wait_until(stored, START_SECONDS, "the node takes a file")
        self.assertEqual(get(url), b"by hand")

    def test_descriptors(self) -> None:
        """A soft limit of descriptors that is too low is raised to the hard one."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        node = self.node("--domain=demo")
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
        try:
            node.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        self.wait_writable(node)
        assert node.process is not None
        found, _ = resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)
        self.assertEqual(found, min(hard, MAX_DESCRIPTORS))

    def test_database_comes_later(self) -> None:
        """A database that is away is waited for, and its password is not told."""
        server = PostgreSQL()
        server.start()
        self.addCleanup(server.stop)
        url = server.url("postgres").replace("postgres@", "postgres:secret@")
        server.kill()
        node = self.node(f"--database={url}", "--domain=demo")
        node.start()
        wait_until(
            lambda: node.log.exists() and "cannot reach" in node.log.read_text(),
            START_SECONDS,
            "the node says what is wrong",
        )
        node.must_run()
        server.restart()
        self.wait_writable(node)
        self.assertNotIn("secret", node.log.read_text())

    def test_refuses_foreign_schema(self) -> None:
        """A database of a schema that we do not know is refused in one line."""
        node = self.node()
        node.start()
        self.wait_writable(node)
        self.stop(node)
        database = node.folder / "koboldfs-data" / "koboldfs.db"
        connection = sqlite3.connect(database)
        with connection:
            connection.execute(
                "update server_settings set value='99' where field='schema_version'"
            )
        connection.close()
        before = node.log.stat().st_size
        node.start()
        assert node.process is not None
        self.assertEqual(node.process.wait(START_SECONDS), 1)
        output = (node.folder / "output").read_text()
        said = [line for line in output.splitlines() if "99" in line]
        self.assertEqual(len(said), 1, f"{output}\n{node.log.read_text()[before:]}")
        self.assertIn("schema", said[0])


class Refusals(FunctionalCase):
    """What cannot work ends with status 1 and one line that helps."""

    def test_wrong_options(self) -> None:
        """A wrong option or value is named, with what was given; nothing is made."""
        folder = self.temporary_folder()
        both = ("--tracker", "--storage")
        missing = str(folder / "nothing.ini")
        for arguments, names in [
            ((), ("--tracker", "--storage")),
            ((*both, "--database=oracle://x"), ("--database", "oracle://x", "sqlite")),
            ((*both, "--devices=many"), ("--devices", "many", "number")),
            (("--storage", "--join=host"), ("--join", "host", "HOST:PORT")),
            ((*both, f"--config={missing}"), ("--config", missing)),
            ((*both, "--colour=red"), ("colour",)),
            ((*both, "surplus"), ("surplus",)),
        ]:
            self.refused(*arguments, names=names, folder=folder)
        self.assertEqual(list(folder.iterdir()), [], "nothing was made on the way")

    def test_wrong_values_seen_late(self) -> None:
        """What only its user can judge is refused just as plainly."""
        listen = Ports.free(["127.0.0.1"])
        free = [
            f"--{door}-listen=tcp:{port}:interface=127.0.0.1"
            for door, port in asdict(listen).items()
        ]
        for wrong, names in [
            ("--policy=Everywhere()", ("--policy", "Everywhere()", "AllHosts()")),
            ("--storage-listen=tcp:x", ("--storage-listen", "tcp:x")),
            ("--tracker-listen=pigeon:1", ("--tracker-listen", "pigeon:1")),
        ]:
            arguments = ("--tracker", "--storage", *free, wrong)
            self.refused(*arguments, names=names, folder=self.temporary_folder())

    def test_port_in_use(self) -> None:
        """A port that somebody else has is named, and the service does not linger."""
        folder = self.temporary_folder()
        ports = Ports.free(["127.0.0.1"])
        with socket.create_server(("127.0.0.1", ports.storage)):
            self.refused(
                "--storage",
                f"--storage-listen=tcp:{ports.storage}:interface=127.0.0.1",
                f"--sidechannel-listen=tcp:{ports.sidechannel}:interface=127.0.0.1",
                names=("--storage-listen", str(ports.storage)),
                folder=folder,
            )

    def test_data_folder_that_cannot_be(self) -> None:
        """A data folder that cannot be made is named."""
        folder = self.temporary_folder()
        (folder / "file").write_bytes(b"")
        data = str(folder / "file" / "data")
        arguments = ("--tracker", "--storage", f"--data={data}")
        self.refused(*arguments, names=("--data", data), folder=folder)
