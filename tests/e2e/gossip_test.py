"""A cluster without trackers: its members know who has what, and commands look at it from outside."""

import contextlib
import json
import shutil
import signal
import socket
import time
import unittest

from harness import (DEADLINE, EXISTS, FAILED, OK, UNREACHABLE, USAGE, EndToEnd, Proxy)

MIB = 1024 * 1024


def free_gossip_port():
    """Of UDP, on all of loopback: members also move from 127.0.0.1 to 127.0.0.2."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind(("0.0.0.0", 0))
        return probe.getsockname()[1]


def naming(link, *members):
    """The same content and secret, to be asked for at these members and nowhere else."""
    head, secret = (link.split("#") + [None])[:2]
    return "/".join([*head.split("/")[:3], *(f"j={member}" for member in members)]) + (f"#{secret}" if secret else "")


class Cluster(EndToEnd):
    def setUp(self):
        super().setUp()
        self.nodes = {}
        self.key = None

    def with_key(self, arguments):
        return [*arguments, *(("--cluster-key", self.key) if self.key and "--cluster-key" not in arguments else ())]

    def node(self, *arguments, host=None, address="127.0.0.1", port=None, join=True):
        """One more member, on a host with a state folder of its own, that has joined an earlier one."""
        place = f"{address}:{port or free_gossip_port()}"
        earlier = next(iter(self.nodes), None)
        if join and earlier:
            arguments = ("--join", earlier, *arguments)
        process = self.start("node", "--gossip", place, "--listen", f"{address}:0", *self.with_key(arguments),
                             env=self.host(host or f"host-{place}"))
        self.assertEqual(process.first_line(), place)
        self.nodes[place] = process
        return place

    def host(self, name):
        return {"XDG_STATE_HOME": str(self.folder / name)}

    def start_nodes(self, count):
        places = [self.node() for _ in range(count)]
        self.wait_alive(places)
        return places

    def members(self, *arguments, at=None):
        """What `p2p members` says, by address."""
        listing = self.run_p2p("members", "--json", "--join", at or next(iter(self.nodes)), *self.with_key(arguments))
        self.assertEqual(listing.wait(), OK, listing.error_text())
        return {member["address"]: member for member in listing.json_lines()}

    def wait_members(self, is_right, at=None, seconds=DEADLINE):
        """The members once they are as they should be: asked again and again, which takes its time."""
        deadline = time.monotonic() + seconds
        while True:
            members = self.members(at=at)
            if is_right(members):
                return members
            self.assertLess(time.monotonic(), deadline, f"not in time: {members}")

    def wait_status(self, place, status, at=None, seconds=DEADLINE):
        return self.wait_members(lambda members: members.get(place, {}).get("status") == status, at, seconds)[place]

    def wait_alive(self, places, at=None):
        """Until these are alive, and nobody else is."""
        alive = lambda members: {place for place, member in members.items() if member["status"] == "alive"}
        return self.wait_members(lambda members: alive(members) == set(places), at)

    def kill(self, place):
        self.nodes.pop(place).stop(signal.SIGKILL)

    def seed_in_cluster(self, source, *arguments, **behind):
        """A seeder that is a member, the place of its datagrams, and its link."""
        place = f"127.0.0.1:{free_gossip_port()}"
        arguments = self.with_key(("--gossip", place, "--join", next(iter(self.nodes)), *arguments))
        seeder, link = self.seed_behind(behind["proxy"], source, *arguments) if behind else self.seed(source, *arguments)
        return seeder, place, link

    def assert_found(self, link, source, *arguments):
        """By a newcomer."""
        target = self.folder / "got"
        self.assert_fetched(self.fetch(link, target, "--overwrite", *self.with_key(arguments)), source, target)


class Contents(Cluster):
    def test_a_link_that_names_one_member_is_enough(self):
        places = self.start_nodes(3)
        source = self.random_file("source.bin", 4 * MIB)
        _, seeder, link = self.seed_in_cluster(source)
        self.assertIn(f"/j={seeder}/", link.replace("#", "/"))
        self.wait_alive([*places, seeder])
        for member in (*places, seeder):
            self.assert_found(naming(link, member), source)

    def test_a_link_that_names_nobody_is_enough_for_who_knows_a_member(self):
        *_, last = self.start_nodes(3)
        source = self.random_file("source.bin", MIB)
        _, _, link = self.seed_in_cluster(source)
        alone = self.fetch(naming(link), self.folder / "got", "--patience", "1")
        self.assertEqual(alone.wait(), UNREACHABLE, alone.error_text())
        self.assert_found(naming(link), source, "--join", last)

    def test_fetchers_find_each_other_by_the_table_alone(self):
        places = self.start_nodes(3)
        source = self.random_file("source.bin", 4 * MIB)
        seeder, _, link = self.seed_in_cluster(source, proxy=Proxy(bytes_per_second=4 * MIB))
        link = naming(link, *places)
        first = self.fetch(link, self.folder / "first", "--linger", "60")
        first.wait_line(first.out, lambda line: '"done"' in line)
        seeder.stop(signal.SIGKILL)
        self.assert_found(link, source)
        self.assertEqual(first.stop(), OK)

    def test_with_two_of_three_owners_killed_a_fetch_goes_on_and_newcomers_are_answered(self):
        places = self.start_nodes(6)
        source = self.random_file("source.bin", 8 * MIB)
        seeder, _, link = self.seed_in_cluster(source, "--verbose", proxy=Proxy(bytes_per_second=4 * MIB))
        services = {f"127.0.0.1:{member['service_port']}": place for place, member in self.members().items()}
        owners = set()

        def is_announced(line):
            if "announced there" in line:
                owners.add(services[line.split("owner ")[1].split(": ")[0]])
            return len(owners) >= 2

        seeder.wait_line(seeder.err, is_announced)
        running = self.fetch(naming(link, *places), self.folder / "first")
        running.wait_line(running.out, lambda line: '"progress"' in line)
        for owner in list(owners)[:2]:
            self.kill(owner)
        self.assertIsNone(running.process.poll())
        self.assert_found(naming(link, *self.nodes), source)
        self.assert_fetched(running, source, self.folder / "first")
        for owner in list(owners)[:2]:
            self.wait_status(owner, "dead")
        self.assert_found(naming(link, *self.nodes), source)


class Lookups(Cluster):
    def look_up(self, link, *arguments, code=OK):
        """The owners in their order, and the peers by address."""
        lookup = self.run_p2p("lookup", link, "--json", *self.with_key(arguments))
        self.assertEqual(lookup.wait(), code, lookup.error_text())
        lines = lookup.json_lines()
        return [line for line in lines if "owner" in line], {line["peer"]: line for line in lines if "peer" in line}

    def wait_peers(self, link, is_right, *arguments):
        deadline = time.monotonic() + DEADLINE
        while True:
            owners, peers = self.look_up(link, *arguments)
            if is_right(peers):
                return owners, peers
            self.assertLess(time.monotonic(), deadline, f"not in time: {peers}")

    def test_of_a_link_that_names_seeders_alone_these_say_who_has_it(self):
        source = self.random_file("source.bin", 24 * MIB)
        proxy = Proxy(bytes_per_second=2 * MIB)
        place = f"127.0.0.1:{proxy.port}"
        seeder, link = self.seed_behind(proxy, source)
        owners, peers = self.look_up(link)
        self.assertEqual([(owner["owner"], owner["status"], owner["answered"]) for owner in owners],
                         [(place, "seeder", True)])
        self.assertEqual({peer: said["complete"] for peer, said in peers.items()}, {place: True})
        running = self.fetch(link, self.folder / "got")
        self.wait_peers(link, lambda peers: sorted(peer["complete"] for peer in peers.values()) == [False, True])
        running.stop()
        seeder.stop()
        self.assertEqual(self.look_up(link, code=UNREACHABLE)[0][0]["answered"], False)

    def test_three_members_own_a_content_and_two_say_who_has_how_much_of_it(self):
        places = self.start_nodes(5)
        source = self.random_file("source.bin", 24 * MIB)
        proxy = Proxy(bytes_per_second=2 * MIB)
        _, seeder, link = self.seed_in_cluster(source, proxy=proxy)
        link = naming(link, *places)
        complete = f"127.0.0.1:{proxy.port}"
        owners, peers = self.wait_peers(link, lambda peers: complete in peers)
        members = {member["id"]: place for place, member in self.members().items()}
        self.assertEqual([owner["status"] for owner in owners], ["alive"] * 3)
        self.assertEqual([owner["asked"] for owner in owners], [True, True, False])
        self.assertEqual(len({members[owner["owner"]] for owner in owners}), 3)
        self.assertEqual((peers[complete]["complete"], peers[complete]["have_percent"]), (True, 100))
        # The order is the content's, whoever is asked.
        for place in (*places, seeder):
            again, _ = self.look_up(naming(link), "--join", place)
            self.assertEqual([owner["owner"] for owner in again], [owner["owner"] for owner in owners])
        self.fetch(link, self.folder / "got")
        part = lambda peers: [peer for peer in peers.values() if not peer["complete"] and peer["have_percent"] is not None]
        _, peers = self.wait_peers(link, part)
        self.assertLess(part(peers)[0]["have_percent"], 100)

    def test_without_its_best_owners_another_answers(self):
        places = self.start_nodes(4)
        source = self.random_file("source.bin", MIB)
        _, seeder, link = self.seed_in_cluster(source)
        owners, _ = self.wait_peers(naming(link, *places), lambda peers: peers)
        by_id = {member["id"]: place for place, member in self.members().items()}
        best = next(place for place in (by_id[owner["owner"]] for owner in owners) if place != seeder)
        self.kill(best)
        after, peers = self.look_up(naming(link, *self.nodes))
        self.assertEqual(len([owner for owner in after if owner["answered"]]), 2, after)
        self.assertTrue(peers)

    def test_trackers_of_the_link_are_asked_too(self):
        source = self.random_file("source.bin", MIB)
        _, tracker = self.tracker()
        seeder, link = self.seed(source, "--tracker", tracker, "--verbose")
        seeder.wait_line(seeder.err, lambda line: "announced there" in line)
        owners, peers = self.look_up(link)
        self.assertEqual([(owner["owner"], owner["status"], owner["answered"]) for owner in owners],
                         [(tracker, "tracker", True)])
        self.assertEqual([peer["complete"] for peer in peers.values()], [True])

    def test_where_no_owner_answers_the_exit_code_says_so(self):
        source = self.random_file("source.bin", MIB)
        _, link = self.seed(source)
        nowhere = f"127.0.0.1:{free_gossip_port()}"
        self.look_up(naming(link, nowhere), "--patience", "0.5", code=UNREACHABLE)
        owners, _ = self.look_up(naming(link), "--tracker", nowhere, code=UNREACHABLE)
        self.assertEqual([owner["answered"] for owner in owners], [False])


class Looks(Cluster):
    def test_members_are_shown_alive_dead_and_left(self):
        first, second, killed, stopped = self.start_nodes(4)
        self.assertEqual(self.nodes.pop(stopped).stop(), OK)
        self.assertEqual(self.members()[stopped]["status"], "left")  # at once: it said so
        self.kill(killed)
        dead = self.wait_status(killed, "dead")
        self.assertLess(dead["seconds"], DEADLINE)
        # All the others know.
        for at in (first, second):
            self.assertEqual({place: member["status"] for place, member in self.members(at=at).items()},
                             {first: "alive", second: "alive", killed: "dead", stopped: "left"})
        self.assertEqual(set(self.members("--status", "dead")), {killed})
        self.assertEqual(set(self.members("--status", "dead,left")), {killed, stopped})
        self.assertEqual(set(self.members("--status", "alive")), {first, second})

    def test_the_table_is_sorted_and_aligned(self):
        places = self.start_nodes(3)
        listing = self.run_p2p("members", env={"P2P_JOIN": places[1]})
        self.assertEqual(listing.wait(), OK, listing.error_text())
        head, *rows = [line for line in listing.out if line]
        self.assertEqual(head.split(), ["ID", "ADDRESS", "SERVICE", "STATUS", "SINCE"])
        self.assertEqual([row.split()[1] for row in rows], sorted(places, key=lambda place: int(place.split(":")[1])))
        at = head.index("STATUS")
        self.assertEqual([row[at:at + 7] for row in rows], ["alive  "] * 3)

    def test_a_link_and_the_state_folder_say_where_to_ask(self):
        places = self.start_nodes(2)
        source = self.random_file("source.bin", MIB)
        _, seeder, link = self.seed_in_cluster(source)
        everybody = {*places, seeder}
        self.wait_alive(everybody)
        listing = self.run_p2p("members", link, "--json")
        self.assertEqual({member["address"] for member in listing.json_lines()}, everybody, listing.error_text())
        # The node of this state folder, whoever it is.
        listing = self.run_p2p("members", "--json", env=self.host(f"host-{places[1]}"))
        self.assertEqual({member["address"] for member in listing.json_lines()}, everybody, listing.error_text())

    def test_nobody_there_is_said_with_the_place_and_an_exit_code(self):
        place = f"127.0.0.1:{free_gossip_port()}"
        for command in ("members", "reachability"):
            refused = self.run_p2p(command, "--join", place, "--patience", "0.5")
            self.assertEqual(refused.wait(), UNREACHABLE)
            self.assertIn(place, refused.error_text())
            self.assertIn("nothing listens there", refused.error_text())
        self.assertEqual(self.run_p2p("members", "--join", "nowhere").wait(), USAGE)
        self.assertEqual(self.run_p2p("members", "--join", place, "--status", "ill").wait(), USAGE)

    def test_who_does_not_answer_is_found_by_reachability(self):
        first, second, third = self.start_nodes(3)
        well = self.run_p2p("reachability", "--join", first)
        self.assertEqual((well.wait(), well.out[0]), (OK, "all 3 members answer"), well.error_text())
        self.nodes[second].process.send_signal(signal.SIGSTOP)
        for at in (first, third):
            ill = self.run_p2p("reachability", "--join", at)
            self.assertEqual(ill.wait(), FAILED, ill.error_text())
            said = "\n".join(line for line in ill.out if line)
            self.assertIn(second, said)
            self.assertNotIn(third, said)
        self.nodes[second].process.send_signal(signal.SIGCONT)
        self.wait_alive([first, second, third])
        self.assertEqual(self.run_p2p("reachability", "--join", third).wait(), OK)

    def test_who_looks_on_is_in_nobodys_view(self):
        places = self.start_nodes(2)
        for _ in range(3):
            self.assertEqual(set(self.members()), set(places))


class Identities(Cluster):
    def test_a_member_is_known_at_its_new_address_within_three_seconds(self):
        for end in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(end=end.name):
                self.nodes.clear()
                first, second, moving = self.start_nodes(3)
                before = self.members()[moving]
                self.nodes.pop(moving).stop(end)
                moved = self.node(host=f"host-{moving}", address="127.0.0.2", port=int(moving.split(":")[1]))
                for at in (first, second):
                    after = self.wait_status(moved, "alive", at=at, seconds=3)
                    self.assertEqual(after["id"], before["id"])
                    self.assertGreater(after["epoch"], before["epoch"])
                self.assertNotIn(moving, self.members())

    def test_a_cluster_that_was_wholly_down_finds_itself_by_its_state_folders(self):
        places = self.start_nodes(4)
        kept = [self.folder / f"host-{place}/p2p/members/{place.split(':')[1]}.members" for place in places]
        deadline = time.monotonic() + DEADLINE
        while not all(file.exists() for file in kept):
            self.assertLess(time.monotonic(), deadline)
            self.members()
        before = self.members()
        for place in places:
            self.kill(place)
        for place in places:
            self.node(port=int(place.split(":")[1]), join=False)
        after = self.wait_alive(places)
        self.assertEqual({place: member["id"] for place, member in before.items()},
                         {place: member["id"] for place, member in after.items()})

    def test_a_second_process_with_the_state_of_a_running_one_is_another_member(self):
        first, second = self.start_nodes(2)
        also = self.node(host=f"host-{second}", address="127.0.0.2", port=int(second.split(":")[1]))
        members = self.wait_alive([first, second, also])
        self.assertEqual(len({member["id"] for member in members.values()}), 3)
        self.assertIn("this one is a new member", self.nodes[also].error_text())

    def test_of_two_processes_with_one_identity_the_earlier_one_ends(self):
        first, second = self.start_nodes(2)
        shutil.copytree(self.folder / f"host-{second}", self.folder / "copied")
        copy = self.node(host="copied", address="127.0.0.2", port=int(second.split(":")[1]))
        earlier = self.nodes.pop(second)
        self.assertEqual(earlier.wait(), EXISTS, earlier.error_text())
        self.assertIn("another process has the identity", earlier.error_text())
        self.wait_alive([first, copy])


class ClosedClusters(Cluster):
    def make_key(self, name):
        file = self.folder / name
        self.assertEqual(self.run_p2p("keygen", "-o", file).wait(), OK)
        return file

    def test_another_key_is_refused_with_a_hint_what_may_be_wrong(self):
        self.key = self.make_key("right")
        place, = self.start_nodes(1)
        wrong = self.make_key("wrong")
        for arguments, hint in ((["--cluster-key", wrong], "Is --cluster-key the file"), ([], "need a --cluster-key")):
            for command in ("members", "reachability"):
                refused = self.run_p2p(command, "--join", place, "--patience", "0.5", *arguments)
                self.assertEqual(refused.wait(), UNREACHABLE)
                self.assertIn(place, refused.error_text())
                self.assertIn(hint, refused.error_text())
        node = self.nodes[place]
        node.wait_line(node.err, lambda line: "sealed with another cluster key" in line)
        self.assertEqual(set(self.members()), {place})

    def keys(self, command, *arguments):
        changed = self.run_p2p("keys", command, self.key, *arguments)
        self.assertEqual(changed.wait(), OK, changed.error_text())
        return changed.out[0]

    def hand_out(self, files, hosts):
        """The key file as it is now, to these hosts, in one step each as `p2p keys` does; waits until it is used."""
        names = " ".join(line.split()[0] for line in self.run_p2p("keys", "list", self.key).out if line)
        for place in hosts:
            shutil.copy(self.key, f"{files[place]}.new")
            shutil.move(f"{files[place]}.new", files[place])
        for place in hosts:
            process = self.nodes[place]
            process.wait_line(process.err, lambda line: f"the cluster keys are now {names}" in line)

    def test_a_key_is_changed_under_a_running_cluster_without_a_loss(self):
        self.key = self.make_key("cluster.key")
        files = {}
        for i in range(4):
            file = self.folder / f"key-{i}"
            shutil.copy(self.key, file)
            files[self.node("--cluster-key", file)] = file
        places = list(files)
        self.wait_alive(places)
        source = self.random_file("source.bin", MIB)
        old = self.run_p2p("keys", "list", self.key).out[0].split()[0]

        def check():
            """Nobody is missed, whoever asks, and a content that is seeded now is found."""
            for at in places:
                members = self.members(at=at)
                self.assertEqual({place: members[place]["status"] for place in places}, dict.fromkeys(places, "alive"))
                self.assertFalse([member for member in members.values() if member["status"] == "dead"])
            seeder, _, link = self.seed_in_cluster(source)
            self.assert_found(naming(link, places[-1]), source)
            self.assertEqual(seeder.stop(), OK)

        check()
        new = self.keys("add")
        for change in (None, ("use", new), ("remove", old)):
            if change:
                self.assertEqual(self.run_p2p("keys", *change[:1], self.key, *change[1:]).wait(), OK)
            # First half of the hosts, then all.
            self.hand_out(files, places[:2])
            check()
            self.hand_out(files, places[2:])
            check()
        self.assertEqual([line.split()[0] for line in self.run_p2p("keys", "list", self.key).out if line], [new])


if __name__ == "__main__":
    unittest.main()
