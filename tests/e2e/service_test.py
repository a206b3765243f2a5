"""Daemons as services: what they tell systemd, the units, and the configuration that comes with them."""

import pathlib
import re
import shutil
import signal
import socket
import subprocess
import unittest

from command_help import command_help
from harness import BINARY, DEADLINE, OK, USAGE, EndToEnd, free_port

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "tools/deploy"
SERVICES = ("agent", "tracker")
# systemd's own sum of what a service could do to its host: 10 is all.
MOST_EXPOSURE = 2.0


class Notify(EndToEnd):
    def listen(self, name):
        """A socket in place of systemd's, and what it is called in the environment."""
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(DEADLINE)
        manager.bind("\0" + name[1:] if name[0] == "@" else name)
        return manager, {"NOTIFY_SOCKET": name}

    def check(self, manager, process):
        self.assertEqual(manager.recv(1000), b"READY=1")
        process.process.send_signal(signal.SIGHUP)
        self.assertRegex(manager.recv(1000), rb"^RELOADING=1\nMONOTONIC_USEC=\d+$")
        self.assertEqual(manager.recv(1000), b"READY=1")
        self.assertEqual(process.stop(), OK)
        self.assertEqual(manager.recv(1000), b"STOPPING=1")

    def test_a_tracker_says_when_it_is_ready_reloads_and_stops(self):
        manager, env = self.listen(str(self.folder / "notify"))
        self.check(manager, self.start("tracker", "--listen", "127.0.0.1:0", env=env))

    def test_an_agent_says_when_it_is_ready_reloads_and_stops(self):
        manager, env = self.listen(str(self.folder / "notify"))
        self.check(manager, self.start("agent", "--store", "store", "--socket", "sock", "--listen", "127.0.0.1:0", env=env))

    def test_the_socket_may_be_an_abstract_one(self):
        manager, env = self.listen(f"@{self.folder.name}")
        self.check(manager, self.start("tracker", "--listen", "127.0.0.1:0", env=env))

    def test_who_listens_nowhere_or_at_nonsense_is_not_told(self):
        for name in ("", "/", "relative", "/nonexistent/notify", "/" + "n" * 200):
            tracker = self.start("tracker", "--listen", "127.0.0.1:0", env={"NOTIFY_SOCKET": name})
            tracker.first_line()
            self.assertEqual(tracker.stop(), OK)

    def test_a_manager_that_never_reads_holds_nobody_up(self):
        manager, env = self.listen(str(self.folder / "notify"))
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        with sender, self.assertRaises(BlockingIOError):
            while True:
                sender.sendto(b"full", env["NOTIFY_SOCKET"])
        tracker = self.start("tracker", "--listen", "127.0.0.1:0", env=env)
        tracker.first_line()
        self.assertEqual(tracker.stop(), OK)

    def test_a_tracker_takes_over_its_keys_on_sighup(self):
        key = self.folder / "key"
        self.assertEqual(self.run_p2p("keygen", "-o", key).wait(), OK)
        tracker, _ = self.tracker("--cluster-key", key)
        tracker.process.send_signal(signal.SIGHUP)
        tracker.wait_line(tracker.err, lambda line: "the cluster keys are now" in line)


class Units(EndToEnd):
    def unit(self, service):
        """The unit, as it is but for where the binary is."""
        name = f"p2p-{service}.service"
        text = (DEPLOY / "systemd" / name).read_text()
        self.assertIn("ExecStart=/usr/bin/p2p ", text)
        file = self.folder / name
        file.write_text(text.replace("/usr/bin/p2p", BINARY))
        return file

    def systemd_analyze(self, *arguments):
        return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed: the units are not verified")
    def test_systemd_has_nothing_to_say_against_the_units(self):
        for service in SERVICES:
            result = self.systemd_analyze("verify", "--man=no", self.unit(service))
            self.assertEqual((result.returncode, result.stdout + result.stderr), (0, ""), service)

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not installed: the units' hardening is not rated")
    def test_the_units_leave_a_daemon_little_of_its_host(self):
        for service in SERVICES:
            result = self.systemd_analyze("security", "--offline=true", "--no-pager", self.unit(service))
            exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout).group(1))
            self.assertLessEqual(exposure, MOST_EXPOSURE, service)

    def test_a_unit_runs_its_command_with_its_configuration(self):
        for service in SERVICES:
            text = (DEPLOY / f"systemd/p2p-{service}.service").read_text()
            self.assertIn(f"\nExecStart=/usr/bin/p2p {service} --config /etc/p2p/{service}.toml\n", text)
            self.assertIn("\nType=notify\n", text)


class Configuration(EndToEnd):
    def text(self, service):
        return (DEPLOY / f"etc/{service}.toml").read_text()

    def flags_of(self, service):
        tree = command_help(self.env)
        command = next(command for command in tree.commands if command.words == [service])
        program = [flag for flag in tree.flags if flag not in ("--help", "--version", "--config")]
        return program, [flag for flag in command.flags if flag != "--help"]

    def test_it_has_every_flag_with_an_explanation_and_sets_none(self):
        for service in SERVICES:
            text = self.text(service)
            top, section = text.split(f"\n[{service}]\n")
            program, own = self.flags_of(service)
            for part, flags in ((top, program), (section, own)):
                self.assertEqual(sorted("--" + name for name in re.findall(r"^#([\w-]+) = ", part, re.M)), sorted(flags),
                                 f"tools/deploy/etc/{service}.toml and p2p {service} --help")
            for line in text.splitlines():
                self.assertRegex(line, rf"^(#( \S.*|[\w-]+ = \S.*)?|\[{service}\]|)$")

    def start_configured(self, service, text):
        file = self.folder / f"{service}.toml"
        file.write_text(text)
        return self.start(service, "--config", file, env={"XDG_RUNTIME_DIR": str(self.folder)})

    def uncommented(self, service):
        """All that it shows, in effect; with ports of this host's loopback, and files that are here."""
        if service == "tracker":
            self.assertEqual(self.run_p2p("keygen", "-o", self.folder / "key").wait(), OK)
            (self.folder / "password").write_text("secret\n")
        text = re.sub(r"^#([\w-]+ = )", r"\1", self.text(service), flags=re.M)
        text = text.replace("verbose = true\nquiet = true\n", "verbose = true\n")
        for was, becomes in (("/etc/p2p/cluster.key", "key"), ("/etc/p2p/store.password", "password"),
                             ("/var/lib/p2p/store", "store"), ("/run/p2p/agent.sock", "sock")):
            text = text.replace(was, str(self.folder / becomes))
        text = re.sub(r'"(0\.0\.0\.0|127\.0\.0\.1):\d+"', '"127.0.0.1:0"', text)
        text = text.replace("redis://127.0.0.1:6379", f"redis://127.0.0.1:{free_port()}")
        return re.sub(r'"\w+\.example:\d+"', f'"127.0.0.1:{free_port()}"', text)

    def test_each_line_means_what_it_says_once_it_is_uncommented(self):
        tracker = self.start_configured("tracker", self.uncommented("tracker"))
        tracker.wait_line(tracker.err, lambda line: "closed by the cluster key" in line and '"level"' in line)
        tracker.wait_line(tracker.err, lambda line: "/metrics" in line)
        self.assertEqual(tracker.stop(), OK)
        agent = self.start_configured("agent", self.uncommented("agent"))
        agent.wait_line(agent.err, lambda line: "an agent with" in line and str(self.folder / "sock") in line)
        self.assertEqual(agent.stop(), OK)
        self.assertTrue((self.folder / "store").is_dir())

    def test_as_it_comes_it_changes_nothing(self):
        tracker = self.start_configured("tracker", self.text("tracker"))
        tracker.wait_line(tracker.err, lambda line: "open to all" in line)

    def test_a_flag_that_does_not_exist_is_refused_by_its_name(self):
        for text, what in (("[tracker]\nlistne = \"127.0.0.1:0\"\n", "flag tracker.listne"), ("port = 7\n", "flag port"),
                           ("[trakcer]\nzone = \"x\"\n", "command trakcer")):
            result = self.start_configured("tracker", text)
            self.assertEqual(result.wait(), USAGE)
            self.assertIn(f"--config: there is no {what}\n", result.error_text())


if __name__ == "__main__":
    unittest.main()
