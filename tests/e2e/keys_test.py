"""Cluster keys in a file: listed, added, put to use and removed, also under a running tracker."""

import os
import subprocess
import unittest

from harness import BINARY, EXISTS, LIMIT, MALFORMED, OK, REFUSED, USAGE, EndToEnd

MIB = 1024 * 1024


class Keys(EndToEnd):
    def setUp(self):
        super().setUp()
        self.key = self.make_key("cluster.key")

    def keys(self, command, *arguments, file=None, code=OK):
        """What `p2p keys` prints. No secret is ever in it."""
        secrets = [line.split()[0] for line in (file or self.key).read_text().splitlines() if line and line[0] != "#"]
        result = self.run_p2p("keys", command, file or self.key, *arguments)
        self.assertEqual(result.wait(), code, result.error_text())
        said = "\n".join(line for line in result.out + result.err if line)
        for secret in secrets:
            self.assertNotIn(secret, said)
        return said if code else "\n".join(line for line in result.out if line)

    def names(self, file=None):
        lines = self.keys("list", file=file).splitlines()
        self.assertEqual([line.endswith("  in use") for line in lines], [True] + [False] * (len(lines) - 1))
        return [line.split()[0] for line in lines]

    def make_key(self, name):
        """A key file whose key can stand as an argument: one in 64 would be taken for a flag."""
        file = self.folder / name
        while not file.exists() or file.read_text().startswith("-"):
            file.unlink(missing_ok=True)
            self.assertEqual(self.run_p2p("keygen", "-o", file).wait(), OK)
        return file

    def test_a_key_is_added_put_to_use_and_the_old_one_removed(self):
        old, = self.names()
        self.assertRegex(old, "^[0-9a-f]{8}$")
        first_line = self.key.read_text()
        new = self.keys("add")
        self.assertEqual(self.names(), [old, new])
        self.assertTrue(self.key.read_text().startswith(first_line))
        self.keys("use", new)
        self.assertEqual(self.names(), [new, old])
        self.assertIn("in use", self.keys("remove", new, code=USAGE))
        self.keys("remove", old)
        self.assertEqual(self.names(), [new])
        self.assertEqual(self.key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["cluster.key"])

    def test_a_key_is_added_from_an_argument_or_from_stdin(self):
        given = self.make_key("given").read_text()
        name, = self.names(file=self.folder / "given")
        self.assertEqual(self.keys("add", given.strip()), name)
        self.keys("remove", name)
        added = subprocess.run([BINARY, "keys", "add", self.key, "-"], input=given, text=True, capture_output=True, env=self.env)
        self.assertEqual((added.returncode, added.stdout), (OK, name + "\n"))
        self.assertNotIn(given.strip(), added.stderr)
        self.assertEqual(self.names()[1:], [name])

    def test_comments_stay_where_they_were(self):
        one, two, three = (self.make_key(name).read_text().strip() for name in ("one", "two", "three"))
        file = self.folder / "commented"
        file.write_text(f"# of the lab\n{one}  # of May\n\n# to come\n{two} # of June\n{three}")
        names = self.names(file=file)
        self.keys("use", names[2], file=file)
        self.assertEqual(self.names(file=file), [names[2], names[0], names[1]])
        self.keys("remove", names[0], file=file)
        self.assertEqual(file.read_text(), f"# of the lab\n{three}\n\n# to come\n{two} # of June\n")

    def test_who_could_read_the_file_still_can(self):
        others = [group for group in os.getgroups() if group != os.getegid()]
        if os.geteuid() == 0:
            others.append(12345)
        if others:
            os.chown(self.key, -1, others[-1])
        else:
            print("this user is in one group: that another one stays is not seen here")
        self.key.chmod(0o640)
        before = self.key.stat()
        self.keys("add")
        after = self.key.stat()
        self.assertNotEqual(before.st_ino, after.st_ino)
        self.assertEqual((before.st_mode, before.st_gid), (after.st_mode, after.st_gid))

    def test_a_symlink_stays_one(self):
        link = self.folder / "link.key"
        link.symlink_to("cluster.key")
        name = self.keys("add", file=link)
        self.assertTrue(link.is_symlink())
        self.assertIn(name, self.names())

    def test_what_is_refused_leaves_the_file_as_it_was(self):
        secret = self.key.read_text().strip()
        name, = self.names()
        for arguments, code in ((["remove", "00000000"], USAGE), (["use", "00000000"], USAGE), (["remove", name], USAGE),
                                (["use"], USAGE), (["add", "nonsense"], MALFORMED), (["add", secret], USAGE)):
            result = self.run_p2p("keys", arguments[0], self.key, *arguments[1:])
            self.assertEqual(result.wait(), code, arguments)
            self.assertNotIn(secret, result.error_text())
            self.assertEqual(self.key.read_text(), secret + "\n")
        for _ in range(3):
            self.keys("add")
        before = self.key.read_text()
        self.assertIn("at most 4", self.keys("add", code=LIMIT))
        self.assertEqual(self.key.read_text(), before)
        self.assertEqual(self.run_p2p("keys").wait(), USAGE)
        self.assertEqual(self.run_p2p("keygen", "-o", self.key).wait(), EXISTS)

    def test_a_file_that_is_no_key_file_is_refused_everywhere_with_the_line(self):
        secret = self.key.read_text().strip()
        junk = self.folder / "junk"
        for text, words in ((f"{secret}\n{secret[1:]}\n", "line 2"), ("", "no key"), (secret + "#" * 4096, "4096 bytes"),
                            (f"{secret}\n{secret}\n", "twice")):
            junk.write_text(text)
            for arguments in (["keys", "list", junk], ["tracker", "--cluster-key", junk]):
                result = self.run_p2p(*arguments)
                self.assertEqual(result.wait(), USAGE)
                self.assertIn(words, result.error_text())
                self.assertNotIn(secret[1:], result.error_text())
        for missing in (["keys", "list", "missing"], ["tracker", "--cluster-key", "missing"]):
            self.assertEqual(self.run_p2p(*missing).wait(), USAGE)

    def test_a_running_tracker_takes_over_the_keys_of_its_file(self):
        source = self.random_file("source.bin", MIB)
        other = self.make_key("other.key")
        tracker, address = self.tracker("--cluster-key", self.key)

        def fetch_by(key, target):
            """Through the tracker alone."""
            seeder, link = self.seed(source, "--tracker", address, "--cluster-key", key)
            fetcher = self.fetch(link.split("/s=")[0], target, "--cluster-key", key, "--patience", "20")
            code = fetcher.wait()
            seeder.stop()
            return code

        def change(command, *arguments):
            self.keys(command, *arguments)
            names = " ".join(self.names())
            tracker.wait_line(tracker.err, lambda line: line.endswith("the cluster keys are now " + names))

        self.assertEqual(fetch_by(self.key, "got0"), OK)
        self.assertEqual(fetch_by(other, "got1"), REFUSED)
        before, = self.names()
        change("add", other.read_text().strip())
        self.assertEqual(fetch_by(other, "got2"), OK)
        old_key = self.folder / "old.key"
        old_key.write_text(self.key.read_text().splitlines()[0] + "\n")
        self.assertEqual(fetch_by(old_key, "got3"), OK)
        change("use", self.names()[1])
        change("remove", before)
        self.assertEqual(fetch_by(other, "got4"), OK)
        self.assertEqual(fetch_by(old_key, "got5"), REFUSED)
        # A file that is broken changes nothing.
        self.key.write_text("nonsense\n")
        tracker.wait_line(tracker.err, lambda line: "the cluster keys stay as they were" in line and "line 1" in line)
        self.assertEqual(fetch_by(other, "got6"), OK)


if __name__ == "__main__":
    unittest.main()
