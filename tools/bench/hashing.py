#!/usr/bin/env python3
"""How soon a file can be seeded: `p2p seed` until its link is out, beside Debian's b3sum on the same cores, in turn.

The file is random, in tmpfs. Both have as many threads as they are given cores. Then the same seed again, with the hashes that
the first has kept.
"""

import os
import statistics
import subprocess
import time

import measure


class Seed:
    def __init__(self, source, folder, cores, options, rehash):
        self.name = "p2p seed" if rehash else "p2p seed, unchanged"
        self.folder, self.cores, self.rehash = folder, cores, rehash
        self.command = [options.binary, "-q", "seed", source, "--listen", "127.0.0.1:0"]

    def run(self):
        command = ["taskset", "-c", self.cores, *self.command] + (["--rehash"] if self.rehash else [])
        start = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE,
                                   env={**os.environ, "XDG_STATE_HOME": str(self.folder / "state")})
        process.stdout.readline()
        wall = time.monotonic() - start
        cpu = measure.cpu_of(process.pid)
        measure.stop(process)
        process.stdout.close()
        return measure.Run(wall, cpu)


class B3sum:
    name = "b3sum"

    def __init__(self, source, cores, threads):
        self.command = ["taskset", "-c", cores, "b3sum", "--num-threads", str(threads), source]

    def run(self):
        return measure.timed(self.command)


def section(source, folder, threads, options):
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))
    contenders = [Seed(source, folder, cores, options, rehash=True), B3sum(source, cores, threads),
                  Seed(source, folder, cores, options, rehash=False)]
    runs = measure.alternate(contenders, options.rounds)
    gib = options.mib / 1024
    rows = [[name, measure.spread([run.wall for run in each], 3), measure.spread([run.cpu for run in each]),
             f"{gib / statistics.median(run.wall for run in each):.2f}"] for name, each in runs.items()]
    reached = measure.ratio(runs["b3sum"], runs["p2p seed"], "wall")
    unchanged = statistics.median(run.wall for run in runs["p2p seed, unchanged"])
    targets = [
        measure.Target("seeding at least 0.8 times as fast as b3sum", f"{reached:.2f}", reached >= 0.8),
        measure.Target("an unchanged file is not hashed: its link within 0.1 s", f"{unchanged:.3f} s", unchanged <= 0.1)]
    return measure.Section(
        f"Hashing with {threads} thread{'s' if threads > 1 else ''}", ["", "wall, s", "CPU, s", "GiB/s"], rows, targets,
        f"{options.mib} MiB in the page cache, {options.rounds} rounds in turn; `p2p seed` until its link is out.")


def sections(options):
    with measure.scratch_folder() as folder:
        source = measure.random_file(folder / "source" / "file.bin", options.mib)
        time.sleep(2.5)  # what was written just now would be hashed again
        for threads in (2, 1):
            if threads <= os.cpu_count():
                yield section(source, folder, threads, options)


def extend(parser):
    parser.add_argument("--mib", type=int, default=5120)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
