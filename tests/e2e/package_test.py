"""The Debian package: what is in it, and that what is in it runs."""

import gzip
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from command_help import command_help
from harness import BINARY, EndToEnd

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = os.environ.get("P2P_BUILD", str(ROOT / "build/release"))
TOOLS = ("cpack", "dpkg-deb", "dpkg-shlibdeps", "gzip", "readelf")
MISSING = [tool for tool in TOOLS if not shutil.which(tool)]


def run(*command, **how):
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **how)
    if result.returncode != 0:
        raise AssertionError(f"{command}: exit code {result.returncode}: {result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout


DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "tools/deploy"
DEPLOYED = [*DEPLOY.glob("*.sh"), *(path for folder in ("ansible", "kubernetes") for path in (DEPLOY / folder).rglob("*")
                                    if not path.is_dir())]


@unittest.skipIf(MISSING, f"not installed: {', '.join(MISSING)}; no package is made")
class Package(EndToEnd):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="p2p-deb-"))
        cls.addClassCleanup(shutil.rmtree, folder, True)
        run("cpack", "-G", "DEB", "-B", folder / "out", cwd=BUILD)
        cls.deb, = folder.glob("out/*.deb")
        run("dpkg-deb", "--raw-extract", cls.deb, folder / "root")
        cls.root, cls.control = folder / "root", folder / "root/DEBIAN"

    def field(self, name):
        return run("dpkg-deb", "--field", self.deb, name).strip()

    def changelog(self):
        return gzip.decompress((self.root / "usr/share/doc/p2p/changelog.gz").read_bytes()).decode()

    def test_it_holds_the_files_it_should_and_no_others(self):
        commands = command_help(self.env).commands
        pages = ["p2p.1.gz", *(f"p2p-{command.words[0]}.1.gz" for command in commands)]
        expected = ["etc/p2p/agent.toml", "etc/p2p/tracker.toml",
                    "lib/systemd/system/p2p-agent.service", "lib/systemd/system/p2p-tracker.service",
                    "usr/bin/p2p",
                    "usr/share/bash-completion/completions/p2p",
                    "usr/share/fish/vendor_completions.d/p2p.fish",
                    "usr/share/zsh/vendor-completions/_p2p",
                    "usr/share/doc/p2p/changelog.gz", "usr/share/doc/p2p/copyright",
                    *(f"usr/share/man/man1/{page}" for page in pages),
                    *(f"usr/share/p2p/deploy/{path.relative_to(DEPLOY).as_posix()}" for path in DEPLOYED)]
        found = [path.relative_to(self.root).as_posix() for path in self.root.rglob("*")
                 if not path.is_dir() and self.control not in path.parents]
        self.assertEqual(sorted(found), sorted(expected))

    def test_all_of_it_is_of_root_and_for_everybody_to_read(self):
        for line in run("dpkg-deb", "--contents", self.deb).splitlines():
            mode, owner, _, _, _, path = line.split(None, 5)
            self.assertEqual(owner, "root/root", path)
            if mode[0] == "l":
                continue
            executable = mode[0] == "d" or path == "./usr/bin/p2p" or path.endswith(".sh")
            self.assertEqual(mode[1:], "rwxr-xr-x" if executable else "rw-r--r--", path)

    def test_its_program_runs_and_is_stripped(self):
        program = self.root / "usr/bin/p2p"
        self.assertEqual(run(program, "--version"), run(BINARY, "--version"))
        self.assertNotIn(".symtab", run("readelf", "--section-headers", "--wide", program))

    def test_it_needs_no_library_but_that_of_c(self):
        needed = {re.split(r"[ (]", name.strip())[0] for name in self.field("Depends").split(",")}
        self.assertEqual(needed, {"adduser", "init-system-helpers", "libc6"})

    def test_its_version_and_date_are_those_of_the_program(self):
        version = run(BINARY, "--version").split()[1]
        self.assertEqual(self.field("Version"), version)
        date = run(BINARY, "man").split(".TH P2P 1 ")[1].split()[0]
        first = self.changelog().split("\n -- ")
        self.assertIn(f"p2p ({version})", first[0])
        day = run("date", "-u", "-d", first[1].split("  ")[1].splitlines()[0], "+%F").strip()
        self.assertEqual(day, date)

    def test_its_pages_and_completions_are_what_the_program_prints(self):
        share = self.root / "usr/share"
        for page in (share / "man/man1").iterdir():
            name = page.name.removesuffix(".1.gz")
            self.assertEqual(gzip.decompress(page.read_bytes()).decode(), run(BINARY, "man", name))
        for shell, file in (("bash", "bash-completion/completions/p2p"), ("zsh", "zsh/vendor-completions/_p2p"),
                            ("fish", "fish/vendor_completions.d/p2p.fish")):
            self.assertEqual((share / file).read_text(), run(BINARY, "completion", shell))

    def test_what_an_administrator_changes_is_a_conffile(self):
        self.assertEqual((self.control / "conffiles").read_text().split(), ["/etc/p2p/agent.toml", "/etc/p2p/tracker.toml"])

    def test_its_scripts_make_the_user_and_enable_nothing(self):
        for name in ("postinst", "prerm", "postrm"):
            script = self.control / name
            self.assertEqual(script.stat().st_mode & 0o777, 0o755)
            run("sh", "-n", script)
            self.assertNotRegex(script.read_text(), r"\b(enable|unmask|restart [^|]*--now)\b")
        self.assertIn("adduser --system --group", (self.control / "postinst").read_text())

    def test_the_libraries_within_it_are_named_with_their_licences(self):
        text = (self.root / "usr/share/doc/p2p/copyright").read_text()
        for library in ("libuv1-dev", "libsodium-dev", "libssl-dev", "libabsl-dev", "libhiredis-dev", "libevent-dev"):
            self.assertIn(f"\n======== {library} ========\n", text)


if __name__ == "__main__":
    unittest.main()
