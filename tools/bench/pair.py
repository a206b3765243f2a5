#!/usr/bin/env python3
"""One pair of hosts' worth of work on this machine: a file of random bytes from one process to another over loopback,
from page cache to tmpfs.

p2p beside the floor (tools/bench/floor.cc: nothing but the primitives), curl from nginx over TLS 1.3 (nothing verified),
libtorrent and aria2 (BitTorrent, unencrypted), in turn, several rounds. CPU is that of both ends together.
"""

import hashlib
import http.server
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading

import measure

DEBIAN_PYTHON = "/usr/bin/python3"  # the one that Debian's libtorrent is for


class P2p:
    name = "p2p"

    def __init__(self, source, folder, options):
        self.target, self.binary = folder / "target", options.binary
        self.server = measure.Seeder(options.binary, source, folder / "state")

    def run(self):
        run = measure.timed([self.binary, "-q", "fetch", self.server.link, "-o", self.target, "--listen", "127.0.0.1:0"],
                            self.server.pid, env=self.server.env)
        self.target.unlink()
        return run

    def stop(self):
        self.server.stop()


class Floor:
    """The primitives alone; the two ends are one command."""
    name = "the floor"

    def __init__(self, source, folder, options):
        self.command = [os.path.join(os.path.dirname(options.binary), "p2p-floor"), source, folder / "target"]
        self.target = folder / "target"

    def run(self):
        run = measure.timed(self.command)
        self.target.unlink()
        return run

    def stop(self):
        pass


class Curl:
    name = "curl from nginx, TLS 1.3"

    def __init__(self, source, folder, _):
        self.target = folder / "target"
        self.server = measure.Nginx(source.parent, folder, tls=True)
        self.url = f"{self.server.url}/{source.name}"

    def run(self):
        run = measure.timed(["curl", "-sk", "--tlsv1.3", self.url, "-o", self.target], self.server.pid)
        self.target.unlink()
        return run

    def stop(self):
        self.server.stop()


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


def make_torrent(source, path, announce):
    part_bytes = 1 << 20
    hashes = b""
    with open(source, "rb") as file:
        while part := file.read(part_bytes):
            hashes += hashlib.sha1(part).digest()
    info = {"name": source.name, "length": source.stat().st_size, "piece length": part_bytes, "pieces": hashes}
    path.write_bytes(bencode({"announce": announce, "info": info}))


class Aria2:
    name = "aria2, BitTorrent, plain"

    def __init__(self, source, folder, _):
        self.folder = folder / "target"
        seeder_port, tracker_port = measure.free_port(), measure.free_port()
        self._serve_tracker(tracker_port, seeder_port)
        self.torrent = folder / "file.torrent"
        make_torrent(source, self.torrent, f"http://127.0.0.1:{tracker_port}/announce")
        self.server = subprocess.Popen([*self._common(), "--listen-port", str(seeder_port), "--dir", source.parent,
                                        "--seed-ratio=0.0", "--bt-seed-unverified=true", self.torrent],
                                       stdout=subprocess.DEVNULL)
        measure.wait_for_port(seeder_port)

    @staticmethod
    def _common():
        return ["aria2c", "--quiet", "--enable-dht=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
                "--file-allocation=none", "--bt-tracker-interval=1", "--no-conf", "--bt-max-peers=10"]

    @staticmethod
    def _serve_tracker(port, seeder_port):
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

    def run(self):
        self.folder.mkdir()
        run = measure.timed([*self._common(), "--listen-port", str(measure.free_port()), "--dir", self.folder,
                             "--seed-time=0", self.torrent], self.server.pid)
        shutil.rmtree(self.folder)
        return run

    def stop(self):
        measure.stop(self.server)


# Debian's libtorrent, driven as its manual has it; encryption off, and TCP only:
# its own transport over UDP is ten times slower here. Arguments: torrent, folder, then nothing to seed, or
# the seeder's port to fetch from.
LIBTORRENT = """
import sys, time
import libtorrent as lt
torrent, folder, peer = sys.argv[1], sys.argv[2], int(sys.argv[3])
session = lt.session({"listen_interfaces": "127.0.0.1:0", "enable_dht": False, "enable_lsd": False, "enable_upnp": False,
                      "enable_natpmp": False, "in_enc_policy": 2, "out_enc_policy": 2, "alert_mask": 0,
                      "enable_outgoing_utp": False, "enable_incoming_utp": False, "allow_multiple_connections_per_ip": True})
parameters = lt.add_torrent_params()
parameters.ti = lt.torrent_info(torrent)
parameters.save_path = folder
parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
if not peer:
    parameters.flags |= lt.torrent_flags.seed_mode
handle = session.add_torrent(parameters)
if not peer:
    while not session.listen_port():
        time.sleep(0.01)
    print(session.listen_port(), flush=True)
    while True:
        time.sleep(60)
handle.connect_peer(("127.0.0.1", peer))
while not handle.status().is_seeding:
    time.sleep(0.005)
"""


LIBTORRENT_MAKE = """
import sys
import libtorrent as lt
files = lt.file_storage()
lt.add_files(files, sys.argv[1])
torrent = lt.create_torrent(files)
lt.set_piece_hashes(torrent, sys.argv[2])
open(sys.argv[3], "wb").write(lt.bencode(torrent.generate()))
"""


class Libtorrent:
    """With a torrent as its own create_torrent() makes it: hashes of both versions, SHA-1 and SHA-256."""
    name = "libtorrent, plain"

    def __init__(self, source, folder, _):
        self.folder = folder / "target"
        self.torrent = folder / "file.torrent"
        self.make_torrent(source)
        self.server = subprocess.Popen([DEBIAN_PYTHON, "-c", LIBTORRENT, self.torrent, source.parent, "0"],
                                       stdout=subprocess.PIPE, text=True)
        self.port = self.server.stdout.readline().strip()
        if not self.port:
            sys.exit("libtorrent does not start: is python3-libtorrent installed?")

    def make_torrent(self, source):
        subprocess.run([DEBIAN_PYTHON, "-c", LIBTORRENT_MAKE, source, source.parent, self.torrent], check=True)

    def run(self):
        self.folder.mkdir()
        run = measure.timed([DEBIAN_PYTHON, "-c", LIBTORRENT, self.torrent, self.folder, self.port], self.server.pid)
        shutil.rmtree(self.folder)
        return run

    def stop(self):
        measure.stop(self.server)


class LibtorrentSha1(Libtorrent):
    """With the hashes of the first version alone."""
    name = "libtorrent, plain, SHA-1 only"

    def make_torrent(self, source):
        make_torrent(source, self.torrent, "http://127.0.0.1:1/announce")


CONTENDERS = (P2p, Floor, Curl, Libtorrent, LibtorrentSha1, Aria2)


def sections(options):
    with measure.scratch_folder() as folder:
        source = measure.random_file(folder / "source" / "file.bin", options.mib)
        contenders = []
        try:
            for kind in CONTENDERS:
                if options.only and not any(part in kind.name for part in ("p2p", *options.only)):
                    continue
                own = folder / kind.__name__
                own.mkdir()
                contenders.append(kind(source, own, options))
            runs = measure.alternate(contenders, options.rounds)
        finally:
            for contender in contenders:
                contender.stop()
    yield section(runs, options)


def section(runs, options):
    ours = runs[P2p.name]
    rows = [[name, measure.spread([run.wall for run in each]), measure.spread([run.cpu for run in each]),
             f"{measure.ratio(each, ours, 'wall'):.2f}", f"{measure.ratio(each, ours, 'cpu'):.2f}"]
            for name, each in runs.items()]
    targets = []

    def target(text, other, field, most=None, least=None):
        if other not in runs:
            return
        reached = measure.ratio(ours, runs[other], field)
        if least:
            reached = 1 / reached
        met = reached <= most if most else reached >= least
        targets.append(measure.Target(text, f"{reached:.2f}", met))

    target("wall at most 1.25 times the floor's", Floor.name, "wall", most=1.25)
    target("CPU at most 1.35 times the floor's", Floor.name, "cpu", most=1.35)
    target("wall at most curl's over TLS", Curl.name, "wall", most=1.0)
    target("at least 3.5 times as fast as libtorrent", Libtorrent.name, "wall", least=3.5)
    target("the same, SHA-1 only", LibtorrentSha1.name, "wall", least=3.5)
    target("at least 5 times as fast as aria2", Aria2.name, "wall", least=5)
    mib_per_s = options.mib / statistics.median(run.wall for run in ours)
    return measure.Section(
        "One pair", ["", "wall, s", "CPU of both ends, s", "wall / p2p's", "CPU / p2p's"], rows, targets,
        f"{options.mib} MiB of random bytes from page cache to tmpfs, {options.rounds} rounds in turn. "
        f"p2p moves {mib_per_s:.0f} MiB a second.")


def extend(parser):
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--only", action="append", help="p2p and those contenders whose name has this in it")


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
