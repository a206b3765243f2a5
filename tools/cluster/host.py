"""A whole host in namespaces: Debian with systemd and sshd, on a disk of its own, at its cable of the lab's network.

What it boots is a Debian that mmdebstrap installed once (base_system); the host sees it as its root and writes beside it
(overlayfs). So it can be switched off and on again as a machine can. Its processes are those of this machine.
"""

import os
import pathlib
import shutil
import subprocess
import time

import network

SUITE = "bookworm"
# What a host of a cluster has before anybody installs p2p there. python3-apt is Ansible's wish.
PACKAGES = ("systemd-sysv", "dbus", "openssh-server", "python3-apt", "adduser", "iproute2", "sudo")
# Who logs in, as on most hosts: not root, but by sudo without a password.
USER = "deploy"
# Nothing here reaches an archive, nothing is to start by itself in the middle of a test, and what the kernel is told is for the
# machine to say, whose kernel it is.
MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "fstrim.timer", "e2scrub_all.timer",
          "systemd-networkd-wait-online.service", "systemd-sysctl.service")
BOOT_TIMEOUT_S = 120
BOOT = pathlib.Path(__file__).resolve().parent / "boot.sh"


def base_system(folder):
    """The installed Debian, which is made where it is not there yet: half a minute and 300 MB."""
    wanted = " ".join((SUITE, *PACKAGES, USER, *MASKED))
    stamp = folder.with_name(folder.name + ".made-of")
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}",
         # Each host has its own keys, and no network's names.
         "--customize-hook=rm -f $1/etc/ssh/ssh_host_* $1/etc/resolv.conf",
         f"--customize-hook=chroot $1 useradd --create-home --shell /bin/bash {USER}",
         f"--customize-hook=echo '{USER} ALL=(ALL) NOPASSWD: ALL' >$1/etc/sudoers.d/{USER}",
         f"--customize-hook=for unit in {' '.join(MASKED)}; do ln -sf /dev/null $1/etc/systemd/system/$unit; done",
         SUITE, str(folder)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise network.CannotRun(f"mmdebstrap could not install a Debian: {done.stderr.strip()[-500:]}")
    stamp.write_text(wanted)
    return folder


def unified_cgroups():
    """Where this machine has the unified hierarchy of control groups."""
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options = line.split()[:4]
        if kind == "cgroup2" and "rw" in options.split(","):
            return pathlib.Path(place)
    raise network.CannotRun("there is no writable cgroup2 here, which systemd needs")


def remove_dead_cgroups():
    """What labs left that were killed."""
    for folder in unified_cgroups().glob(f"{network.PREFIX}-*"):
        if not pathlib.Path("/proc", folder.name.split("-")[1]).exists():
            remove_cgroup(folder)


def remove_cgroup(folder):
    for inner, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(inner)
        except OSError:
            pass  # somebody is still dying in it: it goes with the next lab


class Host:
    """Off at first. Switched off it keeps its disk."""

    def __init__(self, lab_network, name, base, folder, authorized_key):
        """folder: where its disk lies; made here. authorized_key: who may log in."""
        self.name = name
        self.address = lab_network.address(name)
        self._namespace = lab_network.namespace(name)
        self._base, self._folder = base, folder
        self._cgroup = unified_cgroups() / self._namespace
        self._process = None
        ssh = folder / "disk/etc/ssh"
        ssh.mkdir(parents=True)
        (folder / "disk/etc/hostname").write_text(name + "\n")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", ssh / "ssh_host_ed25519_key"],
                       check=True)
        self.public_key = (ssh / "ssh_host_ed25519_key.pub").read_text().strip()
        home = folder / f"disk/home/{USER}"
        (home / ".ssh").mkdir(parents=True)
        (home / ".ssh/authorized_keys").write_text(authorized_key)
        owner = (base / f"home/{USER}").stat()
        for path in (home, home / ".ssh", home / ".ssh/authorized_keys"):
            os.chown(path, owner.st_uid, owner.st_gid)

    def switch_on(self):
        self._process = subprocess.Popen([BOOT, self._base, self._folder, self.name, self._cgroup],
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                         stderr=open(self._folder / "boot.log", "ab"),
                                         preexec_fn=network.within(self._namespace))

    def wait_until_up(self):
        """Until its sshd listens."""
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise network.CannotRun(f"{self.name} does not boot: {(self._folder / 'boot.log').read_text()[-500:]}")
            first = self._first_process()
            if first and (pathlib.Path("/proc", first, "root/run/sshd.pid")).exists():
                return
            if time.monotonic() > deadline:
                raise network.CannotRun(f"{self.name} has no sshd {BOOT_TIMEOUT_S} s after its start")
            time.sleep(0.2)

    def switch_off(self):
        """As a power cut does."""
        if self._process is None:
            return
        self._process.kill()  # its child, the host's first process, dies with it, and all others with that
        self._process.wait()
        deadline = time.monotonic() + 10
        while self._cgroup.exists() and time.monotonic() < deadline:
            remove_cgroup(self._cgroup)
            time.sleep(0.05)
        self._process = None

    def path(self, absolute):
        """A file of the host, for who looks from outside while it is on."""
        return pathlib.Path("/proc", self._first_process(), "root", absolute.lstrip("/"))

    def run(self, *command):
        """On the host, as its root, without its sshd: for the lab's own interventions."""
        return subprocess.run(["nsenter", "-a", "-t", self._first_process(), *command], check=True, capture_output=True,
                              text=True, stdin=subprocess.DEVNULL).stdout

    def _first_process(self):
        children = pathlib.Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return children.read_text().split()[0] if children.exists() and children.read_text() else None
