"""p2p fetch -o -: a content as a stream of bytes."""

import signal
import subprocess
import threading
import unittest

from harness import BINARY, DEADLINE, FAILED, INTERRUPTED, OK, USAGE, EndToEnd, Proxy


class Stream(EndToEnd):
    def setUp(self):
        super().setUp()
        self.passing = self.folder / "tmp"
        self.passing.mkdir()
        self.env["TMPDIR"] = str(self.passing)

    def stream(self, link, *arguments):
        process = subprocess.Popen([BINARY, "fetch", link, "-o", "-", "--listen", "127.0.0.1:0", *arguments],
                                   env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)

        def end():
            process.kill()
            process.communicate()

        self.addCleanup(end)
        return process

    def assert_nothing_left(self):
        self.assertEqual(list(self.passing.iterdir()), [])

    def test_the_bytes_come_in_order_and_whole(self):
        for size in (0, 1, 200_000, 9_000_001):
            source = self.random_file(f"file-{size}", size)
            _, link = self.seed(source)
            out, err = (process := self.stream(link)).communicate(timeout=DEADLINE)
            self.assertEqual(process.returncode, OK, err)
            self.assertTrue(out == source.read_bytes(), size)
            self.assert_nothing_left()

    def test_the_first_bytes_come_long_before_the_last_are_fetched(self):
        source = self.random_file("big", 8_000_000)
        passed = threading.Event()

        def watch(data, down):
            if len(proxy.recorded) > 6_000_000:
                passed.set()
            return data

        proxy = Proxy(bytes_per_second=2_000_000, change=watch)
        _, link = self.seed_behind(proxy, source)
        process = self.stream(link)
        first = process.stdout.read(65536)
        self.assertFalse(passed.is_set())
        self.assertEqual(first, source.read_bytes()[:65536])
        rest, err = process.communicate(timeout=DEADLINE)
        self.assertEqual(process.returncode, OK, err)
        self.assertTrue(first + rest == source.read_bytes())

    def test_a_reader_that_has_enough_ends_it(self):
        _, link = self.seed(self.random_file("big", 8_000_000))
        process = self.stream(link)
        process.stdout.read(10)
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate(timeout=DEADLINE)
        self.assertEqual(process.returncode, FAILED)
        self.assertIn(b"cannot write to stdout", err)
        self.assert_nothing_left()

    def test_an_interruption_ends_it_also_while_nobody_reads(self):
        _, link = self.seed(self.random_file("big", 8_000_000))
        process = self.stream(link)
        process.stdout.read(10)  # and then no more: the pipe is full
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(DEADLINE), INTERRUPTED)
        self.assert_nothing_left()

    def test_a_folder_is_no_stream(self):
        self.random_file("tree/a", 1000)
        _, link = self.seed(self.folder / "tree")
        out, err = (process := self.stream(link)).communicate(timeout=DEADLINE)
        self.assertEqual((process.returncode, out), (USAGE, b""))
        self.assertIn(b"is a folder", err)
        self.assert_nothing_left()

    def test_it_does_not_share_stdout_with_json(self):
        _, link = self.seed(self.random_file("small", 10))
        self.assertEqual(self.stream(link, "--json").wait(DEADLINE), USAGE)


if __name__ == "__main__":
    unittest.main()
