#!/usr/bin/env python3
"""Runs the benchmarks, all or those named, and rewrites docs/performance.md with what came of them.

    run.py [--rounds N] [--page] [NAME...]     a name is that of a file here; all of them by default

A run of all rewrites the page; of some, with --page, their sections alone, which then say of which commit they are.
"""

import argparse
import datetime
import importlib
import os
import pathlib
import platform
import subprocess

import measure

# In the order of the page.
BENCHMARKS = ("pair", "fetchers", "hashing", "folder", "small", "memory", "limits", "announces", "lookups", "members", "swarm_core", "reuse")
PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "performance.md"

HEAD = """# How fast it is

Written by `./dev bench`: every figure here is from one run of it, but for sections that name a commit of their own.
Contenders take turns, several rounds; medians, and in brackets the smallest and the largest.
Ratios are medians of the ratios within a round, so that what else the machine did meanwhile falls out of them. CPU seconds count all processes that took part.

{machine}. Commit {commit}, {date}.

"""


def machine():
    model, memory = "an unknown processor", 0
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory = round(int(line.split()[1]) / (1 << 20))
    control = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return (f"{os.cpu_count()} cores of {model}, {memory} GiB, Linux {platform.release().split('-')[0]}, "
            f"congestion control {control}")


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", PAGE.parent, *arguments], capture_output=True, text=True).stdout.strip()

    changed = [line for line in git("status", "--porcelain").splitlines() if not line.endswith("docs/performance.md")]
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def run(name, rounds):
    module = importlib.import_module(name)
    parser = measure.arguments(name)
    getattr(module, "extend", lambda _: None)(parser)
    for section in module.sections(parser.parse_args(["--rounds", str(rounds)] if rounds else [])):
        print(section.markdown(), flush=True)
        yield section


def with_sections(page, sections):
    """The page with these in the place of those of the same title; new ones at its end."""
    head, *parts = ("\n" + page).split("\n## ")
    titles = [part.splitlines()[0] for part in parts]
    for section in sections:
        text = section.markdown().removeprefix("## ")
        if section.title in titles:
            parts[titles.index(section.title)] = text
        else:
            titles.append(section.title)
            parts.append(text)
    return "\n## ".join(part.rstrip("\n") + "\n" for part in (head, *parts)).lstrip("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], metavar="NAME")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--page", action="store_true", help="put the sections of those named into the page")
    options = parser.parse_args()
    sections = [section for name in options.names or BENCHMARKS for section in run(name, options.rounds)]
    if options.names:
        if options.page:
            for section in sections:
                section.note = f"Commit {commit()}, {datetime.date.today()}. {section.note}"
            PAGE.write_text(with_sections(PAGE.read_text(), sections))
        return
    head = HEAD.format(machine=machine(), commit=commit(), date=datetime.date.today())
    PAGE.write_text(head + "\n".join(section.markdown() for section in sections))
    print(f"wrote {PAGE.relative_to(PAGE.parents[1])}")


if __name__ == "__main__":
    main()
