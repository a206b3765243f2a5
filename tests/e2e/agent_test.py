"""The agent of a host: its store, its commands, and what becomes of it when it dies."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import unittest
import urllib.error
import urllib.parse
import urllib.request

from harness import (DEADLINE, EXISTS, INTERRUPTED, LIMIT, MALFORMED, OK, UNREACHABLE, USAGE, EndToEnd, Proxy,
                     flip_bytes)


class Agents(EndToEnd):
    def agent(self, name, *arguments):
        """An agent with a store and a socket of this name, once it answers."""
        process = self.start("agent", "--store", f"{name}.store", "--socket", f"{name}.sock",
                             "--listen", "127.0.0.1:0", *arguments)
        process.wait_line(process.err, lambda line: "an agent with" in line)
        self.agents[name] = process
        return process

    def setUp(self):
        super().setUp()
        self.agents = {}

    def ask(self, name, command, *arguments):
        process = self.run_p2p(command, *arguments, "--agent", f"{name}.sock")
        return process

    def contents(self, name):
        process = self.ask(name, "list", "--json")
        self.assertEqual(process.wait(), OK, process.error_text())
        return {content["name"]: content for content in process.json_lines()}

    def fetch_by(self, name, link, *arguments):
        return self.run_p2p("fetch", link, *arguments, "--agent", f"{name}.sock")

    def seeded(self, path, *arguments):
        process = self.ask("seeder", "seed", path, *arguments)
        self.assertEqual(process.wait(), OK, process.error_text())
        return process.first_line()


class Store(Agents):
    def test_what_is_fetched_stays_in_the_store_and_comes_out_of_it_as_it_was(self):
        source = self.folder / "tree"
        (source / "sub").mkdir(parents=True)
        self.random_file("tree/a", 300_000)
        tool = self.random_file("tree/sub/tool", 1000)
        tool.chmod(0o755)
        (source / "empty").touch()
        (source / "hollow").mkdir()
        (source / "link").symlink_to("sub/tool")
        self.agent("seeder")
        self.agent("host")
        link = self.seeded(source)
        for mode in ("auto", "link", "copy"):
            self.assert_fetched(self.fetch_by("host", link, "-o", f"out-{mode}", "--copy", mode), source,
                                self.folder / f"out-{mode}")
        self.assertEqual(self.contents("host")["tree"]["state"], "complete")
        # A copy is its own; a link is the store's, which nobody is to write to.
        self.assertEqual((self.folder / "out-copy/a").stat().st_nlink, 1)
        self.assertTrue((self.folder / "out-copy/a").stat().st_mode & 0o200)
        self.assertGreater((self.folder / "out-link/a").stat().st_nlink, 1)
        self.assertFalse((self.folder / "out-link/a").stat().st_mode & 0o222)

    def test_an_agent_killed_by_sigkill_serves_what_it_had_without_hashing_it(self):
        source = self.random_file("big", 40_000_000)
        self.agent("seeder")
        host = self.agent("host")
        link = self.seeded(source)
        self.assertEqual(self.fetch_by("host", link, "--store-only").wait(), OK)
        host.stop(signal.SIGKILL)
        # Damage that leaves no trace: who hashed it would notice.
        stored = next((self.folder / "host.store/contents").glob("*/data"))
        stored.chmod(0o644)
        flip_bytes(stored, [5])
        stored.chmod(0o444)
        again = self.agent("host")
        content = self.contents("host")["big"]
        self.assertEqual((content["state"], content["activity"]), ("complete", "serving"))
        self.assertNotIn("checking", again.error_text())

    def test_what_was_wanted_when_the_agent_was_killed_is_fetched_after_its_restart(self):
        source = self.random_file("big", 8_000_000)
        proxy = Proxy(bytes_per_second=2_000_000)
        _, link = self.seed_behind(proxy, source, "--no-agent")
        host = self.agent("host")
        self.assertEqual(self.fetch_by("host", link, "--detach").wait(), OK)
        self.wait_for(lambda: self.contents("host").get("big", {}).get("bytes_verified", 0) > 0)
        host.stop(signal.SIGKILL)
        self.agent("host")
        self.assert_fetched(self.fetch_by("host", link, "-o", "got"), source, self.folder / "got")

    def test_a_stored_file_that_somebody_changed_is_found_and_fetched_again(self):
        source = self.random_file("big", 3_000_000)
        self.agent("seeder")
        self.agent("host")
        link = self.seeded(source)
        self.assertEqual(self.fetch_by("host", link, "--store-only").wait(), OK)
        stored = next((self.folder / "host.store/contents").glob("*/data"))
        stored.chmod(0o644)
        stored.write_bytes(b"something else")
        self.assert_fetched(self.fetch_by("host", link, "-o", "got"), source, self.folder / "got")

    def test_the_least_recently_used_goes_first_and_never_what_is_pinned(self):
        self.agent("seeder")
        self.agent("host", "--max-size", "2500KiB")
        for name in ("one", "two", "three", "four"):
            link = self.seeded(self.random_file(name, 1 << 20))
            pin = ["--pin"] if name == "one" else []
            self.assertEqual(self.fetch_by("host", link, "--store-only", *pin).wait(), OK)
        self.assertEqual(set(self.contents("host")), {"one", "four"})
        # Nothing that may go would make room enough.
        refused = self.fetch_by("host", self.seeded(self.random_file("large", 2 << 20)), "--store-only")
        self.assertEqual(refused.wait(), LIMIT)
        self.assertIn("pinned or in use", refused.error_text())
        self.assertIn("--max-size", refused.error_text())
        self.assertTrue({"one", "four"} <= set(self.contents("host")))
        # The limit is taken over from the file at SIGHUP; gc removes the rest.
        self.assertEqual(self.ask("host", "gc").wait(), OK)
        self.assertEqual([name for name, each in self.contents("host").items() if each["state"] == "complete"],
                         ["one"])
        self.assertEqual(self.ask("host", "unpin", link.split("/")[2][:10]).wait(), USAGE)
        self.assertEqual(self.ask("host", "unpin", self.contents("host")["one"]["id"][:12]).wait(), OK)
        self.assertEqual(self.ask("host", "gc").wait(), OK)
        self.assertEqual(self.contents("host"), {})

    def test_sighup_takes_over_a_changed_configuration_and_refuses_a_wrong_one(self):
        config = self.folder / "agent.toml"
        config.write_text('[agent]\nmax-size = "4MiB"\n')
        process = self.start("agent", "--config", config, "--store", "s", "--socket", "host.sock",
                             "--listen", "127.0.0.1:0")
        process.wait_line(process.err, lambda line: "an agent with" in line)
        config.write_text('[agent]\nmax-size = "12 bananas"\n')
        process.process.send_signal(signal.SIGHUP)
        process.wait_line(process.err, lambda line: "nothing is changed" in line)
        self.assertEqual(json.loads(self.ask("host", "status", "--json").first_line())["max_bytes"], 4 << 20)
        config.write_text('[agent]\nmax-size = "8MiB"\nzone = "elsewhere"\n')
        process.process.send_signal(signal.SIGHUP)
        process.wait_line(process.err, lambda line: "needs a restart" in line)
        self.assertEqual(json.loads(self.ask("host", "status", "--json").first_line())["max_bytes"], 8 << 20)

    def test_a_stored_folder_of_which_a_part_was_changed_is_mended_with_what_is_still_good(self):
        self.random_file("tree/a", 2_000_000)
        self.random_file("tree/sub/b", 2_000_001)
        self.agent("seeder")
        self.agent("host")
        link = self.seeded(self.folder / "tree")
        self.assertEqual(self.fetch_by("host", link, "--store-only").wait(), OK)
        stored = next((self.folder / "host.store/contents").glob("*/data"))
        content = (stored / "a").read_bytes()
        (stored / "a").chmod(0o644)
        (stored / "a").write_bytes(content[:1_000_000] + b"odd" + content[1_000_000:])
        fetch = self.fetch_by("host", link, "-o", "got", "--json")
        self.assert_fetched(fetch, self.folder / "tree", self.folder / "got")
        done = fetch.json_lines()[-1]
        self.assertLess(done["bytes_fetched"], 200_000)
        self.assertEqual(done["bytes_older"] + done["bytes_fetched"], done["bytes_total"])
        self.assertEqual([path.name for path in stored.parent.glob("d*")], ["data"])

    def wait_for(self, test):
        """Asks until it is so: each question is a process and its answer, so this does not spin."""
        for _ in range(2000):
            if test():
                return
        self.fail("it did not come to be")


class OlderVersions(Agents):
    def setUp(self):
        super().setUp()
        self.agent("seeder")

    def versions(self, added=b""):
        """Two releases of a file: in the second nearly all has moved by an odd number of bytes."""
        old = self.random_file("thing-1.0.bin", 5_000_000)
        new = self.folder / "thing-1.1.bin"
        content = old.read_bytes()
        new.write_bytes(b"odd" + content[:2_000_000] + content[2_000_777:] + added)
        return old, new

    def have(self, path):
        self.assertEqual(self.fetch_by("host", self.seeded(path), "--store-only").wait(), OK)

    def fetched(self, path):
        """Fetched by the agent, and how."""
        fetch = self.fetch_by("host", self.seeded(path), "-o", "got", "--overwrite", "--json")
        self.assert_fetched(fetch, path, self.folder / "got")
        return fetch.json_lines()[-1]

    def status(self):
        return json.loads(self.ask("host", "status", "--json").first_line())

    def test_an_agent_takes_from_its_store_what_a_new_release_shares_with_the_last(self):
        old, new = self.versions()
        host = self.agent("host")
        self.have(old)
        self.have(self.random_file("else-1.0.bin", 5_000_000))
        before = self.status()
        done = self.fetched(new)
        self.assertLess(done["bytes_fetched"], 100_000)
        self.assertEqual(done["bytes_older"] + done["bytes_fetched"], done["bytes_total"])
        after = self.status()
        self.assertEqual(after["older_bytes"] - before["older_bytes"], done["bytes_older"])
        self.assertEqual(after["received_bytes"] - before["received_bytes"], done["bytes_fetched"])
        self.assertEqual(self.contents("host")["thing-1.1.bin"]["bytes_older"], done["bytes_older"])
        self.assertNotIn("searching else", host.error_text())

    def test_a_folder_takes_from_the_folder_of_the_last_release(self):
        for name in ("a", "sub/b", "sub/c"):
            data = self.random_file(f"tree-1/{name}", 1_000_001).read_bytes()
            path = self.folder / "tree-2" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[:400_000] + b"changed" + data[400_000:])
        self.agent("host")
        self.have(self.folder / "tree-1")
        self.assertLess(self.fetched(self.folder / "tree-2")["bytes_fetched"], 100_000)

    def test_where_nothing_is_alike_nothing_is_searched(self):
        host = self.agent("host")
        self.have(self.random_file("thing-1.0.bin", 5_000_000))
        done = self.fetched(self.random_file("else-1.1.bin", 5_000_000))
        self.assertEqual((done["bytes_older"], done["bytes_fetched"]), (0, 5_000_000))
        self.assertNotIn("searching", host.error_text())

    def test_an_older_version_that_is_damaged_or_gone_costs_no_more_than_bytes(self):
        old, new = self.versions()
        self.agent("host")
        self.have(old)
        stored = next((self.folder / "host.store/contents").glob("*/data"))
        stored.chmod(0o644)
        flip_bytes(stored, [1_000_000, 3_500_000])
        self.assertLess(self.fetched(new)["bytes_fetched"], 1_000_000)
        for data in (self.folder / "host.store/contents").glob("*/data"):
            data.unlink()
        newer = self.folder / "thing-1.2.bin"
        newer.write_bytes(new.read_bytes() + b"more")
        self.assertEqual(self.fetched(newer)["bytes_older"], 0)

    def test_an_older_version_is_not_removed_while_a_fetch_takes_from_it(self):
        old, new = self.versions(added=os.urandom(4_500_000))
        self.agent("host")
        self.have(old)
        proxy = Proxy(bytes_per_second=2_000_000)
        _, link = self.seed_behind(proxy, new, "--no-agent")
        fetch = self.start("fetch", link, "-o", "got", "--json", "--agent", "host.sock")
        fetch.wait_line(fetch.out, lambda line: '"bytes_verified":0' not in line)
        self.assertTrue(self.contents("host")["thing-1.0.bin"]["in_use"])
        self.assertEqual(self.ask("host", "gc").wait(), OK)
        self.assertIn("thing-1.0.bin", self.contents("host"))
        self.assert_fetched(fetch, new, self.folder / "got")
        self.assertFalse(self.contents("host")["thing-1.0.bin"]["in_use"])
        self.assertEqual(self.ask("host", "gc").wait(), OK)
        self.assertNotIn("thing-1.0.bin", self.contents("host"))

    def test_where_there_is_no_room_beside_the_older_version_it_goes_first(self):
        old, new = self.versions()
        self.agent("host", "--max-size", "6MiB")
        self.have(old)
        self.assertEqual(self.fetched(new)["bytes_older"], 0)
        self.assertEqual(set(self.contents("host")), {"thing-1.1.bin"})


class Http(Agents):
    def served(self, *arguments, name="host"):
        """An agent with HTTP, and where that is."""
        process = self.agent(name, "--http", "127.0.0.1:0", *arguments)
        line = process.wait_line(process.err, lambda line: "contents and metrics at" in line)
        return line.split("metrics at ")[1].rstrip("/")

    def get(self, url, **headers):
        """Status, headers and body."""
        request = urllib.request.Request(url, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers, refusal.read()

    def test_a_file_is_read_whole_or_in_ranges_by_any_spelling_of_its_id(self):
        source = self.random_file("big", 3_000_000)
        self.agent("seeder")
        url = self.served()
        link = self.seeded(source)
        self.assertEqual(self.fetch_by("host", link, "--store-only").wait(), OK)
        identity = self.contents("host")["big"]["id"]
        for spelling in (identity, identity[:8], link.split("/")[2]):
            status, headers, body = self.get(f"{url}/content/{spelling}")
            self.assertEqual((status, headers["Content-Length"]), (200, "3000000"))
            self.assertTrue(body == source.read_bytes())
        data = source.read_bytes()
        for text, wanted in (("bytes=0-0", data[:1]), ("bytes=1000000-2000000", data[1000000:2000001]),
                             ("bytes=2999999-", data[-1:]), ("bytes=-500", data[-500:])):
            status, headers, body = self.get(f"{url}/content/{identity}", Range=text)
            self.assertEqual((status, body == wanted), (206, True), text)
        self.assertEqual(self.get(f"{url}/content/{identity}", Range="bytes=3000000-")[0], 416)
        self.assertEqual(self.get(f"{url}/content/{identity}/x")[0], 404)
        self.assertEqual(self.get(f"{url}/content/0123456789")[0], 404)
        self.assertEqual(self.get(f"{url}/content/")[0], 404)

    def test_the_files_of_a_folder_are_listed_and_read(self):
        self.random_file("tree/a", 100_000)
        self.random_file("tree/sub/with blank", 200_000)
        self.random_file("tree/empty", 0)
        self.agent("seeder")
        url = self.served()
        self.assertEqual(self.fetch_by("host", self.seeded(self.folder / "tree"), "--store-only").wait(), OK)
        place = f"{url}/content/{self.contents('host')['tree']['id']}"
        listed = json.loads(self.get(place)[2])
        self.assertEqual({file["path"]: file["bytes"] for file in listed["files"]},
                         {"a": 100_000, "sub/with blank": 200_000, "empty": 0})
        for path in listed["files"]:
            status, _, body = self.get(place + "/" + urllib.parse.quote(path["path"]))
            self.assertEqual((status, body == (self.folder / "tree" / path["path"]).read_bytes()), (200, True), path)
        for path in ("/../../etc/passwd", "/sub", "/a/", "/b"):
            self.assertEqual(self.get(place + path)[0], 404, path)

    def test_what_is_still_being_fetched_is_streamed_as_it_comes(self):
        source = self.random_file("big", 6_000_000)
        proxy = Proxy(bytes_per_second=2_000_000)
        _, link = self.seed_behind(proxy, source, "--no-agent")
        url = self.served()
        self.assertEqual(self.fetch_by("host", link, "--detach").wait(), OK)
        with urllib.request.urlopen(f"{url}/content/{link.split('/')[2]}", timeout=DEADLINE) as answer:
            first = answer.read(65536)
            self.assertEqual(self.contents("host")["big"]["activity"], "fetching")
            self.assertTrue(first + answer.read() == source.read_bytes())

    def test_a_fetch_that_ends_cuts_who_reads_it_and_what_is_read_is_not_removed(self):
        source = self.random_file("big", 6_000_000)
        proxy = Proxy(bytes_per_second=1_000_000)
        _, link = self.seed_behind(proxy, source, "--no-agent")
        url = self.served()
        fetch = self.start("fetch", link, "--store-only", "--json", "--agent", "host.sock")
        fetch.wait_line(fetch.out, lambda line: '"progress"' in line)
        with urllib.request.urlopen(f"{url}/content/{link.split('/')[2]}", timeout=DEADLINE) as answer:
            answer.read(1000)
            self.assertEqual(self.ask("host", "rm", link).wait(), USAGE)
            self.assertEqual(fetch.stop(signal.SIGINT), INTERRUPTED)
            with self.assertRaises(http.client.IncompleteRead):
                answer.read()
        self.assertEqual(self.get(f"{url}/content/{link.split('/')[2]}")[0], 503)

    def test_metrics_and_health(self):
        seeder = self.served(name="seeder")
        url = self.served("--max-size", "1GiB")
        self.assertEqual(self.fetch_by("host", self.seeded(self.random_file("x", 1000)), "--store-only").wait(), OK)
        self.assertIn("p2p_agent_sent_bytes_total 1000", self.get(f"{seeder}/metrics")[2].decode())
        metrics = self.get(f"{url}/metrics")[2].decode()
        for line in ('p2p_agent_contents{activity="serving"} 1', "p2p_agent_store_bytes 1000",
                     "p2p_agent_store_limit_bytes 1073741824", 'p2p_agent_fetches_total{outcome="complete"} 1',
                     "p2p_agent_received_bytes_total 1000",
                     "p2p_agent_older_bytes_total 0"):
            self.assertIn(line, metrics)
        if promtool := shutil.which("promtool"):
            checked = subprocess.run([promtool, "check", "metrics"], input=metrics, text=True, capture_output=True)
            self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, "", ""))
        self.assertEqual(self.get(f"{url}/healthz")[0], 200)
        self.assertEqual(self.get(f"{url}/readyz")[0], 200)
        self.assertEqual(self.get(f"{url}/elsewhere")[0], 404)
        self.assertEqual(self.get(f"{url}/metrics", Host="evil.example")[0], 421)


class Commands(Agents):
    def test_without_an_agent_its_commands_say_what_to_do_and_fetch_does_it_itself(self):
        lonely = self.run_p2p("list", env={"XDG_RUNTIME_DIR": str(self.folder)})
        if lonely.wait() == OK:
            self.skipTest("an agent of this very host answers at /run/p2p")
        self.assertEqual(lonely.wait(), UNREACHABLE)
        self.assertIn("start `p2p agent`", lonely.error_text())
        named = self.run_p2p("fetch", "p2p://" + "A" * 43 + "#" + "A" * 43, "--agent", "nowhere.sock")
        self.assertEqual(named.wait(), UNREACHABLE)
        self.assertIn("nowhere.sock", named.error_text())
        source = self.random_file("small", 1000)
        _, link = self.seed(source)
        self.assert_fetched(self.run_p2p("fetch", link, "-o", "got"), source, self.folder / "got")

    def test_two_fetches_of_one_content_are_one_and_an_interrupted_one_leaves_the_other(self):
        source = self.random_file("big", 6_000_000)
        proxy = Proxy(bytes_per_second=3_000_000)
        _, link = self.seed_behind(proxy, source, "--no-agent")
        self.agent("host")
        first = self.start("fetch", link, "-o", "one", "--json", "--agent", "host.sock")
        second = self.start("fetch", link, "-o", "two", "--json", "--agent", "host.sock")
        first.wait_line(first.out, lambda line: '"progress"' in line)
        second.wait_line(second.out, lambda line: '"progress"' in line)
        self.assertEqual(first.stop(signal.SIGINT), INTERRUPTED)
        self.assert_fetched(second, source, self.folder / "two")
        self.assertFalse((self.folder / "one").exists())

    def test_a_fetch_that_nobody_waits_for_any_more_ends_and_is_gone_on_with_later(self):
        source = self.random_file("big", 6_000_000)
        proxy = Proxy(bytes_per_second=3_000_000)
        seeder, link = self.seed_behind(proxy, source, "--no-agent")
        host = self.agent("host")
        fetch = self.start("fetch", link, "-o", "got", "--json", "--agent", "host.sock")
        fetch.wait_line(fetch.out, lambda line: '"bytes_verified":0' not in line)
        self.assertEqual(fetch.stop(signal.SIGTERM), INTERRUPTED)
        host.wait_line(host.err, lambda line: "nobody waits for it" in line)
        self.assertEqual(self.contents("host")["big"]["state"], "partial")
        self.assert_fetched(self.fetch_by("host", link, "-o", "got"), source, self.folder / "got")

    def test_each_fetch_gives_up_when_its_own_patience_ends_whoever_else_waits(self):
        nobody = "p2p://" + "A" * 43 + "/s=127.0.0.1:1#" + "A" * 43
        host = self.agent("host")
        self.assertEqual(self.fetch_by("host", nobody, "--store-only", "--detach").wait(), OK)
        # Beside one that waits for ever.
        hasty = self.fetch_by("host", nobody, "-o", "hasty", "--patience", "1")
        self.assertEqual(hasty.wait(), UNREACHABLE)
        self.assertIn("no peer with what is missing for 1", hasty.error_text())
        self.assertEqual([each["state"] for each in self.contents("host").values()], ["wanted"])
        self.assertEqual(host.stop(signal.SIGTERM), OK)
        # Beside one that began it and waits for less, and as the last.
        self.agent("other")
        first = self.start("fetch", nobody, "-o", "first", "--patience", "1", "--agent", "other.sock")
        second = self.start("fetch", nobody, "-o", "second", "--patience", "4", "--agent", "other.sock")
        self.assertEqual(first.wait(), UNREACHABLE)
        self.assertIsNone(second.process.poll())
        self.assertEqual(second.wait(), UNREACHABLE)
        self.assertIn("no peer with what is missing for 4", second.error_text())
        self.assertEqual([each["state"] for each in self.contents("other").values()], ["partial"])

    def test_a_target_that_is_there_is_refused_before_anything_is_fetched(self):
        link = "p2p://" + "A" * 43 + "/s=127.0.0.1:1#" + "A" * 43
        self.agent("host")
        self.random_file("there", 10)
        self.assertEqual(self.fetch_by("host", link, "-o", "there").wait(), EXISTS)

    def test_a_seed_is_served_from_where_it_lies_also_after_a_restart_and_a_change_is_said(self):
        source = self.random_file("mine", 2_000_000)
        os.utime(source, (1_600_000_000, 1_600_000_000))
        seeder = self.agent("seeder")
        link = self.seeded(source)
        self.assertEqual(self.contents("seeder")["mine"]["source"], str(source))
        port = link.split("/s=")[1].split("#")[0]
        seeder.stop()
        again = self.start("agent", "--store", "seeder.store", "--socket", "seeder.sock", "--listen", port)
        again.wait_line(again.err, lambda line: "an agent with 1 contents" in line)
        self.assertEqual(self.ask("seeder", "link", link).first_line(), link)
        self.assert_fetched(self.run_p2p("fetch", link, "-o", "got", "--no-agent"), source, self.folder / "got")
        # Seeded again when it has changed, it is another content, and the old one is gone.
        self.random_file("mine", 2_000_000)
        self.assertNotEqual(self.seeded(source), link)
        self.assertEqual(len(self.contents("seeder")), 1)

    def test_sigterm_serves_on_until_those_who_fetch_are_done(self):
        source = self.random_file("big", 6_000_000)
        # Everybody reaches it through the proxy, as its link and its announces say.
        proxy = Proxy(bytes_per_second=3_000_000)
        self.addCleanup(proxy.close)
        seeder = self.start("agent", "--store", "seeder.store", "--socket", "seeder.sock", "--listen",
                            f"127.0.0.1:{proxy.target_port}", "--advertise", f"127.0.0.1:{proxy.port}")
        seeder.wait_line(seeder.err, lambda line: "an agent with" in line)
        fetch = self.fetch(self.seeded(source), "got", "--linger", "0")
        fetch.wait_line(fetch.out, lambda line: '"progress"' in line)
        self.assertEqual(seeder.stop(signal.SIGTERM), OK)
        self.assert_fetched(fetch, source, self.folder / "got")

    def test_nonsense_over_the_socket_is_answered_and_harms_nothing(self):
        self.agent("host")
        for said in (b"\n", b"{}\n", b"[" * 60_000 + b"\n", b'{"op":"dance"}\n', b'{"op":"pin","id":7}\n',
                     b'{"op":"fetch"}\n', b'{"op":"fetch","link":"p2p://x"}\n', b'{"op":"seed","path":"relative"}\n',
                     b'{"op":"rm","id":"0123"}\n', b"\xff\xfe\n"):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(DEADLINE)
                client.connect(str(self.folder / "host.sock"))
                client.sendall(said)
                answer = client.makefile().readline()
                self.assertEqual(json.loads(answer)["event"], "error", said)
        with socket.socket(socket.AF_UNIX) as client:  # a line that does not end
            client.settimeout(DEADLINE)
            client.connect(str(self.folder / "host.sock"))
            try:
                client.sendall(b"x" * 100_000)
                self.assertEqual(client.recv(1), b"")
            except (BrokenPipeError, ConnectionResetError):
                pass
        self.assertEqual(self.ask("host", "status").wait(), OK)

    def test_an_agent_of_another_version_is_understood_as_far_as_it_goes(self):
        answer = {"event": "done", "pid": 1, "store": "/s", "stored_bytes": 0, "max_bytes": 0, "contents": 0,
                  "complete": 0, "fetching": 0, "addresses": ["10.0.0.1:2"], "stopping": False}
        for answered, code in ((answer, OK), ({"event": "done"}, MALFORMED)):
            with socket.socket(socket.AF_UNIX) as server:
                (self.folder / "other.sock").unlink(missing_ok=True)
                server.bind(str(self.folder / "other.sock"))
                server.listen()
                server.settimeout(DEADLINE)
                status = self.start("status", "--agent", "other.sock")
                client, _ = server.accept()
                with client:
                    client.sendall(json.dumps(answered).encode() + b"\n")
                    self.assertEqual(status.wait(), code, status.error_text())
            self.assertEqual("another version" in status.error_text(), code == MALFORMED)

    def test_a_second_agent_on_the_same_store_or_socket_is_refused(self):
        self.agent("host")
        for arguments in (["--store", "host.store", "--socket", "other.sock"],
                          ["--store", "other.store", "--socket", "host.sock"]):
            second = self.run_p2p("agent", *arguments, "--listen", "127.0.0.1:0")
            self.assertEqual(second.wait(), EXISTS, second.error_text())


if __name__ == "__main__":
    unittest.main()
