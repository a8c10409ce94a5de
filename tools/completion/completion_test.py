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
        functions = dict(re.findall(r"^(_yamanote\w*)\(\) \{\n(.*?)^\}", self.scripts["zsh"],
                                    re.M | re.S))
        for path in PATHS:
            function = functions["_".join(("_yamanote",) + path)]
            for name in subcommands(path):
                self.assertIn(f"'{name}:", function)
                self.assertIn(f" -a {name} ", self.scripts["fish"])
            for flag in flags(path):
                self.assertIn(f"'{flag}[", function)
                self.assertRegex(self.scripts["fish"], rf"-l {flag[2:]} ")

    def test_zsh_and_fish_accept_their_scripts(self):
        for shell in ("zsh", "fish"):
            if shutil.which(shell) is None:
                print(f"{shell} is not installed: its script's syntax is not checked")
                continue
            result = subprocess.run([shell, "-n"], input=self.scripts[shell], text=True,
                                    capture_output=True, check=False)
            self.assertEqual((result.returncode, result.stderr), (0, ""), shell)

    def fish(self, lines):
        """Returns what fish offers at the end of each line, as a set."""
        script = self.scripts["fish"] + "".join(f"\ncomplete -C '{line}'; echo =" for line in lines)
        offered = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True,
                                 text=True, check=True).stdout
        return [{word.split("\t")[0] for word in part.splitlines()}
                for part in offered.split("=\n")[:-1]]

    def test_fish_completes_for_real(self):
        if shutil.which("fish") is None:
            self.skipTest("fish is not installed")
        self.assertLessEqual({"bash", "zsh", "fish"}, self.fish(["yamanote completion "])[0])
        lines = [" ".join(("yamanote",) + path) for path in PATHS]
        for path, words, options in zip(PATHS, self.fish([line + " " for line in lines]),
                                        self.fish([line + " --" for line in lines])):
            self.assertLessEqual(set(subcommands(path)), words, f"after {path}")
            if path:
                self.assertEqual(set(flags(path)), options, f"after {path}")
                if not subcommands(path):
                    self.assertFalse(set(subcommands(path[:-1])) & words - {"help"},
                                     f"after {path}")

    def test_man_page_has_every_subcommand_and_flag(self):
        page = run("man").replace("\\-", "-")
        for path in PATHS[1:]:
            section = page.split(f"\n.SS yamanote {' '.join(path)}\n")
            self.assertEqual(len(section), 2, path)
            section = re.split(r"^\.S[SH] ", section[1], maxsplit=1, flags=re.M)[0]
            for flag in flags(path):
                self.assertRegex(section, rf"\\fB[^\n]*{flag}(?![-\w])", path)

    def test_man_page_renders_without_warning(self):
        if shutil.which("groff") is None:
            self.skipTest("groff is not installed")
        result = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", "-ww", "-rLL=80n"],
                                input=run("man"), text=True, capture_output=True, check=True)
        self.assertEqual(result.stderr, "")
        # Examples, which are not filled, are 80 wide in the help; the page indents them by 7.
        for line in result.stdout.splitlines():
            self.assertLessEqual(len(line), 87, line)
            self.assertNotRegex(line, r"\S +Examples", "a paragraph ran into the examples")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
