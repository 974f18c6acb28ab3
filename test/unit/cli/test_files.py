"""Tests of koboldfs.cli.files."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from pathlib import Path

from test.unit.cli.case import ClientTrouble, CommandCase


class FilesCase(CommandCase):
    """With a folder of its own."""

    def setUp(self) -> None:
        """The folder."""
        super().setUp()
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def file(self, name: str, data: bytes) -> str:
        """A file in the folder."""
        path = self.folder / name
        path.write_bytes(data)
        return str(path)


class PutTests(FilesCase):
    """``koboldfs put``."""

    def test_put_short_of_the_promise(self) -> None:
        """It is stored, and on fewer hosts than promised: one line on stderr says so,
        and the JSON does."""
        self.client.short = 1, 2
        result = self.run_raw("--domain", "d", "put", "-", "k", stdin=b"hello")
        self.assertEqual(result.exit_code, 0)
        self.assertIn("k: stored, for now on 1 of 2 hosts", result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1)
        words = ("--json", "--domain", "d", "put", "-", "k")
        record = json.loads(self.run_raw(*words, stdin=b"hello").stdout)
        self.assertEqual((record["hosts"], record["promised"]), (1, 2))

    def test_file(self) -> None:
        """A file is stored under the key, byte for byte, and nothing is said."""
        result = self.files("put", self.file("a", b"twas brillig"), "k/1")
        self.assertEqual(self.client.files, {b"k/1": (b"twas brillig", "default")})
        self.assertEqual(result.stdout, "")

    def test_own_name(self) -> None:
        """Without a key it is the file's name, without its folder."""
        self.files("put", self.file("a.txt", b"x"))
        self.assertEqual(list(self.client.files), [b"a.txt"])

    def test_stdin(self) -> None:
        """``-`` is the standard input; it has no name, so a key is needed."""
        self.files("put", "-", "k", stdin=b"\x00\xff" * 9)
        self.assertEqual(self.client.files[b"k"][0], b"\x00\xff" * 9)
        self.files("put", "-", stdin=b"x", status=2)

    def test_class(self) -> None:
        """The class is passed on."""
        self.files("put", "--class", "big", self.file("a", b"x"), "k")
        self.assertEqual(self.client.files[b"k"], (b"x", "big"))

    def test_any_bytes(self) -> None:
        """A key that is no text is named by its bytes."""
        self.files("put", self.file("a", b"x"), os.fsdecode(b"\xff\xe9"))
        self.assertEqual(list(self.client.files), [b"\xff\xe9"])

    def test_json(self) -> None:
        """``--json`` tells what was stored."""
        result = self.files("put", "--json", self.file("a", b"xyz"), "k")
        self.assertEqual(
            json.loads(result.stdout),
            {
                "key": "k",
                "fid": 7,
                "size": 3,
                "copies": 2,
                "class": "default",
                "checksum": "SHA-256:00",
            },
        )

    def test_no_such_file(self) -> None:
        """A file that is not there is said so, before a server is asked."""
        path = str(self.folder / "nothing")
        result = self.files("put", path, "k", status=1)
        self.assertIn(path, result.stderr)
        self.assertIn("No such file", result.stderr)
        self.assertEqual(self.client.asked, [])
        self.files("put", str(self.folder), "k", status=1)

    def test_trouble(self) -> None:
        """What the cluster says against it is the one line."""
        self.client.trouble = ClientTrouble("no server answers: a, b")
        result = self.files("put", self.file("a", b"x"), "k", status=1)
        self.assertEqual(result.stderr, "koboldfs: no server answers: a, b\n")

    def test_no_domain(self) -> None:
        """Without a domain it is a usage error that says what to do."""
        result = self.run_raw("put", self.file("a", b"x"), "k")
        self.check(result, 2)
        self.assertIn("KOBOLDFS_DOMAIN", result.stderr)

    def test_empty_key(self) -> None:
        """An empty key is a usage error."""
        self.files("put", self.file("a", b"x"), "", status=2)


class GetTests(FilesCase):
    """``koboldfs get``."""

    def setUp(self) -> None:
        """One file is stored."""
        super().setUp()
        self.client.files[b"dir/k"] = b"jabberwock", "default"

    def left(self) -> dict[str, bytes]:
        """What is in the folder, hidden files and all."""
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}

    def test_file(self) -> None:
        """The file appears, with the rights of a new file."""
        before = os.umask(0o027)
        self.addCleanup(os.umask, before)
        self.files("get", "dir/k", str(self.folder / "out"))
        self.assertEqual(self.left(), {"out": b"jabberwock"})
        mode = stat.S_IMODE((self.folder / "out").stat().st_mode)
        self.assertEqual(mode, 0o640)

    def test_replace(self) -> None:
        """A file that is there is replaced and keeps its rights; a link to it stays."""
        path = Path(self.file("out", b"old"))
        path.chmod(0o604)
        link = self.folder / "link"
        link.symlink_to(path)
        self.files("get", "dir/k", str(link))
        self.assertTrue(link.is_symlink())
        self.assertEqual(path.read_bytes(), b"jabberwock")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o604)

    def test_own_name(self) -> None:
        """Without FILE it is the last part of the key, here or in a folder."""
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.folder)
        self.files("get", "dir/k")
        self.assertEqual(self.left(), {"k": b"jabberwock"})
        inner = self.folder / "inner"
        inner.mkdir()
        self.files("get", "dir/k", str(inner))
        self.assertEqual((inner / "k").read_bytes(), b"jabberwock")

    def test_no_name(self) -> None:
        """A key that makes no file name needs a FILE; none climbs out of the folder."""
        for key in ("..", "a/..", "/", "."):
            self.client.files[key.encode()] = b"x", "default"
            self.files("get", key, status=2)
        self.files("get", "..", str(self.folder), status=2)
        self.assertEqual(self.left(), {})

    def test_stdout(self) -> None:
        """``-`` is the standard output, byte for byte."""
        self.client.files[b"b"] = b"\x00\xff\r\n", "default"
        self.assertEqual(self.files("get", "b", "-").stdout_bytes, b"\x00\xff\r\n")

    def test_missing(self) -> None:
        """A key that is not there: exit status 1, and what was there stays."""
        path = self.file("out", b"old")
        result = self.files("get", "no", path, status=1)
        self.assertEqual(result.stderr, "koboldfs: no such key: no\n")
        self.files("get", "no", "-", status=1)
        self.assertEqual(self.left(), {"out": b"old"})

    def test_trouble_half_way(self) -> None:
        """A transfer that breaks leaves nothing, and what was there stays."""
        path = self.file("out", b"old")
        self.client.trouble, self.client.trouble_after = ClientTrouble("lost"), 4
        self.files("get", "dir/k", path, status=1)
        self.files("get", "dir/k", str(self.folder / "new"), status=1)
        self.assertEqual(self.left(), {"out": b"old"})

    def test_interrupted(self) -> None:
        """Ctrl-C ends it with 130, without a word and without a half file."""
        self.client.trouble, self.client.trouble_after = KeyboardInterrupt(), 4
        result = self.files("get", "dir/k", str(self.folder / "new"), status=130)
        self.assertEqual(result.stderr.strip(), "")
        self.assertEqual(self.left(), {})

    def test_terminated(self) -> None:
        """SIGTERM, which comes as SystemExit, leaves no half file either."""
        self.client.trouble, self.client.trouble_after = SystemExit(143), 4
        self.files("get", "dir/k", str(self.folder / "new"), status=143)
        self.assertEqual(self.left(), {})

    def test_no_folder(self) -> None:
        """A folder that is not there is one line."""
        self.files("get", "dir/k", str(self.folder / "no" / "out"), status=1)

    def test_device(self) -> None:
        """A device or a pipe is written to, not replaced by a file."""
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        found: list[bytes] = []
        reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
        reader.start()
        self.files("get", "dir/k", str(pipe))
        reader.join(5)
        self.assertEqual(found, [b"jabberwock"])
        self.assertTrue(stat.S_ISFIFO(pipe.stat().st_mode))


class KeyTests(FilesCase):
    """The commands that only name keys."""

    def setUp(self) -> None:
        """Some keys, one of which is no text."""
        super().setUp()
        for key in (b"a/1", b"a/2", b"b\xff\n", b"c"):
            self.client.files[key] = b"data", "default"

    def test_ls(self) -> None:
        """All keys in order, byte for byte in a pipe."""
        result = self.files("ls")
        self.assertEqual(result.stdout_bytes, b"a/1\na/2\nb\xff\n\nc\n")
        result = self.files("ls", "-0")
        self.assertEqual(result.stdout_bytes, b"a/1\0a/2\0b\xff\n\0c\0")

    def test_ls_some(self) -> None:
        """A prefix, an end, a number; none found is no failure."""
        self.assertEqual(self.files("ls", "a/").stdout, "a/1\na/2\n")
        self.assertEqual(self.files("ls", "--after", "a/1", "a").stdout, "a/2\n")
        self.assertEqual(self.files("ls", "--limit", "1").stdout, "a/1\n")
        self.assertEqual(self.files("ls", "zzz").stdout, "")
        self.files("ls", "--limit", "0", status=2)

    def test_ls_long(self) -> None:
        """Size, copies and class before the key."""
        words = self.files("ls", "--long", "c").stdout.split()
        self.assertEqual(words, ["4", "2", "default", "c"])

    def test_ls_json(self) -> None:
        """One object a line; a byte that is no UTF-8 can be had back."""
        lines = self.files("--json", "ls").stdout.splitlines()
        keys = [json.loads(line)["key"] for line in lines]
        self.assertEqual(keys[2].encode("utf-8", "surrogateescape"), b"b\xff\n")
        found = json.loads(self.files("ls", "--json", "-l", "c").stdout)
        self.assertEqual((found["size"], found["copies"]), (4, 2))

    def test_ls_deleted_meanwhile(self) -> None:
        """With --long a key that goes while we list is left out."""
        self.patch(self.client, "stat", lambda key: None)
        self.assertEqual(self.files("ls", "-l").stdout, "")

    def test_rm(self) -> None:
        """Several keys; one that is not there is named, the others go."""
        result = self.files("rm", "a/1", "no", "c", "nein", status=1)
        self.assertEqual(result.stderr, "koboldfs: no such key: no, nein\n")
        self.assertEqual(sorted(self.client.files), [b"a/2", b"b\xff\n"])
        self.files("rm", "--force", "no")
        self.files("rm", status=2)

    def test_rm_json(self) -> None:
        """Each key with what became of it."""
        result = self.files("--json", "rm", "c", "no", status=1)
        found = [json.loads(line)["deleted"] for line in result.stdout.splitlines()]
        self.assertEqual(found, [True, False])

    def test_mv(self) -> None:
        """A rename; of nothing, and onto something, it is not done."""
        self.files("mv", "c", "d")
        self.assertIn(b"d", self.client.files)
        result = self.files("mv", "c", "e", status=1)
        self.assertIn("no such key: c", result.stderr)
        result = self.files("mv", "d", "a/1", status=1)
        self.assertIn("already exists", result.stderr)

    def test_stat(self) -> None:
        """What is known, for people and for programs; a missing key is named."""
        text = self.files("stat", "c").stdout
        self.assertIn("4 bytes", text)
        self.assertIn("SHA-256:00", text)
        result = self.files("--json", "stat", "c", "no", status=1)
        self.assertEqual(json.loads(result.stdout)["fid"], 7)
        self.assertIn("no such key: no", result.stderr)

    def test_url(self) -> None:
        """A URL, or exit status 1."""
        self.assertEqual(
            self.files("url", "c").stdout, "http://127.0.0.1:7500/dev1/x.fid\n"
        )
        self.assertIn("url", json.loads(self.files("--json", "url", "c").stdout))
        self.files("url", "no", status=1)

    def test_ping(self) -> None:
        """Every server is asked; no domain is needed; a silent one is named."""
        result = self.done("ping", "--servers", "a,b:7")
        self.assertEqual(self.context.pinged, ["a:9876", "b:7"])
        self.assertEqual(result.stdout.count("answers in"), 2)
        self.client.answers = False
        result = self.done("--json", "ping", status=1)
        self.assertFalse(json.loads(result.stdout)["answers"])
        self.assertIn("127.0.0.1:9876", result.stderr)
