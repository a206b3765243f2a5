"""What the benchmarks share: processes timed from outside, contenders run in turn, figures as medians with their spread.

A benchmark is a file here with a function `sections(options)` that yields Section objects; run.py runs them all. Each also
runs alone and prints its sections.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Section:
    """A table of docs/performance.md: what was done, what came of it, and what was asked for."""
    title: str
    header: list
    rows: list  # of lists of cells
    targets: list = dataclasses.field(default_factory=list)  # of Target
    note: str = ""

    def markdown(self):
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines += ["| " + " | ".join(self.header) + " |", "|" + "---|" * len(self.header)]
        lines += ["| " + " | ".join(map(str, row)) + " |" for row in self.rows]
        if self.targets:
            lines += ["", "| to reach | reached | |", "|---|---|---|"]
            lines += [f"| {target.wanted} | {target.reached} | {target.verdict} |" for target in self.targets]
        return "\n".join(lines) + "\n"


@dataclasses.dataclass
class Target:
    wanted: str
    reached: str
    met: bool

    @property
    def verdict(self):
        return "met" if self.met else "**missed**"


@dataclasses.dataclass
class Run:
    """One run of one contender. CPU is that of all its processes together."""
    wall: float
    cpu: float


def children_of(pid):
    children = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            children += map(int, (task / "children").read_text().split())
    return children


def cpu_of(pid):
    """Seconds of CPU that a process and the children it has now have used."""
    total = 0
    for task in [pid, *children_of(pid)]:
        fields = pathlib.Path(f"/proc/{task}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def timed(command, server_pid=None, **options):
    """Runs a command to its end: wall seconds, and the CPU seconds of it and of the server meanwhile."""
    before = cpu_of(server_pid) if server_pid else 0
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"{command[0]} failed: {process.stderr.read().decode(errors='replace')}")
    process.stderr.close()
    served = cpu_of(server_pid) - before if server_pid else 0
    return Run(wall, usage.ru_utime + usage.ru_stime + served)


def alternate(contenders, rounds):
    """Each contender once a round, in turn, after a round to warm up: {name: [Run, ...]}. A contender has a `name` and
    a `run()`."""
    runs = {contender.name: [] for contender in contenders}
    for number in range(rounds + 1):
        for contender in contenders:
            result = contender.run()
            if number > 0:
                runs[contender.name].append(result)
    return runs


def spread(values, digits=2):
    """The median, and the smallest and largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio(runs, base, field):
    """The median over the rounds of one contender's figure by another's in the same round: what the machine did
    meanwhile falls out of it."""
    return statistics.median(getattr(a, field) / getattr(b, field) for a, b in zip(runs, base))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for_port(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.02)
    sys.exit(f"nothing came up on port {port}")


@contextlib.contextmanager
def scratch_folder(in_memory=True):
    home = "/dev/shm" if in_memory and os.access("/dev/shm", os.W_OK) else None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="p2p-bench-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stop(process):
    process.send_signal(signal.SIGTERM)
    process.wait()


def random_file(path, mib):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))
    return path


class Seeder:
    """`p2p seed` of a path, until stop()."""

    def __init__(self, binary, source, state, *more):
        self.env = {**os.environ, "XDG_STATE_HOME": str(state)}
        self.process = subprocess.Popen([binary, "-q", "seed", source, "--listen", "127.0.0.1:0", *more], env=self.env,
                                        stdout=subprocess.PIPE, text=True)
        self.link = self.process.stdout.readline().strip()
        self.pid = self.process.pid

    def stop(self):
        stop(self.process)


class Nginx:
    """nginx on a folder, one worker: in the clear, or over TLS 1.3 with a certificate of its own."""

    def __init__(self, root, folder, tls):
        self.port = free_port()
        secure = ""
        if tls:
            certificate, key = folder / "cert.pem", folder / "key.pem"
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"], check=True,
                           capture_output=True)
            secure = f"ssl_protocols TLSv1.3; ssl_certificate {certificate}; ssl_certificate_key {key};"
        config = folder / "nginx.conf"
        config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;
events {{ }}
http {{ access_log off; sendfile on; server {{
  listen 127.0.0.1:{self.port} {"ssl" if tls else ""}; {secure} root {root}; }} }}
""")
        self.process = subprocess.Popen(["nginx", "-c", config, "-p", folder, "-e", folder / "error.log"],
                                        stderr=subprocess.DEVNULL)
        wait_for_port(self.port)
        self.pid = self.process.pid
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self):
        stop(self.process)


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--binary", default="build/release/bin/p2p", type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=5)
    return parser


def main(description, sections, extend=lambda parser: None):
    """What a benchmark does when it is run alone."""
    parser = arguments(description)
    extend(parser)
    for section in sections(parser.parse_args()):
        print(section.markdown(), flush=True)
