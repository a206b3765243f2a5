#!/usr/bin/env python3
"""The rules that keep the rooms apart, checked on the text of the sources.

    rules.py ROOT         checks a checkout; prints each violation and exits 1 if there is one
    rules.py --self-test  checks that each rule finds what it forbids

The linker enforces the direction of the rooms too, but it sees neither headers nor libraries.
"""

import re
import sys
import tempfile
from pathlib import Path

# What each room may include of the others (itself always). tracker, gossip and peer are siblings:
# the node in net/ composes them. tests/ may include everything.
CORES = {"tracker", "gossip", "peer"}
ROOMS = {
    "base": set(),
    "crypto": {"base"},
    "content": {"base", "crypto"},
    "tracker": {"base", "crypto"},
    "gossip": {"base", "crypto"},
    "peer": {"base", "crypto", "content"},
    "net": {"base", "crypto", "content"} | CORES,
    "agent": {"base", "crypto", "content", "net"} | CORES,
    "tools": {"base", "crypto", "content", "net", "agent"} | CORES,
    "tests": {"base", "crypto", "content", "net", "agent", "tools"} | CORES,
}

# Libraries that one room hides from the others: header, then where it may be included. Tests may
# include any of them.
LIBRARIES = [
    (re.compile(r"uv\.h|uv/"), re.compile(r"net/"), "libuv belongs to net/"),
    (re.compile(r"hiredis"), re.compile(r"net/redis_\w+\.cc"), "hiredis belongs to net/redis_*.cc"),
    (re.compile(r"ev(ent2?|http)(\.h|/)"), re.compile(r"net/http_\w+\.cc"), "libevent belongs to net/http_*.cc"),
    (re.compile(r"sodium(\.h|/)"), re.compile(r"crypto/"), "libsodium belongs to crypto/"),
    (re.compile(r"openssl/"), re.compile(r"crypto/"), "OpenSSL belongs to crypto/"),
    (re.compile(r"blake3\.h"), re.compile(r"crypto/"), "BLAKE3 belongs to crypto/"),
    (
        re.compile(r"msgpack(\.h|/)"),
        re.compile(r"base/msgpack_codec\.h"),
        "msgpack is included by base/msgpack_codec.h alone",
    ),
    (
        re.compile(r"base/msgpack_codec\.h"),
        re.compile(r".*/[^/]*codec[^/]*\.cc"),
        "msgpack belongs to the codec files (*codec*.cc)",
    ),
    (re.compile(r"CLI/"), re.compile(r"tools/"), "CLI11 belongs to tools/"),
    (re.compile(r"spdlog/"), re.compile(r"net/|tools/"), "logging belongs to net/ and tools/"),
]

MAX_LINES = 600
SOURCE_SUFFIXES = {".h", ".cc"}
COUNTED_SUFFIXES = SOURCE_SUFFIXES | {".py", ".sh", ".cmake", ".txt"}

# Chunks have one name. (A block is something else: what a cipher or a hash works on.)
OTHER_NOUN = re.compile(r"piece", re.IGNORECASE)

# Time comes into a core as an argument, and chance from a seeded generator.
CLOCK = re.compile(r"\b(steady_clock|system_clock|clock_gettime|random_device|sleep_for|usleep)\b")
CLOCKLESS = {"base"} | CORES

INCLUDE = re.compile(r'\s*#\s*include\s*([<"])([^>"]+)[>"]')


def check_include(path, quote, header):
    room = path.split("/", 1)[0]
    first = header.split("/", 1)[0] if "/" in header else ""
    if first in ROOMS and first != room and first not in ROOMS[room]:
        yield f"{room}/ may not include {header}"
    if quote == '"' and first not in ROOMS and first != "absl":
        yield f'"{header}" is no path from the root of the checkout'
    if room == "tests":
        return
    for pattern, allowed, reason in LIBRARIES:
        if pattern.match(header) and not allowed.match(path):
            yield f"includes {header}: {reason}"


def check_source_line(path, line):
    include = INCLUDE.match(line)
    if include:
        yield from check_include(path, *include.groups())
    if OTHER_NOUN.search(line):
        yield "the noun is chunk, never piece"
    if path.split("/", 1)[0] in CLOCKLESS and CLOCK.search(line):
        yield "a core has no clock and no chance of its own"


def check_file(path, text):
    """Yields (line number, what is wrong) for one file; path is relative to the checkout."""
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        yield len(lines), f"more than {MAX_LINES} lines: asks to be split"
    if Path(path).suffix in SOURCE_SUFFIXES:
        for number, line in enumerate(lines, 1):
            for problem in check_source_line(path, line):
                yield number, problem


def check_tree(root):
    problems = []
    for room in ROOMS:
        for file in sorted((root / room).rglob("*")):
            if file.is_file() and file.suffix in COUNTED_SUFFIXES:
                path = file.relative_to(root).as_posix()
                for line, problem in check_file(path, file.read_text(encoding="utf-8")):
                    problems.append(f"{path}:{line}: {problem}")
    return problems


# path, text, and a part of the message that must appear (None: allowed).
SELF_TESTS = [
    ("base/a.h", '#include "base/b.h"\n#include <vector>\n', None),
    ("base/a.h", '#include "absl/strings/escaping.h"\n', None),
    ("base/a.h", '#include "crypto/keys.h"\n', "base/ may not include crypto/keys.h"),
    ("content/a.cc", '#include "crypto/digest.h"\n', None),
    ("content/a.cc", "#include <net/loop.h>\n", "content/ may not include net/loop.h"),
    ("tracker/a.cc", '#include "peer/swarm.h"\n', "tracker/ may not include peer/swarm.h"),
    ("tracker/a.cc", '#include "content/link.h"\n', "tracker/ may not include content/link.h"),
    ("peer/a.cc", '#include "content/bitfield.h"\n', None),
    ("peer/a.cc", '  #  include "tracker/owner.h"\n', "peer/ may not include tracker/owner.h"),
    ("net/a.cc", '#include "peer/swarm.h"\n#include <uv.h>\n', None),
    ("net/a.cc", '#include "tools/p2p/exit_code.h"\n', "net/ may not include tools/"),
    ("net/a.cc", '#include "loop.h"\n', "no path from the root"),
    ("net/a.cc", '#include "tests/support/a.h"\n', "net/ may not include tests/"),
    ("tests/net/a.cc", '#include "tools/p2p/exit_code.h"\n#include <uv.h>\n', None),
    ("peer/a.cc", "#include <uv.h>\n", "libuv"),
    ("tools/a.cc", "#include <uv.h>\n", "libuv"),
    ("net/redis_store.cc", "#include <hiredis/hiredis.h>\n", None),
    ("net/a.cc", "#include <hiredis/hiredis.h>\n", "hiredis"),
    ("net/redis_store.h", "#include <hiredis/hiredis.h>\n", "hiredis"),
    ("net/http_core.cc", "#include <event2/http.h>\n", None),
    ("net/http_core.h", "#include <event2/http.h>\n", "libevent"),
    ("net/loop.cc", "#include <event2/event.h>\n", "libevent"),
    ("net/a.cc", "#include <sodium.h>\n", "libsodium"),
    ("net/a.cc", "#include <sodium/core.h>\n", "libsodium"),
    ("content/a.cc", "#include <blake3.h>\n", "BLAKE3"),
    ("crypto/a.cc", "#include <sodium.h>\n#include <blake3.h>\n", None),
    ("base/msgpack_codec.h", "#include <msgpack.hpp>\n", None),
    ("peer/message_codec.cc", "#include <msgpack.hpp>\n", "msgpack"),
    ("peer/message_codec.cc", '#include "base/msgpack_codec.h"\n', None),
    ("peer/swarm.cc", '#include "base/msgpack_codec.h"\n', "msgpack"),
    ("peer/message_codec.h", '#include "base/msgpack_codec.h"\n', "msgpack"),
    ("tools/a.cc", "#include <CLI/CLI.hpp>\n#include <spdlog/spdlog.h>\n", None),
    ("net/a.cc", "#include <CLI/CLI.hpp>\n", "CLI11"),
    ("crypto/a.cc", "#include <spdlog/spdlog.h>\n", "logging"),
    ("peer/a.h", "int first_piece;\n", "never piece"),
    ("peer/a.h", "// Pieces are here.\n", "never piece"),
    ("peer/a.cc", "auto now = std::chrono::steady_clock::now();\n", "no clock"),
    ("net/a.cc", "auto now = std::chrono::steady_clock::now();\n", None),
    ("peer/a.cc", "\n" * 600, None),
    ("peer/a.cc", "\n" * 601, "more than 600 lines"),
    ("tests/e2e/a.py", "\n" * 601, "more than 600 lines"),
]


def self_test():
    failures = 0
    for path, text, expected in SELF_TESTS:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, path)
            file.parent.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
            problems = check_tree(Path(folder))
        as_expected = not problems if expected is None else any(expected in p for p in problems)
        if not as_expected:
            failures += 1
            print(f"self-test: {path} with {text[:60]!r}: wanted {expected!r}, got {problems}")
    print(f"self-test: {len(SELF_TESTS) - failures} of {len(SELF_TESTS)} as expected")
    return failures == 0


def main(arguments):
    if arguments == ["--self-test"]:
        return 0 if self_test() else 1
    if len(arguments) != 1 or not Path(arguments[0], "base").is_dir():
        print(__doc__, file=sys.stderr)
        return 2
    problems = check_tree(Path(arguments[0]))
    print("\n".join(problems) or "no violation")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
