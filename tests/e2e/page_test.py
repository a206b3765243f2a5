"""The tracker's page, in a real browser, while a real swarm runs."""

import json
import os
import pathlib
import unittest
import urllib.request

import browser
from harness import OK, EndToEnd, Proxy, free_port

# Where pictures of the page go, for a person to look at; none by default.
SHOTS = os.environ.get("P2P_PAGE_SHOTS")

PAINTED = """
const canvas = document.getElementById('picture');
const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
const probe = document.createElement('canvas').getContext('2d');
const colour = (name) => {
  probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
  probe.fillRect(0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
};
const full = colour('--full');
let painted = 0;
for (let i = 0; i < pixels.length; i += 4)
  painted += pixels[i] === full[0] && pixels[i + 1] === full[1] && pixels[i + 2] === full[2];
return painted;
"""


# A tracker of 5,000 swarms, and one of 1,000 peers of which 200 are shown.
CROWD = """
const id = (number) => number.toString(16).padStart(64, '0');
const summary = (number) => ({
  id: id(number), name: number % 3 ? `a rather long name of dataset number ${number}.tar.zst` : '', bytes: 5e9 * (number + 1),
  chunks: 1200, peers: 1000, complete: 200, seeders: 3, fetchers: 997, finished: 197, fetching: 800, reporting: 200,
  completion: (number % 100) / 100, down: 3e9, up: 3e9, limit: number % 2 ? 4e9 : null,
  curve: Array.from({ length: 30 }, (_, i) => [i, i / 30 * (number % 100) / 100])
});
const member = (number) => ({
  id: number.toString(16).padStart(8, '0'), endpoint: `10.20.${number >> 8}.${number & 255}:40001`, zone: `rack-${number % 9}`,
  complete: number < 20, seeds: number < 3, percent: number < 20 ? 100 : number % 90 + 5, reports: true, down: 3e6, up: 2e6,
  behind: number % 37 === 30, slow: number % 41 === 30,
  columns: Array.from({ length: 64 }, (_, i) => number < 20 ? 'ff' : i * 90 < 64 * (number % 90) ? 'ff' : '40').join('')
});
window.fetch = async (path) => ({ ok: true, status: 200, json: async () => path === 'api/swarms'
  ? { swarm_count: 5000, peers: 1e6, complete: 5e5, swarms: Array.from({ length: 200 }, (_, i) => summary(i)) }
  : { ...summary(64), members: Array.from({ length: 200 }, (_, i) => member(i)) } });
"""


class PageTest(EndToEnd):
    def setUp(self):
        super().setUp()
        if why := browser.missing():
            print(f"skipped: {why}")
            self.skipTest(why)
        self.browser = browser.Browser()
        self.addCleanup(self.browser.close)
        self.key = self.folder / "cluster.key"
        self.assertEqual(self.run_p2p("keygen", "-o", self.key).wait(), OK)

    def tracker_with_page(self, *arguments):
        self.port = free_port()
        _, address = self.tracker("--http", f"127.0.0.1:{self.port}", *arguments)
        return address

    def open(self, path=""):
        self.browser.open(f"http://127.0.0.1:{self.port}/{path}")

    def api(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/{path}", timeout=20) as answer:
            return json.loads(answer.read())

    def shot(self, name):
        if SHOTS:
            pathlib.Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.browser.screenshot(pathlib.Path(SHOTS, name + ".png"))

    def assert_no_trouble(self):
        """No error in the console, and nothing asked of anybody else."""
        # That the test reads the canvas is no trouble.
        self.assertEqual([entry for entry in self.browser.logs("browser")
                          if entry["level"] in ("SEVERE", "WARNING") and entry["source"] != "rendering"], [])
        own = f"http://127.0.0.1:{self.port}/"
        self.assertEqual([url for url in self.browser.requested()
                          if url.startswith(("http", "ws")) and not url.startswith(own)], [])

    def assert_fits(self, width):
        self.assertLessEqual(self.browser.run("return document.documentElement.scrollWidth"), width)

    def slow_swarm(self, fetchers, megabytes=24):
        """A seeder that gives 1.2 MB/s to each who asks, and so many fetchers of its content."""
        address = self.tracker_with_page("--cluster-key", self.key)
        source = self.random_file("ubuntu-24.04-server.iso", megabytes << 20)
        seeder, link = self.seed_behind(Proxy(bytes_per_second=1_200_000), source, "--tracker", address,
                                        "--cluster-key", self.key, "--chunk-size", "64KiB")
        return source, link, [self.fetch(link, self.folder / f"copy{i}", "--cluster-key", self.key, "--zone",
                                         f"rack-{i % 2}") for i in range(fetchers)]

    def test_a_swarm_is_seen_to_fill(self):
        source, link, fetches = self.slow_swarm(3)
        self.browser.set_size(1280, 900)
        self.open()
        self.browser.wait_until("return document.querySelectorAll('#swarms tbody tr').length === 1")
        self.browser.wait_until("return document.body.innerText.includes('ubuntu-24.04-server.iso')")
        self.browser.wait_until("return /\\d MB\\/s/.test(document.querySelector('#swarms tbody').innerText)")
        self.shot("list-desktop")
        self.browser.run("document.querySelector('#swarms tbody a').click()")
        self.browser.wait_until("return document.querySelectorAll('#members tbody tr').length === 4")
        self.browser.wait_until("return document.getElementById('facts').innerText.includes('24.0 MiB')")
        before = self.browser.run(PAINTED)
        self.browser.wait_until("return parseInt(document.querySelector('#facts dd').innerText) >= 40")
        self.shot("swarm-desktop-mid")
        self.assertIn("seeds", self.browser.text())
        self.browser.set_scheme("dark")
        self.shot("swarm-dark-mid")
        dark = self.browser.run("return getComputedStyle(document.body).backgroundColor")
        self.browser.set_scheme("light")
        self.assertNotEqual(dark, self.browser.run("return getComputedStyle(document.body).backgroundColor"))
        self.browser.wait_until(f"return (() => {{{PAINTED}}})() > {before}")
        self.browser.set_size(360, 740, phone=True)
        self.assert_fits(360)
        self.shot("swarm-phone-mid")
        self.browser.set_size(1280, 900)
        for i, fetch in enumerate(fetches):
            self.assert_fetched(fetch, source, self.folder / f"copy{i}")
        self.browser.wait_until("return document.querySelector('#facts dd').innerText === '100 %'")
        self.shot("swarm-desktop-end")
        self.assert_no_trouble()

    def test_without_swarms_it_says_so(self):
        self.tracker_with_page()
        self.open()
        self.browser.wait_until("return document.body.innerText.includes('Nobody is in any swarm')")
        self.browser.set_size(360, 740, phone=True)
        self.assert_fits(360)
        self.shot("empty-phone")
        self.assert_no_trouble()

    def test_many_swarms_fit_and_one_that_is_gone_is_said_to_be(self):
        address = self.tracker_with_page()
        for i in range(5):
            self.seed(self.random_file(f"content-{i}", 1000), "--tracker", address)
        self.open()
        self.browser.wait_until("return document.querySelectorAll('#swarms tbody tr').length === 5")
        self.browser.set_size(360, 740, phone=True)
        self.assert_fits(360)
        self.shot("list-phone")
        self.assert_no_trouble()
        self.open("#" + 64 * "0")
        self.browser.wait_until("return document.body.innerText.includes('Nobody is in this swarm')")

    def test_a_crowd_fits_and_is_drawn_at_once(self):
        self.tracker_with_page()
        self.browser.run_first(CROWD)
        self.browser.set_size(1280, 900)
        self.open()
        self.browser.wait_until("return document.querySelectorAll('#swarms tbody tr').length === 200")
        self.shot("crowd-list-desktop")
        self.browser.set_size(360, 740, phone=True)
        self.assert_fits(360)
        self.browser.set_size(1280, 900)
        self.browser.run("document.querySelector('#swarms tbody a').click()")
        self.browser.wait_until("return document.querySelectorAll('#members tbody tr').length === 200")
        self.assertIn("800 more peers are not shown", self.browser.text())
        self.assertIn("behind", self.browser.text())
        self.shot("crowd-swarm-desktop")
        self.assertLess(self.browser.run("const begin = performance.now(); draw(); return performance.now() - begin"), 500)
        self.browser.set_size(360, 740, phone=True)
        self.assert_fits(360)
        self.assert_no_trouble()

    def test_a_tracker_that_is_open_to_all_is_told_no_names(self):
        address = self.tracker_with_page()
        self.seed(self.random_file("secret-plans.pdf", 1000), "--tracker", address)
        self.open()
        self.browser.wait_until("return document.querySelector('#swarms small') && "
                                "document.querySelector('#swarms small').innerText === '1000 B'")
        self.assertNotIn("secret-plans", self.browser.text())
        self.assertNotIn("secret-plans", json.dumps(self.api("swarms")))

    def test_nothing_but_its_own_files_may_be_loaded(self):
        self.tracker_with_page()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
            policy = answer.headers["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)


if __name__ == "__main__":
    unittest.main()
