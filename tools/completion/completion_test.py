# completion_test.py - completion and man page know every subcommand and flag.
#
# What there is comes from the help texts, which CLI11 prints by itself; what the
# scripts know comes from running them: bash for real, zsh and fish as far as
# they are installed.

import os
import re
import shutil
import subprocess
import sys
import unittest

YAMANOTE = os.environ["YAMANOTE"]


def run(*arguments):
    return subprocess.run([YAMANOTE, *arguments], capture_output=True, text=True,
                          check=True, timeout=60).stdout


def subcommands(path):
    """Returns the names in the section "Subcommands:" of a help text."""
    match = re.search(r"^Subcommands:\n((?: .*\n|\n)*)", run(*path, "--help"), re.M)
    return re.findall(r"^  ([a-z]\S*)", match.group(1), re.M) if match else []


def flags(path):
    """Returns the long flags that start a line of a help text."""
    found = []
    for line in run(*path, "--help").splitlines():
        match = re.match(r"^  (-\S+(?:, ?-\S+)*)", line)
        if match:
            found += [name for name in re.split(r", ?", match.group(1))
                      if name.startswith("--")]
    return found


def all_paths(path=()):
    """Returns every command, as a tuple of words."""
    paths = [path]
    for name in subcommands(path):
        paths += all_paths(path + (name,))
    return paths


PATHS = all_paths()


class CompletionTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scripts = {shell: run("completion", shell) for shell in ("bash", "zsh", "fish")}

    def bash(self, *words):
        """Returns what bash offers after `words`, the last of them unfinished."""
        line = " ".join(f"'{word}'" for word in ("yamanote",) + words)
        script = (f"{self.scripts['bash']}\nCOMP_WORDS=({line})\n"
                  f"COMP_CWORD={len(words)}\n_yamanote\n"
                  'printf "%s\\n" "${COMPREPLY[@]}"\n')
        return subprocess.run(["bash", "-c", script], capture_output=True, text=True,
                              check=True).stdout.split()

    def test_there_is_something_to_complete(self):
        self.assertIn(("doctor",), PATHS)
        self.assertIn("--json", flags(("doctor",)))

    def test_bash_offers_every_subcommand_and_flag(self):
        for path in PATHS:
            offered = self.bash(*path, "")
            for name in subcommands(path) + flags(path):
                self.assertIn(name, offered, f"after {path}")

    def test_bash_completes_a_prefix_and_a_choice(self):
        self.assertEqual(self.bash("doc"), ["doctor"])
        self.assertEqual(self.bash("completion", "z"), ["zsh"])

    def test_bash_offers_files_where_a_file_is_due(self):
        folder = os.path.dirname(os.path.abspath(__file__))
        prefix = os.path.join(folder, "completion_t")
        self.assertEqual(self.bash("doctor", "--costs", prefix),
                         [os.path.join(folder, "completion_test.py")])

    def test_zsh_and_fish_know_every_subcommand_and_flag(self):
        for path in PATHS:
            for name in subcommands(path):
                self.assertIn(f"'{name}:", self.scripts["zsh"])
                self.assertIn(f" -a {name} ", self.scripts["fish"])
            for flag in flags(path):
                self.assertIn(f"'{flag}[", self.scripts["zsh"])
                self.assertRegex(self.scripts["fish"], rf"-l {flag[2:]} ")

    def test_zsh_and_fish_accept_their_scripts(self):
        for shell in ("zsh", "fish"):
            if shutil.which(shell) is None:
                print(f"{shell} is not installed: its script's syntax is not checked")
                continue
            result = subprocess.run([shell, "-n"], input=self.scripts[shell], text=True,
                                    capture_output=True, check=False)
            self.assertEqual((result.returncode, result.stderr), (0, ""), shell)

    def test_fish_completes_for_real(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        script = self.scripts["fish"] + "\ncomplete -C 'yamanote completion '\n"
        offered = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True,
                                 text=True, check=True).stdout
        self.assertLessEqual({"bash", "zsh", "fish"},
                             {line.split("\t")[0] for line in offered.splitlines()})

    def test_man_page_has_every_subcommand_and_flag(self):
        page = run("man").replace("\\-", "-")
        for path in PATHS[1:]:
            self.assertIn(f".SS yamanote {' '.join(path)}\n", page)
        for path in PATHS:
            for flag in flags(path):
                self.assertRegex(page, rf"\\fB[^\n]*{flag}\b")

    def test_man_page_renders_without_warning(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        result = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=run("man"),
                                text=True, capture_output=True, check=True)
        self.assertEqual(result.stderr, "")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
