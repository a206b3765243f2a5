#!/usr/bin/env python3
"""Deployments as they are in earnest: 20 hosts with systemd and sshd, Ansible and ssh, a full disk, a power cut, Prometheus.

    tools/cluster/deploy.py [--until STEP] [--hosts 20] [--package build/deb/p2p_*.deb] [--debian build/lab/debian]

Each host is a Debian in namespaces (host.py) at a cable of its own (network.py). Beside them are a tracker's host, and
`control`, from which Ansible, deploy.sh and Prometheus reach the others, and whose agent seeds: it has this machine's files.
The steps, each on what the ones before left:

  install    cluster.yml on hosts that have nothing
  first      the first version
  again      both playbooks once more: no host reports a change
  absent     a new version while two hosts are off; they get it when they are on again
  rollback   to the first version; and once more, without a change
  full       a version for which one host's disk is too small: it says so, the others have it, and it gets it with more room
  killed     the seeder's agent is killed as soon as one host has it all; the others get the rest from each other
  metrics    promtool on what each tells, and a Prometheus that scrapes them all
  ssh        the same hosts by deploy.sh: p2p on the one that lost it, a version, a rollback

Every copy is compared with what was released. Needs root and Linux, mmdebstrap, Ansible, an ssh client and Prometheus; where
it cannot run it says why and exits with 77. Exit code 1: a step went wrong, and how; what the programs said is in the file
that is named then.
"""

import argparse
import concurrent.futures
import contextlib
import filecmp
import glob
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import host  # noqa: E402
import network  # noqa: E402
from scenario import Link  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "tools/deploy"
LOG = ROOT / "build/lab/deploy.log"  # of a run that failed
SKIPPED = 77
TRACKER_PORT, AGENT_HTTP_PORT, TRACKER_HTTP_PORT, PROMETHEUS_PORT = 7000, 7948, 9090, 9091
APP = "/srv/app"
RATE = 100e6 / 8  # of each cable, both ways
SLOW_RATE = RATE / 2  # of the last host's: who is not complete when others are
VERSION_BYTES = 48 * 2**20
# How much the host with a full disk has for its store.
SMALL_DISK = "20m"


class Failed(Exception):
    """A step went wrong; the text says how."""


def check(holds, complaint):
    if not holds:
        raise Failed(complaint)


class Lab:
    """The hosts, and what the steps do with them. Made by `with`; gone afterwards, however it ends."""

    def __init__(self, options, folder):
        self.folder = folder
        self.package = options.package
        self.binary = options.binary
        self.names = [f"host-{number + 1}" for number in range(options.hosts)]
        self.debian = options.debian
        self.log = open(folder / "log", "ab", buffering=0)
        links = {name: Link(RATE, RATE) for name in ["control", "tracker", *self.names]}
        links[self.names[-1]] = Link(SLOW_RATE, SLOW_RATE)
        self.network = network.Network(links)
        self.versions = {}  # number -> the folder that is released
        self.agent = None

    def __enter__(self):
        self.cleanup = contextlib.ExitStack()
        try:
            self._make()
        except BaseException:
            self.cleanup.close()
            raise
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    def _make(self):
        self.cleanup.enter_context(self.network)
        self.in_switch = self.cleanup.enter_context(concurrent.futures.ThreadPoolExecutor(
            1, initializer=network.enter, initargs=(self.network.namespace(network.SWITCH),)))
        self.cleanup.callback(self._end_control)
        base = host.base_system(self.debian)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "key"], check=True)
        self.hosts = {}
        for name in ["tracker", *self.names]:
            one = host.Host(self.network, name, base, self.folder / name, (self.folder / "key.pub").read_text())
            self.hosts[name] = one
            self.cleanup.callback(one.switch_off)
            one.switch_on()
        for one in self.hosts.values():
            one.wait_until_up()
        (self.folder / "known_hosts").write_text(
            "".join(f"{one.address} {one.public_key}\n" for one in self.hosts.values()))
        (self.folder / "ssh_config").write_text(
            "".join(f"Host {name}\n  HostName {one.address}\n" for name, one in self.hosts.items()) +
            f"Host *\n  User {host.USER}\n  IdentityFile {self.folder}/key\n  UserKnownHostsFile {self.folder}/known_hosts\n"
            f"  StrictHostKeyChecking yes\n  BatchMode yes\n  ConnectTimeout 5\n")
        self.on_control(self.binary, "keygen", "-o", self.folder / "cluster.key")
        self._write_inventory()
        (self.folder / "hosts").write_text("".join(f"{name}\n" for name in self.names))

    def _write_inventory(self):
        hosts = "\n".join(f"{name} ansible_host={self.hosts[name].address}" for name in self.names)
        (self.folder / "inventory.ini").write_text(f"""[p2p_trackers]
tracker ansible_host={self.hosts['tracker'].address}
[p2p_hosts]
{hosts}
[all:vars]
ansible_python_interpreter=/usr/bin/python3
p2p_package={self.package}
p2p_key={self.folder}/cluster.key
p2p_folder={APP}
p2p_tracker_addresses=["{self.hosts['tracker'].address}:{TRACKER_PORT}"]
p2p_agent_flags={{"http": "0.0.0.0:{AGENT_HTTP_PORT}"}}
p2p_tracker_flags={{"http": "0.0.0.0:{TRACKER_HTTP_PORT}"}}
""")

    # ---- on control ----

    def environment(self):
        return {**os.environ, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state"),
                "P2P_AGENT": str(self.folder / "agent.sock"), "PATH": f"{pathlib.Path(self.binary).parent}:{os.environ['PATH']}",
                "ANSIBLE_CONFIG": str(DEPLOY / "ansible/ansible.cfg"), "ANSIBLE_STDOUT_CALLBACK": "default",
                "ANSIBLE_SSH_ARGS": f"-F {self.folder}/ssh_config -o ControlMaster=auto -o ControlPersist=60s",
                "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": str(len(self.names)),
                "P2P_SSH": f"ssh -F {self.folder}/ssh_config"}

    def start_on_control(self, *command, stdout=None):
        self.log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        return subprocess.Popen([*map(str, command)], stdin=subprocess.DEVNULL, stdout=stdout or self.log, stderr=self.log,
                                env=self.environment(), cwd=self.folder,
                                preexec_fn=network.within(self.network.namespace("control")))

    def on_control(self, *command, may_fail=False):
        """What it printed. Its output is in the log as well."""
        process = self.start_on_control(*command, stdout=subprocess.PIPE)
        output = process.communicate()[0]
        self.log.write(output)
        check(may_fail or process.returncode == 0, f"{' '.join(map(str, command))}: exit code {process.returncode}")
        return output.decode()

    def _end_control(self):
        """What ssh and Ansible left running there, for the next time, goes too."""
        listed = subprocess.run(["ip", "netns", "pids", self.network.namespace("control")], capture_output=True, text=True)
        for pid in listed.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def start_play(self, playbook, **variables):
        arguments = [argument for name, value in variables.items() for argument in ("-e", f"p2p_{name}={value}")]
        return self.start_on_control("ansible-playbook", "-i", self.folder / "inventory.ini", DEPLOY / "ansible" / playbook,
                                     *arguments, stdout=subprocess.PIPE)

    def end_play(self, process, expect_failed=()):
        """Gives host -> {"ok": ..., "changed": ..., "unreachable": ..., "failed": ...}, and what Ansible printed. The hosts of
        expect_failed, and no other, must have failed."""
        output = process.communicate()[0]
        self.log.write(output)
        output = output.decode()
        check("PLAY RECAP" in output, f"ansible-playbook ended with exit code {process.returncode}")
        recap = {}
        for line in output[output.rindex("PLAY RECAP"):].splitlines()[1:]:
            name, _, counts = line.partition(" : ")
            if counts:
                recap[name.strip()] = {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)}
        for name, counts in recap.items():
            bad = counts["failed"] + counts["unreachable"]
            check(bool(bad) == (name in expect_failed), f"ansible-playbook {'fails' if bad else 'does not fail'} on {name}")
        return recap, output

    def play(self, playbook, expect_failed=(), **variables):
        return self.end_play(self.start_play(playbook, **variables), expect_failed)

    def changed(self, recap):
        return sorted(name for name, counts in recap.items() if counts["changed"])

    # ---- versions ----

    def make_version(self, number, like=None):
        """Random bytes, in a few files of different sizes; or `like` another version, with some bytes put in and some changed."""
        folder = self.folder / f"version-{number}"
        (folder / "bin").mkdir(parents=True)
        dice = random.Random(number)
        if like:
            model = (self.versions[like] / "bin/model").read_bytes()
            place = len(model) // 3
            (folder / "bin/model").write_bytes(model[:place] + dice.randbytes(12345) + model[place:])
        else:
            (folder / "bin/model").write_bytes(dice.randbytes(VERSION_BYTES))
        for part in range(20):
            (folder / f"part-{part}").write_bytes(dice.randbytes(part * 1000))
        (folder / "run.sh").write_text(f"#!/bin/sh\necho version {number}\n")
        (folder / "run.sh").chmod(0o755)
        (folder / "latest").symlink_to("bin/model")
        self.versions[number] = folder
        return folder

    def start_agent(self):
        """The one that seeds."""
        self.agent = self.start_on_control(
            self.binary, "agent", "--store", self.folder / "store", "--socket", self.folder / "agent.sock",
            "--listen", f"{self.network.address('control')}:7947",
            "--tracker", f"{self.hosts['tracker'].address}:{TRACKER_PORT}", "--cluster-key", self.folder / "cluster.key")
        wait_for(lambda: (self.folder / "agent.sock").exists(), 20, "the seeder's agent does not start")

    def kill_agent(self):
        self.agent.kill()
        self.agent.wait()
        (self.folder / "agent.sock").unlink()

    def wait_for_agent(self, name):
        def answers():
            with contextlib.suppress(subprocess.CalledProcessError):
                return self.hosts[name].run("p2p", "status")

        wait_for(answers, 60, f"{name}'s agent does not answer")

    def id_of(self, number):
        return json.loads(self.on_control(self.binary, "inspect", "--json", self.versions[number]))["content"]

    def check_current(self, number, names=None):
        """That these hosts run this version, byte for byte."""
        wanted = self.versions[number]
        identity = self.id_of(number)
        for name in names or self.names:
            one = self.hosts[name]
            target = os.readlink(one.path(f"{APP}/current"))
            check(target == f"releases/{identity}", f"{name}: current is {target}, not version {number}")
            there = one.path(f"{APP}/{target}")
            files = sorted(path.relative_to(wanted) for path in wanted.rglob("*"))
            check(files == sorted(path.relative_to(there) for path in there.rglob("*")), f"{name}: other files are there")
            for file in files:
                if (wanted / file).is_file() and not (wanted / file).is_symlink():
                    check(filecmp.cmp(wanted / file, there / file, shallow=False), f"{name}: {file} differs")
            check(os.access(there / "run.sh", os.X_OK), f"{name}: run.sh cannot be executed")

    def counters(self):
        """host -> (bytes it sent, bytes it was sent), since the start."""
        return self.in_switch.submit(self.network.counters).result()

    def copies_sent_by_control(self, before):
        return (self.counters()["control"][0] - before) / VERSION_BYTES


# ---- the steps: each gets the lab, and says in a line what it saw ----


def install(lab):
    recap, _ = lab.play("cluster.yml")
    check(lab.changed(recap) == sorted(lab.names + ["tracker"]), f"cluster.yml changed only {lab.changed(recap)}")
    lab.start_agent()
    for name in lab.names:
        user = lab.hosts[name].run("ps", "-o", "user=", "-C", "p2p").strip()
        check(user == "p2p", f"{name}: the agent runs as '{user}'")
    return f"{len(lab.names)} agents and a tracker run by systemd, as the user p2p"


def first(lab):
    before = lab.counters()["control"][0]
    start = time.monotonic()
    recap, _ = lab.play("release.yml", path=lab.make_version(1))
    seconds = time.monotonic() - start
    check(lab.changed(recap) == sorted(lab.names), f"release.yml changed only {lab.changed(recap)}")
    lab.check_current(1)
    return (f"{VERSION_BYTES / 2**20:g} MiB on {len(lab.names)} hosts in {seconds:.0f} s of Ansible; the seeder sent "
            f"{lab.copies_sent_by_control(before):.2f} copies, Ansible's ssh with them")


def again(lab):
    for playbook, variables in (("cluster.yml", {}), ("release.yml", {"path": lab.versions[1]})):
        recap, _ = lab.play(playbook, **variables)
        check(not lab.changed(recap), f"{playbook}: {lab.changed(recap)} report a change")
    return "no change reported, by either playbook"


def absent(lab):
    off = lab.names[-2:]
    for name in off:
        lab.hosts[name].switch_off()
    version = lab.make_version(2, like=1)
    before = lab.counters()
    recap, _ = lab.play("release.yml", expect_failed=off, path=version)
    check(lab.changed(recap) == sorted(set(lab.names) - set(off)), f"release.yml changed only {lab.changed(recap)}")
    lab.check_current(2, [name for name in lab.names if name not in off])
    received = max(lab.counters()[name][1] - before[name][1] for name in lab.names)
    check(received < VERSION_BYTES / 8, f"a host received {received / 2**20:.1f} MiB, though it has nearly all of it")
    for name in off:
        lab.hosts[name].switch_on()
    for name in off:
        lab.hosts[name].wait_until_up()
        lab.wait_for_agent(name)
    lab.check_current(1, off)
    recap, _ = lab.play("release.yml", path=version)
    check(lab.changed(recap) == sorted(off), f"release.yml, once more, changed {lab.changed(recap)}")
    lab.check_current(2)
    return (f"{len(lab.names) - 2} hosts had it, then {' and '.join(off)}, which were off. Of {VERSION_BYTES / 2**20:g} MiB, of "
            f"which the version before has nearly all, no host received more than {received / 2**20:.1f} MiB")


def rollback(lab):
    bad = lab.id_of(2)
    recap, _ = lab.play("rollback.yml", bad=bad)
    check(lab.changed(recap) == sorted(lab.names), f"rollback.yml changed only {lab.changed(recap)}")
    lab.check_current(1)
    recap, _ = lab.play("rollback.yml", bad=bad)
    check(not lab.changed(recap), f"rollback.yml, once more: {lab.changed(recap)} report a change")
    return "all back at the version before; once more: no change"


def full(lab):
    name = lab.names[6 % len(lab.names)]
    one = lab.hosts[name]
    store = "/var/lib/p2p/store"
    one.run("systemctl", "stop", "p2p-agent")
    one.run("mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", store)
    one.run("chown", "p2p:p2p", store)
    one.run("systemctl", "start", "p2p-agent")
    lab.wait_for_agent(name)
    version = lab.make_version(3)
    recap, said = lab.play("release.yml", expect_failed=[name], path=version)
    check(lab.changed(recap) == sorted(set(lab.names) - {name}), f"release.yml changed only {lab.changed(recap)}")
    told = re.search(r"no room for [^\"\\]*", said)
    check(told, f"{name}'s disk is full, and nobody says so")
    lab.check_current(3, [other for other in lab.names if other != name])
    lab.check_current(1, [name])
    one.run("systemctl", "stop", "p2p-agent")
    one.run("umount", store)
    one.run("systemctl", "start", "p2p-agent")
    lab.wait_for_agent(name)
    recap, _ = lab.play("release.yml", path=version)
    check(lab.changed(recap) == [name], f"release.yml, with room for it, changed {lab.changed(recap)}")
    lab.check_current(3)
    return f'{name} said "{told[0]}", and stayed at its version; the others have theirs; with room it has it too'


def killed(lab):
    version = lab.make_version(4)
    target = f"{APP}/releases/{lab.id_of(4)}"
    link = lab.on_control(lab.binary, "seed", version).splitlines()[0]
    before = lab.counters()["control"][0]
    play = lab.start_play("release.yml", link=link)

    def complete():
        return [name for name in lab.names if lab.hosts[name].path(target).exists()]

    while not complete():
        check(play.poll() is None, "the play ended, and no host has the version")
        time.sleep(0.01)
    lab.kill_agent()
    done, copies = complete(), lab.copies_sent_by_control(before)
    check(len(done) < len(lab.names), "all were complete before the seeder was killed")
    lab.end_play(play)
    lab.check_current(4)
    lab.start_agent()
    return (f"killed when {', '.join(done)} had it all, and {copies:.2f} copies, Ansible's ssh with them, had left the seeder's "
            f"host; now all of {len(lab.names)} have it")


def metrics(lab):
    targets = [f"{lab.hosts[name].address}:{AGENT_HTTP_PORT}" for name in lab.names]
    targets.append(f"{lab.hosts['tracker'].address}:{TRACKER_HTTP_PORT}")
    for target in targets:
        told = lab.on_control("curl", "-sSf", f"http://{target}/metrics")
        checked = subprocess.run(["promtool", "check", "metrics"], input=told, capture_output=True, text=True)
        said = (checked.stdout + checked.stderr).strip()
        check(checked.returncode == 0 and not said, f"promtool, of {target}: {said}")
    (lab.folder / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "p2p", "static_configs": [{"targets": targets}]}]}))
    lab.start_on_control("prometheus", f"--config.file={lab.folder}/prometheus.yml",
                         f"--storage.tsdb.path={lab.folder}/prometheus",
                         f"--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}")

    def query(expression):
        told = lab.on_control("curl", "-sG", f"http://127.0.0.1:{PROMETHEUS_PORT}/api/v1/query", "--data-urlencode",
                              f"query={expression}", may_fail=True)
        result = json.loads(told)["data"]["result"] if told.startswith("{") else []
        return float(result[0]["value"][1]) if result else 0

    wait_for(lambda: query("sum(up)") == len(targets), 60, "Prometheus does not reach all of them")
    wait_for(lambda: query("sum(p2p_agent_contents)") >= len(lab.names), 10, "by Prometheus no agent has a content")
    swarms, received = query("p2p_tracker_swarms"), query("sum(p2p_agent_received_bytes_total)")
    return (f"promtool is silent; Prometheus scrapes {len(targets)} of {len(targets)}: {swarms:.0f} swarms, "
            f"{received / 2**30:.1f} GiB received")


def ssh(lab):
    deploy = DEPLOY / "deploy.sh"
    everything = f"{len(lab.names)} of {len(lab.names)}"
    bare = lab.hosts[lab.names[0]]
    configuration = lab.folder / "agent.toml"
    shutil.copy(bare.path("/etc/p2p/agent.toml"), configuration)
    bare.run("dpkg", "--purge", "p2p")
    for outcome, count in (("installed", 1), ("unchanged", len(lab.names))):
        said = lab.on_control(deploy, lab.folder / "hosts", "install", "--package", lab.package,
                              "--key", lab.folder / "cluster.key", "--agent", configuration)
        check(f"{outcome}: {count} of {len(lab.names)}" in said, f"deploy.sh install: {said[-300:]}")
    version = lab.make_version(5)
    for outcome in ("released", "unchanged"):
        said = lab.on_control(deploy, lab.folder / "hosts", "release", APP, version)
        check(re.search(f"{outcome} [0-9a-f]{{12}}: {everything}", said), f"deploy.sh release: {said[-300:]}")
    lab.check_current(5)
    kept = {len(list(lab.hosts[name].path(f"{APP}/releases").iterdir())) for name in lab.names}
    check(kept == {3}, f"{kept} versions are kept, not 3")
    for outcome in ("rolled back to", "unchanged"):
        said = lab.on_control(deploy, lab.folder / "hosts", "rollback", APP, version)
        check(re.search(f"{outcome} [0-9a-f]{{12}}: {everything}", said), f"deploy.sh rollback: {said[-300:]}")
    lab.check_current(4)
    return (f"installed on {bare.name} again, nothing to do on the others; a version released and rolled back, each once more "
            "without a change; 3 versions are kept")


STEPS = (install, first, again, absent, rollback, full, killed, metrics, ssh)


def wait_for(holds, seconds, complaint):
    deadline = time.monotonic() + seconds
    while not holds():
        check(time.monotonic() < deadline, complaint)
        time.sleep(0.1)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--until", metavar="STEP", choices=[step.__name__ for step in STEPS], default=STEPS[-1].__name__,
                        help="the last step that is done")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--package", default=next(iter(glob.glob(str(ROOT / "build/deb/*.deb"))), None))
    parser.add_argument("--binary", default=ROOT / "build/release/bin/p2p")
    parser.add_argument("--debian", type=pathlib.Path, default=ROOT / "build/lab/debian", help="made where it is not there yet")
    parser.add_argument("--folder", default="/dev/shm", help="where the hosts' disks lie for the time")
    options = parser.parse_args(arguments)
    if not options.package:
        parser.error("there is no package; make it (./dev deb) or name it by --package")
    return options


def check_possible():
    network.check_possible()
    for program, package in (("mmdebstrap", "mmdebstrap"), ("ansible-playbook", "ansible-core"), ("ssh", "openssh-client"),
                             ("promtool", "prometheus"), ("prometheus", "prometheus"), ("curl", "curl"),
                             ("nsenter", "util-linux")):
        if not shutil.which(program):
            raise network.CannotRun(f"there is no '{program}' here (Debian: {package})")
    host.unified_cgroups()


def main(arguments):
    options = parse_arguments(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda caught, _: sys.exit(128 + caught))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="p2plab-", dir=options.folder))
    keep_log = False
    try:
        check_possible()
        network.remove_dead_labs()
        host.remove_dead_cgroups()
        start = time.monotonic()
        with Lab(options, folder) as lab:
            print(f"  {'boot':9} {time.monotonic() - start:5.0f} s  {len(lab.hosts)} hosts", flush=True)
            for step in STEPS:
                start = time.monotonic()
                told = step(lab)
                print(f"  {step.__name__:9} {time.monotonic() - start:5.0f} s  {told}", flush=True)
                if step.__name__ == options.until:
                    break
    except network.CannotRun as error:
        print(f"deploy: skipped: {error}", file=sys.stderr)
        return SKIPPED
    except Failed as error:
        keep_log = True
        print(f"deploy: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if keep_log:
            LOG.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / "log", LOG)
            print(f"deploy: what the programs said is in {LOG}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
