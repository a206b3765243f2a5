#!/usr/bin/env python3
"""What the death of one tracker of three costs those who are announced there and look others up all the while.

Three trackers and hundreds of peers of many contents (tools/bench/lookup_load.cc: the real announce client and transport,
all peers in one process), each content at the two trackers that its id chooses. One tracker is killed by SIGKILL under load,
stays away for a while and is restarted on its port with nothing in its table. Lookups are counted from the kill to when all
is as before; a lookup fails if no tracker that was asked named a peer within a second. *Full*: every peer is announced at
the best two of the trackers that are up.
"""

import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time

import measure

FULL_WITHIN_S = 120  # or the run hangs


@dataclasses.dataclass
class Run:
    full_without: float  # seconds from the kill until all are at two of those that are left
    full_again: float  # seconds from the restart until all are at the best two
    interval: float  # the longest that a tracker asked for, s
    lookups: dict  # since the kill: count, failed; of the whole run: p50_ms, p99_ms, max_ms
    newcomers: dict


class Tracker:
    def __init__(self, binary, address="127.0.0.1:0"):
        self.process = subprocess.Popen([binary, "-q", "tracker", "--listen", address], stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class Load:
    def __init__(self, options, trackers):
        command = [os.path.join(os.path.dirname(options.binary), "p2p-lookup-load"), str(options.peers),
                   str(options.contents), str(options.period), str(options.newcomers), *trackers]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def say(self, line):
        self.process.stdin.write(line + "\n")

    def hear(self, event):
        ready, _, _ = select.select([self.process.stdout], [], [], FULL_WITHIN_S)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            sys.exit(f"the peers were not '{event}' within {FULL_WITHIN_S} s")
        heard = json.loads(line)
        if heard["event"] != event:
            sys.exit(f"the peers said {heard} instead of '{event}'")
        return heard

    def end(self):
        self.say("end")
        heard = self.hear("end")
        self.process.wait()
        return heard


def since(before, after, kind):
    return {**after[kind], **{field: after[kind][field] - before[kind][field] for field in ("count", "failed")}}


def one_run(options):
    trackers = [Tracker(options.binary) for _ in range(3)]
    load = Load(options, [tracker.address for tracker in trackers])
    try:
        before = load.hear("full")
        time.sleep(options.steady)  # the load, for as long as asked
        trackers[0].kill()
        load.say("down 0")
        without = load.hear("full")
        time.sleep(max(0, options.down - without["seconds"]))
        trackers[0] = Tracker(options.binary, trackers[0].address)
        load.say("up 0")
        again = load.hear("full")
        time.sleep(options.steady)
        after = load.end()
    finally:
        load.process.kill()
        for tracker in trackers:
            tracker.kill()
    return Run(without["seconds"], again["seconds"], after["longest_interval_s"], since(before, after, "lookups"),
               since(before, after, "newcomers"))


def sections(options):
    runs = [one_run(options) for _ in range(min(options.rounds, options.most_rounds))]
    interval = min(run.interval for run in runs)

    def share(kind):
        counted, failed = (sum(getattr(run, kind)[field] for run in runs) for field in ("count", "failed"))
        return failed / counted, f"{failed} of {counted}"

    def row(name, kind):
        every = [getattr(run, kind) for run in runs]
        return [name, share(kind)[1], *(measure.spread([each[field] for each in every], 1)
                                        for field in ("p50_ms", "p99_ms", "max_ms"))]

    without, again = ([getattr(run, field) for run in runs] for field in ("full_without", "full_again"))
    worst = max(share("lookups")[0], share("newcomers")[0])
    targets = [
        measure.Target("less than 0.1 % of lookups fail", f"{100 * worst:.3f} %", worst < 0.001),
        measure.Target(f"full without the killed one within an interval, {interval:.0f} s", f"{max(without):.2f} s",
                       max(without) <= interval),
        measure.Target("full with it within an interval of its restart", f"{max(again):.1f} s", max(again) <= interval),
    ]
    yield measure.Section(
        "Lookups while a tracker dies", ["", "failed", "p50, ms", "p99, ms", "longest, ms"],
        [row("of a peer that is announced", "lookups"), row("of a newcomer, from its start", "newcomers")], targets,
        f"{options.peers} peers of {options.contents} contents at three trackers, each looking up every {options.period:g} s, and "
        f"{options.newcomers:g} newcomers a second. One tracker is killed, and restarted {options.down:g} s later; {len(runs)} "
        f"rounds. Every peer is at two of the two left {measure.spread(without)} s after the kill, and at its best two "
        f"{measure.spread(again, 1)} s after the restart.")


def extend(parser):
    parser.add_argument("--peers", type=int, default=600)
    parser.add_argument("--contents", type=int, default=30)
    parser.add_argument("--period", type=float, default=0.5, help="seconds from one lookup of a peer to its next")
    parser.add_argument("--newcomers", type=float, default=20, help="a second")
    parser.add_argument("--steady", type=float, default=3, help="seconds of load before the kill, and after all is well")
    parser.add_argument("--down", type=float, default=20, help="seconds from the kill to the restart")
    parser.add_argument("--most-rounds", type=int, default=3)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
