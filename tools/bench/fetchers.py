#!/usr/bin/env python3
"""What a seeder's work costs: its CPU for each GiB that it sends, to one fetcher and to four at once.

Four fetch the same content at the same time and pass it on to each other, as they do in real life; so the seeder sends less
than four copies. What it sent is counted by the kernel (wchar of /proc/PID/io).
"""

import pathlib
import statistics
import subprocess
import sys
import time

import measure

FETCHERS = 4
GIB = 1 << 30


def written_by(pid):
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("wchar:"):
            return int(line.split()[1])
    return 0


class Fetchers:
    """So many at once. The figures of a run: CPU seconds of the seeder a GiB sent, GiB sent, wall seconds."""

    def __init__(self, count, seeder, folder, binary):
        self.name = f"{count} at once" if count > 1 else "one"
        self.count, self.seeder, self.folder, self.binary = count, seeder, folder, binary
        self.figures = []

    def run(self):
        cpu, sent = measure.cpu_of(self.seeder.pid), written_by(self.seeder.pid)
        start = time.monotonic()
        targets = [self.folder / f"target-{number}" for number in range(self.count)]
        fetches = [subprocess.Popen([self.binary, "-q", "fetch", self.seeder.link, "-o", target, "--listen",
                                     "127.0.0.1:0", "--linger", "0"], env=self.seeder.env) for target in targets]
        for fetch in fetches:
            if fetch.wait() != 0:
                sys.exit("a fetch failed")
        wall = time.monotonic() - start
        gib = (written_by(self.seeder.pid) - sent) / GIB
        self.figures.append(((measure.cpu_of(self.seeder.pid) - cpu) / gib, gib, wall))
        for target in targets:
            target.unlink()


def sections(options):
    with measure.scratch_folder() as folder:
        source = measure.random_file(folder / "source" / "file.bin", options.mib)
        seeder = measure.Seeder(options.binary, source, folder / "state")
        try:
            contenders = [Fetchers(count, seeder, folder, options.binary) for count in (1, FETCHERS)]
            measure.alternate(contenders, options.rounds)
        finally:
            seeder.stop()
    one, four = (contender.figures[1:] for contender in contenders)  # the first was for warming up
    rows = [[contender.name, *(measure.spread(column) for column in zip(*figures))]
            for contender, figures in zip(contenders, (one, four))]
    reached = statistics.median(b[0] / a[0] for a, b in zip(one, four))
    yield measure.Section(
        "One seeder, several fetchers", ["", "CPU of the seeder, s a GiB sent", "GiB sent", "wall, s"], rows,
        [measure.Target("a GiB sent costs a seeder of four no more than a seeder of one", f"{reached:.2f}", reached <= 1.05)],
        f"{options.mib} MiB, {options.rounds} rounds in turn. Within a twentieth counts as no more: CPU is counted in "
        "hundredths of a second.")


def extend(parser):
    parser.add_argument("--mib", type=int, default=1024)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
