"""One run of a scenario: starts the processes, does what the plan says to them, and notes what they tell."""

import hashlib
import heapq
import itertools
import json
import os
import pathlib
import re
import resource
import selectors
import shutil
import signal
import subprocess
import tempfile
import time

import network
from scenario import percentile

TRACKER_PORT = 7000
SEED_PORT = 7001
GOSSIP_PORT = 7946
# How long a server may take until it prints its first line, and a process until it ends when asked to.
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10
# A whole run may take this many times the bound, and this much longer; then it has failed.
PATIENCE_FACTOR, PATIENCE_S = 8, 60
SAMPLE_S = 0.1


class Failed(Exception):
    """The run could not be done; the text says why."""


class Process:
    """One p2p process on a host; may be started again."""

    def __init__(self, lab, host, arguments):
        self.lab, self.host, self.arguments = lab, host, arguments
        self.folder = lab.folder / host
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.popen = None
        self.wanted = False  # an exit that nobody asked for is a failure
        self.lines = []
        self._rest = b""

    def prepare(self):
        """Everything but the program itself, which waits for start(). Forking forty takes longer than the first needs to
        get going; so all are there before the first of them starts."""
        # State (join secrets) is each host's own, as on real ones.
        environment = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state")}
        with open(self.log, "ab") as log:
            self.popen = subprocess.Popen(["sh", "-c", 'read -r go && exec "$@" </dev/null', "p2p", self.lab.binary,
                                           *map(str, self.arguments)], env=environment, stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE, stderr=log, cwd=self.folder,
                                          preexec_fn=network.within(self.lab.network.namespace(self.host)))
        os.set_blocking(self.popen.stdout.fileno(), False)
        self.lab.selector.register(self.popen.stdout, selectors.EVENT_READ, self)

    def start(self):
        if self.popen is None or self.popen.stdin.closed:
            self.prepare()
        self.wanted = True
        self.popen.stdin.write(b"go\n")
        self.popen.stdin.close()
        self.on_started()

    def on_readable(self):
        data = self.popen.stdout.read()
        if data == b"":
            self.lab.selector.unregister(self.popen.stdout)
            self.popen.stdout.close()
            return self.on_exit(self.popen.wait())
        *lines, self._rest = (self._rest + (data or b"")).split(b"\n")
        for line in lines:
            self.lines.append(line.decode())
            self.on_line(self.lines[-1])

    def signal(self, number):
        if self.popen and self.popen.poll() is None:
            self.popen.send_signal(number)

    def kill(self):
        self.wanted = False
        self.signal(signal.SIGKILL)
        if self.popen:
            self.popen.wait()

    def stop(self):
        self.wanted = False
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)

    def tail_of_log(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-8:]) if self.log.exists() else ""

    def on_started(self):
        pass

    def on_line(self, line):
        pass

    def on_exit(self, status):
        if self.wanted:
            raise Failed(f"{self.host} ended with exit code {status}:\n{self.tail_of_log()}")


class Fetcher(Process):
    """A fetch, over all its runs."""

    def __init__(self, lab, number):
        host = f"fetcher-{number + 1}"
        self.number = number
        self.target = lab.folder / host / "got"
        super().__init__(lab, host, ["fetch", lab.link, "-o", self.target, "--json", "--linger", lab.linger_s])
        self.first_start_s = None
        self.done_s = None  # on the lab's clock
        self.duplicate_bytes = 0
        self.error = None
        self._last = {}

    def on_started(self):
        if self.first_start_s is None:
            self.first_start_s = self.lab.now()
        self._last = {}

    def on_line(self, line):
        told = json.loads(line)
        if told["event"] == "error":
            self.error = told["message"]
            return
        self._last = told
        if told["event"] == "done":
            self.done_s = self.lab.now()
            self._count_duplicates()
            self.lab.on_fetched(self)

    def _count_duplicates(self):
        """Payload that came and was not kept, of the run that ends."""
        if self._last:
            kept = self._last["bytes_verified"] - self._last["bytes_reused"]
            self.duplicate_bytes += max(0, self._last["bytes_fetched"] - kept)

    def kill(self):
        if self.done_s is None:
            self._count_duplicates()
        super().kill()

    def on_exit(self, status):
        if self.wanted and self.done_s is None:
            self.lab.on_lost(self, f"exit code {status}: {self.error or self.tail_of_log()}")


class Lab:
    """`with Lab(...) as lab: lab.run()`. Leaves nothing: no process, no namespace, no file."""

    def __init__(self, scenario, binary, congestion=network.CONGESTION, timeline=False, folder=None, gossip=False):
        self.scenario, self.binary, self.timeline = scenario, str(pathlib.Path(binary).resolve()), timeline
        self.gossip = gossip
        if gossip and any(event.host == "tracker" for event in scenario.events):
            raise Failed("there is no tracker with --gossip, and the scenario does something to it")
        links = {} if gossip else {"tracker": scenario.link}
        links |= {f"seeder-{number + 1}": scenario.seed_link for number in range(scenario.seeders)}
        links |= {f"fetcher-{number + 1}": link for number, link in enumerate(scenario.peer_links)}
        self.network = network.Network(links, scenario.latency_s, congestion)
        self.linger_s = scenario.linger_s
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{network.PREFIX}-", dir=folder))
        self.selector = selectors.DefaultSelector()
        self.processes = {}
        self.lost = {}     # host -> why
        self.samples = []  # (time, counters)
        self._plan = []    # heap of (time, order, job)
        self._order = itertools.count()
        self._epoch = time.monotonic()
        self._waiting_for = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # cleaning up is not to be interrupted
        for process in self.processes.values():
            process.kill()
        self.network.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)

    def now(self):
        return time.monotonic() - self._epoch

    def at(self, time_s, job):
        heapq.heappush(self._plan, (time_s, next(self._order), job))

    # ---- the run

    def run(self):
        """The figures, as a dict. Errors: Failed."""
        source = self._make_content()
        self.network.__enter__()
        network.enter(self.network.namespace(network.SWITCH))  # so that its counters can be read
        self._start_servers(source)
        self._schedule()
        cpu = cpu_times()
        self._run_until(lambda: not self._waiting_for, self._patience_s())
        cpu = [after - before for after, before in zip(cpu_times(), cpu)]
        self._sample()
        self._stop_all()
        wrong = self._compare(source)
        return self._figures(wrong, cpu)

    def _patience_s(self):
        last = max([*self.scenario.starts_s, *(event.at_s for event in self.scenario.events)])
        return PATIENCE_FACTOR * self.scenario.bound_fluid_s + last + PATIENCE_S

    def _make_content(self):
        """On tmpfs, so that no disk is measured."""
        needed = self.scenario.size * (self.scenario.peers + self.scenario.seeders)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise Failed(f"{needed >> 20} MiB are needed in {self.folder}, and {free >> 20} MiB are free")
        source = self.folder / "content"
        with open(source, "wb") as file:
            left = self.scenario.size
            while left > 0:
                left -= file.write(os.urandom(min(left, 1 << 24)))
        return source

    def _start_servers(self, source):
        found_by = []
        if not self.gossip:
            tracker = self._add(Process(self, "tracker", ["tracker", "--listen", f"0.0.0.0:{TRACKER_PORT}"]))
            self._start_and_wait(tracker)
            found_by = ["--tracker", f"{self.network.address('tracker')}:{TRACKER_PORT}"]
        self.link = None
        for number in range(self.scenario.seeders):
            host = f"seeder-{number + 1}"
            where = ["--listen", f"{self.network.address(host)}:{SEED_PORT}"]
            if self.gossip:
                where += ["--gossip", f"{self.network.address(host)}:{GOSSIP_PORT}"]
            more = ["--link", self.link] if self.link else [*found_by, "--chunk-size", f"{self.scenario.chunk >> 10}KiB"]
            seeder = self._add(Process(self, host, ["seed", source, *where, *more]))
            self._start_and_wait(seeder)
            self.link = seeder.lines[0]
            if self.gossip:
                self.link = re.sub(r"/s=[^/#]*", "", self.link)

    def _add(self, process):
        self.processes[process.host] = process
        return process

    def _start_and_wait(self, process):
        process.start()
        self._run_until(lambda: process.lines, self.now() + START_TIMEOUT_S)
        if not process.lines:
            raise Failed(f"{process.host} printed nothing in {START_TIMEOUT_S} s:\n{process.tail_of_log()}")

    def _schedule(self):
        fetchers = [self._add(Fetcher(self, number)) for number in range(self.scenario.peers)]
        for fetcher in fetchers:
            fetcher.prepare()
        self._waiting_for = set(fetchers)
        self._epoch = time.monotonic()
        self._sample()
        for fetcher, start_s in zip(fetchers, self.scenario.starts_s):
            self.at(start_s, fetcher.start)
        for event in self.scenario.events:
            self.at(event.at_s, lambda event=event: self._do(event))

    def _do(self, event):
        process = self.processes[event.host]
        if isinstance(process, Fetcher) and process.done_s is not None:
            return  # it was faster
        {"kill": process.kill, "restart": process.start,
         "pause": lambda: process.signal(signal.SIGSTOP), "resume": lambda: process.signal(signal.SIGCONT),
         "cut": lambda: self.network.cut(event.host), "join": lambda: self.network.join(event.host)}[event.action]()

    def _run_until(self, done, deadline_s):
        while not done() and self.now() < deadline_s:
            while self._plan and self._plan[0][0] <= self.now():
                heapq.heappop(self._plan)[2]()
            due = min(self._plan[0][0] if self._plan else deadline_s, deadline_s)
            for key, _ in self.selector.select(max(0, due - self.now())):
                key.data.on_readable()

    def _sample(self):
        self.samples.append((self.now(), self.network.counters()))
        if self.timeline:
            self.at(self.now() + SAMPLE_S, self._sample)

    def on_fetched(self, fetcher):
        self._waiting_for.discard(fetcher)

    def on_lost(self, fetcher, why):
        self.lost[fetcher.host] = why
        self._waiting_for.discard(fetcher)

    def _stop_all(self):
        for process in self.processes.values():
            process.stop()
        self._plan = []
        self._run_until(lambda: not self.selector.get_map(), self.now() + STOP_TIMEOUT_S)

    # ---- what came of it

    def _fetchers(self):
        return [process for process in self.processes.values() if isinstance(process, Fetcher)]

    def _compare(self, source):
        """The hosts whose file is not the content."""
        wanted = digest(source)
        wrong = [fetcher.host for fetcher in self._fetchers()
                 if fetcher.done_s is not None and digest(fetcher.target) != wanted]
        for host in wrong:
            self.lost[host] = "what it fetched is not the content"
        for fetcher in self._fetchers():
            if fetcher.done_s is None:
                self.lost.setdefault(fetcher.host, "not complete in time")
        return wrong

    def _figures(self, wrong, cpu):
        scenario = self.scenario
        whole = [fetcher for fetcher in self._fetchers() if fetcher.done_s is not None and fetcher.host not in wrong]
        times = [fetcher.done_s - fetcher.first_start_s for fetcher in whole]
        first = min(fetcher.first_start_s for fetcher in self._fetchers() if fetcher.first_start_s is not None)
        last_s = max((fetcher.done_s for fetcher in whole), default=None)
        max_s = None if last_s is None else last_s - first
        before, after = self.samples[0][1], self.samples[-1][1]
        sent = sum(after[host][0] - before[host][0] for host in after if host.startswith("seeder-"))
        figures = {
            "peers": scenario.peers, "completed": len(whole),
            "p50_s": percentile(times, 0.5), "p99_s": percentile(times, 0.99), "p999_s": percentile(times, 0.999),
            "max_s": max_s,
            "bound_fluid_s": scenario.bound_fluid_s, "bound_chunks_s": scenario.bound_chunks_s,
            "share": scenario.bound_chunks_s / max_s if max_s else None,
            "seeder_copies": sent / scenario.size,
            "duplicate_bytes": sum(fetcher.duplicate_bytes for fetcher in self._fetchers()),
            "cpu_seconds": self._cpu_seconds(), "machine_busy": 1 - cpu[0] / max(1, cpu[1]),
        }
        if scenario.touched:
            untouched = [fetcher.done_s - fetcher.first_start_s for fetcher in whole
                         if fetcher.number not in scenario.touched]
            figures |= {"untouched_p50_s": percentile(untouched, 0.5), "untouched_max_s": max(untouched, default=None)}
        return figures

    def _cpu_seconds(self):
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def timeline_rows(self, step_s=1.0):
        """(second, seeders' uplinks, peers' uplinks, peers' downlinks, complete), the links as shares of their rates."""
        def used(kind, direction, capacity, start, end):
            moved = sum(end[1][host][direction] - start[1][host][direction] for host in end[1] if host.startswith(kind))
            return moved / capacity / (end[0] - start[0])

        links = self.scenario.peer_links
        ups, downs = sum(link.up for link in links), sum(link.down for link in links)
        start = self.samples[0]
        for sample in self.samples[1:]:
            if sample[0] - start[0] < step_s - SAMPLE_S / 2 and sample is not self.samples[-1]:
                continue
            complete = sum(fetcher.done_s is not None and fetcher.done_s <= sample[0] for fetcher in self._fetchers())
            yield (sample[0], used("seeder-", 0, self.scenario.seeders * self.scenario.seed_link.up, start, sample),
                   used("fetcher-", 0, ups, start, sample), used("fetcher-", 1, downs, start, sample), complete)
            start = sample


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def cpu_times():
    """(idle, all) of the machine so far."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)
