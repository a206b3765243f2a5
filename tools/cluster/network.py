"""Hosts as network namespaces: each on a cable of its own to one switch, with a token bucket at both ends of the cable.

Nothing leads out: the namespaces have these cables and loopback, no route and no other device.
"""

import ctypes
import os
import pathlib
import shutil
import signal
import subprocess

PREFIX = "p2plab"
NETWORK_START = "10.77"
NETWORK = f"{NETWORK_START}.0.0/16"
SWITCH = "switch"
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
# A shallow bucket, as a shaper of a provider or a switch port has: the rate holds over a few milliseconds.
BURST_BYTES = 32 * 1024
BURST_S = 2e-3
# And a queue before it that holds so much time, as routers are set up with.
QUEUE_S = 50e-3
# A host hands its network card trains of packets, which go out back to back. At the rates of the lab TCP would make trains
# of two, each of which waits for a timer at two buckets: the lab then spent more of the machine on its cables. A longer train
# than the bucket would be cut into single packets.
TRAIN_PACKETS = 8
TRAIN_BYTES = BURST_BYTES // 2
# Debian's, and nearly every other system's.
CONGESTION = "cubic"

libc = ctypes.CDLL(None, use_errno=True)


class CannotRun(Exception):
    """This machine cannot hold the lab; the text says why."""


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotRun(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def enter(namespace):
    """Moves the calling thread, and what it starts, into the namespace."""
    handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
    finally:
        os.close(handle)


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def within(namespace):
    """For subprocess's preexec_fn: a process that starts in the namespace, and ends with this one."""
    def enter_and_stay():
        enter(namespace)
        die_with_parent()

    return enter_and_stay


def check_possible():
    if os.geteuid() != 0:
        raise CannotRun("making network namespaces needs root")
    for tool in ("ip", "tc"):
        if not shutil.which(tool):
            raise CannotRun(f"there is no '{tool}' here (Debian: iproute2)")
    probe = f"{PREFIX}-{os.getpid()}-probe"
    try:
        run("ip", "netns", "add", probe)
        run("tc", "-n", probe, "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "1mbit", "burst", "32kb",
            "latency", "50ms")
    finally:
        subprocess.run(["ip", "netns", "del", probe], capture_output=True)


def remove_dead_labs():
    """What labs left that were killed without a chance to clean up. Never one that still runs."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        parts = name.split("-")
        if parts[0] == PREFIX and len(parts) > 2 and not pathlib.Path("/proc", parts[1]).exists():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


class Network:
    """Made by `with`; gone afterwards, however it ends."""

    def __init__(self, links, latency_s=0.0, congestion=CONGESTION):
        """links: name of a host -> its Link. The order makes the addresses."""
        self.links = links
        self.latency_s = latency_s
        self.congestion = congestion
        self.names = list(links)
        self._made = []

    def namespace(self, host):
        return f"{PREFIX}-{os.getpid()}-{host}"

    def address(self, host):
        number = self.names.index(host) + 1
        return f"{NETWORK_START}.{number // 250}.{number % 250 + 1}"

    def hardware_address(self, host):
        number = self.names.index(host) + 1
        return f"02:77:00:00:{number // 256:02x}:{number % 256:02x}"

    def port(self, host):
        return f"p{self.names.index(host)}"

    def __enter__(self):
        try:
            self._make()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for namespace in self._made:
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True)
        self._made = []

    def _make(self):
        switch = self.namespace(SWITCH)
        for host in [SWITCH, *self.names]:
            self._made.append(self.namespace(host))
            run("ip", "netns", "add", self.namespace(host))
        plan = ["link add br0 type bridge stp_state 0 mcast_snooping 0", "link set br0 up"]
        for host in self.names:
            port = self.port(host)
            plan += [f"link add {port} gso_max_size {TRAIN_BYTES} type veth peer name eth0 "
                     f"address {self.hardware_address(host)} gso_max_size {TRAIN_BYTES} netns {self.namespace(host)}",
                     f"link set {port} master br0 up"]
        run("ip", "-n", switch, "-batch", "-", text="\n".join(plan))
        # A switch has no firewall.
        self._set(switch, {f"bridge/bridge-nf-call-{family}tables": 0 for family in ("ip", "ip6", "arp")})
        run("tc", "-n", switch, "-batch", "-",
            text="\n".join(shape for host in self.names for shape in self._shape(self.port(host), self.links[host].down)))
        for host in self.names:
            namespace = self.namespace(host)
            # All know each other: the kernel's one table for all namespaces would overflow with what they ask for.
            known = [f"neigh add {self.address(other)} lladdr {self.hardware_address(other)} dev eth0 nud permanent"
                     for other in self.names if other != host]
            run("ip", "-n", namespace, "-batch", "-",
                text="\n".join([f"address add {self.address(host)}/16 dev eth0 noprefixroute", "link set lo up",
                                "link set eth0 up", f"route add {NETWORK} dev eth0 congctl {self.congestion}", *known]))
            run("tc", "-n", namespace, "-batch", "-", text="\n".join(self._shape("eth0", self.links[host].up)))
            self._set(namespace, {"ipv4/tcp_min_tso_segs": TRAIN_PACKETS})

    def _shape(self, device, rate):
        """Half of the latency at either end of a cable: a path has two cables, one end of each on its way."""
        burst = max(BURST_BYTES, int(rate * BURST_S))
        bits = int(rate * 8)
        parent = "root"
        if self.latency_s > 0:
            yield f"qdisc add dev {device} root handle 1: netem delay {self.latency_s / 2 * 1e6:.0f}us limit 100000"
            parent = "parent 1:"
        yield f"qdisc add dev {device} {parent} tbf rate {bits}bit burst {burst} latency {QUEUE_S * 1e3:.0f}ms"

    def _set(self, namespace, settings):
        """Settings of the kernel for this namespace; those that it does not have are passed over."""
        child = os.fork()
        if child == 0:
            try:
                enter(namespace)
                for name, value in settings.items():
                    file = pathlib.Path("/proc/sys/net", name)
                    if file.exists():
                        file.write_text(str(value))
                os._exit(0)
            except BaseException:
                os._exit(1)
        if os.waitpid(child, 0)[1] != 0:
            raise CannotRun(f"cannot set {', '.join(settings)} in {namespace}")

    def cut(self, host):
        run("ip", "-n", self.namespace(SWITCH), "link", "set", self.port(host), "down")

    def join(self, host):
        run("ip", "-n", self.namespace(SWITCH), "link", "set", self.port(host), "up")

    def counters(self):
        """host -> (bytes it sent, bytes it was sent), as its port of the switch saw them. From within the switch."""
        counted = {}
        for line in pathlib.Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]:
            name, _, rest = line.partition(":")
            fields = rest.split()
            counted[name.strip()] = (int(fields[0]), int(fields[8]))
        return {host: counted[self.port(host)] for host in self.names}
