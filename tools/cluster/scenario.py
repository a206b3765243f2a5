"""What a scenario file says, and what its links allow.

The keys are those of the simulator's flags; the table in cluster.py's header explains them. Nothing here touches the
system, so it is tested anywhere.
"""

import dataclasses
import math
import random
import re
import tomllib

SIZE_UNITS = {"": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
              "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
RATE_UNITS = {"bit/s": 1 / 8, "kbit/s": 10**3 / 8, "Mbit/s": 10**6 / 8, "Gbit/s": 10**9 / 8,
              "B/s": 1, "kB/s": 10**3, "MB/s": 10**6, "GB/s": 10**9, "KiB/s": 2**10, "MiB/s": 2**20, "GiB/s": 2**30}
TIME_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60}

# The product's rule: the smallest chunk that makes at most so many.
MIN_CHUNK, MAX_CHUNK, TARGET_CHUNKS = 64 * 2**10, 4 * 2**20, 2048
# A peer that churn kills, when the scenario does not say: somewhere in the middle of the bound, back after so long.
CHURN_WINDOW, CHURN_BACK_S = (0.25, 0.75), 2.0
# Less than this is within what a bridge and the kernel add anyway.
LEAST_LATENCY_S = 0.2e-3


class ScenarioError(Exception):
    """The scenario file is wrong; the text says how."""


def quantity(text, units, what):
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z/]*)\s*", str(text))
    if not found or found[2] not in units:
        raise ScenarioError(f"{what} '{text}': a number with one of {', '.join(unit for unit in units if unit)}")
    return float(found[1]) * units[found[2]]


def parse_size(text):
    return int(quantity(text, SIZE_UNITS, "size"))


def parse_rate(text):
    rate = quantity(text, RATE_UNITS, "rate")
    if rate <= 0:
        raise ScenarioError(f"rate '{text}': must be more than nothing")
    return rate


def parse_time(text):
    return quantity(text, TIME_UNITS, "time")


def parse_share(text):
    text = str(text).strip()
    share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    if not 0 <= share <= 1:
        raise ScenarioError(f"share '{text}': from 0 to 1, or from 0% to 100%")
    return share


def parse_when(text, bound_s):
    """Seconds; a percentage is of the fluid bound."""
    text = str(text).strip()
    return float(text[:-1]) / 100 * bound_s if text.endswith("%") else parse_time(text)


def chunk_rule(size):
    chunk = MIN_CHUNK
    while chunk < MAX_CHUNK and chunk * TARGET_CHUNKS < size:
        chunk *= 2
    return chunk


@dataclasses.dataclass
class Link:
    up: float  # bytes a second
    down: float


@dataclasses.dataclass(frozen=True)
class Event:
    at_s: float  # from the first start
    action: str  # kill, restart, pause, resume, cut or join
    host: str    # tracker, seeder-1..., fetcher-1...


ACTIONS = ("kill", "restart", "pause", "resume", "cut", "join")
KEYS = {"peers", "size", "chunk", "up", "down", "seeders", "seed-up", "latency", "arrive", "churn", "slow", "liars",
        "tracker-down", "racks", "linger", "seed", "events"}
NOT_HERE = {"liars": "real peers do not lie", "racks": "the lab has one switch"}


class Scenario:
    """One scenario, with all its chances taken: the same file and seed make the same run's plan."""

    def __init__(self, values):
        for key in values:
            if key not in KEYS:
                raise ScenarioError(f"unknown key '{key}'; there are {', '.join(sorted(KEYS))}")
        for key, why in NOT_HERE.items():
            if values.get(key):
                raise ScenarioError(f"'{key}' is for the simulator only: {why}")
        for key in ("peers", "size", "up", "down"):
            if key not in values:
                raise ScenarioError(f"'{key}' is missing")
        self.peers = int(values["peers"])
        self.seeders = int(values.get("seeders", 1))
        if self.peers < 1 or self.seeders < 1:
            raise ScenarioError("at least one peer and one seeder")
        self.size = parse_size(values["size"])
        self.chunk = parse_size(values["chunk"]) if "chunk" in values else chunk_rule(self.size)
        self.latency_s = parse_time(values.get("latency", "0s"))
        if self.latency_s < LEAST_LATENCY_S:
            self.latency_s = 0.0
        self.linger_s = parse_time(values.get("linger", "0s"))
        self.chance = random.Random(int(values.get("seed", 1)))
        self.link = Link(parse_rate(values["up"]), parse_rate(values["down"]))
        self.seed_link = Link(parse_rate(values.get("seed-up", values["up"])), self.link.down)
        self.peer_links = [dataclasses.replace(self.link) for _ in range(self.peers)]
        self._slow(values.get("slow", ""))
        self.starts_s = self._arrivals(str(values.get("arrive", "0s")))
        self.events = []
        self.touched = set()  # numbers of the peers that churn kills, from 0
        self._churn(str(values.get("churn", "")))
        self._tracker_down(str(values.get("tracker-down", "")))
        self._listed_events(values.get("events", []))
        self.events.sort(key=lambda event: event.at_s)

    # ---- what the links allow

    @property
    def chunks(self):
        return max(1, math.ceil(self.size / self.chunk))

    @property
    def bound_fluid_s(self):
        """Content cut into as many parts as one likes: no schedule is faster."""
        seed_up = self.seeders * self.seed_link.up
        ups = sum(link.up for link in self.peer_links)
        slowest = min(link.down for link in self.peer_links)
        return max(self.size / seed_up, self.size / slowest, self.peers * self.size / (seed_up + ups))

    @property
    def bound_chunks_s(self):
        """Chunks relayed whole: on equal links (M + floor(log2 N)) chunk times; else the fluid bound, grown as much."""
        return self.bound_fluid_s * (self.chunks + math.floor(math.log2(self.peers))) / self.chunks

    # ---- the keys that take chances

    def _some(self, share):
        return sorted(self.chance.sample(range(self.peers), round(share * self.peers)))

    def _slow(self, text):
        if not text:
            return
        share, _, rate = str(text).partition(":")
        for number in self._some(parse_share(share)):
            self.peer_links[number] = Link(parse_rate(rate), parse_rate(rate))

    def _arrivals(self, text):
        if text.startswith("poisson:"):
            rate, at, starts = float(text.removeprefix("poisson:")), 0.0, []
            for _ in range(self.peers):
                starts.append(at)
                at += self.chance.expovariate(rate)
            return starts
        spread = parse_time(text)
        return [spread * number / self.peers for number in range(self.peers)]

    def _churn(self, text):
        share, _, rest = text.partition("@")
        if not share or parse_share(share) == 0:
            return
        when, _, back = rest.partition("+")
        back_s = parse_when(back, self.bound_fluid_s) if back else CHURN_BACK_S
        for number in self._some(parse_share(share)):
            at = parse_when(when, self.bound_fluid_s) if when else self.chance.uniform(*CHURN_WINDOW) * self.bound_fluid_s
            self._add(at, "kill", f"fetcher-{number + 1}")
            self._add(at + back_s, "restart", f"fetcher-{number + 1}")

    def _tracker_down(self, text):
        if not text:
            return
        from_text, _, to_text = text.partition(":")
        self._add(parse_when(from_text, self.bound_fluid_s), "kill", "tracker")
        self._add(parse_when(to_text, self.bound_fluid_s), "restart", "tracker")

    def _listed_events(self, listed):
        for entry in listed:
            if set(entry) != {"at", "do", "host"} or entry["do"] not in ACTIONS:
                raise ScenarioError(f"an event has at, do ({', '.join(ACTIONS)}) and host, not {entry}")
            self._add(parse_when(entry["at"], self.bound_fluid_s), entry["do"], entry["host"])

    def _add(self, at_s, action, host):
        kind, _, number = host.partition("-")
        count = {"seeder": self.seeders, "fetcher": self.peers}.get(kind, 0)
        if host != "tracker" and not (number.isdecimal() and 1 <= int(number) <= count):
            raise ScenarioError(f"there is no host '{host}'")
        if kind == "fetcher":
            self.touched.add(int(number) - 1)
        self.events.append(Event(at_s, action, host))


def read_scenario(path, overrides=()):
    """Errors: ScenarioError. An override is KEY=VALUE."""
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
        for override in overrides:
            key, _, value = override.partition("=")
            values[key] = value
        return Scenario(values)
    except (OSError, tomllib.TOMLDecodeError, ScenarioError, ValueError) as error:
        raise ScenarioError(f"{path}: {error}") from None


def percentile(values, share):
    """The smallest value that `share` of all do not pass; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
