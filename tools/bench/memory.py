#!/usr/bin/env python3
"""The memory of a seeder and of a fetcher while a large content goes over: the peak of what is resident, and what it is made
of (anonymous, of files, shared).

The source is sparse, so that its size costs no disk; the copy is not, and is stopped after --seconds. It goes to the folder
for temporary files. The seeder's figure includes the hashing of all of it.
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
        fetcher = subprocess.Popen([options.binary, "-q", "fetch", seeder.link, "-o", disk / "target", "--listen",
                                    "127.0.0.1:0"], env=seeder.env, stderr=subprocess.DEVNULL)
        fetching = Watch(fetcher.pid)
        deadline = time.monotonic() + options.seconds
        while fetcher.poll() is None and time.monotonic() < deadline:
            seeding.look()
            fetching.look()
            time.sleep(0.02)
        complete = fetcher.poll() == 0
        copied = sum(path.stat().st_blocks * 512 for path in disk.rglob("*") if path.is_file())
        if fetcher.poll() is None:
            fetcher.send_signal(signal.SIGINT)
        fetcher.wait()
        seeder.stop()
    rows = [["seeder, once it has hashed", f"{hashed / MIB:.0f}", "", "", ""], seeding.row("seeder, to the end"),
            fetching.row("fetcher")]
    targets = [measure.Target(f"{name} at most 64 MiB resident", f"{watch.most['VmHWM'] / MIB:.0f} MiB",
                              watch.most["VmHWM"] <= 64 * MIB) for name, watch in (("seeder", seeding), ("fetcher", fetching))]
    yield measure.Section(f"Memory with a content of {options.gib} GiB",
                          ["", "peak, MiB", *(f"{kind}, MiB" for kind in KINDS)], rows, targets,
                          f"Fetched to the disk: {copied >> 30} GiB of it" + ("." if complete else ", then stopped."))


def extend(parser):
    parser.add_argument("--gib", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
