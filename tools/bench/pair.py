#!/usr/bin/env python3
"""One pair of hosts' worth of work on this machine: a file of random bytes from one process to another over loopback.

p2p beside curl from nginx over TLS 1.3 (nothing verified) and aria2 (BitTorrent, unencrypted), in turn, several rounds,
from tmpfs to tmpfs. Prints medians, spread and the ratio to p2p. CPU is that of both ends together.
"""

import argparse
import hashlib
import http.server
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    """Seconds of CPU that a process and its children have used."""
    total = 0
    for task in [pid, *children_of(pid)]:
        fields = pathlib.Path(f"/proc/{task}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def children_of(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def timed(server_pid, command, **options):
    """Wall seconds of a command, and the CPU seconds of it and of the server."""
    before = cpu_of(server_pid)
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"{command[0]} failed: {process.stderr.read().decode()}")
    process.stderr.close()
    return wall, usage.ru_utime + usage.ru_stime + cpu_of(server_pid) - before


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait_for_port(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"nothing came up on port {port}")


class P2p:
    name = "p2p"

    def __init__(self, source, folder, binary):
        self.binary, self.folder = binary, folder
        self.env = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
        self.server = subprocess.Popen([binary, "-q", "seed", source, "--listen", "127.0.0.1:0"], env=self.env,
                                       stdout=subprocess.PIPE, text=True)
        self.link = self.server.stdout.readline().strip()

    def run(self, target):
        return timed(self.server.pid, [self.binary, "-q", "fetch", self.link, "-o", target, "--listen", "127.0.0.1:0"],
                     env=self.env)


class Curl:
    name = "curl from nginx, TLS 1.3"

    def __init__(self, source, folder, _):
        self.port = free_port()
        certificate, key = folder / "cert.pem", folder / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost"], check=True,
                       capture_output=True)
        config = folder / "nginx.conf"
        config.write_text(f"""
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; user root;
events {{ }}
http {{ access_log off; sendfile on; server {{
  listen 127.0.0.1:{self.port} ssl; ssl_protocols TLSv1.3;
  ssl_certificate {certificate}; ssl_certificate_key {key}; root {source.parent}; }} }}
""")
        self.server = subprocess.Popen(["nginx", "-c", config, "-p", folder, "-e", folder / "error.log"],
                                       stderr=subprocess.DEVNULL)
        wait_for_port(self.port)
        self.url = f"https://127.0.0.1:{self.port}/{source.name}"

    def run(self, target):
        return timed(self.server.pid, ["curl", "-sk", "--tlsv1.3", self.url, "-o", target])


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, str):
        return bencode(value.encode())
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    return b"d" + b"".join(bencode(key) + bencode(value[key]) for key in sorted(value)) + b"e"


class Aria2:
    name = "aria2, BitTorrent, plain"
    part_bytes = 1 << 20

    def __init__(self, source, folder, _):
        self.folder = folder
        seeder_port, tracker_port = free_port(), free_port()
        self._serve_tracker(tracker_port, seeder_port)
        hashes = b""
        with open(source, "rb") as file:
            while part := file.read(self.part_bytes):
                hashes += hashlib.sha1(part).digest()
        info = {"name": source.name, "length": source.stat().st_size, "piece length": self.part_bytes, "pieces": hashes}
        self.torrent = folder / "file.torrent"
        self.torrent.write_bytes(bencode({"announce": f"http://127.0.0.1:{tracker_port}/announce", "info": info}))
        self.server = subprocess.Popen([*self._common(), "--listen-port", str(seeder_port), "--dir", source.parent,
                                        "--seed-ratio=0.0", "--bt-seed-unverified=true", self.torrent],
                                       stdout=subprocess.DEVNULL)
        wait_for_port(seeder_port)

    @staticmethod
    def _common():
        return ["aria2c", "--quiet", "--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
                "--file-allocation=none", "--bt-tracker-interval=1", "--no-conf", "--bt-max-peers=10"]

    def _serve_tracker(self, port, seeder_port):
        peer = socket.inet_aton("127.0.0.1") + seeder_port.to_bytes(2, "big")
        answer = bencode({"interval": 1, "peers": peer})

        class Tracker(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Tracker)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(self, target):
        into = target.parent / (target.name + ".d")
        into.mkdir()
        result = timed(self.server.pid, [*self._common(), "--listen-port", str(free_port()), "--dir", into,
                                         "--seed-time=0", self.torrent])
        shutil.rmtree(into)
        return result


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--binary", default="build/release/bin/p2p")
    arguments.add_argument("--mib", type=int, default=1024)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--only", help="a part of a contender's name")
    options = arguments.parse_args()
    home = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="p2p-bench-", dir=home))
    contenders = []
    try:
        source = folder / "source" / "file.bin"
        source.parent.mkdir()
        with open(source, "wb") as file:
            for _ in range(options.mib):
                file.write(os.urandom(1 << 20))
        for kind in (P2p, Curl, Aria2):
            if options.only and options.only not in kind.name:
                continue
            own = folder / kind.__name__
            own.mkdir()
            contenders.append(kind(source, own, os.path.abspath(options.binary)))
        figures = {contender.name: [] for contender in contenders}
        for round_number in range(options.rounds + 1):
            for contender in contenders:
                target = folder / "target"
                result = contender.run(target)
                if target.exists():
                    target.unlink()
                if round_number > 0:  # the first is for warming up
                    figures[contender.name].append(result)
        report(figures, options)
    finally:
        for contender in contenders:
            contender.server.send_signal(signal.SIGTERM)
            contender.server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def report(figures, options):
    print(f"{options.mib} MiB, {options.rounds} rounds, median (smallest to largest); CPU of both ends")
    print(f"{'':28} {'wall, s':>22} {'CPU, s':>22} {'wall / p2p':>11} {'CPU / p2p':>10}")
    base = next(iter(figures.values()))
    for name, runs in figures.items():
        cells = []
        for column in (0, 1):
            values = [run[column] for run in runs]
            cells.append(f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        ratios = [statistics.median(run[column] / first[column] for run, first in zip(runs, base)) for column in (0, 1)]
        print(f"{name:28} {cells[0]:>22} {cells[1]:>22} {ratios[0]:>11.2f} {ratios[1]:>10.2f}")


if __name__ == "__main__":
    main()
