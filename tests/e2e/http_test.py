"""What a tracker says over HTTP, and logs that machines read."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

from harness import USAGE, EndToEnd, free_port


def get(port, path, **headers):
    """Status and text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(text):
    """{name with labels: value}"""
    return {key: float(value) for key, value in
            (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))}


class HttpTest(EndToEnd):
    def tracker_with_http(self, *arguments):
        port = free_port()
        process, address = self.tracker("--http", f"127.0.0.1:{port}", *arguments)
        return process, address, port

    def metrics(self, port):
        status, text = get(port, "/metrics")
        self.assertEqual(status, 200)
        return samples(text)

    def test_metrics_count_what_happened(self):
        _, address, port = self.tracker_with_http()
        before = self.metrics(port)
        self.assertEqual(before["p2p_tracker_swarms"], 0)
        source = self.random_file("a.bin", 300_000)
        _, link = self.seed(source, "--tracker", address)
        target = self.folder / "copy.bin"
        self.assert_fetched(self.fetch(link, target), source, target)
        after = self.metrics(port)
        self.assertEqual(after["p2p_tracker_swarms"], 1)
        self.assertEqual(after['p2p_tracker_peers{complete="true"}'], 1)
        self.assertGreaterEqual(after['p2p_tracker_announces_total{event="started"}'], 2)
        self.assertGreaterEqual(after['p2p_tracker_announces_total{event="stopped"}'], 1)
        self.assertGreaterEqual(after["p2p_tracker_handouts_total"], 2)
        self.assertEqual(after["p2p_tracker_refusals_total"], 0)
        self.assertGreaterEqual(after["p2p_connections_open"], 1)
        self.assertGreater(after["process_resident_memory_bytes"], 1e6)

    def test_prometheus_finds_nothing_to_complain_of(self):
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed (Debian: prometheus)")
        _, _, port = self.tracker_with_http("--store", f"redis://127.0.0.1:{free_port()}")
        _, text = get(port, "/metrics")
        check = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual((check.returncode, check.stdout, check.stderr), (0, "", ""))

    def test_a_tracker_that_answers_is_healthy_and_ready(self):
        _, _, port = self.tracker_with_http()
        self.assertEqual(get(port, "/healthz"), (200, "ok\n"))
        self.assertEqual(get(port, "/readyz"), (200, "ready\n"))
        self.assertEqual(get(port, "/no-such-page")[0], 404)
        self.assertEqual(get(port, "/healthz", Host="evil.example")[0], 421)

    def test_without_its_store_a_tracker_is_healthy_and_not_ready(self):
        _, _, port = self.tracker_with_http("--store", f"redis://127.0.0.1:{free_port()}")
        self.assertEqual(get(port, "/healthz")[0], 200)
        status, why = get(port, "/readyz")
        self.assertEqual(status, 503)
        self.assertIn("store", why)
        self.assertEqual(self.metrics(port)["p2p_store_up"], 0)

    def test_other_names_are_answered_where_they_are_given(self):
        _, _, port = self.tracker_with_http("--http-host", "tracker.example")
        self.assertEqual(get(port, "/healthz", Host="tracker.example:80")[0], 200)

    def test_nothing_is_listened_on_unless_it_is_asked_for(self):
        process, _ = self.tracker()
        process.wait_line(process.err, lambda line: "tracking on" in line)
        self.assertNotIn("http", process.error_text())

    def test_an_address_that_is_taken_ends_the_tracker_with_its_name(self):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
            process = self.run_p2p("tracker", "--listen", "127.0.0.1:0", "--http", f"127.0.0.1:{port}")
        self.assertNotEqual(process.wait(), 0)
        self.assertIn(f"127.0.0.1:{port}", process.error_text())
        self.assertEqual(self.run_p2p("tracker", "--http", "nonsense").wait(), USAGE)


class LogTest(EndToEnd):
    def test_json_logs_are_an_object_a_line_with_the_time_in_utc(self):
        source = self.random_file("a.bin", 1000)
        seeder, link = self.seed(source, "--log-format", "json", "-v")
        seeder.wait_line(seeder.err, lambda line: "seeding" in line)
        fetcher = self.start("fetch", link, "-o", self.folder / "copy", env={"P2P_LOG_FORMAT": "json"})
        self.assertEqual(fetcher.wait(), 0)
        seeder.stop()
        lines = [json.loads(line) for line in seeder.err if line]
        self.assertGreater(len(lines), 1)
        for line in lines:
            self.assertEqual(list(line), ["time", "level", "message"])
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
            self.assertIn(line["level"], ("debug", "info", "warning", "error"))
        secret = re.sub(".*#", "", link)
        self.assertNotIn(secret, seeder.error_text())

    def test_the_error_that_ends_a_command_is_such_a_line_too(self):
        process = self.run_p2p("fetch", "p2p://nonsense", "--log-format", "json")
        self.assertEqual(process.wait(), 3)
        line = json.loads(process.error_text())
        self.assertEqual(line["level"], "error")
        self.assertIn("link", line["message"])

    def test_a_name_with_quotes_is_a_valid_line(self):
        source = self.folder / "q\"\u00e9.bin"
        source.write_bytes(b"x")
        seeder, _ = self.seed(source, "--log-format", "json")
        line = json.loads(seeder.wait_line(seeder.err, lambda text: "seeding" in text))
        self.assertIn("q\"\u00e9.bin", line["message"])


if __name__ == "__main__":
    unittest.main()
