"""What is fetched is what was seeded: files, folders, names, links, both address families."""

import os
import time
import unittest

from harness import CORRUPT, OK, USAGE, EndToEnd


class Contents(EndToEnd):
    def check(self, source, target="got", listen="127.0.0.1:0"):
        _, link = self.seed(source, listen=listen)
        fetcher = self.fetch(link, self.folder / target, listen=listen)
        self.assert_fetched(fetcher, source, self.folder / target)
        return fetcher

    def test_a_file_of_many_chunks_arrives_unharmed(self):
        fetcher = self.check(self.random_file("source.bin", 9 * 1024 * 1024 + 123))
        done = fetcher.json_lines()[-1]
        self.assertEqual(done["event"], "done")
        self.assertEqual(done["bytes_total"], 9 * 1024 * 1024 + 123)
        self.assertEqual(done["bytes_reused"], 0)
        self.assertGreaterEqual(done["bytes_fetched"], done["bytes_total"])
        self.assertEqual(done["peers"], 1)
        self.assertEqual(done["path"], str(self.folder / "got"))
        self.assertGreater(done["seconds"], 0)
        self.assertIn("share_of_limit", done)

    def test_files_of_no_and_of_one_byte_arrive(self):
        for size in (0, 1, 65536, 65537):
            self.check(self.random_file(f"file-{size}", size), f"got-{size}")

    def test_a_folder_keeps_empty_parts_links_modes_and_names(self):
        root = self.folder / "tree"
        (root / "empty folder").mkdir(parents=True)
        (root / "deep/er/est").mkdir(parents=True)
        (root / "empty file").touch()
        (root / "deep/er/est/data").write_bytes(os.urandom(200_000))
        (root / "run.sh").write_text("#!/bin/sh\n")
        (root / "run.sh").chmod(0o755)
        (root / "grüße 世界 🎉").write_text("names")
        (root / "foo... bar").write_text("dots are fine")
        (root / "README").write_text("upper")
        (root / "readme").write_text("lower")
        (root / ("n" * 255)).write_text("long")
        (root / "to file").symlink_to("deep/er/est/data")
        (root / "to nowhere").symlink_to("/nonexistent/../x")
        (root / "loop").symlink_to("loop")
        (root / "up").symlink_to("..")
        self.check(root)

    def test_a_new_version_takes_from_an_old_one_and_replaces_it(self):
        for root in ("old", "new"):
            (self.folder / root / "sub").mkdir(parents=True)
        for name in ("a", "sub/b", "sub/c"):
            data = os.urandom(1_000_001)
            (self.folder / "old" / name).write_bytes(data)
            (self.folder / "new" / name).write_bytes(data[:400_000] + b"changed" + data[400_000:])
        (self.folder / "new" / "sub/added").write_bytes(os.urandom(5000))
        _, link = self.seed(self.folder / "new")
        old = self.folder / "old"
        fetcher = self.fetch(link, old, "--from", old, "--overwrite")
        self.assert_fetched(fetcher, self.folder / "new", old)
        done = fetcher.json_lines()[-1]
        self.assertLess(done["bytes_fetched"], 100_000)
        self.assertEqual(done["bytes_older"] + done["bytes_fetched"], done["bytes_total"])

    def test_an_old_version_that_is_not_there_is_refused_at_once(self):
        _, link = self.seed(self.random_file("source.bin", 100_000))
        fetcher = self.fetch(link, self.folder / "got", "--from", self.folder / "nothing")
        self.assertEqual(fetcher.wait(), USAGE)
        self.assertIn("nothing", fetcher.error_text())
        self.assertFalse((self.folder / "got").exists())

    def test_a_second_seed_hashes_what_has_changed(self):
        root = self.folder / "tree"
        root.mkdir()
        for name in "abcdefgh":
            (root / name).write_bytes(os.urandom(1 << 20))
        time.sleep(2.1)  # younger files are hashed again
        seeder, first = self.seed(root)
        seeder.stop()
        seeder, second = self.seed(root)
        self.assertEqual(first, second)
        seeder.wait_line(seeder.err, lambda line: "hashed 0 B of 8.00 MiB" in line)
        seeder.stop()
        with open(root / "c", "r+b") as file:
            file.write(b"other")
        seeder, third = self.seed(root)
        self.assertNotEqual(first, third)
        seeder.wait_line(seeder.err, lambda line: "hashed 1.00 MiB of 8.00 MiB" in line)
        fetcher = self.fetch(third, self.folder / "got")
        self.assert_fetched(fetcher, root, self.folder / "got")
        seeder.stop()
        for record in self.folder.rglob("*.hashes"):
            record.write_bytes(record.read_bytes()[:-1])
        seeder, fourth = self.seed(root)
        self.assertEqual(third, fourth)
        seeder.stop()
        self.assertNotIn("has not changed", seeder.error_text())
        seeder, _ = self.seed(root, "--rehash")
        seeder.stop()
        self.assertNotIn("has not changed", seeder.error_text())

    def test_an_empty_folder_arrives(self):
        (self.folder / "nothing").mkdir()
        self.check(self.folder / "nothing")

    def test_five_thousand_small_files_arrive(self):
        for i in range(5000):
            path = self.folder / "many" / f"{i % 50}" / f"{i}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(i % 97))
        self.check(self.folder / "many")

    def test_ipv6_carries_it_too(self):
        self.check(self.random_file("six", 300_000), listen="[::1]:0")

    def test_without_output_it_lands_under_its_own_name(self):
        source = self.random_file("source/name.bin", 1000)
        _, link = self.seed(source)
        self.assertEqual(self.run_p2p("fetch", link).wait(), OK)
        self.assert_same(source, self.folder / "name.bin")

    def test_into_a_folder_with_a_slash_at_the_end(self):
        source = self.random_file("source/name.bin", 1000)
        (self.folder / "into").mkdir()
        _, link = self.seed(source)
        self.assertEqual(self.run_p2p("fetch", link, "-o", f"{self.folder}/into/").wait(), OK)
        self.assert_same(source, self.folder / "into/name.bin")

    def test_the_same_path_gives_the_same_link(self):
        source = self.random_file("source.bin", 100_000)
        seeder, link = self.seed(source)
        seeder.stop()
        _, again = self.seed(source)
        self.assertEqual(link, again)
        states = list((self.folder / "state/p2p/seeds").iterdir())
        self.assertEqual([path.stat().st_mode & 0o777 for path in states], [0o600])

    def test_inspect_gives_the_id_that_seed_gives_and_reads_links(self):
        source = self.random_file("source.bin", 100_000)
        seeder, link = self.seed(source)
        by_path = self.run_p2p("inspect", source)
        by_link = self.run_p2p("inspect", link)
        self.assertEqual(by_path.wait(), OK)
        self.assertEqual(by_link.wait(), OK)
        self.assertTrue(set(by_path.out) <= set(by_link.out), (by_path.out, by_link.out))
        seeder.stop()

    def test_verify_names_the_chunks_that_do_not_match(self):
        source = self.random_file("source.bin", 1_000_000)
        _, link = self.seed(source)
        copy = self.folder / "copy.bin"
        data = bytearray(source.read_bytes())
        copy.write_bytes(data)
        self.assertEqual(self.run_p2p("verify", link, copy).wait(), OK)
        data[3 * 65536 + 5] ^= 1
        copy.write_bytes(data)
        result = self.run_p2p("verify", link, copy)
        self.assertEqual(result.wait(), CORRUPT)
        self.assertIn("chunk 3 does not match", result.out)


if __name__ == "__main__":
    unittest.main()
