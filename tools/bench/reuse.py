#!/usr/bin/env python3
"""A new release where the last one lies: `p2p fetch --from` beside casync and zsync, on two successive releases of packages from
Debian's archive: the Linux sources, as an archive (tar) and as a folder, and a program of compiled code, as a folder.

Each way runs in a network namespace of its own with nothing but loopback, whose counter says what crossed the network: headers,
acknowledgements, manifests, indexes and all. The servers are p2p's seeder, and nginx for the others; what they serve was made
before. The releases are fetched by `apt-get download` once and kept (--cache). Needs root; without it, or without the packages,
it says so and measures nothing.
"""

import collections
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import measure

SOURCES = "linux-source-6.1"
PROGRAM = "libreoffice-core"


def lo_bytes():
    for line in pathlib.Path("/proc/net/dev").read_text().splitlines():
        if line.strip().startswith("lo:"):
            return int(line.split(":")[1].split()[0])
    sys.exit("no loopback")


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class P2p:
    name = "p2p"

    def __init__(self, old, new, folder, binary):
        self.old, self.target, self.binary = old, folder / "target", binary
        self.server = measure.Seeder(binary, new, folder / "state")

    def command(self):
        return [self.binary, "-q", "fetch", self.server.link, "-o", self.target, "--from", self.old, "--listen", "127.0.0.1:0"]

    def env(self):
        return self.server.env

    def stop(self):
        self.server.stop()


class P2pAnew(P2p):
    name = "p2p, without the old one"

    def command(self):
        return [argument for argument in super().command() if argument not in ("--from", self.old)]


class OverHttp:
    """What nginx serves from a folder of its own."""

    def __init__(self, old, new, folder, _):
        self.old, self.target = old, folder / "target"
        self.root = folder / "served"
        self.root.mkdir(parents=True)
        self.prepare(new)
        self.server = measure.Nginx(self.root, folder, tls=False)

    def env(self):
        return dict(os.environ)

    def stop(self):
        self.server.stop()


class Casync(OverHttp):
    name = "casync"

    def prepare(self, new):
        self.index = "new.caidx" if new.is_dir() else "new.caibx"
        subprocess.run(["casync", "make", f"--store={self.root}/default.castr", self.root / self.index, new], check=True,
                       stdout=subprocess.DEVNULL)

    def command(self):
        return ["casync", "extract", f"--seed={self.old}", f"{self.server.url}/{self.index}", self.target]


class Zsync(OverHttp):
    name = "zsync"

    def prepare(self, new):
        os.link(new, self.root / "new.tar") if new.stat().st_dev == self.root.stat().st_dev else shutil.copy(
            new, self.root / "new.tar")
        subprocess.run(["zsyncmake", "-u", "new.tar", "-o", self.root / "new.zsync", self.root / "new.tar"], check=True)

    def command(self):
        return ["zsync", "-q", "-i", self.old, "-o", self.target, f"{self.server.url}/new.zsync"]


def same(a, b):
    compare = ["diff", "-rq", "--no-dereference"] if a.is_dir() else ["cmp", "-s"]
    return subprocess.run([*compare, a, b], stdout=subprocess.DEVNULL).returncode == 0


def measure_inside(options):
    """In the namespace: prints a JSON object of runs, [seconds, CPU seconds, bytes], by contender."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    old, new, folder = options.old, options.new, options.folder
    ways = [P2p, P2pAnew, Casync] + ([] if new.is_dir() else [Zsync])
    contenders = []
    runs = collections.defaultdict(list)
    try:
        for way in ways:
            place = folder / way.__name__
            place.mkdir()
            contenders.append(way(old, new, place, options.binary))
        for number in range(options.rounds + 1):  # the first warms up
            for contender in contenders:
                before = lo_bytes()
                run = measure.timed(contender.command(), contender.server.pid, env=contender.env(), cwd=folder)
                sent = lo_bytes() - before
                if number == 0 and not same(new, contender.target):
                    sys.exit(f"{contender.name} made something else")
                if number > 0:
                    runs[contender.name].append([run.wall, run.cpu, sent])
                for left in folder.glob(f"{type(contender).__name__}/target*"):
                    remove(left)
    finally:
        for contender in contenders:
            contender.stop()
    print(json.dumps(runs))


def newest_two(package):
    """The newest two upstream versions of the package that apt offers; two of its packagings where there is but one."""
    listed = subprocess.run(["apt-cache", "madison", package], capture_output=True, text=True).stdout
    versions = [line.split("|")[1].strip() for line in listed.splitlines() if line.count("|") >= 2]
    older = [version for version in versions if version.rsplit("-", 1)[0] != versions[0].rsplit("-", 1)[0]] or versions[1:]
    return (older[0], versions[0]) if older else None


def unpack_package(package, version, cache, place):
    pattern = f"{package}_{version.replace(':', '%3a')}_*.deb"
    if not list(cache.glob(pattern)):
        subprocess.run(["apt-get", "download", f"{package}={version}"], cwd=cache, check=True, capture_output=True)
    subprocess.run(["dpkg-deb", "-x", next(cache.glob(pattern)), place], check=True)
    return place


def unpack_sources(version, cache, folder):
    """The release as an archive and as a folder."""
    place = unpack_package(SOURCES, version, cache, folder / version)
    packed = place / "usr/src" / f"{SOURCES}.tar.xz"
    archive = place / "linux.tar"
    with open(archive, "wb") as out:
        subprocess.run(["xz", "-dc", packed], stdout=out, check=True)
    shutil.rmtree(place / "usr")
    tree = place / "linux"
    tree.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", tree, "--strip-components=1"], check=True)
    return archive, tree


def missing(options):
    """Why nothing can be measured, if so."""
    for program in ("casync", "zsync", "zsyncmake", "nginx", "unshare", "apt-cache", "dpkg-deb"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "a network namespace needs root"
    for package in (SOURCES, PROGRAM):
        if not newest_two(package):
            return f"apt offers no two releases of {package}"
    return None


def section(title, package, versions, old, new, folder, options):
    folder.mkdir()
    command = ["unshare", "--net", sys.executable, os.path.abspath(__file__), "--binary", options.binary, "--rounds",
               str(options.rounds), "--inside", "--old", old, "--new", new, "--folder", folder]
    runs = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])

    def column(name, place):
        return [run[place] for run in runs[name]]

    rows = [[name, measure.spread([sent / 1e6 for sent in column(name, 2)], 1), measure.spread(column(name, 0)),
             measure.spread(column(name, 1))] for name in runs]
    targets = []
    for other in runs:
        if other in ("casync", "zsync"):
            for place, unit in ((2, "bytes"), (0, "seconds")):
                share = statistics.median(ours / its for ours, its in zip(column("p2p", place), column(other, place)))
                targets.append(measure.Target(f"fewer {unit} than {other}", f"{share:.2f} of its", share < 1))
    return measure.Section(
        title, ["", "MB over the network", "wall, s", "CPU of both ends, s"], rows,
        targets, f"{package} {versions[0]} is there, {versions[1]} is fetched. {options.rounds} {'round' if options.rounds == 1 else 'rounds'} in turn, "
        f"{'on disk' if options.disk else 'on tmpfs'}. Counted is all that crosses a loopback of its own, headers and both ways. casync's "
        "chunks were compressed beforehand; what p2p and zsync send is not compressed.")


def sections(options):
    reason = missing(options)
    if reason:
        print(f"reuse: not measured: {reason}", file=sys.stderr)
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    with measure.scratch_folder(in_memory=not options.disk) as folder:
        versions = options.versions or newest_two(SOURCES)
        releases = [unpack_sources(version, options.cache, folder) for version in versions]
        for number, what in enumerate(("an archive", "a folder")):
            place = folder / f"work-{number}"
            yield section(f"The next release of the Linux sources, as {what}", SOURCES, versions, releases[0][number],
                          releases[1][number], place, options)
            shutil.rmtree(place)
        versions = newest_two(PROGRAM)
        old, new = [unpack_package(PROGRAM, version, options.cache, folder / f"program-{version.replace(':', '-')}")
                    for version in versions]
        yield section("The next release of a program, as a folder", PROGRAM, versions, old, new, folder / "work", options)


def extend(parser):
    parser.set_defaults(rounds=1)  # casync takes minutes
    parser.add_argument("--disk", action="store_true", help="in the folder for temporary files instead of tmpfs")
    parser.add_argument("--versions", nargs=2, metavar=("OLD", "NEW"), help="of the Linux sources; the newest two by default")
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path(tempfile.gettempdir()) / "p2p-bench-releases",
                        help="where the packages are kept")
    parser.add_argument("--inside", action="store_true", help="(what runs in the namespace)")
    for name in ("--old", "--new", "--folder"):
        parser.add_argument(name, type=pathlib.Path)


if __name__ == "__main__":
    PARSER = measure.arguments(__doc__)
    extend(PARSER)
    OPTIONS = PARSER.parse_args()
    if OPTIONS.inside:
        measure_inside(OPTIONS)
    else:
        for one in sections(OPTIONS):
            print(one.markdown(), flush=True)
