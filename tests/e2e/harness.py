"""Runs the real p2p binary over loopback. Waiting is always for a line, an exit or a byte, never for a while."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

BINARY = os.environ.get("P2P_BINARY",
                        str(pathlib.Path(__file__).resolve().parents[2] / "build/release/bin/p2p"))
# Nothing here takes longer than seconds; a run that hits this hangs.
DEADLINE = float(os.environ.get("P2P_DEADLINE", "60"))

OK, FAILED, USAGE, MALFORMED, UNREACHABLE, REFUSED, DISK_FULL, EXISTS, CORRUPT, LIMIT = range(10)
INTERRUPTED = 130


class Process:
    """A process (p2p unless another is named) with its output collected as it comes."""

    def __init__(self, arguments, env, cwd, executable=BINARY, called=BINARY):
        self.process = subprocess.Popen([called, *map(str, arguments)], executable=executable, env=env, cwd=cwd,
                                        text=True, errors="replace", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        self.out, self.err = [], []
        self._changed = threading.Condition()
        self._readers = [threading.Thread(target=self._collect, args=pair, daemon=True)
                         for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for reader in self._readers:
            reader.start()

    def _collect(self, stream, lines):
        for line in stream:
            with self._changed:
                lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            lines.append(None)
            self._changed.notify_all()

    def wait_line(self, lines, matches):
        """The first line, past or future, that matches."""
        seen = 0
        with self._changed:
            while True:
                for line in lines[seen:]:
                    if line is None:
                        raise AssertionError(f"ended without the expected line; stdout {self.out}, stderr {self.err}")
                    if matches(line):
                        return line
                seen = len(lines)
                if not self._changed.wait(DEADLINE):
                    raise AssertionError(f"no such line in {DEADLINE} s; stdout {self.out}, stderr {self.err}")

    def first_line(self):
        return self.wait_line(self.out, lambda line: True)

    def wait(self):
        try:
            self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"still running after {DEADLINE} s; stdout {self.out[-5:]}, stderr {self.err[-20:]}")
        for reader in self._readers:
            reader.join()
        return self.process.returncode

    def error_text(self):
        return "\n".join(line for line in self.err if line is not None)

    def json_lines(self):
        return [json.loads(line) for line in self.out if line is not None]

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()


class Proxy:
    """A TCP relay between a fetcher and a seeder: records, slows down or changes what passes."""

    def __init__(self, bytes_per_second=None, change=None):
        self.target_port = free_port()
        self.bytes_per_second = bytes_per_second
        self.change = change
        self.recorded = bytearray()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target_port))
                self._sockets += [near, far]
                for source, sink, down in ((near, far, False), (far, near, True)):
                    threading.Thread(target=self._relay, args=(source, sink, down), daemon=True).start()

    def _relay(self, source, sink, down):
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if self.bytes_per_second and down:
                    time.sleep(len(data) / self.bytes_per_second)  # the rate of the relay, not a wait for anything
                self.recorded += data
                if self.change:
                    data = self.change(data, down)
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self):
        for end in [self.listener, *self._sockets]:
            with contextlib.suppress(OSError):
                end.close()


def memory_folder():
    """Somewhere that syncs at once, where there is room: the tests are not about the disk."""
    with contextlib.suppress(OSError):
        space = os.statvfs("/dev/shm")
        if space.f_bavail * space.f_frsize > 1 << 30 and os.access("/dev/shm", os.W_OK):
            return "/dev/shm"
    return None


def free_port():
    """One that nobody has. Below those that the system gives to connections of tests that run meanwhile."""
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class EndToEnd(unittest.TestCase):
    """A folder, a state folder and processes of its own for each test."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="p2p-e2e-", dir=memory_folder()))
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("P2P_")}
        self.env["XDG_STATE_HOME"] = str(self.folder / "state")

    def start(self, *arguments, env=None):
        process = Process(arguments, {**self.env, **(env or {})}, self.folder)

        def end():
            if process.process.poll() is None:
                process.process.kill()
            process.wait()
            process.process.stdout.close()
            process.process.stderr.close()

        self.addCleanup(end)
        return process

    def run_p2p(self, *arguments, env=None):
        process = self.start(*arguments, env=env)
        process.wait()
        return process

    def seed(self, path, *arguments, listen="127.0.0.1:0"):
        """A seeder and its link."""
        process = self.start("seed", path, "--listen", listen, *arguments)
        return process, process.first_line()

    def seed_behind(self, proxy, path, *arguments):
        """A seeder that everybody reaches through the proxy, as its link and its announces say."""
        self.addCleanup(proxy.close)
        return self.seed(path, "--advertise", f"127.0.0.1:{proxy.port}", *arguments,
                         listen=f"127.0.0.1:{proxy.target_port}")

    def tracker(self, *arguments, listen="127.0.0.1:0"):
        process = self.start("tracker", "--listen", listen, *arguments)
        return process, process.first_line()

    def fetch(self, link, output, *arguments, listen="127.0.0.1:0"):
        return self.start("fetch", link, "-o", output, "--listen", listen, "--json", *arguments)

    def assert_fetched(self, process, source, target):
        self.assertEqual(process.wait(), OK, process.error_text())
        self.assert_same(source, target)

    def assert_same(self, source, target):
        differences = subprocess.run(["diff", "-r", "--no-dereference", source, target], capture_output=True, text=True)
        self.assertEqual((differences.returncode, differences.stdout), (0, ""))
        self.assertEqual(modes(source), modes(target))

    def random_file(self, name, size):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return path


def modes(root):
    """Which files are executable, and where links point."""
    found = {}
    root = pathlib.Path(root)
    for path in [root, *sorted(root.rglob("*"))]:
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_file():
            found[name] = bool(path.stat().st_mode & 0o100)
        else:
            found[name] = "folder"
    return found


def port_of(link):
    """The port of the link's first seeder."""
    return int(link.split("/s=")[1].split("/")[0].split("#")[0].rsplit(":", 1)[1])


def flip_bytes(path, offsets):
    """Silent damage: the bytes change and the time stamps do not."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        for offset in offsets:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
