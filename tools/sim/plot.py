#!/usr/bin/python3
"""Pictures of one simulated run: who was complete when, and how the chunks spread.

    p2p-sim --peers 100 --size 1GB --trace run.txt
    tools/sim/plot.py run.txt                    # run-completion.png and run-chunks.png
    tools/sim/plot.py run.txt --format svg --out pictures/run

Needs matplotlib: apt-get install --no-install-recommends python3-matplotlib
"""

import argparse
import re
import sys
from array import array
from pathlib import Path

# The chunk picture has no more rows and columns than this: of more peers or chunks, every so many is shown.
MAX_ROWS = 600
MAX_COLUMNS = 1000
STEPS = 500  # points of a curve

DARK, BLUE, ORANGE, GREY = "#222222", "#1764ab", "#d95f02", "#888888"


class Trace:
    """What happened. Chunks that arrived again (after a crash, or in vain) count when they came first."""

    def __init__(self, path):
        self.flags = ""
        self.fluid = self.whole_chunks = 0.0
        self.done = {}  # peer: time
        self.first = {}  # peer: {chunk: time}
        self.chunks = 0
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    self._read(line)
                except (ValueError, IndexError):
                    sys.exit(f"plot.py: {path}:{number}: not a line of a trace: {line.strip()[:60]!r}")
        if not self.first:
            sys.exit(f"plot.py: {path}: no chunk arrived")
        self.peers = max(self._of_flag("peers"), max(self.first) + 1)
        size, chunk = self._of_flag("size"), self._of_flag("chunk")
        self.chunks = max(self.chunks, -(-size // chunk) if chunk else 0)
        self.end = max(max(self.done.values(), default=0), max(max(held.values()) for held in self.first.values()))

    def _read(self, line):
        kind, _, rest = line.rstrip("\n").partition(" ")
        if kind == "chunk":
            time, peer, chunk, _ = rest.split()
            self.first.setdefault(int(peer), {}).setdefault(int(chunk), float(time))
            self.chunks = max(self.chunks, int(chunk) + 1)
        elif kind == "done":
            time, peer = rest.split()
            self.done[int(peer)] = float(time)
        elif kind == "bounds":
            self.fluid, self.whole_chunks = map(float, rest.split())
        elif kind == "scenario":
            self.flags = rest
        else:
            raise ValueError(kind)

    def _of_flag(self, name):
        found = re.search(rf"--{name} (\d+)", self.flags)
        return int(found[1]) if found else 0


def size_text(size):
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            return f"{size:.3g} {unit}"
        size /= 1000


def title_of(trace):
    """The scenario in words, and below that the flags that not every run has."""
    usual = {"peers", "size", "chunk", "up", "down", "seeders", "seed-up", "latency", "seed"}
    words = [f"{trace.peers} peers"]
    if size := trace._of_flag("size"):
        words.append(f"{size_text(size)} in {trace.chunks} chunks")
    if up := trace._of_flag("up"):
        words.append(f"uplinks {size_text(up)}/s")
    rest = [text for text in re.findall(r"--\S+(?: '[^']*'| [^-]\S*)?", trace.flags) if text[2:].split()[0] not in usual]
    return ", ".join(words) + ("\n" + " ".join(rest) if rest else "")


def cumulative(times, end, most):
    """Points (time, share of `most`) of the curve of how many times lie before."""
    times = sorted(times)
    step = max(1, len(times) // STEPS)
    chosen = list(range(0, len(times), step))
    if times and chosen[-1] != len(times) - 1:
        chosen.append(len(times) - 1)
    xs = [0.0] + [times[i] for i in chosen] + [end]
    ys = [0.0] + [(i + 1) / most for i in chosen] + [len(times) / most]
    return xs, ys


def draw_completion(plt, trace, path):
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    all_times = array("d")
    for held in trace.first.values():
        all_times.extend(held.values())
    end = max(trace.end, trace.whole_chunks) * 1.03
    axes.plot(*cumulative(all_times, end, trace.peers * trace.chunks), color=ORANGE, linewidth=2,
              label="chunks held, mean of the peers")
    axes.step(*cumulative(trace.done.values(), end, trace.peers), where="post", color=BLUE, linewidth=2,
              label=f"peers complete ({len(trace.done)} of {trace.peers})")
    axes.axvline(trace.fluid, color=GREY, linestyle=":", label=f"bound for fluid, {trace.fluid:.4g} s")
    axes.axvline(trace.whole_chunks, color=DARK, linestyle="--",
                 label=f"bound for whole chunks, {trace.whole_chunks:.4g} s")
    if trace.done:
        last = max(trace.done.values())
        axes.axvline(last, color=BLUE, linestyle="-.", linewidth=1, label=f"last peer, {last:.4g} s")
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("seconds")
    axes.set_title(title_of(trace), fontsize=10)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.legend(loc="upper left", fontsize=9, framealpha=0.95)
    figure.savefig(path, dpi=130)


def draw_chunks(plt, trace, path):
    """A row for each peer, those first complete on top; a column for each chunk, those first given away on the left."""
    never = float("inf")
    by_completion = sorted(range(trace.peers), key=lambda peer: (trace.done.get(peer, never), peer))
    rows = by_completion[:: -(-len(by_completion) // MAX_ROWS)]
    first_seen = [never] * trace.chunks
    for held in trace.first.values():
        for chunk, time in held.items():
            first_seen[chunk] = min(first_seen[chunk], time)
    by_age = sorted(range(trace.chunks), key=lambda chunk: first_seen[chunk])
    columns = by_age[:: -(-len(by_age) // MAX_COLUMNS)]
    nan = float("nan")
    picture = [[trace.first.get(peer, {}).get(chunk, nan) for chunk in columns] for peer in rows]

    figure, axes = plt.subplots(figsize=(10, 6.5), layout="constrained")
    colours = plt.get_cmap("viridis").copy()
    colours.set_bad("#eeeeee")
    extent = (0, trace.chunks, trace.peers, 0)
    image = axes.imshow(picture, aspect="auto", interpolation="nearest", cmap=colours, vmin=0, vmax=trace.end,
                        extent=extent)
    figure.colorbar(image, ax=axes, label="arrived after, seconds (grey: never)")
    thinned = [f"1 of {every} {what}" for every, what in ((-(-trace.peers // MAX_ROWS), "peers"),
                                                          (-(-trace.chunks // MAX_COLUMNS), "chunks")) if every > 1]
    shown = f" ({', '.join(thinned)} shown)" if thinned else ""
    axes.set_xlabel("chunks, in order of first arrival anywhere" + shown)
    axes.set_ylabel("peers, in order of completion")
    axes.set_title(title_of(trace), fontsize=10)
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace", type=Path, help="what p2p-sim --trace wrote")
    parser.add_argument("--out", type=Path, help="how the pictures' names begin; as the trace's, beside it")
    parser.add_argument("--format", choices=("png", "svg"), default="png")
    options = parser.parse_args()
    try:
        import matplotlib
    except ImportError:
        sys.exit("plot.py: matplotlib is missing: apt-get install --no-install-recommends python3-matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    trace = Trace(options.trace)
    begin = options.out or options.trace.with_suffix("")
    for name, draw in (("completion", draw_completion), ("chunks", draw_chunks)):
        path = Path(f"{begin}-{name}.{options.format}")
        draw(plt, trace, path)
        print(path)


if __name__ == "__main__":
    main()
