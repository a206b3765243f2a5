"""Versions on hosts: tools/deploy/release.sh as it is run there, and deploy.sh, whose ssh is a shell on this host."""

import os
import pathlib
import shutil
import subprocess
import unittest

from harness import BINARY, EXISTS, FAILED, MALFORMED, OK, UNREACHABLE, USAGE, EndToEnd

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "tools/deploy"


class Releases(EndToEnd):
    def setUp(self):
        super().setUp()
        self.app = self.folder / "app"
        programs = self.folder / "programs"
        programs.mkdir()
        (programs / "p2p").symlink_to(BINARY)
        # There may be an agent of this host's, with which the tests have nothing to do.
        self.env |= {"PATH": f"{programs}:{os.environ['PATH']}", "P2P_NO_AGENT": "true"}

    def script(self, name, *arguments, stdin=""):
        return subprocess.run([DEPLOY / name, *map(str, arguments)], env=self.env, cwd=self.folder, input=stdin,
                              capture_output=True, text=True, timeout=60)

    def release(self, *arguments, code=OK, **options):
        done = self.script("release.sh", self.app, *arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout.splitlines()[-1] if code == OK else done.stderr

    def version(self, number):
        """Its folder, link and id."""
        folder = self.folder / f"v{number}"
        folder.mkdir()
        self.random_file(f"v{number}/data", 100_000)
        (folder / "number").write_text(str(number))
        _, link = self.seed(folder)
        inspected = self.run_p2p("inspect", "--json", folder)
        return folder, link, inspected.json_lines()[0]["content"]

    def current(self):
        return (self.app / "current/number").read_text()

    def there(self):
        return {path.name for path in (self.app / "releases").iterdir()}


class OnAHost(Releases):
    def test_a_version_is_fetched_and_made_current(self):
        folder, link, identity = self.version(1)
        self.assertEqual(self.release("release", link), f"released {identity}")
        self.assert_same(folder, self.app / "releases" / identity)
        self.assertEqual(os.readlink(self.app / "current"), f"releases/{identity}")

    def test_what_is_current_stays_untouched_and_is_said_to(self):
        _, link, identity = self.version(1)
        self.release("release", link)
        before = os.lstat(self.app / "current")
        self.assertEqual(self.release("release", link, "--then", "touch happened"), f"unchanged {identity}")
        self.assertEqual(os.lstat(self.app / "current").st_ino, before.st_ino)
        self.assertFalse((self.folder / "happened").exists())

    def test_the_last_three_versions_stay(self):
        versions = [self.version(number) for number in range(5)]
        for _, link, _ in versions:
            self.release("release", link)
        self.assertEqual(self.there(), {identity for _, _, identity in versions[2:]})

    def test_as_many_versions_stay_as_are_asked_for_and_nothing_of_others_is_touched(self):
        versions = [self.version(number) for number in range(3)]
        (self.app / "releases").mkdir(parents=True)
        (self.app / "releases/notes").touch()
        leftover = self.app / f"releases/.{'0' * 64}.p2p-partial"
        leftover.mkdir()
        for _, link, _ in versions:
            self.release("release", link, "--keep", "1")
        self.assertEqual(self.there(), {versions[2][2], "notes"})

    def test_a_rollback_goes_to_the_version_before_and_does_so_once(self):
        versions = [self.version(number) for number in range(3)]
        for _, link, _ in versions:
            self.release("release", link)
        bad = versions[2][2]
        self.assertEqual(self.release("rollback", bad), f"rolled back to {versions[1][2]}")
        self.assertEqual(self.current(), "1")
        self.assertEqual(self.release("rollback", bad), f"unchanged {versions[1][2]}")
        self.assertEqual(self.current(), "1")

    def test_after_a_rollback_the_bad_version_is_not_what_the_next_rollback_goes_to(self):
        versions = [self.version(number) for number in range(3)]
        for _, link, _ in versions[:2]:
            self.release("release", link)
        self.release("rollback", versions[1][2])
        self.release("release", versions[2][1])
        self.assertEqual(self.release("rollback", versions[2][1]), f"rolled back to {versions[0][2]}")

    def test_a_version_that_is_there_already_is_made_current_without_its_seeder(self):
        versions = [self.version(number) for number in range(2)]
        for _, link, _ in versions:
            self.release("release", link)
        (self.folder / "programs/p2p").unlink()
        (self.folder / "programs/p2p").write_text("#!/bin/sh\nexit 1\n")
        (self.folder / "programs/p2p").chmod(0o755)
        self.release("release", versions[0][1])
        self.assertEqual(self.current(), "0")

    def test_the_status_is_what_was_current_before_and_what_is_current_now(self):
        self.assertEqual(self.release("status"), "current (none)")
        versions = [self.version(number) for number in range(2)]
        for _, link, _ in versions:
            self.release("release", link)
        self.assertEqual(self.script("release.sh", self.app, "status").stdout,
                         f"before {versions[0][2]}\ncurrent {versions[1][2]}\n")

    def test_a_rollback_without_a_version_before_says_so_and_changes_nothing(self):
        _, link, identity = self.version(1)
        self.release("release", link)
        self.assertIn("no version before", self.release("rollback", identity, code=FAILED))
        self.assertEqual(self.current(), "1")

    def test_a_fetch_that_fails_leaves_what_was_current_and_has_its_exit_code(self):
        _, link, _ = self.version(1)
        self.release("release", link)
        gone = "p2p://" + "A" * 43 + "/s=127.0.0.1:1#" + "A" * 43
        told = self.release("release", gone, "--", "--patience", "0.1", code=UNREACHABLE)
        self.assertIn("could not be fetched", told)
        self.assertEqual(self.current(), "1")

    def test_a_command_runs_after_the_switch_and_its_failure_is_told(self):
        versions = [self.version(number) for number in range(2)]
        self.release("release", versions[0][1], "--then", f"cp {self.app}/current/number happened")
        self.assertEqual((self.folder / "happened").read_text(), "0")
        self.assertIn("this failed: exit 3", self.release("release", versions[1][1], "--then", "exit 3", code=FAILED))
        self.assertEqual(self.current(), "1")

    def test_a_command_that_failed_runs_when_the_release_is_run_again_and_then_no_more(self):
        _, link, identity = self.version(1)
        self.release("release", link, "--then", "exit 3", code=FAILED)
        self.assertEqual(self.release("release", link, "--then", "echo once >>happened"), f"released {identity}")
        self.assertEqual(self.release("release", link, "--then", "echo once >>happened"), f"unchanged {identity}")
        self.assertEqual((self.folder / "happened").read_text(), "once\n")

    def test_what_a_command_prints_does_not_get_into_the_report(self):
        _, link, identity = self.version(1)
        self.assertEqual(self.release("release", link, "--then", "printf nonsense"), f"released {identity}")

    def test_the_link_can_come_by_stdin(self):
        _, link, identity = self.version(1)
        self.assertEqual(self.release("release", "-", stdin=link + "\n"), f"released {identity}")

    def test_two_releases_at_once_are_refused(self):
        _, link, _ = self.version(1)
        self.app.mkdir()
        with subprocess.Popen(["flock", self.app / ".lock", "sh", "-c", "echo locked; read end"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as holder:
            holder.stdout.readline()
            self.assertIn("another release", self.release("release", link, code=EXISTS))
            holder.stdin.close()
            holder.stdout.read()

    def test_a_switch_that_was_cut_short_is_made_good_by_the_next(self):
        versions = [self.version(number) for number in range(2)]
        self.release("release", versions[0][1])
        # The history is written before the switch.
        with open(self.app / "history", "a") as history:
            history.write(versions[1][2] + "\n")
        (self.app / ".current.next").symlink_to("releases/none")
        self.assertEqual(self.release("release", versions[1][1]), f"released {versions[1][2]}")
        self.assertEqual(self.release("rollback", versions[1][2]), f"rolled back to {versions[0][2]}")

    def test_a_rollback_does_not_go_to_a_version_that_never_became_current(self):
        versions = [self.version(number) for number in range(3)]
        for _, link, _ in versions[:2]:
            self.release("release", link)
        (self.app / "releases" / versions[2][2]).mkdir()
        with open(self.app / "history", "a") as history:
            history.write(versions[2][2] + "\n")
        self.assertEqual(self.release("rollback", versions[1][2]), f"rolled back to {versions[0][2]}")

    def test_a_version_whose_files_are_gone_is_fetched_again(self):
        folder, link, identity = self.version(1)
        self.release("release", link)
        shutil.rmtree(self.app / "releases" / identity)
        self.assertEqual(self.release("release", link), f"released {identity}")
        self.assert_same(folder, self.app / "releases" / identity)

    def test_something_else_in_the_place_of_current_is_refused_before_anything_is_fetched(self):
        _, link, _ = self.version(1)
        (self.app / "current").mkdir(parents=True)
        self.assertIn("no symbolic link", self.release("release", link, code=EXISTS))
        self.assertEqual(self.there(), set())

    def test_what_makes_no_sense_is_refused(self):
        for arguments, code in (((self.app, "release"), USAGE), (("app", "status"), USAGE), ((self.app, "dance"), USAGE),
                                ((self.app, "release", "nonsense"), MALFORMED),
                                ((self.app, "release", "p2p://short/x"), MALFORMED),
                                ((self.app, "release", "a" * 64, "--keep", "0"), USAGE),
                                ((self.app, "release", "a" * 64, "--keep", "00"), USAGE),
                                ((self.app, "rollback", "a" * 12), MALFORMED),
                                ((self.app, "release", "a" * 64, "--keep"), USAGE),
                                ((self.app, "rollback", "../../etc"), MALFORMED)):
            with self.subTest(arguments=arguments):
                done = self.script("release.sh", *arguments)
                self.assertEqual(done.returncode, code, done.stderr)
        self.assertFalse(self.app.exists())


class WithAnAgent(Releases):
    """A host whose agent fetches, and keeps what is released."""

    def setUp(self):
        super().setUp()
        self.env |= {"P2P_AGENT": str(self.folder / "sock")}
        agent = self.start("agent", "--store", "store", "--socket", "sock", "--listen", "127.0.0.1:0")
        agent.wait_line(agent.err, lambda line: "an agent with" in line)

    def version(self, number):
        made = super().version(number)
        self.env.pop("P2P_NO_AGENT", None)
        return made

    def seed(self, path, *arguments):
        return super().seed(path, "--no-agent", *arguments)

    def pinned(self):
        listed = self.run_p2p("list", "--json")
        self.assertEqual(listed.wait(), OK, listed.error_text())
        return {content["id"] for content in listed.json_lines() if content["pinned"]}

    def test_what_is_released_is_pinned_and_let_go_when_it_is_removed(self):
        versions = [self.version(number) for number in range(3)]
        for _, link, _ in versions:
            self.release("release", link, "--keep", "2")
        self.assertEqual(self.pinned(), {identity for _, _, identity in versions[1:]})
        self.assertEqual(self.there(), self.pinned())

    def test_what_could_not_be_fetched_is_not_pinned(self):
        self.version(1)
        gone = "p2p://" + "A" * 43 + "/s=127.0.0.1:1#" + "A" * 43
        self.release("release", gone, "--", "--patience", "0.1", code=UNREACHABLE)
        self.assertEqual(self.pinned(), set())

    def test_a_path_that_is_deployed_is_seeded_by_the_agent_which_goes_on(self):
        folder, _, identity = self.version(1)
        (self.folder / "hosts").write_text("here\n")
        self.env |= {"P2P_SSH": "here"}
        (self.folder / "programs/here").write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
        (self.folder / "programs/here").chmod(0o755)
        (self.folder / "programs/sudo").write_text('#!/bin/sh\nshift\nexec "$@"\n')
        (self.folder / "programs/sudo").chmod(0o755)
        done = self.script("deploy.sh", self.folder / "hosts", "release", self.app, folder)
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertRegex(done.stdout, r"(?m)^link: p2p://")
        listed = self.run_p2p("list", "--json")
        self.assertIn(identity, [content["id"] for content in listed.json_lines()])


class OnManyHosts(Releases):
    """deploy.sh with a shell on this host for ssh: it is given the host's name and a command, as ssh is."""

    def setUp(self):
        super().setUp()
        (self.folder / "hosts").write_text("# ours\nweb-1\n  web-2  # the second\n\ndeploy@web-3\n")
        fake = self.folder / "programs/ssh-here"
        fake.write_text('#!/bin/sh\n[ "$1" != "$DOWN" ] || { echo "no route to $1" >&2; exit 255; }\n'
                        'cd "$PLACES/$1" || exit\nshift\nexec sh -c "$*"\n')
        fake.chmod(0o755)
        sudo = self.folder / "programs/sudo"
        sudo.write_text('#!/bin/sh\n[ "$1" = -n ] && shift\nexec "$@"\n')
        sudo.chmod(0o755)
        self.env |= {"P2P_SSH": "ssh-here", "DOWN": "", "PLACES": str(self.folder)}
        for host in ("web-1", "web-2", "deploy@web-3"):
            (self.folder / host).mkdir()

    # All hosts are this one: each has the same /..., so that only one of them finds something to do. What differs between
    # hosts is the lab's to show.
    def deploy(self, *arguments, code=OK):
        done = self.script("deploy.sh", self.folder / "hosts", *arguments)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_a_path_is_seeded_and_released_and_rolled_back(self):
        self.env["P2P_PARALLEL"] = "1"
        versions = [self.version(number)[0] for number in range(2)]
        for number, folder in enumerate(versions):
            self.assertRegex(self.deploy("release", self.app, folder), r"(?m)^released [0-9a-f]{12}: 1 of 3$")
            self.assertEqual(self.current(), str(number))
        told = self.deploy("rollback", self.app, versions[1])
        self.assertRegex(told, r"(?m)^rolled back to [0-9a-f]{12}: 1 of 3$")
        self.assertRegex(told, r"(?m)^unchanged [0-9a-f]{12}: 2 of 3$")
        self.assertEqual(self.current(), "0")
        self.assertRegex(self.deploy("status", self.app), r"(?m)^current [0-9a-f]{12}: 3 of 3$")

    def test_a_host_that_cannot_be_reached_is_named_and_the_others_are_done(self):
        self.env |= {"DOWN": "web-2", "P2P_PARALLEL": "1"}
        _, link, _ = self.version(1)
        told = self.deploy("release", self.app, link, code=1)
        self.assertIn("web-2: no route to web-2", told)
        self.assertIn("failed: 1 of 3: web-2", told)
        self.assertEqual(self.current(), "1")

    def test_who_else_is_on_a_host_can_neither_read_nor_change_what_is_brought_there(self):
        self.env["P2P_PARALLEL"] = "1"
        _, link, _ = self.version(1)
        (self.folder / "programs/sh").write_text(
            '#!/bin/sh\ncase $1 in */script.sh) stat -c "%a %U" "${1%/*}" "$1" >>"$PLACES/modes" ;; esac\nexec /bin/sh "$@"\n')
        (self.folder / "programs/sh").chmod(0o755)
        self.deploy("release", self.app, link)
        (self.folder / "programs/sh").unlink()
        for line in (self.folder / "modes").read_text().splitlines():
            self.assertRegex(line, r"^[67]00 ")

    def test_a_number_of_hosts_at_once_that_is_none_is_refused(self):
        self.env["P2P_PARALLEL"] = "many"
        self.assertIn("P2P_PARALLEL", self.deploy("status", self.app, code=USAGE))

    def test_a_host_that_says_nothing_has_failed(self):
        self.env["P2P_SSH"] = "true"
        self.assertIn("failed: 3 of 3", self.deploy("status", self.app, code=1))

    def test_what_is_run_after_the_switch_may_hold_any_character(self):
        self.env["P2P_PARALLEL"] = "1"
        _, link, _ = self.version(1)
        self.deploy("release", self.app, link, "--then", f"""printf '%s' "it's {{}} \\$HOME; a*" >{self.folder}/said""")
        self.assertEqual((self.folder / "said").read_text(), "it's {} $HOME; a*")

    def test_what_makes_no_sense_is_refused_before_any_host_is_asked(self):
        self.env["P2P_SSH"] = "false"
        for arguments, told in ((("dance",), "not known"), (("release", self.app), "needed"),
                                (("install", "--package"), "needs a file"), (("install", "--key", "none"), "no file")):
            with self.subTest(arguments=arguments):
                self.assertIn(told, self.deploy(*arguments, code=USAGE))
        (self.folder / "hosts").write_text("-oProxyCommand=touch${IFS}happened\n")
        self.assertIn("no name of a host", self.deploy("status", self.app, code=USAGE))
        (self.folder / "hosts").write_text("# nobody\n")
        self.assertIn("names no host", self.deploy("status", self.app, code=USAGE))


if __name__ == "__main__":
    unittest.main()
