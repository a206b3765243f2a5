"""p2p completion: each script knows every command and flag, and works in its shell."""

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
import unittest

from command_help import all_commands, command_help
from harness import DEADLINE, OK, USAGE, EndToEnd

# What a shell runs in place of p2p: shows its arguments.
SHOW = "p2p() { printf '<%s>' \"$@\"; echo .; }"


def need(shell):
    return unittest.skipUnless(shutil.which(shell), f"{shell} is not installed: its completions are not tried")


class Terminal:
    """A shell that believes that somebody types."""

    def __init__(self, arguments, env, cwd):
        self.seen = b""
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(arguments[0], arguments, env)

    def type(self, text, expected):
        """Types, and waits until what is expected was printed since."""
        self.seen = b""
        os.write(self.master, text.encode())
        end = time.monotonic() + DEADLINE
        while expected.encode() not in self.seen:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {expected!r} after {text!r}, only {self.seen!r}")
            try:
                self.seen += os.read(self.master, 65536)
            except OSError:
                raise AssertionError(f"the shell ended after {text!r}: {self.seen!r}") from None

    def close(self):
        os.close(self.master)  # hangs up
        os.waitpid(self.pid, 0)


class Completion(EndToEnd):
    def setUp(self):
        super().setUp()
        self.tree = command_help(self.env)
        self.folder.joinpath("some folder").mkdir()
        self.folder.joinpath("source.bin").touch()

    def script(self, shell):
        """The script and a file that holds it."""
        result = self.run_p2p("completion", shell)
        self.assertEqual(result.wait(), OK, result.error_text())
        file = self.folder / f"completion.{shell}"
        file.write_text("\n".join(line for line in result.out if line is not None) + "\n")
        return file.read_text(), file

    def terminal(self, *arguments):
        env = {**self.env, "TERM": "dumb", "PS1": "", "HOME": str(self.folder), "HISTFILE": "", "INPUTRC": "/dev/null"}
        terminal = Terminal(arguments, env, self.folder)
        self.addCleanup(terminal.close)
        return terminal

    def bash(self, *words):
        """What bash would offer for the last word, and what it was told of files."""
        script = f"""source {shlex.quote(str(self.script("bash")[1]))}
                     compopt() {{ told="$*"; }}
                     COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
                     _p2p p2p
                     printf '%s\\n' "$told" "${{COMPREPLY[@]}}" """
        result = subprocess.run(["bash", "--norc", "-u", "-c", script, "bash", *words], capture_output=True, text=True,
                                env={**self.env, "told": ""}, cwd=self.folder, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        told, *offered = result.stdout.splitlines()
        return [word for word in offered if word] or told

    def fish(self, line):
        """What fish would offer: {word: its help}"""
        script = f"source {shlex.quote(str(self.script('fish')[1]))}; complete -C {shlex.quote(line)}"
        result = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True,
                                env={**self.env, "HOME": str(self.folder)}, cwd=self.folder, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return dict((line + "\t").split("\t")[:2] for line in result.stdout.splitlines())

    def test_bash_offers_every_command_and_flag_where_it_may_stand(self):
        for command in all_commands(self.tree):
            offered = self.bash("p2p", *command.words, "--")
            for flag in [*command.flags, "--verbose", "--config"]:
                self.assertIn(flag, offered, command.words)
            if command.commands:
                self.assertEqual(self.bash("p2p", *command.words, ""), [below.words[-1] for below in command.commands])

    def test_bash_sees_past_flags_and_their_values(self):
        self.assertEqual(self.bash("p2p", "tr"), ["tracker"])
        self.assertEqual(self.bash("p2p", "-v", "--config", "seed", "tr"), ["tracker"])
        self.assertEqual(self.bash("p2p", "--config", "=", "seed", "tr"), ["tracker"])
        self.assertEqual(self.bash("p2p", "", "tr"), ["tracker"])
        self.assertEqual(self.bash("p2p", "keys", "-q", "re"), ["remove"])
        self.assertEqual(self.bash("p2p", "completion", ""), ["bash", "zsh", "fish"])
        for typed in (["--status", ""], ["--status", "="]):
            self.assertEqual(self.bash("p2p", "members", *typed), ["alive", "suspect", "dead", "left"])
        self.assertEqual(self.bash("p2p", "members", "--status", "=", "d"), ["dead"])

    def test_bash_offers_files_where_a_path_is_expected_and_only_there(self):
        for words in (["seed", ""], ["keygen", "-o", ""], ["fetch", "--output", "="], ["verify", "p2p://x", ""],
                      ["fetch", "x", "--cluster-key", "so"], ["keys", "use", ""], ["--config", ""],
                      ["fetch", "x", "--from", ""], ["list", "--agent", ""], ["agent", "--socket", ""]):
            self.assertEqual(self.bash("p2p", *words), "-o default", words)
        self.assertEqual(self.bash("p2p", "agent", "--store", ""), "-o dirnames")
        for words in (["fetch", ""], ["verify", ""], ["seed", "file", ""], ["seed", "--zone", ""], ["tracker", ""],
                      ["keys", "use", "file", ""]):
            self.assertEqual(self.bash("p2p", *words), "", words)

    def test_bash_runs_nothing_of_what_was_typed(self):
        for word in ("$(touch ran)", "`touch ran`", "x]+$(touch ran)", "-$(touch ran)", "*"):
            self.bash("p2p", word, "")
            self.bash("p2p", "members", "--status", word)
            self.bash("p2p", word)
        self.assertFalse(self.folder.joinpath("ran").exists())

    def test_bash_completes_what_is_typed(self):
        self.script("bash")
        terminal = self.terminal("bash", "--norc", "--noprofile", "-i")
        terminal.type(f"source completion.bash; {SHOW}; echo ready $((40 + 2))\n", "ready 42")
        terminal.type("p2p fet\t--ov\t\n", "<fetch><--overwrite>")
        terminal.type("p2p seed so\t\n", "<seed>")
        terminal.type("p2p seed sou\t--z\tx\n", "<seed><source.bin><--zone><x>")
        terminal.type("p2p keygen -o some\tkey\n", "<keygen><-o><some folder/key>")
        terminal.type("p2p fetch x --output=sou\t\n", "<fetch><x><--output=source.bin>")

    @need("zsh")
    def test_zsh_completes_what_is_typed(self):
        self.script("zsh")
        terminal = self.terminal("zsh", "-f", "-i")
        terminal.type(f"unsetopt zle_bracketed_paste; autoload -Uz compinit; compinit -u -D; source completion.zsh; {SHOW}; "
                      "echo ready $((40 + 2))\n", "ready 42")
        terminal.type("p2p fet\t--ov\t\n", "<fetch><--overwrite>")
        terminal.type("p2p -v keys rem\tsou\t\n", "<-v><keys><remove><source.bin>")
        terminal.type("p2p seed sou\t--z\tx\n", "<seed><source.bin><--zone=x>")
        terminal.type("p2p keygen -o some\tkey\n", "<keygen><-o><some folder/key>")
        terminal.type("p2p members --status=su\t\n", "<members><--status=suspect>")
        terminal.type("p2p seed --trac\t\n", "<seed><--tracker>")
        terminal.type("p2p inspect --\t", "For a link: key file of `p2p keygen`")
        terminal.type("\x15p2p seed --\t", "HOST[:PORT] that others")  # after ^U
        terminal.type("\x15p2p \t", "Run a tracker, and print its address")

    @need("zsh")
    def test_zsh_finds_it_in_a_folder_of_fpath(self):
        self.script("zsh")[1].rename(self.folder / "some folder/_p2p")
        terminal = self.terminal("zsh", "-f", "-i")
        terminal.type(f"fpath+=('some folder'); autoload -Uz compinit; compinit -u -D; {SHOW}; echo ready $((40 + 2))\n",
                      "ready 42")
        terminal.type("p2p fet\t--ov\t\n", "<fetch><--overwrite>")

    def test_zsh_has_every_command_and_flag_with_its_help(self):
        text, _ = self.script("zsh")
        for command in all_commands(self.tree):
            body = re.search(rf"^{'_'.join(['_p2p', *command.words])}\(\) {{\n(.*?)^}}", text, re.M | re.S).group(1)
            for flag in [*command.flags, "--verbose", "--config"]:
                self.assertRegex(body, rf"[)*]{flag}=?\[\S.*\S\]", command.words)
            for below in command.commands:
                self.assertIn("        '" + f"{below.words[-1]}:{below.help}".replace("'", "'\\''") + "'\n", body)

    @need("fish")
    def test_fish_offers_every_command_and_flag_with_its_help(self):
        for command in all_commands(self.tree):
            line = " ".join(["p2p", *command.words])
            offered = {word.rstrip("="): text for word, text in self.fish(f"{line} --").items()}
            for flag in [*command.flags, "--verbose", "--config"]:
                self.assertTrue(offered.get(flag), (line, flag))
            if command.commands:
                self.assertEqual(self.fish(f"{line} "), {below.words[-1]: below.help for below in command.commands})

    @need("fish")
    def test_fish_offers_files_where_a_path_is_expected_and_only_there(self):
        for line in ("seed ", "keygen -o ", "keygen --output=", "verify p2p://x ", "keys use ", "--config=x -v seed so"):
            self.assertIn("source.bin", " ".join(self.fish("p2p " + line)), line)
        for line in ("fetch ", "verify ", "seed file ", "seed --zone ", "tracker ", "keys use file "):
            self.assertEqual(self.fish("p2p " + line), {}, line)
        self.assertEqual(list(self.fish("p2p members --status=d")), ["--status=dead"])
        self.assertEqual(list(self.fish("p2p completion z")), ["zsh"])

    def test_another_shell_is_refused(self):
        result = self.run_p2p("completion", "tcsh")
        self.assertEqual(result.wait(), USAGE)
        self.assertIn("{bash,zsh,fish}", result.error_text())


if __name__ == "__main__":
    unittest.main()
