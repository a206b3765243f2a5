#!/usr/bin/env python3
"""What a fetch costs beside its bytes: a file of 1 KiB from a seeder on this host, from the start of the process to its exit.
On tmpfs and on the disk, where the file is synced."""

import statistics

import measure


class Fetch:
    def __init__(self, name, server, target, options):
        self.name, self.server, self.target, self.binary = name, server, target, options.binary

    def run(self):
        run = measure.timed([self.binary, "-q", "fetch", self.server.link, "-o", self.target, "--listen", "127.0.0.1:0"],
                            env=self.server.env)
        self.target.unlink()
        return run


def sections(options):
    with measure.scratch_folder() as memory, measure.scratch_folder(in_memory=False) as disk:
        source = memory / "small.bin"
        source.write_bytes(b"x" * 1024)
        server = measure.Seeder(options.binary, source, memory / "state")
        try:
            runs = measure.alternate([Fetch("to tmpfs", server, memory / "target", options),
                                      Fetch("to the disk", server, disk / "target", options)], options.rounds)
        finally:
            server.stop()
    rows = []
    for name, each in runs.items():
        walls = [run.wall * 1000 for run in each]
        rows.append([name, measure.spread(walls, 1), f"{statistics.median(run.cpu * 1000 for run in each):.1f}"])
    reached = statistics.median(run.wall * 1000 for run in runs["to tmpfs"])
    yield measure.Section("A file of 1 KiB", ["", "wall, ms, median (from to)", "CPU of the fetch, ms"], rows,
                          [measure.Target("at most 30 ms, start to exit, on one host", f"{reached:.1f} ms", reached <= 30)],
                          f"{options.rounds} rounds.")


def extend(parser):
    parser.set_defaults(rounds=20)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
