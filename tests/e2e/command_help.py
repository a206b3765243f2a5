"""The commands and flags of p2p as --help says them: what completions and manual pages are compared with."""

import dataclasses
import re
import subprocess

from harness import BINARY


@dataclasses.dataclass
class Command:
    words: list  # without p2p
    help: str
    flags: list  # long ones
    values: dict  # of those that take one: what stands for it
    commands: list


def command_help(env, words=()):
    text = subprocess.run([BINARY, *words, "--help"], env=env, capture_output=True, text=True, check=True).stdout
    options = re.search(r"^Options:\n(.*?)(?=^\S|\Z)", text, re.M | re.S).group(1)
    flags = re.findall(r"^  (?:-\w,)?(--[\w-]+)", options, re.M)
    values = dict(re.findall(r"^  (?:-\w,)?(--[\w-]+)(?: ((?!\(Env:)\S.*?))?(?:=\S+)?(?: \.\.\.)?(?: \(Env:|  |$)", options, re.M))
    found = re.search(r"^Subcommands:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    names = re.findall(r"^  ([\w-]+)", found.group(1), re.M) if found else []
    return Command(list(words), text.splitlines()[0], flags, {flag: value for flag, value in values.items() if value},
                   [command_help(env, (*words, name)) for name in names])


def all_commands(command):
    return [command] + [below for one in command.commands for below in all_commands(one)]
