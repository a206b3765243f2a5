"""What p2p refuses, with which exit code and words; and that nothing of a content can be read on the wire."""

import base64
import os
import signal
import socket
import subprocess
import unittest

from harness import (CORRUPT, DISK_FULL, EXISTS, INTERRUPTED, MALFORMED, OK, REFUSED, UNREACHABLE, USAGE, EndToEnd, Proxy,
                     port_of)

MIB = 1024 * 1024


class ExitCodes(EndToEnd):
    def test_usage(self):
        for arguments in ([], ["fetch"], ["seed"], ["fetch", "x", "--no-such-flag"], ["dance"]):
            self.assertEqual(self.run_p2p(*arguments).wait(), USAGE, arguments)
        source = self.random_file("source.bin", 10)
        for flags in (["--chunk-size", "1000"], ["--chunk-size", "8MiB"], ["--listen", "nonsense"], ["--tracker", "noport"], ["--zone", "a b"]):
            self.assertEqual(self.run_p2p("seed", source, *flags).wait(), USAGE, flags)

    def test_a_zone_that_is_no_name_is_refused_with_what_one_is(self):
        for zone in ("rack 7", "z" * 65, "r\u00e9seau", "a\nb"):
            for arguments in (["seed", self.random_file("source.bin", 10)], ["fetch", "p2p://" + "A" * 43 + "#" + "A" * 43]):
                result = self.run_p2p(*arguments, "--zone", zone)
                self.assertEqual(result.wait(), USAGE, zone)
                self.assertIn("--zone: at most 64", result.error_text())

    def test_help_of_each_command_has_an_example(self):
        for command in ("seed", "fetch", "tracker", "keygen", "keys", "inspect", "verify"):
            result = self.run_p2p(command, "--help")
            self.assertEqual(result.wait(), OK)
            self.assertIn("Example:", result.out)

    def test_a_malformed_link(self):
        for link in ("", "http://x", "p2p://", "p2p://short#x", "p2p://" + "A" * 43 + "/x=1#" + "A" * 43):
            result = self.run_p2p("fetch", link, "-o", "got")
            self.assertEqual(result.wait(), MALFORMED, link)

    def test_a_link_without_its_secret_is_explained(self):
        _, link = self.seed(self.random_file("source.bin", 10))
        result = self.run_p2p("fetch", link.split("#")[0], "-o", "got")
        self.assertEqual(result.wait(), MALFORMED)
        self.assertIn("secret", result.error_text())

    def test_nobody_there(self):
        seeder, link = self.seed(self.random_file("source.bin", 10))
        seeder.stop()
        result = self.fetch(link, self.folder / "got", "--patience", "0.5")
        self.assertEqual(result.wait(), UNREACHABLE)
        self.assertIn(f"127.0.0.1:{port_of(link)}", result.error_text())
        self.assertEqual(result.json_lines()[-1]["exit_code"], UNREACHABLE)

    def test_a_wrong_secret_is_refused_at_the_handshake(self):
        _, link = self.seed(self.random_file("source.bin", 10))
        head, secret = link.split("#")
        wrong = head + "#" + ("B" if secret[0] == "A" else "A") + secret[1:]
        result = self.fetch(wrong, self.folder / "got")
        self.assertEqual(result.wait(), REFUSED, result.error_text())
        self.assertFalse((self.folder / "got").exists())

    def test_the_target_is_there_already(self):
        source = self.random_file("source.bin", 1000)
        _, link = self.seed(source)
        target = self.random_file("got", 5)
        before = target.read_bytes()
        self.assertEqual(self.fetch(link, target).wait(), EXISTS)
        self.assertEqual(target.read_bytes(), before)
        self.assert_fetched(self.fetch(link, target, "--overwrite"), source, target)

    def test_a_target_that_is_no_file(self):
        _, link = self.seed(self.random_file("source.bin", 1000))
        os.mkfifo(self.folder / "fifo")
        self.assertEqual(self.fetch(link, self.folder / "fifo").wait(), EXISTS)
        self.assertNotEqual(self.fetch(link, self.folder / "fifo", "--overwrite").wait(), OK)

    def test_the_disk_is_full(self):
        small = self.folder / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True).returncode:
            self.skipTest("needs root and mount to make a small file system")
        self.addCleanup(subprocess.run, ["umount", small])
        _, link = self.seed(self.random_file("source.bin", 4 * MIB))
        result = self.fetch(link, small / "got")
        self.assertEqual(result.wait(), DISK_FULL, result.error_text())
        self.assertFalse((small / "got").exists())

    def test_interrupted(self):
        _, link = self.seed_behind(Proxy(bytes_per_second=MIB), self.random_file("source.bin", 4 * MIB))
        fetcher = self.fetch(link, self.folder / "got")
        fetcher.wait_line(fetcher.out, lambda line: '"progress"' in line)
        self.assertEqual(fetcher.stop(signal.SIGINT), INTERRUPTED)

    def test_a_special_file_is_not_seeded(self):
        os.mkfifo(self.folder / "fifo")
        result = self.run_p2p("seed", self.folder / "fifo")
        self.assertNotEqual(result.wait(), OK)
        self.assertIn("fifo", result.error_text())


class Settings(EndToEnd):
    def test_flags_can_stand_in_a_file_and_in_the_environment(self):
        source = self.random_file("source.bin", 300_000)
        config = self.folder / "p2p.toml"
        config.write_text('[seed]\nchunk-size = "128KiB"\nlisten = "127.0.0.1:0"\n[fetch]\noutput = "from-file"\n')
        seeder = self.start("--config", config, "seed", source)
        link = seeder.first_line()
        self.assertIn("/s=127.0.0.1:", link)
        self.assertIn("3 chunks", seeder.wait_line(seeder.err, lambda line: "chunks" in line))
        self.assertEqual(self.run_p2p("fetch", link, "--config", config).wait(), OK)
        self.assert_same(source, self.folder / "from-file")
        environment = {"P2P_OUTPUT": "from-env", "P2P_LINK": link}
        self.assertEqual(self.run_p2p("fetch", env=environment).wait(), OK)
        self.assert_same(source, self.folder / "from-env")


class Wire(EndToEnd):
    phrase = b"this phrase must not be seen on the wire. "

    def test_neither_content_nor_name_nor_id_can_be_read(self):
        source = self.folder / "conspicuous-name.bin"
        source.write_bytes(self.phrase * 20000)
        proxy = Proxy()
        _, link = self.seed_behind(proxy, source)
        self.assert_fetched(self.fetch(link, self.folder / "got"), source, self.folder / "got")
        recorded = bytes(proxy.recorded)
        self.assertGreater(len(recorded), len(self.phrase) * 20000)
        content = link.split("/")[2]
        raw = base64.urlsafe_b64decode(content + "=")
        for secret in (self.phrase, b"conspicuous", content.encode(), raw, raw.hex().encode()):
            self.assertNotIn(secret, recorded)

    def test_a_changed_byte_on_the_wire_never_reaches_the_file(self):
        source = self.random_file("source.bin", 2 * MIB)
        passed = [0]

        def change(data, down):
            # One byte, once, in the middle of the content.
            if not down or passed[0] > MIB:
                return data
            passed[0] += len(data)
            return data if passed[0] <= MIB else bytes([data[0] ^ 1]) + data[1:]

        _, link = self.seed_behind(Proxy(change=change), source)
        fetcher = self.fetch(link, self.folder / "got")
        self.assert_fetched(fetcher, source, self.folder / "got")


class HostileSockets(EndToEnd):
    def assert_alive(self, source, link):
        self.assert_fetched(self.fetch(link, self.folder / "got"), source, self.folder / "got")

    def test_garbage_half_open_and_dribbling_connections_leave_a_seeder_serving(self):
        source = self.random_file("source.bin", MIB)
        seeder, link = self.seed(source)
        address = ("127.0.0.1", port_of(link))
        sockets = []
        self.addCleanup(lambda: [s.close() for s in sockets])
        for i in range(1500):
            s = socket.create_connection(address)
            sockets.append(s)
            if i % 3 == 1:
                s.sendall(b"p")
            elif i % 3 == 2:
                try:
                    s.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(2000))
                except OSError:
                    pass  # it was closed already: that is what it is for
        self.assert_alive(source, link)

    def test_a_handshake_is_given_five_seconds(self):
        _, link = self.seed(self.random_file("source.bin", 10))
        with socket.create_connection(("127.0.0.1", port_of(link))) as s:
            s.settimeout(20)
            s.sendall(b"p2")
            self.assertEqual(s.recv(10), b"")


if __name__ == "__main__":
    unittest.main()
