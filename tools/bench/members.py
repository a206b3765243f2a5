#!/usr/bin/env python3
"""A hundred members of a cluster on loopback, all joining through one, beside serf: how long until each knows all, and what
a member costs when nothing happens.

Each contender's members are started as fast as the machine starts processes, the first alone. They *agree* when the log of
every one has told of all; the time is from the start of the first. Then they are left alone for a while, and for a while
longer their CPU time (of the scheduler, to the nanosecond) and their memory are read. Contenders take turns.
"""

import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import measure

AGREE_WITHIN_S = 120  # or the run hangs
SETTLE_S = 12


def free_ports(count):
    """Free for TCP and UDP at the time of asking."""
    held = []
    while len(held) < count:
        tcp = socket.socket()
        tcp.bind(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            tcp.close()
            continue
        held.append((tcp, udp))
    ports = [tcp.getsockname()[1] for tcp, _ in held]
    for pair in held:
        for each in pair:
            each.close()
    return ports


class P2p:
    name = "p2p"

    @staticmethod
    def ports(count):
        return free_ports(count)

    def __init__(self, options, folder):
        self.binary, self.folder = options.binary, folder

    def command(self, port, first):
        join = ["--join", f"127.0.0.1:{first}"] if first else []
        return [self.binary, "-v", "node", "--gossip", f"127.0.0.1:{port}", *join]

    def environment(self):
        return {**os.environ, "XDG_STATE_HOME": self.folder}

    @staticmethod
    def known(line, before):
        found = re.search(rb"members of the cluster: (\d+)", line)
        return int(found.group(1)) if found else before


class Serf:
    name = "serf"

    # Each needs a second port, for its commands: as far above its first as there are members.
    @staticmethod
    def ports(count):
        first = max(free_ports(1)[0] - 2 * count, 2000)
        return list(range(first, first + count))

    def __init__(self, options, folder):
        self.binary, self.members = shutil.which("serf"), options.members

    def command(self, port, first):
        join = ["-join", f"127.0.0.1:{first}"] if first else []
        return [self.binary, "agent", "-node", f"n{port}", "-bind", f"127.0.0.1:{port}", "-rpc-addr",
                f"127.0.0.1:{port + self.members}", "-log-level", "info", *join]

    def environment(self):
        return dict(os.environ)

    @staticmethod
    def known(line, before):
        return before + line.count(b"EventMemberJoin: ")


def cpu_ns(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat") as file:
            total += int(file.read().split()[0])
    return total


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


def run(contender, members, idle_s):
    """(seconds until all agree, percent of a core a member, MiB resident a member)"""
    ports = contender.ports(members)
    selector = selectors.DefaultSelector()
    processes, known = [], {}

    def read(until_s):
        for key, _ in selector.select(until_s):
            chunk = os.read(key.fileobj.fileno(), 1 << 16)
            if not chunk:
                sys.exit(f"a member of {contender.name} ended: {key.data[1]!r}")
            lines = (key.data[1] + chunk).split(b"\n")
            key.data[1] = lines.pop()
            for line in lines:
                known[key.data[0]] = contender.known(line, known[key.data[0]])

    try:
        started = time.monotonic()
        for number, port in enumerate(ports):
            process = subprocess.Popen(contender.command(port, ports[0] if number else None), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=contender.environment())
            processes.append(process)
            known[port] = 0
            os.set_blocking(process.stdout.fileno(), False)
            selector.register(process.stdout, selectors.EVENT_READ, [port, b""])
            if number == 0:
                selector.select(5)  # it listens when it says something
            read(0)
        while any(count < members for count in known.values()):
            if time.monotonic() - started > AGREE_WITHIN_S:
                sys.exit(f"{contender.name}: after {AGREE_WITHIN_S} s only {sum(c >= members for c in known.values())} know all")
            read(0.05)
        agreed = time.monotonic() - started
        end = time.monotonic() + SETTLE_S
        while time.monotonic() < end:
            read(0.2)
        before, began = [cpu_ns(p.pid) for p in processes], time.monotonic()
        while time.monotonic() < began + idle_s:
            read(0.2)
        took = time.monotonic() - began
        used = sum(cpu_ns(p.pid) for p in processes) - sum(before)
        memory = statistics.mean(resident_mib(p.pid) for p in processes)
        return agreed, 100 * used / 1e9 / took / members, memory
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
            process.stdout.close()


def extend(parser):
    parser.add_argument("--members", type=int, default=100)
    parser.add_argument("--idle", type=float, default=20, help="seconds in which nothing happens")


def sections(options):
    contenders = [P2p, Serf] if shutil.which("serf") else [P2p]
    results = {contender: [] for contender in contenders}
    for _ in range(options.rounds):
        for contender in contenders:
            with tempfile.TemporaryDirectory() as folder:
                results[contender].append(run(contender(options, folder), options.members, options.idle))
    rows, medians = [], {}
    for contender, runs in results.items():
        columns = list(zip(*runs))
        medians[contender] = [statistics.median(column) for column in columns]
        rows.append([contender.name] + [f"{statistics.median(c):.{digits}f} {unit} [{min(c):.{digits}f}, {max(c):.{digits}f}]"
                                        for c, digits, unit in zip(columns, (2, 3, 1), ("s", "%", "MiB"))])
    agreed, cpu, memory = medians[P2p]
    targets = [
        measure.Target("all agree within 2.5 s", f"{agreed:.2f} s", agreed <= 2.5),
        measure.Target("at most 0.08 % of a core each when idle", f"{cpu:.3f} %", cpu <= 0.08),
        measure.Target("at most 5 MiB each", f"{memory:.1f} MiB", memory <= 5),
    ]
    yield measure.Section(
        f"{options.members} members of a cluster on loopback", ["", "all agree after", "CPU of each, idle", "resident, each"],
        rows, targets, "Processes of one host, all joining through the first (`tools/bench/members.py`); serf with its "
        "defaults. Resident memory counts the pages of the program itself, which all its processes share.")


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
