"""Several trackers: the best two of a content's have it, and a third stands in for one that fails."""

import signal
import unittest

from harness import UNREACHABLE, USAGE, EndToEnd, free_port

MIB = 1024 * 1024


def with_trackers(link, addresses):
    """The same content and secret, to be asked for at these trackers and nowhere else."""
    head, secret = link.split("#")
    return "/".join([*head.split("/")[:3], *(f"t={address}" for address in addresses)]) + "#" + secret


def trackers_of(link):
    return [part[2:] for part in link.split("#")[0].split("/")[3:] if part.startswith("t=")]


class Trackers(EndToEnd):
    def setUp(self):
        super().setUp()
        self.source = self.random_file("source.bin", MIB)
        self.trackers = {}

    def start_trackers(self, count):
        for _ in range(count):
            process, address = self.tracker()
            self.trackers[address] = process
        return list(self.trackers)

    def kill(self, address):
        self.trackers[address].stop(signal.SIGKILL)

    def restart(self, address):
        self.trackers[address], again = self.tracker(listen=address)
        self.assertEqual(again, address)

    def seed_at(self, addresses, *arguments):
        flags = [flag for address in addresses for flag in ("--tracker", address)]
        self.seeder, self.link = self.seed(self.source, "--verbose", *flags, *arguments)

    def announced(self, address):
        """How often the seeder has come to be announced there, each time over a new connection."""
        return sum(f"owner {address}: announced there" in line for line in self.seeder.err if line)

    def wait_announced(self, addresses, times=1):
        self.seeder.wait_line(self.seeder.err,
                              lambda line: all(self.announced(address) >= times for address in addresses))

    def owners_and_spare(self):
        """Of three trackers the two that the seeder is announced at, and the third."""
        self.seeder.wait_line(self.seeder.err, lambda line: sum(map(self.announced, self.trackers)) == 2)
        owners = [address for address in self.trackers if self.announced(address)]
        spare, = set(self.trackers) - set(owners)
        return owners, spare

    def fetch_at(self, addresses, *arguments, env=None):
        """A newcomer that knows the content's secret and these trackers, and no seeder."""
        return self.start("fetch", with_trackers(self.link, addresses), "-o", self.folder / "got", "--listen", "127.0.0.1:0",
                          "--overwrite", *arguments, env=env)

    def assert_found_at(self, addresses, *arguments, env=None):
        self.assert_fetched(self.fetch_at(addresses, *arguments, env=env), self.source, self.folder / "got")

    def refusal_at(self, addresses, *arguments):
        """What a newcomer that does not find the content there says."""
        fetch = self.fetch_at(addresses, "--patience", "1", *arguments)
        self.assertEqual(fetch.wait(), UNREACHABLE, fetch.error_text())
        return fetch.error_text()

    def test_a_content_is_announced_at_two_of_three_and_found_by_whoever_knows_the_three(self):
        addresses = self.start_trackers(3)
        self.seed_at(addresses)
        self.assertEqual(trackers_of(self.link), addresses)
        owners, spare = self.owners_and_spare()
        for owner in owners:
            self.assert_found_at([owner])
        self.assertIn(f"{spare} knows of no peer", self.refusal_at([spare]))
        self.assert_found_at(addresses)
        self.assert_found_at(reversed(addresses))

    def test_one_that_is_killed_is_passed_over_and_taken_back_when_it_is_well(self):
        addresses = self.start_trackers(3)
        self.seed_at(addresses)
        (first, second), spare = self.owners_and_spare()
        self.kill(first)
        self.wait_announced([spare])
        self.assert_found_at(addresses)
        self.kill(second)
        self.assert_found_at(addresses)
        self.restart(first)
        self.wait_announced([first], times=2)
        self.assert_found_at([first])
        self.assert_found_at([spare])
        self.restart(second)
        self.wait_announced([second], times=2)
        self.seeder.wait_line(self.seeder.err, lambda line: f"owner {spare}: left" in line)
        self.assert_found_at([second])
        self.assertIn(f"{spare} knows of no peer", self.refusal_at([spare]))

    def test_one_that_is_dead_from_the_start_does_no_harm(self):
        dead = f"127.0.0.1:{free_port()}"
        alive = self.start_trackers(2)
        self.seed_at([alive[0], dead, alive[1]])
        self.wait_announced(alive)
        for known in ([alive[0], dead, alive[1]], [alive[0]], [alive[1]]):
            self.assert_found_at(known)

    def test_all_dead_is_said_by_name_with_an_exit_code(self):
        dead = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        self.seed_at(dead)
        warning = self.seeder.wait_line(self.seeder.err, lambda line: "none of those that are announced to" in line)
        refusal = self.refusal_at(dead)
        for address in dead:
            self.assertIn(address, warning)
            self.assertIn(address, refusal)
        self.assertIn("None of the trackers answers. Is one of them running", refusal)
        # The seeders of the link do without.
        self.assert_fetched(self.fetch(self.link, self.folder / "direct"), self.source, self.folder / "direct")

    def test_fetch_asks_other_trackers_beside_those_of_the_link(self):
        known, other = self.start_trackers(2)
        dead = f"127.0.0.1:{free_port()}"
        self.seed_at([known])
        self.wait_announced([known])
        self.refusal_at([dead])
        self.assert_found_at([dead], "--tracker", known)
        self.assert_found_at([known], "--tracker", other, "--tracker", dead)
        self.assert_found_at([], env={"P2P_TRACKER": f"{dead},{known}"})

    def test_one_more_seeder_is_announced_at_the_links_trackers_and_its_own(self):
        known, *others = self.start_trackers(3)
        self.seed_at([known])
        self.wait_announced([known])
        first, link = self.seeder, self.link
        copy = self.folder / "copy.bin"
        copy.write_bytes(self.source.read_bytes())
        self.source = copy
        self.seed_at([*others, known], "--link", link)
        self.assertEqual(trackers_of(self.link), [known, *others])
        self.wait_announced([known, *others])
        first.stop()
        for address in self.trackers:
            self.assert_found_at([address])

    def test_a_link_has_room_for_sixteen_trackers_each_counted_once(self):
        addresses = [f"127.0.0.1:{port}" for port in range(1, 18)]
        flags = [flag for address in addresses for flag in ("--tracker", address)]
        refused = self.run_p2p("seed", self.source, "--listen", "127.0.0.1:0", *flags)
        self.assertEqual(refused.wait(), USAGE)
        self.assertIn("17 trackers, more than the 16", refused.error_text())
        self.seed_at(addresses[:16])
        self.assertEqual(trackers_of(self.link), addresses[:16])
        again = self.start("seed", *flags[:30], "--tracker", "127.0.0.1:1", self.source, "--listen", "127.0.0.1:0")
        self.assertEqual(trackers_of(again.first_line()), addresses[:15])
        more = self.run_p2p("seed", self.source, "--listen", "127.0.0.1:0", "--link", self.link, "--tracker", addresses[16])
        self.assertEqual(more.wait(), USAGE)
        self.assertIn("17 trackers, more than the 16", more.error_text())


if __name__ == "__main__":
    unittest.main()
