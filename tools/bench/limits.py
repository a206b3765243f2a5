#!/usr/bin/env python3
"""How exactly limits of bandwidth are kept: one process that is limited, one or four others at its other side that are not.

What counts is what the limits count, every byte on the TCP connections: what the limited process wrote to (wchar of
/proc/PID/io), or read from (rchar), as the kernel has it. A seeder writes to nothing else, a fetch reads nothing else, but for
a few bytes. Each figure is of some seconds of steady flow, which begin a second after the first bytes. The last limits are an
agent's, changed by SIGHUP while it serves or fetches.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import time

import measure

# Bytes a second, and how many are at the other side after one alone: at the highest rates more would measure the machine.
RATES = ((50_000, 4), (1_000_000, 4), (20_000_000, 4), (200_000_000, None), (1_000_000_000, None))
CHANGES = (20_000_000, 1_000_000, 200_000_000, 50_000, 0, 20_000_000)  # 0: none
MOST_OFF = 5  # per cent
DEADLINE = 60  # for the first bytes
# A seeder begins with few at a time: until it has opened a slot for each, each one's limit is not what holds it up.
FIRST, FIRST_OF_EACH = 30_000, 400_000
SETTLES = 1.0  # what the system's buffers take at once, and what a start costs
CHANGE_SETTLES = 0.5
# A frame that was sealed at the old rate goes out after the change, and is then paid for at the new one.
LARGEST_FRAME = 128 * 1024


def counted(pid, name):
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise SystemExit(f"the kernel does not count {name} of a process")


class Direction:
    """One way of flow at the process that is limited."""

    def __init__(self, flag, counter):
        self.flag, self.counter = flag, counter

    def bytes_of(self, pid):
        return counted(pid, self.counter)

    def rate_of(self, pid, seconds):
        begin, before = time.monotonic(), self.bytes_of(pid)
        time.sleep(seconds)
        return (self.bytes_of(pid) - before) / (time.monotonic() - begin)


UP, DOWN = Direction("up-limit", "wchar:"), Direction("down-limit", "rchar:")


def stop_at_once(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "P2P_NO_AGENT": "true"}

    def source(self, rate):
        """A content that lasts for longer than is measured. It is sparse: a limit does not know what flows."""
        size = 64 << 20
        while size < rate * (self.options.seconds + 4) and size < 8 << 30:
            size *= 2
        path = self.folder / f"sparse-{size >> 20}"
        if not path.exists():
            with open(path, "wb") as file:
                file.truncate(size)
        return path

    def seeder(self, running, source, *flags):
        seeder = measure.Seeder(self.options.binary, source, self.folder / "state", *flags)
        running.callback(stop_at_once, seeder.process)
        return seeder

    def fetch(self, running, link, number, *flags):
        target = self.folder / f"target-{number}"
        running.callback(self.remove, target)
        process = subprocess.Popen([self.options.binary, "-q", "fetch", link, "-o", target, "--listen", "127.0.0.1:0", *flags],
                                   env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        running.callback(stop_at_once, process)
        return process

    @staticmethod
    def remove(target):
        for left in target.parent.glob(f"*{target.name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    def start(self, running, way, others, rate, *flags):
        """The process that is limited, once it runs."""
        source = self.source(rate * others)
        if way is UP:
            limited = self.seeder(running, source, *flags)
            for number in range(others):
                self.fetch(running, limited.link, number)
            return limited.pid
        link = []
        for _ in range(others):
            seeder = self.seeder(running, source, *(["--link", link[0]] if link else []))
            link = [seeder.link]
        return self.fetch(running, link[0], 0, *flags).pid

    @staticmethod
    def wait_for_flow(way, pid, others, first_bytes):
        before, deadline = way.bytes_of(pid), time.monotonic() + DEADLINE
        while way.bytes_of(pid) - before < first_bytes * others:
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing flows with {way.flag}")
            time.sleep(0.01)
        time.sleep(SETTLES)

    def reached(self, way, flag, rate, others):
        total = rate * (others if flag.startswith("--peer") else 1)
        with contextlib.ExitStack() as running:
            pid = self.start(running, way, others, total // others, *([flag, f"{rate}B/s"] if flag else []))
            self.wait_for_flow(way, pid, others, FIRST_OF_EACH if total > rate else FIRST)
            return way.rate_of(pid, self.options.seconds), total

    def changes(self, way):
        """Of an agent, with each limit that its file is given while it runs: (asked, reached)."""
        rate = max(CHANGES)
        with contextlib.ExitStack() as running:
            config, socket = self.folder / "agent.toml", self.folder / f"agent-{way.flag}.sock"

            def limit(asked):
                config.write_text(f'[agent]\n{way.flag} = "{asked}B/s"\n')

            limit(CHANGES[0])
            agent = subprocess.Popen([self.options.binary, "-q", "--config", config, "agent",
                                      "--store", self.folder / f"store-{way.flag}", "--socket", socket,
                                      "--listen", "127.0.0.1:0"], env=self.env, stderr=subprocess.DEVNULL)
            running.callback(stop_at_once, agent)
            while not socket.exists():
                time.sleep(0.01)
            source = self.source(2 * rate)  # for all of them
            with_agent = {**self.env, "P2P_AGENT": str(socket), "P2P_NO_AGENT": "false"}
            if way is UP:
                link = subprocess.run([self.options.binary, "-q", "seed", source], env=with_agent, check=True, text=True,
                                      stdout=subprocess.PIPE).stdout.split()[0]
                self.fetch(running, link, 0)
            else:
                link = self.seeder(running, source).link
                subprocess.run([self.options.binary, "-q", "fetch", link, "--store-only", "--detach"], env=with_agent,
                               check=True)
            self.wait_for_flow(way, agent.pid, 1, FIRST)
            yield CHANGES[0], way.rate_of(agent.pid, self.options.seconds)
            for asked in CHANGES[1:]:
                limit(asked)
                agent.send_signal(signal.SIGHUP)
                time.sleep(CHANGE_SETTLES + (LARGEST_FRAME / asked if asked else 0))
                yield asked, way.rate_of(agent.pid, 1 if asked == 0 else self.options.seconds)


def shown(rate):
    return f"{rate / 1e3:.1f} KB/s" if rate < 1e6 else f"{rate / 1e6:.2f} MB/s"


class Table:
    def __init__(self):
        self.rows, self.worst, self.most = [], 0.0, -100.0

    def add(self, what, asked, reached, machine=None):
        """`machine` is what it carries without a limit, where that may be less than what is asked."""
        off = 100 * (reached / asked - 1)
        self.most = max(self.most, off)
        if machine and off < -MOST_OFF and machine < asked * 1.25:
            verdict = f"not exceeded; without a limit {shown(machine)}"
        else:
            self.worst = max(self.worst, abs(off))
            verdict = "met" if abs(off) <= MOST_OFF else "**missed**"
        self.rows.append([what, shown(asked), shown(reached), f"{off:+.1f} %", verdict])


def sections(options):
    table = Table()
    with measure.scratch_folder() as folder:
        bench = Bench(options, folder)
        for way in (UP, DOWN):
            for prefix in ("--", "--peer-"):
                flag = prefix + way.flag
                for rate, more in RATES:
                    for others in filter(None, (1, more)):
                        runs, without = [], []
                        for _ in range(options.rounds):
                            reached, wanted = bench.reached(way, flag, rate, others)
                            runs.append(reached)
                            if rate == RATES[-1][0]:
                                without.append(bench.reached(way, "", rate, 1)[0])
                        table.add(f"`{flag}`, {others} other{'s' if others > 1 else ''}", wanted, statistics.median(runs),
                                  statistics.median(without) if without else None)
        for way in (UP, DOWN):
            for asked, reached in bench.changes(way):
                if asked > 0:
                    table.add(f"an agent's `--{way.flag}`, changed by SIGHUP", asked, reached)
                else:
                    table.rows.append(["the same, taken away", "", shown(reached), "", ""])
    yield section(table, options)


def section(table, options):
    targets = [measure.Target(f"within {MOST_OFF} % of the limit, wherever the machine carries that much",
                              f"{table.worst:.1f} % off at most", table.worst <= MOST_OFF),
               measure.Target(f"never more than {MOST_OFF} % above it", f"{table.most:+.1f} % at most",
                              table.most <= MOST_OFF)]
    return measure.Section(
        "Limits of bandwidth", ["limited", "asked", "measured", "off by", ""], table.rows, targets,
        f"Bytes on the TCP connections of the process that is limited, over {options.seconds:g} s of steady flow"
        f"{f', medians of {options.rounds}' if options.rounds > 1 else ''}: `p2p seed` to `p2p fetch` over loopback. A peer's "
        "limit is for each of the others, so all together are asked for as many times as much. What an agent is told by SIGHUP "
        "is measured from half a second after the signal, and after what a frame of before takes at the new "
        "rate. 1 GB/s is more than two processes on this machine may reach: a pair without a limit ran beside it, in turn.")


def extend(parser):
    parser.add_argument("--seconds", type=float, default=5)
    parser.set_defaults(rounds=1)


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
