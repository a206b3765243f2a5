"""Trackers that share their peers through a real redis server."""

import base64
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness import DEADLINE, USAGE, EndToEnd, Process, Proxy, free_port

# Debian's redis-tools has the server under this name; it is what it is called as.
SERVER = shutil.which("redis-server") or "/usr/bin/redis-check-rdb"


class Redis(Process):
    """A server of its own on a loopback port, that keeps nothing on disk."""

    def __init__(self, folder, port, *arguments):
        self.port = port
        settings = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        super().__init__([*settings, *arguments], None, folder, executable=SERVER, called="redis-server")
        self.wait_line(self.out, lambda line: "Ready to accept connections" in line)

    def ask(self, *arguments):
        """The raw reply of one command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE) as connection:
            request = b"*%d\r\n" % len(arguments)
            for argument in arguments:
                data = argument if isinstance(argument, bytes) else str(argument).encode()
                request += b"$%d\r\n%s\r\n" % (len(data), data)
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


class Accepts(Proxy):
    """A proxy that tells when somebody has come."""

    def __init__(self):
        self.came = threading.Event()
        super().__init__()

    def _relay(self, source, sink, down):
        self.came.set()
        super()._relay(source, sink, down)


class Swallows(Proxy):
    """A proxy that passes nothing more of the first connection on which this was said so many times."""

    def __init__(self, word, times=1):
        self.word, self.times = word, times
        self.swallowed = threading.Event()
        super().__init__()

    def _relay(self, source, sink, down):
        if down:
            super()._relay(source, sink, down)
            return
        said = 0
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                said += data.count(self.word)
                if said >= self.times and not self.swallowed.is_set():
                    self.swallowed.set()
                    while source.recv(16384):
                        pass
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def with_time_moved(seconds):
    """Of a redis server's answers to TIME: by so many seconds later."""
    return lambda data, down: re.sub(
        rb"\*2\r\n\$10\r\n(\d{10})\r\n\$(\d)\r\n(\d+)\r\n",
        lambda found: b"*2\r\n$10\r\n%d\r\n$%b\r\n%b\r\n" % (int(found[1]) + seconds, found[2], found[3]),
        data) if down else data


class SharedStore(EndToEnd):
    def setUp(self):
        super().setUp()
        if not os.access(SERVER, os.X_OK):
            self.fail("there is no redis-server: apt-get install redis-tools")
        self.port = free_port()
        self.source = self.random_file("source.bin", 300_000)

    def redis(self, *arguments):
        server = Redis(self.folder, self.port, *arguments)

        def end():
            if server.process.poll() is None:
                server.process.kill()
            server.wait()
            server.process.stdout.close()
            server.process.stderr.close()

        self.addCleanup(end)
        return server

    def url(self, before="", after=""):
        return f"redis://{before}127.0.0.1:{self.port}{after}"

    def sharing_tracker(self, *arguments, **options):
        return self.tracker("--store", self.url(), *arguments, **options)

    def said(self, process, text):
        process.wait_line(process.err, lambda line: line is not None and text in line)

    def shared(self, process):
        self.said(process, "sharing peers through")

    def link_to(self, link, tracker):
        """The link, with this tracker and nobody else to ask."""
        content, secret = link.split("/")[2], link.partition("#")[2]
        host, _, port = tracker.rpartition(":")
        return f"p2p://{content}/t={host.strip('[]')}:{port}" + (f"#{secret}" if secret else "")

    def keys(self, redis):
        """The keys, once there is one."""
        with socket.create_connection(("127.0.0.1", redis.port), timeout=DEADLINE) as events:
            events.sendall(b"PSUBSCRIBE p2p:news:*\r\n")
            while True:
                events.recv(65536)  # confirmed, or news: something may have been kept
                names = [name for name in redis.ask("KEYS", "*").split(b"\r\n") if name.startswith(b"p2p:")]
                if names:
                    return names

    def test_a_peer_announced_at_one_tracker_is_handed_out_by_another(self):
        redis = self.redis()
        (first, a), (second, b) = self.sharing_tracker(), self.sharing_tracker()
        self.shared(first)
        self.shared(second)
        _, link = self.seed(self.source, "--tracker", a)
        names = self.keys(redis)
        self.assertEqual(len(names), 1)
        life_ms = int(redis.ask("PTTL", names[0])[1:])
        self.assertTrue(0 < life_ms <= 9_000_000, life_ms)
        fetch = self.fetch(self.link_to(link, b), "copy.bin")
        self.assert_fetched(fetch, self.source, self.folder / "copy.bin")

    def test_nothing_secret_is_kept_in_the_store(self):
        redis = self.redis()
        tracker, a = self.sharing_tracker()
        self.shared(tracker)
        _, link = self.seed(self.source, "--tracker", a)
        content, secret = link.split("/")[2], link.partition("#")[2]
        for name in self.keys(redis):
            kept = name + redis.ask("HGETALL", name)
            for text in (content, secret):
                self.assertNotIn(text.encode(), kept)
                raw = base64.urlsafe_b64decode(text + "=")
                self.assertNotIn(raw, kept)
                self.assertNotIn(raw.hex().encode(), kept)

    def test_a_peer_that_waits_hears_of_one_that_comes_to_another_tracker(self):
        redis = self.redis()
        (first, a), (second, b) = self.sharing_tracker(), self.sharing_tracker()
        self.shared(first)
        self.shared(second)
        seeder, link = self.seed(self.source)
        seeder.stop()
        fetch = self.fetch(self.link_to(link, b), "copy.bin")
        self.keys(redis)  # the fetcher's own entry: it has asked, and there was nobody
        self.seed(self.source, "--tracker", a)
        self.assert_fetched(fetch, self.source, self.folder / "copy.bin")

    def test_both_trackers_killed_and_started_again_hand_out_who_has_not_announced_again(self):
        redis = self.redis()
        self.assertEqual(self.run_p2p("keygen", "-o", "key").wait(), 0)
        key = ("--cluster-key", "key")
        (first, a), (second, b) = self.sharing_tracker(*key), self.sharing_tracker(*key)
        self.shared(first)
        self.shared(second)
        proxy = Accepts()
        seeder, link = self.seed_behind(proxy, self.source, "--tracker", a, *key)
        self.keys(redis)
        seeder.process.send_signal(signal.SIGSTOP)  # so that it cannot announce again
        first.stop(signal.SIGKILL)
        second.stop(signal.SIGKILL)
        (first, _), (second, _) = self.sharing_tracker(*key, listen=a), self.sharing_tracker(*key, listen=b)
        fetch = self.fetch(self.link_to(link, b), "copy.bin", *key)
        self.assertTrue(proxy.came.wait(DEADLINE), fetch.error_text())  # it was told where the seeder is
        seeder.process.send_signal(signal.SIGCONT)
        self.assert_fetched(fetch, self.source, self.folder / "copy.bin")

    def test_without_the_server_trackers_go_on_and_say_so_and_with_it_they_share_again(self):
        redis = self.redis()
        (first, a), (second, b) = self.sharing_tracker(), self.sharing_tracker()
        self.shared(first)
        self.shared(second)
        redis.stop()
        for tracker in (first, second):
            self.said(tracker, "peers are kept in memory alone until it is back")
        _, link = self.seed(self.source, "--tracker", a)
        fetch = self.fetch(self.link_to(link, a), "one.bin")
        self.assert_fetched(fetch, self.source, self.folder / "one.bin")
        redis = self.redis()
        for tracker in (first, second):
            self.said(tracker, "sharing peers through " + self.url() + " again")
        # The seeder announced while there was no server: it is written now.
        fetch = self.fetch(self.link_to(link, b), "two.bin")
        self.assert_fetched(fetch, self.source, self.folder / "two.bin")
        for tracker in (first, second):
            lines = [line for line in tracker.err if line and "in memory alone" in line]
            self.assertEqual(len(lines), 1, lines)

    def test_a_tracker_starts_without_the_server(self):
        tracker, a = self.sharing_tracker()
        self.said(tracker, "cannot be reached")
        _, link = self.seed(self.source, "--tracker", a)
        fetch = self.fetch(self.link_to(link, a), "copy.bin")
        self.assert_fetched(fetch, self.source, self.folder / "copy.bin")

    def test_a_wrong_or_missing_password_is_told_and_a_right_one_lets_in(self):
        self.redis("--requirepass", "s3cret/word")
        wrong, _ = self.tracker("--store", self.url(before=":other@"))
        self.said(wrong, "does not accept the password")
        none, _ = self.tracker("--store", self.url())
        self.said(none, "asks for a password (--store-password-file)")
        in_url, _ = self.tracker("--store", self.url(before=":s3cret%2Fword@", after="/2"))
        self.said(in_url, "sharing peers through " + self.url(after="/2"))
        (self.folder / "word").write_text("s3cret/word\n")
        in_file, _ = self.tracker("--store", self.url(), "--store-password-file", "word")
        self.shared(in_file)
        in_env = self.start("tracker", "--listen", "127.0.0.1:0", env={"P2P_STORE": self.url(before=":s3cret%2Fword@")})
        self.shared(in_env)
        for tracker in (wrong, none, in_url, in_file, in_env):
            self.assertNotIn("word@", tracker.error_text())
            self.assertNotIn("s3cret", tracker.error_text())

    def behind(self, proxy):
        """The URL of the server behind the proxy."""
        proxy.target_port = self.port
        self.addCleanup(proxy.close)
        return f"redis://127.0.0.1:{proxy.port}"

    def test_a_value_that_is_too_large_ends_the_sharing_of_its_swarm_alone(self):
        redis = self.redis()
        first, a = self.sharing_tracker()
        self.shared(first)
        _, link = self.seed(self.source, "--tracker", a)
        name, = self.keys(redis)
        redis.ask("HSET", name, "large", b"x" * 20_000_000)
        redis.ask("PUBLISH", b"p2p:news:0:" + name.rpartition(b":")[2], b"x" * 20_000_000)
        self.said(first, "news: larger than what is read")
        second, b = self.sharing_tracker()
        self.shared(second)
        waiting = self.fetch(self.link_to(link, b), "copy.bin")
        self.said(second, name.decode() + ": larger than what is read of the store")
        # Its other peers are news, and other swarms are as they were.
        other = self.random_file("other.bin", 100_000)
        _, other_link = self.seed(other, "--tracker", a)
        fetch = self.fetch(self.link_to(other_link, b), "other.copy")
        self.assert_fetched(fetch, other, self.folder / "other.copy")
        self.seed(self.source, "--tracker", a)
        self.assert_fetched(waiting, self.source, self.folder / "copy.bin")
        for tracker in (first, second):
            self.assertNotIn("in memory alone", tracker.error_text())

    def test_values_that_are_too_large_together_are_not_held_in_memory(self):
        redis = self.redis()
        first, a = self.sharing_tracker()
        self.shared(first)
        _, link = self.seed(self.source, "--tracker", a)
        name, = self.keys(redis)
        for number in range(80):
            redis.ask("HSET", name, b"large%d" % number, b"x" * 4_000_000)
        second, b = self.sharing_tracker()
        self.shared(second)
        self.fetch(self.link_to(link, b), "copy.bin")
        self.said(second, name.decode() + ": larger than what is read of the store")
        with open(f"/proc/{second.process.pid}/status", encoding="ascii") as status:
            most = int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1])
        # A reply of 16 MiB is held several times over while it is taken apart.
        self.assertLess(most, 200_000)  # of 320 MB

    def test_the_store_s_clock_counts_and_not_the_machine_s(self):
        redis = self.redis()
        first, a = self.sharing_tracker()
        self.shared(first)
        _, link = self.seed(self.source, "--tracker", a)
        name, = self.keys(redis)
        first.stop(signal.SIGKILL)
        # As a tracker had written it whose clock is the server's.
        field = redis.ask("HKEYS", name).split(b"\r\n", 2)[2][:32]
        record = redis.ask("HGET", name, field).split(b"\r\n", 1)[1][:-2]
        live = int((time.time() - 600 + 60) * 1000)
        redis.ask("HSET", name, field, record[:-8] + live.to_bytes(8, "big"))
        second, b = self.tracker("--store", self.behind(Proxy(change=with_time_moved(-600))))
        self.said(second, "this machine's clock is 600 s ahead of that of the store")
        fetch = self.fetch(self.link_to(link, b), "copy.bin")
        self.assert_fetched(fetch, self.source, self.folder / "copy.bin")
        self.assertIn(field, redis.ask("HKEYS", name))

    def test_a_server_that_tells_no_time_sweeps_nothing(self):
        redis = self.redis("--rename-command", "TIME", "")
        first, a = self.sharing_tracker()
        self.said(first, "its time, by this machine's clock now")
        _, link = self.seed(self.source, "--tracker", a)
        name, = self.keys(redis)
        field = redis.ask("HKEYS", name).split(b"\r\n", 2)[2][:32]
        record = redis.ask("HGET", name, field).split(b"\r\n", 1)[1][:-2]
        at = record.index(field)
        over = record[:at] + b"o" * 32 + record[at + 32:-8] + int((time.time() - 600) * 1000).to_bytes(8, "big")
        redis.ask("HSET", name, b"o" * 32, over)
        second, b = self.sharing_tracker()
        fetch = self.fetch(self.link_to(link, b), "copy.bin")
        self.assert_fetched(fetch, self.source, self.folder / "copy.bin")
        self.assertIn(b"o" * 32, redis.ask("HKEYS", name))

    def test_a_connection_for_news_that_falls_silent_is_left(self):
        self.redis()
        proxy = Swallows(b"SUBSCRIBE")
        tracker, a = self.tracker("--store", self.behind(proxy))
        self.shared(tracker)
        self.seed(self.source, "--tracker", a)
        self.assertTrue(proxy.swallowed.wait(DEADLINE))
        self.said(tracker, "does not answer")

    def test_a_connection_for_news_is_asked_for_a_word_where_none_comes(self):
        self.redis()
        proxy = Swallows(b"PING", times=2)  # the first is of the login
        tracker, _ = self.tracker("--store", self.behind(proxy))
        self.shared(tracker)
        self.assertTrue(proxy.swallowed.wait(DEADLINE))
        self.said(tracker, "does not answer")

    def test_who_leaves_while_the_server_does_not_hear_of_it_does_not_come_back_with_it(self):
        redis = self.redis()
        proxy = Swallows(b"HDEL")
        tracker, a = self.tracker("--store", self.behind(proxy))
        self.shared(tracker)
        gone, _ = self.seed(self.source, "--tracker", a)
        _, _ = self.seed(self.source, "--tracker", a)
        name, = self.keys(redis)
        gone.stop()
        self.said(tracker, "does not answer")
        self.said(tracker, "again; what is known here is written to it")
        with socket.create_connection(("127.0.0.1", redis.port), timeout=DEADLINE) as events:
            events.sendall(b"PSUBSCRIBE p2p:news:*\r\n")
            while events.recv(65536):  # confirmed, or news
                if redis.ask("HLEN", name) == b":1\r\n":
                    break

    def test_a_password_that_the_server_says_again_is_not_shown(self):
        self.redis("--rename-command", "AUTH", "")
        for before in (":s3cret@", "s3cret:s3cret@"):
            tracker, _ = self.tracker("--store", self.url(before=before))
            self.said(tracker, "takes no password: ERR;")
            self.assertNotIn("s3cret", tracker.error_text())

    def test_what_is_no_store_is_told(self):
        with_text = {"http://127.0.0.1:1": "no URL of a redis server", "redis://127.0.0.1": "no HOST:PORT",
                     "rediss://127.0.0.1:1": "without TLS", "redis://127.0.0.1:1/one": "the database is a number",
                     "redis://name@127.0.0.1:1": "a user without a password",
                     "redis://:%zz@127.0.0.1:1": "two hexadecimal digits",
                     "redis://bob:hunter2": "no HOST:PORT"}
        for url, text in with_text.items():
            tracker = self.run_p2p("tracker", "--store", url)
            self.assertEqual(tracker.wait(), USAGE, url)
            self.assertIn(text, tracker.error_text())
            self.assertNotIn("hunter2", tracker.error_text())
        for arguments, text in (((), "there is no --store"),
                                (("--store", "redis://:x@127.0.0.1:1"), "a password in --store too"),
                                (("--store", "redis://127.0.0.1:1"), "holds no password")):
            (self.folder / "empty").write_text("\n")
            tracker = self.run_p2p("tracker", *arguments, "--store-password-file", "empty")
            self.assertEqual(tracker.wait(), USAGE)
            self.assertIn(text, tracker.error_text())
        for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1000000000\r\n", b"+OK\r\n+OK\r\n$-7\r\n", b""):
            listener = socket.create_server(("127.0.0.1", 0))
            self.addCleanup(listener.close)
            tracker, _ = self.tracker("--store", f"redis://127.0.0.1:{listener.getsockname()[1]}")
            connection, _ = listener.accept()
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            self.said(tracker, "peers are kept in memory alone")
            connection.close()
            self.assertIsNone(tracker.process.poll())

    def test_a_server_that_hangs_is_left(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        tracker, _ = self.tracker("--store", f"redis://127.0.0.1:{listener.getsockname()[1]}")
        self.said(tracker, "does not answer")

    def test_hostile_values_are_skipped_and_the_others_are_taken(self):
        redis = self.redis()
        first, a = self.sharing_tracker()
        self.shared(first)
        _, link = self.seed(self.source, "--tracker", a)
        name, = self.keys(redis)
        field = redis.ask("HKEYS", name).split(b"\r\n", 2)[2][:32]
        good = redis.ask("HGET", name, field).split(b"\r\n", 1)[1][:-2]
        for number, value in enumerate((b"", b"x", b"\xff" * 256, b"\x91" * 257, b"y" * 1_000_000, good[:-1],
                                        good + b"\0", good)):
            redis.ask("HSET", name, b"%032d" % number, value)
            redis.ask("PUBLISH", b"p2p:news:0:" + name.rpartition(b":")[2], value)
        redis.ask("HSET", name, b"short", good)
        second, b = self.sharing_tracker()
        fetch = self.fetch(self.link_to(link, b), "copy.bin")
        self.assert_fetched(fetch, self.source, self.folder / "copy.bin")
        for tracker in (first, second):
            self.said(tracker, "skipped in the store")
        # A key of another type.
        redis.ask("DEL", name)
        redis.ask("SET", name, "not a hash")
        third, c = self.sharing_tracker()
        self.shared(third)
        self.fetch(self.link_to(link, c), "other.bin")
        self.said(third, "skipped in the store")
        self.said(third, "does not take what is written")
        for tracker in (first, second, third):
            self.assertIsNone(tracker.process.poll())
