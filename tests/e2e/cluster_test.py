"""The cluster lab: what scenario files mean, and a small swarm of real processes behind real links."""

import json
import math
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from harness import BINARY, DEADLINE

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/cluster/cluster.py"
SCENARIOS = TOOL.parents[1] / "scenarios"
SKIPPED = 77
sys.path.insert(0, str(TOOL.parent))

import scenario  # noqa: E402

SMALL = {"peers": 6, "size": "4MiB", "up": "50Mbit/s", "down": "50Mbit/s"}


class ScenarioFiles(unittest.TestCase):
    def test_every_scenario_of_the_lab_is_read(self):
        files = sorted(SCENARIOS.glob("lab-*.toml"))
        self.assertGreaterEqual(len(files), 3)
        for file in files:
            self.assertGreater(scenario.read_scenario(file).bound_fluid_s, 0)

    def test_sizes_rates_times_and_shares_have_units(self):
        self.assertEqual(scenario.parse_size("64MiB"), 64 * 2**20)
        self.assertEqual(scenario.parse_size("3GB"), 3 * 10**9)
        self.assertEqual(scenario.parse_rate("25Mbit/s"), 25e6 / 8)
        self.assertEqual(scenario.parse_rate("300MB/s"), 300e6)
        self.assertEqual(scenario.parse_time("1ms"), 1e-3)
        self.assertEqual(scenario.parse_share("25%"), 0.25)
        self.assertEqual(scenario.parse_when("50%", 20), 10)
        self.assertEqual(scenario.parse_when("3s", 20), 3)
        for parse, text in ((scenario.parse_size, "64 apples"), (scenario.parse_rate, "0MB/s"),
                            (scenario.parse_time, ""), (scenario.parse_share, "1.5")):
            with self.assertRaises(scenario.ScenarioError, msg=text):
                parse(text)

    def test_what_is_unknown_missing_or_not_for_the_lab_is_refused(self):
        for wrong in ({**SMALL, "colour": "red"}, {"peers": 3}, {**SMALL, "liars": "10%"},
                      {**SMALL, "racks": "4:1Gbit/s"}, {**SMALL, "peers": 0},
                      {**SMALL, "events": [{"at": "1s", "do": "kill", "host": "fetcher-7"}]},
                      {**SMALL, "events": [{"at": "1s", "do": "dance", "host": "tracker"}]}):
            with self.assertRaises(scenario.ScenarioError, msg=wrong):
                scenario.Scenario(wrong)

    def test_the_chunk_size_is_the_products(self):
        self.assertEqual(scenario.chunk_rule(64 * 2**20), 64 * 2**10)
        self.assertEqual(scenario.chunk_rule(2**27), 64 * 2**10)
        self.assertEqual(scenario.chunk_rule(2**27 + 1), 128 * 2**10)
        self.assertEqual(scenario.chunk_rule(2**43), 4 * 2**20)

    def test_equal_links_are_bound_by_one_copy_and_the_hops_of_a_chunk(self):
        lab = scenario.Scenario({"peers": 40, "size": "64MiB", "up": "25Mbit/s", "down": "25Mbit/s"})
        copy_s = 64 * 2**20 / (25e6 / 8)
        self.assertAlmostEqual(lab.bound_fluid_s, copy_s)
        self.assertAlmostEqual(lab.bound_chunks_s, copy_s * (1024 + 5) / 1024)

    def test_the_bound_is_that_of_the_scarcest_link(self):
        size, rate = 4 * 2**20, 50e6 / 8
        slow_seeder = scenario.Scenario({**SMALL, "seed-up": "10Mbit/s"})
        self.assertAlmostEqual(slow_seeder.bound_fluid_s, size / (10e6 / 8))
        one_slow_peer = scenario.Scenario({**SMALL, "slow": "0.2:5Mbit/s"})
        self.assertEqual(sum(link.down < rate for link in one_slow_peer.peer_links), 1)
        self.assertAlmostEqual(one_slow_peer.bound_fluid_s, size / (5e6 / 8))
        weak_uplinks = scenario.Scenario({**SMALL, "up": "1Mbit/s", "seed-up": "50Mbit/s"})
        self.assertAlmostEqual(weak_uplinks.bound_fluid_s, 6 * size / (rate + 6 * 1e6 / 8))

    def test_who_dies_and_when_is_in_the_file_and_its_seed(self):
        churn = {**SMALL, "peers": 40, "churn": "25%@50%+2s"}
        plan = scenario.Scenario(churn)
        self.assertEqual(len(plan.touched), 10)
        self.assertEqual(plan.events, scenario.Scenario(churn).events)
        half = plan.bound_fluid_s / 2
        self.assertEqual({(event.action, round(event.at_s - half, 6)) for event in plan.events},
                         {("kill", 0), ("restart", 2)})
        scattered = scenario.Scenario({**SMALL, "peers": 40, "churn": "0.25"})
        kills = [event.at_s / scattered.bound_fluid_s for event in scattered.events if event.action == "kill"]
        self.assertTrue(all(0.25 <= at <= 0.75 for at in kills) and len(set(kills)) == 10)

    def test_arrivals_are_at_once_even_or_by_chance(self):
        self.assertEqual(set(scenario.Scenario(SMALL).starts_s), {0})
        self.assertEqual(scenario.Scenario({**SMALL, "arrive": "3s"}).starts_s, [0, 0.5, 1, 1.5, 2, 2.5])
        by_chance = scenario.Scenario({**SMALL, "peers": 1000, "arrive": "poisson:10"}).starts_s
        self.assertTrue(80 < by_chance[-1] < 120 and by_chance == sorted(by_chance))

    def test_a_latency_that_the_lab_has_by_itself_adds_none(self):
        self.assertEqual(scenario.Scenario({**SMALL, "latency": "0.1ms"}).latency_s, 0)
        self.assertEqual(scenario.Scenario({**SMALL, "latency": "1ms"}).latency_s, 1e-3)

    def test_percentiles_are_values_that_occurred(self):
        values = [float(number) for number in range(1, 101)]
        self.assertEqual([scenario.percentile(values, share) for share in (0.5, 0.99, 0.999)], [50, 99, 100])
        self.assertIsNone(scenario.percentile([], 0.5))


class Lab(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def start(self, text):
        file = self.folder / "small.toml"
        file.write_text(text)
        process = subprocess.Popen([sys.executable, TOOL, file, "--binary", BINARY, "--json", "--folder", self.folder],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process

    def end(self, process):
        out, err = process.communicate(timeout=DEADLINE)
        if process.returncode == SKIPPED:
            self.skipTest(err.strip())
        return out, err

    def assert_nothing_stays(self, process):
        namespaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
        self.assertNotIn(f"-{process.pid}-", namespaces)
        self.assertEqual([file.name for file in self.folder.iterdir()], ["small.toml"])

    def test_a_swarm_with_a_kill_a_pause_a_cut_and_no_tracker_for_a_while_completes(self):
        process = self.start("""
            peers = 6
            size = "4MiB"
            up = "40Mbit/s"
            down = "40Mbit/s"
            linger = "5s"
            tracker-down = "20%:80%"
            events = [
              { at = "0.3s", do = "kill", host = "fetcher-2" }, { at = "0.8s", do = "restart", host = "fetcher-2" },
              { at = "0.3s", do = "pause", host = "fetcher-3" }, { at = "0.6s", do = "resume", host = "fetcher-3" },
              { at = "0.4s", do = "cut", host = "fetcher-4" }, { at = "0.6s", do = "join", host = "fetcher-4" },
            ]""")
        out, err = self.end(process)
        self.assertEqual(process.returncode, 0, err)
        figures = json.loads(out)
        self.assertEqual((figures["peers"], figures["completed"]), (6, 6))
        self.assertAlmostEqual(figures["bound_fluid_s"], 4 * 2**20 / 5e6)
        self.assertGreater(figures["max_s"], figures["bound_fluid_s"])  # or the links were not what they should be
        self.assertGreaterEqual(figures["seeder_copies"], 1)
        self.assertTrue(math.isclose(figures["share"], figures["bound_chunks_s"] / figures["max_s"]))
        self.assertLessEqual(figures["untouched_max_s"], figures["max_s"])
        self.assert_nothing_stays(process)

    def test_interrupted_it_leaves_nothing(self):
        process = self.start('peers = 2\nsize = "64MiB"\nup = "1Mbit/s"\ndown = "1Mbit/s"\n')
        # The log of the last host: everything is made and running by then.
        while process.poll() is None and not list(self.folder.glob("p2plab-*/fetcher-2/log")):
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        _, err = self.end(process)
        self.assertEqual(process.returncode, 130, err)
        self.assert_nothing_stays(process)


if __name__ == "__main__":
    unittest.main()
