"""p2p man: each command has a page, complete and without a warning."""

import pathlib
import re
import shutil
import subprocess
import unittest

from command_help import all_commands, command_help
from harness import OK, USAGE, EndToEnd

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"


class Man(EndToEnd):
    def page(self, *command):
        result = self.run_p2p("man", *command)
        self.assertEqual(result.wait(), OK, result.error_text())
        return "\n".join(line for line in result.out if line is not None) + "\n"

    def plain(self, *command):
        """A page's {section: text}, without fonts."""
        text = re.sub(r"\\f[BIR]", "", self.page(*command))
        text = text.replace("\\-", "-").replace("\\(aq", "'").replace("\\(ti", "~").replace("\\(rs", "\\")
        parts = re.split(r"^\.SH (.*)\n", text, flags=re.M)
        return dict(zip(parts[1::2], parts[2::2]))

    def pages(self):
        result = self.run_p2p("man", "--list")
        self.assertEqual(result.wait(), OK)
        return [line for line in result.out if line]

    def test_every_command_has_a_page_and_every_flag_an_entry(self):
        tree = command_help(self.env)
        self.assertEqual(self.pages(), ["p2p", *("p2p-" + command.words[0] for command in tree.commands)])
        for command in [tree, *tree.commands]:
            page = self.plain(*command.words)
            for name in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLE", "SEE ALSO"):
                self.assertIn(name, page, command.words)
            below = all_commands(command) if command.words else [command]
            for one in below:
                # The entries of `p2p keys add` stand under its name.
                entries = page["OPTIONS"]
                if one is not command:
                    entries = page["COMMANDS"].split(f".SS {one.words[-1]}\n")[1].split(".SS")[0]
                for flag in one.flags:
                    self.assertRegex(entries, rf"(?m)^\.TP\n(-\w( \S+)?, )?{flag}(=\S+)?\n\S", one.words)
            for other in [tree, *tree.commands]:
                if other is not command:
                    self.assertIn("-".join(["p2p", *other.words]) + "(1)", page["SEE ALSO"])

    def test_what_stands_for_a_value_is_plain_and_the_same_in_help_and_on_the_page(self):
        values = {}
        for command in command_help(self.env).commands:
            for flag, value in command.values.items():
                self.assertRegex(value, r"^([A-Z]+|[a-z]+(\|[a-z]+)+)$", (command.words, flag))
                self.assertIn(f"{flag}={value}\n", self.plain(*command.words)["OPTIONS"])
                values[command.words[0], flag] = value
        self.assertEqual(values["agent", "--max-idle"], "TIME")
        self.assertEqual(values["fetch", "--patience"], "SECONDS")
        self.assertEqual(values["fetch", "--copy"], "auto|clone|copy|link")
        self.assertEqual(values["tracker", "--handshakes-per-second"], "NUMBER")

    def test_a_page_says_arguments_variables_defaults_and_examples(self):
        seed = self.plain("seed")
        self.assertEqual(seed["NAME"], "p2p-seed - Offer a file or folder, and print the link to it\n")
        self.assertEqual(seed["SYNOPSIS"], "p2p seed [FLAG]... PATH\n")
        self.assertEqual(self.plain("pin")["SYNOPSIS"], "p2p pin [FLAG]... CONTENT...\n")
        self.assertIn("P2P_CHUNK_SIZE\nStands for --chunk-size.\n", seed["ENVIRONMENT"])
        self.assertIn("p2p seed big.iso\n", seed["EXAMPLE"])
        self.assertIn("Default: 20.", self.plain("tracker")["OPTIONS"])
        self.assertIn("--status=alive|suspect|dead|left\n", self.plain("members")["OPTIONS"])
        self.assertIn("~/.local/state/p2p", self.plain()["FILES"])
        self.assertEqual(self.page("p2p-seed"), self.page("seed"))

    def test_the_exit_codes_are_those_of_the_readme(self):
        table = README.read_text().split("## Exit codes")[1].split("##")[0]
        rows = re.findall(r"^\| (\d+) \| (.*?) \|$", table, re.M)
        self.assertEqual(len(rows), 11)
        page = re.findall(r"^\.TP\n(\d+)\n(.*)\.$", self.plain("fetch")["EXIT STATUS"], re.M)
        self.assertEqual(page, [(code, text.replace("`", "")) for code, text in rows])

    def test_an_unknown_command_is_refused_with_what_to_do(self):
        result = self.run_p2p("man", "nonsense")
        self.assertEqual(result.wait(), USAGE)
        self.assertIn("p2p man --list", result.error_text())

    def render_each_page(self, *command):
        env = {**self.env, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"}
        for name in self.pages():
            file = self.folder / f"{name}.1"
            file.write_text(self.page(name))
            result = subprocess.run([*command, file], capture_output=True, text=True, env=env, check=False)
            self.assertEqual((result.returncode, result.stderr), (0, ""), name)
            yield result.stdout

    @unittest.skipUnless(shutil.which("mandoc"), "mandoc is not installed: the pages are not checked by it")
    def test_mandoc_has_no_warning(self):
        self.assertEqual(set(self.render_each_page("mandoc", "-T", "lint", "-W", "warning")), {""})

    @unittest.skipUnless(shutil.which("man") and shutil.which("groff"), "man or groff is not installed: no page is rendered")
    def test_man_has_no_warning(self):
        for text in self.render_each_page("man", "--warnings", "-l"):
            self.assertIn("SYNOPSIS", text)


if __name__ == "__main__":
    unittest.main()
