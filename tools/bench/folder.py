#!/usr/bin/env python3
"""A folder of many small files, from a seeder that runs already into a new folder: `p2p fetch` beside a tar that nginx serves
in the clear, made beforehand, fetched by curl into a file and then unpacked (the reference), or piped into tar.

On tmpfs, and on the disk with --disk: there p2p syncs what it wrote before it says that it is done, and tar does not, so a
third way syncs after tar as well.
"""

import os
import shutil
import subprocess

import measure

REFERENCE = "curl to a file, then tar"


def make_tree(root, files, file_bytes):
    content = os.urandom(files * file_bytes)
    for i in range(files):
        folder = root / f"folder-{i // 1000:03}" / f"part-{i // 100 % 10}"
        if i % 100 == 0:
            folder.mkdir(parents=True)
        (folder / f"file-{i:06}.dat").write_bytes(content[i * file_bytes:(i + 1) * file_bytes])
    return root


class P2p:
    name = "p2p"

    def __init__(self, server, target, options):
        self.server, self.target, self.binary = server, target, options.binary

    def run(self):
        run = measure.timed([self.binary, "-q", "fetch", self.server.link, "-o", self.target, "--listen", "127.0.0.1:0"],
                            self.server.pid, env=self.server.env)
        shutil.rmtree(self.target)
        return run


class Tar:
    def __init__(self, name, script, server, target):
        self.name, self.script, self.server, self.target = name, script, server, target

    def run(self):
        self.target.mkdir()
        run = measure.timed(["bash", "-ec", self.script], self.server.pid,
                            env={**os.environ, "URL": self.server.url + "/tree.tar"}, cwd=self.target)
        shutil.rmtree(self.target)
        return run


def section(where, target, seeder, nginx, options):
    contenders = [P2p(seeder, target, options),
                  Tar(REFERENCE, 'curl -s "$URL" -o x.tar; tar xf x.tar; rm x.tar', nginx, target),
                  Tar("curl piped into tar", 'curl -s "$URL" | tar x', nginx, target)]
    if options.disk:
        contenders.append(Tar("curl, then tar, then sync", 'curl -s "$URL" -o x.tar; tar xf x.tar; rm x.tar; sync -f .',
                              nginx, target))
    runs = measure.alternate(contenders, options.rounds)
    ours = runs["p2p"]
    rows = [[name, measure.spread([run.wall for run in each]), measure.spread([run.cpu for run in each]),
             f"{measure.ratio(each, ours, 'wall'):.2f}"] for name, each in runs.items()]
    reached = measure.ratio(ours, runs[REFERENCE], "wall")
    targets = [] if options.disk else [
        measure.Target(f"wall at most 1.5 times that of {REFERENCE}", f"{reached:.2f}", reached <= 1.5)]
    return measure.Section(f"{options.files} files of {options.file_bytes} bytes, {where}",
                           ["", "wall, s", "CPU of both ends, s", "wall / p2p's"], rows, targets,
                           f"{options.rounds} rounds in turn. Sources are in the page cache.")


def sections(options):
    with measure.scratch_folder() as folder, measure.scratch_folder(in_memory=not options.disk) as place:
        tree = make_tree(folder / "source" / "tree", options.files, options.file_bytes)
        subprocess.run(["tar", "cf", tree.parent / "tree.tar", "-C", tree.parent, "tree"], check=True)
        nginx = measure.Nginx(tree.parent, folder, tls=False)
        seeder = measure.Seeder(options.binary, tree, folder / "state")
        try:
            yield section("to the disk" if options.disk else "to tmpfs", place / "target", seeder, nginx, options)
        finally:
            seeder.stop()
            nginx.stop()


def extend(parser):
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--file-bytes", type=int, default=4096)
    parser.add_argument("--disk", action="store_true", help="to the folder for temporary files instead of tmpfs")


if __name__ == "__main__":
    measure.main(__doc__, sections, extend)
