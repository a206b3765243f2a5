#!/usr/bin/env python3
"""Does the schedule hold beside the scenarios that its figures are told for? Draws scenarios around them, and lists the worst.

    tools/sim/draw.py [--binary build/release/bin/p2p-sim] [--runs 60] [--seed 1] [--jobs 2] [--worst 8]

Each has its size, chunks, number of peers, rates and latency drawn evenly on a scale of powers, around what the README's table
has: links of 10 Mbit/s to 40 Gbit/s, 20 to 1,200 peers, 150 to 1,500 chunks, paths from 20 us to 40 ms, one to five seeders,
downlinks as fast as the uplinks up to four times as fast, all at once or over a part of the run.

What the last peer loses beyond what the links allow for fluid is told in steps: a step is the time that a link takes for a chunk and
a message to its other end, and of these as many as the swarm has doublings (1,000 peers: ten). Where it is much more than for the
others there is a cliff. The share of the fluid bound is small, without any cliff, where a content is gone in a few round trips. Exit
code 1 when a run fails.
"""

import argparse
import concurrent.futures
import json
import math
import pathlib
import random
import subprocess
import sys

DEFAULT_BINARY = pathlib.Path(__file__).resolve().parents[2] / "build/release/bin/p2p-sim"
KIB = 1024


def draw(dice, seed):
    """One scenario, as flags of p2p-sim."""
    def between(low, high):
        return low * (high / low) ** dice.random()

    chunk = KIB * 2 ** dice.randint(6, 12)
    up = between(10e6, 40e9) / 8
    down = up * (1 if dice.random() < 0.6 else between(1, 4))
    size = chunk * between(150, 1500)
    flags = {"peers": round(between(20, 1200)), "size": round(size), "chunk": chunk, "up": f"{up:.0f}B/s", "down": f"{down:.0f}B/s",
             "latency": f"{between(20, 40_000):.0f}us", "seeders": dice.choice([1, 1, 1, 2, 5]), "seed": seed}
    if dice.random() < 0.3:
        flags["arrive"] = f"{dice.random() * size / up:.3f}s"
    return flags


def run(binary, flags):
    command = [binary, "--json", *(str(part) for name, value in flags.items() for part in (f"--{name}", value))]
    done = subprocess.run(command, capture_output=True, text=True)
    return flags, json.loads(done.stdout) if done.returncode == 0 else None, done.stderr.strip()


def figures(flags, report):
    """(chunk times that the last peer lost, one way in chunk times, lost steps for each doubling, share of the fluid bound)"""
    chunk_s = flags["chunk"] / float(flags["up"].removesuffix("B/s"))
    latency = float(flags["latency"].removesuffix("us")) / 1e6 / chunk_s
    # Of those who come late the last cannot end before it came and has fetched: no less than the bound of one link.
    arrives_s = float(flags.get("arrive", "0s").removesuffix("s"))
    bound_s = max(report["bound_fluid_s"], arrives_s + flags["size"] / float(flags["down"].removesuffix("B/s")))
    lost = (report["last_s"] - bound_s) / chunk_s
    return lost, latency, lost / (1 + latency) / math.log2(flags["peers"]), report["share_fluid"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=DEFAULT_BINARY)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--worst", type=int, default=8)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    scenarios = [draw(dice, options.seed + number) for number in range(options.runs)]
    rows, failed = [], 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for flags, report, error in pool.map(lambda flags: run(options.binary, flags), scenarios):
            if report is None:
                failed += 1
                print(error, file=sys.stderr)
            else:
                rows.append((*figures(flags, report), flags))
    if not rows:
        print("draw: no run came to its end", file=sys.stderr)
        return 1
    for name, index in (("chunk times lost", 0), ("steps lost a doubling", 2), ("share of the fluid bound", 3)):
        values = sorted(row[index] for row in rows)
        print(f"{name:26} least {values[0]:7.2f}  half {values[len(values) // 2]:7.2f}  most {values[-1]:9.2f}")
    print(f"\nthe worst of {len(rows)}, latency in chunk times:\n{'steps':>6} {'lost':>6} {'latency':>8} {'share':>6}")
    for lost, latency, steps, share, flags in sorted(rows, key=lambda row: -row[2])[:options.worst]:
        print(f"{steps:6.1f} {lost:6.0f} {latency:8.2f} {share:6.3f}   "
              + " ".join(f"--{name} {value}" for name, value in flags.items()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
