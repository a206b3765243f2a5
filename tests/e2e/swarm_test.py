"""Several peers at once: with a tracker and without, dying and lying, stopped and started again."""

import json
import os
import signal
import unittest

from harness import CORRUPT, EXISTS, OK, EndToEnd, Proxy, flip_bytes, port_of

MIB = 1024 * 1024


class Swarms(EndToEnd):
    def test_four_at_once_without_a_tracker(self):
        source = self.random_file("source.bin", 24 * MIB)
        _, link = self.seed(source)
        fetchers = [self.fetch(link, self.folder / f"got{i}") for i in range(4)]
        for i, fetcher in enumerate(fetchers):
            self.assert_fetched(fetcher, source, self.folder / f"got{i}")

    def test_four_at_once_through_a_tracker_alone(self):
        source = self.random_file("source.bin", 24 * MIB)
        _, tracker = self.tracker()
        _, link = self.seed(source, "--tracker", tracker)
        head, secret = link.split("#")
        only_tracker = head.split("/s=")[0] + "#" + secret
        self.assertIn("/t=" + tracker, only_tracker)
        fetchers = [self.fetch(only_tracker, self.folder / f"got{i}") for i in range(4)]
        for i, fetcher in enumerate(fetchers):
            self.assert_fetched(fetcher, source, self.folder / f"got{i}")

    def test_a_cluster_key_closes_tracker_and_content(self):
        key = self.folder / "cluster.key"
        self.assertEqual(self.run_p2p("keygen", "-o", key).wait(), OK)
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        source = self.random_file("source.bin", MIB)
        _, tracker = self.tracker("--cluster-key", key)
        _, link = self.seed(source, "--tracker", tracker, "--cluster-key", key)
        self.assertNotIn("#", link)
        self.assert_fetched(self.fetch(link, self.folder / "got", "--cluster-key", key), source, self.folder / "got")
        self.assertEqual(self.run_p2p("keygen", "-o", key).wait(), EXISTS)

    def test_fetchers_find_each_other_when_the_seeder_is_gone(self):
        source = self.random_file("source.bin", 4 * MIB)
        seeder, link = self.seed_behind(Proxy(bytes_per_second=2 * MIB), source)
        first = self.fetch(link, self.folder / "got0", "--linger", "60")
        second = self.fetch(link, self.folder / "got1")
        first.wait_line(first.out, lambda line: '"done"' in line)
        seeder.stop(signal.SIGKILL)
        self.assert_fetched(second, source, self.folder / "got1")
        self.assertEqual(first.stop(), OK)

    def test_a_tracker_restarted_in_the_middle_is_found_again(self):
        source = self.random_file("source.bin", 8 * MIB)
        tracker, address = self.tracker()
        _, link = self.seed_behind(Proxy(bytes_per_second=4 * MIB), source, "--tracker", address)
        running = self.fetch(link, self.folder / "got0")
        running.wait_line(running.out, lambda line: '"progress"' in line)
        tracker.stop(signal.SIGKILL)
        tracker, again = self.tracker(listen=address)
        self.assertEqual(again, address)
        self.assert_fetched(running, source, self.folder / "got0")
        # The seeder announces itself to the new tracker, and a newcomer finds it there.
        head, secret = link.split("#")
        late = self.fetch(head.split("/s=")[0] + "#" + secret, self.folder / "got1")
        self.assert_fetched(late, source, self.folder / "got1")

    def test_one_more_seeder_serves_when_the_first_is_gone(self):
        source = self.random_file("source.bin", 2 * MIB)
        copy = self.folder / "copy.bin"
        copy.write_bytes(source.read_bytes())
        first, link = self.seed(source, "--chunk-size", "128KiB")
        second, more = self.seed(copy, "--link", link)
        self.assertEqual(more.split("/")[2], link.split("/")[2])
        first.stop()
        self.assert_fetched(self.fetch(more, self.folder / "got"), source, self.folder / "got")

    def test_one_more_seeder_is_refused_when_its_copy_differs(self):
        source = self.random_file("source.bin", 2 * MIB)
        copy = self.folder / "copy.bin"
        copy.write_bytes(source.read_bytes())
        flip_bytes(copy, [MIB])
        _, link = self.seed(source)
        self.assertEqual(self.run_p2p("seed", copy, "--link", link, "--listen", "127.0.0.1:0").wait(), CORRUPT)


class Resume(EndToEnd):
    def test_killed_at_half_it_fetches_only_the_rest(self):
        size, chunk = 32 * MIB, 64 * 1024
        source = self.random_file("source.bin", size)
        _, link = self.seed_behind(Proxy(bytes_per_second=12 * MIB), source, "--chunk-size", "64KiB")
        target = self.folder / "got"
        killed = self.fetch(link, target)
        killed.wait_line(killed.out, lambda line: json.loads(line)["bytes_verified"] > size / 2)
        killed.stop(signal.SIGKILL)
        self.assertFalse(target.exists())
        before = killed.json_lines()[-1]["bytes_verified"]
        again = self.fetch(link, target)
        self.assert_fetched(again, source, target)
        done = again.json_lines()[-1]
        self.assertGreaterEqual(done["bytes_reused"], before)
        # What was in flight: at most the window.
        self.assertLessEqual(done["bytes_fetched"], size - before + 8 * chunk)
        self.assertFalse([name for name in os.listdir(self.folder) if "partial" in name])

    def test_two_fetches_into_one_target_are_refused(self):
        source = self.random_file("source.bin", 8 * MIB)
        _, link = self.seed_behind(Proxy(bytes_per_second=4 * MIB), source)
        first = self.fetch(link, self.folder / "got")
        first.wait_line(first.out, lambda line: '"progress"' in line)
        second = self.fetch(link, self.folder / "got")
        self.assertEqual(second.wait(), EXISTS, second.error_text())
        self.assert_fetched(first, source, self.folder / "got")


class Liars(EndToEnd):
    size = 8 * MIB

    def liar(self):
        """A source with one damaged byte in each chunk, seeded before it was damaged."""
        source = self.random_file("lie/source.bin", self.size)
        honest = self.folder / "source.bin"
        honest.write_bytes(source.read_bytes())
        seeder, link = self.seed(source, "--chunk-size", "64KiB")
        flip_bytes(source, range(100, self.size, 64 * 1024))
        return honest, seeder, link

    def test_an_honest_seeder_beside_a_liar_is_enough_and_the_liar_is_named(self):
        honest, _, link = self.liar()
        _, both = self.seed(honest, "--link", link)
        fetcher = self.fetch(both, self.folder / "got")
        self.assert_fetched(fetcher, honest, self.folder / "got")
        self.assertIn(f":{port_of(link)} sent a corrupt chunk", fetcher.error_text())

    def test_a_liar_alone_is_corrupt_content_and_leaves_no_target(self):
        _, _, link = self.liar()
        fetcher = self.fetch(link, self.folder / "got")
        self.assertEqual(fetcher.wait(), CORRUPT, fetcher.error_text())
        self.assertFalse((self.folder / "got").exists())

    def test_a_source_that_changes_while_seeding_is_noticed_by_both_sides(self):
        source = self.random_file("source.bin", MIB)
        seeder, link = self.seed(source)
        with open(source, "r+b") as file:
            file.write(b"changed")
        os.utime(source, ns=(1, 1))
        fetcher = self.fetch(link, self.folder / "got")
        self.assertEqual(fetcher.wait(), CORRUPT, fetcher.error_text())
        self.assertFalse((self.folder / "got").exists())
        seeder.wait_line(seeder.err, lambda line: "changed" in line)


if __name__ == "__main__":
    unittest.main()
