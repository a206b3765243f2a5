#!/usr/bin/env python3
"""Many hosts on this one machine, with the real p2p binary: how near does a swarm come to what its links allow?

    tools/cluster/cluster.py tools/scenarios/lab-40.toml [--binary build/release/bin/p2p] [--json] [--timeline] [--gossip]

Each host is a network namespace behind a token bucket at both ends of its cable, all cables in one switch (see network.py
for the buckets). The tracker, the seeders and the fetchers are p2p processes on hosts of their own. They are started,
killed and restarted as the scenario says; every fetched file is compared with the content; then the figures are printed.
Nothing but these hosts is ever contacted, and nothing of them stays, however the run ends.

Needs root and Linux; where namespaces cannot be made it says why and exits with 77, as skipped tests do. Exit code 1: a
fetch failed or differs; 2: the scenario or the command line makes no sense.

The scenario is a TOML file. Its keys are the flags of the simulator:

  peers         how many fetch
  size          of the content: "64MiB", "3GB"
  chunk         chunk size; the product's own rule when absent
  up, down      the rate of every peer's link: "25Mbit/s", "300MB/s"
  seeders       how many have it from the start; 1
  seed-up       the uplink of a seeder; as `up`
  latency       one way between two hosts: "1ms"; less than 0.2 ms adds nothing here. Needs the kernel's netem
  arrive        "0s": all at once; "5s": evenly over 5 s; "poisson:RATE": so many a second on average
  churn         "SHARE" or "SHARE@WHEN+BACK": that share of the peers is killed (-9) at WHEN ("50%" of the fluid bound, or
                "3s"; at random from 25 % to 75 % when absent) and started again BACK later (2s)
  slow          "SHARE:RATE": that share of the peers has this rate, up and down
  tracker-down  "FROM:TO": the tracker is killed and started again; percentages are of the fluid bound
  linger        how long who is complete goes on seeding; "0s"
  seed          of the lab's dice: who is slow or killed, and when; 1
  events        a list of { at = "3s", do = "cut", host = "fetcher-7" }; a percentage is of the fluid bound; do: kill,
                restart, pause, resume, cut, join; host: tracker, seeder-1..., fetcher-1... The simulator kills and
                restarts fetchers and the tracker, and refuses the rest

With --gossip there is no tracker (`tracker-down` is refused): who has what is known by the hash table alone, whose members
are the seeders and the fetchers; the link names the first seeder's gossip address and no other.

`racks` and `liars` are for the simulator only: they are refused here.

The figures: the time of a fetch is from its own first start to its last byte in place; max_s from the first start of all
to the last completion. bound_fluid_s is what the links allow for payload alone, with no header of any protocol (TCP's and
IP's alone take 4.6 %); bound_chunks_s the same when chunks are relayed whole; share is bound_chunks_s / max_s.
seeder_copies are the bytes on the seeders' uplinks over the size, repeats and messages too; of packets that the kernel
hands on together it counts the headers once, and so does the timeline: there a full link shows about 96 %. cpu_seconds: of
all processes; machine_busy: of all cores, by anybody: near 1 the machine was the limit, not the links.
"""

import argparse
import json
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import lab  # noqa: E402
import network  # noqa: E402
import scenario as scenarios  # noqa: E402

SKIPPED = 77
DEFAULT_BINARY = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin/p2p"


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", help="a TOML file; tools/scenarios has some")
    parser.add_argument("--binary", default=os.environ.get("P2P_BINARY", DEFAULT_BINARY))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="in place of the file's")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object, on stdout")
    parser.add_argument("--timeline", action="store_true", help="how full the links were, second by second")
    parser.add_argument("--gossip", action="store_true",
                        help="no tracker, and no seeder in the link: all are members of a cluster and its hash table")
    parser.add_argument("--congestion", metavar="NAME", default=network.CONGESTION,
                        help="congestion control of all hosts; cubic, as on most systems")
    parser.add_argument("--folder", default="/dev/shm", help="where content and copies lie for the time; a tmpfs")
    return parser.parse_args(arguments)


def seconds(value):
    return "-" if value is None else f"{value:.2f} s"


def print_table(figures):
    rows = [("complete", f"{figures['completed']} of {figures['peers']}"),
            ("half done", seconds(figures["p50_s"])), ("99 %", seconds(figures["p99_s"])),
            ("last", seconds(figures["max_s"])),
            ("bound, payload alone", seconds(figures["bound_fluid_s"])),
            ("bound, whole chunks", seconds(figures["bound_chunks_s"])),
            ("share of it", "-" if figures["share"] is None else f"{100 * figures['share']:.1f} %"),
            ("copies sent by the seeders", f"{figures['seeder_copies']:.3f}"),
            ("received in vain", f"{figures['duplicate_bytes'] / 2**20:.2f} MiB"),
            ("CPU of all", f"{figures['cpu_seconds']:.1f} s, the machine {100 * figures['machine_busy']:.0f} % busy")]
    if "untouched_max_s" in figures:
        rows[4:4] = [("half of those left alone", seconds(figures["untouched_p50_s"])),
                     ("last of those left alone", seconds(figures["untouched_max_s"]))]
    for name, value in rows:
        print(f"  {name:27} {value}")


def print_timeline(rows, out):
    print("  time   seeders up   peers up   peers down   complete", file=out)
    for second, seeders_up, up, down, complete in rows:
        print(f"  {second:5.1f} {100 * seeders_up:9.0f} % {100 * up:8.0f} % {100 * down:10.0f} % {complete:10}", file=out)


def main(arguments):
    options = parse_arguments(arguments)
    if not os.access(options.binary, os.X_OK):
        print(f"cluster: there is no binary '{options.binary}'; build it (./dev build) or name it by --binary",
              file=sys.stderr)
        return 2
    try:
        scenario = scenarios.read_scenario(options.scenario, options.set)
    except scenarios.ScenarioError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    try:
        network.check_possible()
        network.remove_dead_labs()
        with lab.Lab(scenario, options.binary, options.congestion, options.timeline, options.folder,
                     options.gossip) as run:
            figures = run.run()
    except network.CannotRun as error:
        print(f"cluster: skipped: {error}", file=sys.stderr)
        return SKIPPED
    except lab.Failed as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.timeline:
        print_timeline(run.timeline_rows(), sys.stderr if options.json else sys.stdout)
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"{pathlib.Path(options.scenario).name}: {scenario.peers} peers, {scenario.size / 2**20:g} MiB in "
              f"{scenario.chunks} chunks")
        print_table(figures)
    for host, why in sorted(run.lost.items()):
        print(f"cluster: {host}: {why}", file=sys.stderr)
    return 0 if figures["completed"] == scenario.peers else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
