#!/usr/bin/env python3
"""How many announces a second a tracker answers, with 15,000 peers of one content, each asking for 50.

p2p's tracker over persistent sealed connections, one for each peer, beside Debian's opentracker over UDP (BEP 15, nothing
sealed, one datagram in and one out), in turn, several rounds. The tracker has one core to itself, the generator
(tools/bench/announce_load.cc) the other. Every hand-out is checked by the generator. The floor (announce_floor.cc) reads and
writes messages of the same sizes over as many connections, and does nothing else: what the system's TCP leaves to reach.
"""

import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import measure

TRACKER_CORE, LOAD_CORE = "0", "1"
OPENTRACKER = "/usr/bin/opentracker"
MIB = 1 << 20
# Of an announce and of a hand-out of 50 to it, sealed.
ASK_BYTES, ANSWER_BYTES = "67", "613"


@dataclasses.dataclass
class Run:
    rate: float
    p50: float  # of the time to an answer, ms
    p99: float
    busy: float  # the generator's share of its core
    tracker_busy: float
    idle_rss: int  # of the tracker, without peers and with all of them
    full_rss: int


def rss_of(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def load(tracker, how, address, options, *more):
    """Runs the generator against the tracker, a process, from its start to the answers' end."""
    idle = rss_of(tracker.pid)
    command = ["taskset", "-c", LOAD_CORE, os.path.join(os.path.dirname(options.binary), "p2p-announce-load"), how, address,
               str(options.peers), str(options.in_flight), str(options.seconds), *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    full, samples = idle, []
    while process.poll() is None:
        full = max(full, rss_of(tracker.pid))
        samples.append((time.monotonic(), measure.cpu_of(tracker.pid)))
        time.sleep(0.1)
    output = process.stdout.read()
    if process.returncode != 0:
        sys.exit(f"the generator failed against {how}: {output}")
    result = json.loads(output)
    # The middle of what was measured: the generator ends with it.
    last = samples[-3]
    first = min(samples, key=lambda sample: abs(sample[0] - (last[0] - 0.7 * options.seconds)))
    busy = (last[1] - first[1]) / (last[0] - first[0])
    return Run(result["announces_per_s"], result["p50_ms"], result["p99_ms"], result["busy"], busy, idle, full)


def load_printed(server, how, options, *more):
    """The same against a server that is started so and prints its address."""
    process = subprocess.Popen(["taskset", "-c", TRACKER_CORE, *server], stdout=subprocess.PIPE, text=True)
    try:
        return load(process, how, process.stdout.readline().strip(), options, *more)
    finally:
        measure.stop(process)


class P2p:
    name = "p2p, sealed"

    def __init__(self, options, _):
        self.options = options

    def run(self):
        return load_printed([self.options.binary, "-q", "tracker", "--listen", "127.0.0.1:0"], "sealed", self.options)


class Floor:
    name = "the floor: TCP alone"

    def __init__(self, options, _):
        self.options = options

    def run(self):
        binary = os.path.join(os.path.dirname(self.options.binary), "p2p-announce-floor")
        return load_printed([binary, ANSWER_BYTES], "plain", self.options, ASK_BYTES, ANSWER_BYTES)


class Opentracker:
    name = "opentracker, UDP"

    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        folder.chmod(0o755)
        self.info_hash = os.urandom(20).hex()
        (folder / "whitelist").write_text(self.info_hash + "\n")

    def run(self):
        port = measure.free_port()
        config = self.folder / "opentracker.conf"
        config.write_text(f"listen.udp 127.0.0.1:{port}\nlisten.tcp 127.0.0.1:{port}\n"
                          f"access.whitelist {self.folder}/whitelist\n")
        tracker = subprocess.Popen(["taskset", "-c", TRACKER_CORE, OPENTRACKER, "-f", config], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            measure.wait_for_port(port)
            return load(tracker, "udp", f"127.0.0.1:{port}", self.options, self.info_hash)
        finally:
            measure.stop(tracker)


def sections(options):
    if (os.cpu_count() or 1) < 2 or not os.access(OPENTRACKER, os.X_OK):
        sys.exit("this needs two cores, and opentracker installed")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with measure.scratch_folder() as folder:
        runs = measure.alternate([contender(options, folder) for contender in (P2p, Floor, Opentracker)], options.rounds)
    yield section(runs, options)


def section(runs, options):
    rows = [[name, measure.spread([run.rate for run in each], 0), measure.spread([run.p50 for run in each]),
             measure.spread([run.p99 for run in each]), measure.spread([run.tracker_busy for run in each]),
             measure.spread([run.busy for run in each]), f"{max(run.full_rss for run in each) / MIB:.0f}"]
            for name, each in runs.items()]
    ours, theirs = runs[P2p.name], runs[Opentracker.name]
    ratio = measure.ratio(ours, theirs, "rate")
    full = max(run.full_rss for run in ours)
    each = statistics.median(run.full_rss - run.idle_rss for run in ours) / options.peers
    targets = [
        measure.Target("at least 1.2 times opentracker's announces a second", f"{ratio:.2f}", ratio >= 1.2),
        measure.Target("at most 100 MiB for 15,000 peers", f"{full / MIB:.0f} MiB", full <= 100 * MIB),
        measure.Target("at most 16 KiB for a connection", f"{each / 1024:.1f} KiB", each <= 16 * 1024),
    ]
    return measure.Section(
        "Announces", ["", "a second", "p50, ms", "p99, ms", "tracker's core", "generator's core", "RSS, MiB"], rows, targets,
        f"{options.peers} peers of one content, {options.in_flight} announces in flight for {options.seconds:g} s, "
        f"{options.rounds} rounds in turn. p2p reaches {measure.ratio(ours, runs[Floor.name], 'rate'):.2f} of the floor, and the "
        f"floor {measure.ratio(runs[Floor.name], theirs, 'rate'):.2f} of opentracker.")


def extend(parser):
    parser.add_argument("--peers", type=int, default=15_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
