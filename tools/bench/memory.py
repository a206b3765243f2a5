#!/usr/bin/env python3
"""The memory of a seeder and of the fetchers of a large content, who give to each other as well: the peak of what is resident,
and what it is made of (anonymous, of files, shared).

The source is sparse, so that its size costs no disk; the copies are not, and are stopped after --seconds. They go to the
folder for temporary files. The seeder's figure includes the hashing of all of it.
"""

import pathlib
import signal
import subprocess
import time

import measure

MIB = 1 << 20
KINDS = ("RssAnon", "RssFile", "RssShmem")


def resident_of(pid):
    """{kind: bytes} now, and the peak of their sum so far."""
    found = dict.fromkeys((*KINDS, "VmHWM"), 0)
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in found:
            found[name] = int(value.split()[0]) * 1024
    return found


class Watch:
    """The largest of each kind that was seen."""

    def __init__(self, pid):
        self.pid, self.most = pid, {}

    def look(self):
        for kind, size in resident_of(self.pid).items():
            self.most[kind] = max(self.most.get(kind, 0), size)

    def row(self, name):
        return [name, *(f"{self.most[kind] / MIB:.0f}" for kind in ("VmHWM", *KINDS))]


def sections(options):
    with measure.scratch_folder() as folder, measure.scratch_folder(in_memory=False) as disk:
        source = folder / "sparse.bin"
        with open(source, "wb") as file:
            file.truncate(options.gib << 30)
        seeder = measure.Seeder(options.binary, source, folder / "state")
        seeding = Watch(seeder.pid)
        seeding.look()
        hashed = seeding.most["VmHWM"]
        fetchers = [subprocess.Popen([options.binary, "-q", "fetch", seeder.link, "-o", disk / f"target-{n}", "--listen",
                                      "127.0.0.1:0"], env=seeder.env, stderr=subprocess.DEVNULL)
                    for n in range(options.fetchers)]
        fetching = [Watch(fetcher.pid) for fetcher in fetchers]
        deadline = time.monotonic() + options.seconds
        while all(fetcher.poll() is None for fetcher in fetchers) and time.monotonic() < deadline:
            for watch in (seeding, *fetching):
                watch.look()
            time.sleep(0.02)
        copied = sum(path.stat().st_blocks * 512 for path in disk.rglob("*") if path.is_file())
        for fetcher in fetchers:
            if fetcher.poll() is None:
                fetcher.send_signal(signal.SIGINT)
        for fetcher in fetchers:
            fetcher.wait()
        seeder.stop()
    largest = max(fetching, key=lambda watch: watch.most["VmHWM"])
    rows = [["seeder, once it has hashed", f"{hashed / MIB:.0f}", "", "", ""], seeding.row("seeder, to the end"),
            largest.row(f"the largest of {options.fetchers} fetchers")]
    targets = [measure.Target(f"{name} at most 64 MiB resident", f"{watch.most['VmHWM'] / MIB:.0f} MiB",
                              watch.most["VmHWM"] <= 64 * MIB) for name, watch in (("seeder", seeding), ("fetcher", largest))]
    yield measure.Section(f"Memory with a content of {options.gib} GiB",
                          ["", "peak, MiB", *(f"{kind}, MiB" for kind in KINDS)], rows, targets,
                          f"Fetched to the disk, over all fetchers: {copied >> 30} GiB in {options.seconds:.0f} s at most.")


def extend(parser):
    parser.add_argument("--gib", type=int, default=20)
    parser.add_argument("--fetchers", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
