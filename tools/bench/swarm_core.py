#!/usr/bin/env python3
"""How many events a second the swarm core alone takes on one core, and what a pick of a chunk costs with few chunks and with
many (tools/bench/swarm_core.cc)."""

import json
import os
import statistics
import subprocess

import measure


def sections(options):
    core = str(max(os.sched_getaffinity(0)))
    command = [os.path.join(os.path.dirname(options.binary), "p2p-swarm-bench"), str(options.peers), str(options.mib),
               str(options.rounds)]
    figures = json.loads(subprocess.run(["taskset", "-c", core, *command], check=True, stdout=subprocess.PIPE).stdout)
    yield events(figures["events_per_s"], options)
    yield picks(figures["pick_ns"], options)


def events(rates, options):
    rows = [[name, measure.spread([rate / 1e6 for rate in each])] for name, each in rates.items()]
    least = min(statistics.median(each) for each in rates.values())
    return measure.Section(
        "The swarm core", ["what is told to it", "million events a second"], rows,
        [measure.Target("at least 1,000,000 events a second", f"{least:,.0f}", least >= 1e6)],
        f"What one host was told in a simulated cluster of {options.peers} that fetch {options.mib} MiB, told again to fresh "
        f"swarms on one core, {options.rounds} rounds. An event is one input with all that comes of it. Chunks of 1 MiB, 1 Gbit/s "
        "and 1 ms; the far: of 64 KiB, 10 Gbit/s and 50 ms, so that a thousand are on their way at once.")


def picks(times, options):
    rows = [[f"{int(chunks):,}", measure.spread(each, 0)] for chunks, each in times.items()]
    growth = statistics.median(many / few for many, few in zip(times["100000"], times["1000"]))
    return measure.Section(
        "Picking a chunk", ["chunks", "ns a pick"], rows,
        [measure.Target("flat from 1,000 to 100,000 chunks: at most twice as much", f"{growth:.2f}", growth <= 2)],
        f"A whole download from 16 neighbours who get theirs meanwhile, {options.rounds} rounds.")


def extend(parser):
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--mib", type=int, default=1000)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
