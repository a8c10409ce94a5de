#!/usr/bin/env python3
# add_a_policy_test.py - follows docs/add-a-policy.md literally.
#
# Extracts the page's files and its list entry into a temporary folder, makes the
# registry from the extended list by the build's own script, compiles only what
# is new against the library that is already built, and runs the policy's test
# and the conformance suite for it. So the page can't promise what does not work.
#
#   add_a_policy_test.py --source ROOT --cmake CMAKE --cxx COMPILER
#       --library libyamanote.a [--flag=FLAG ...] [--link=FLAG ...]
#
# Exit status: 0 if every step of the page works.

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# ```LANGUAGE PATH: a file of the page, or an addition to one that exists.
BLOCK = re.compile(r"^```\w+ (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(command, **options):
    """Runs a command, showing it; raises if it fails."""
    print("+", " ".join(map(str, command)), flush=True)
    subprocess.run(command, check=True, **options)


def extended_list(original, entry):
    """Returns policies.cmake with `entry` as the last name of its list."""
    extended, count = re.subn(r"(set\(YAMANOTE_POLICIES[^)]*)\)",
                              lambda match: match.group(1) + "\n" + entry.rstrip() + ")",
                              original)
    assert count == 1, "policies.cmake must have one list, YAMANOTE_POLICIES"
    return extended


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--cmake", required=True)
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--library", type=pathlib.Path, required=True)
    parser.add_argument("--flag", action="append", default=[])
    parser.add_argument("--link", action="append", default=[])
    options = parser.parse_args()
    root = options.source

    blocks = dict(BLOCK.findall((root / "docs/add-a-policy.md").read_text()))
    entry = blocks.pop("src/policy/policies.cmake")
    name = entry.strip()
    stem = name.replace("-", "_")
    policy, test = f"src/policy/{stem}.cc", f"src/policy/{stem}_test.cc"
    assert set(blocks) == {policy, test}, f"the page's files are {sorted(blocks)}"
    code = [line for line in blocks[policy].splitlines()
            if line.strip() and not line.startswith("//")]
    assert len(code) <= 60, f"'one file of about 50 lines' has {len(code)} lines of code"

    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        for path, text in blocks.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        the_list = work / "policies.cmake"
        the_list.write_text(extended_list(
            (root / "src/policy/policies.cmake").read_text(), entry))
        run([options.cmake, f"-DOUTPUT={work}/registry.cc", f"-DLIST={the_list}",
             "-P", root / "src/policy/registry.cmake"])

        compile_ = [options.cxx, *options.flag, f"-I{root}/include", f"-I{root}/src", f"-I{root}",
                    "-c"]
        run([*compile_, work / policy, "-o", work / "policy.o"])
        run([*compile_, work / "registry.cc", "-o", work / "registry.o"])
        # The new registry comes before the library, so that it is the one used.
        for source, program in ((work / test, "policy_test"),
                                (root / "tests/conformance/policy_conformance_test.cc",
                                 "policy_conformance_test")):
            run([*compile_, source, "-o", work / "test.o"])
            run([options.cxx, *options.flag, work / "test.o", work / "policy.o",
                 work / "registry.o", options.library, *options.link,
                 "-o", work / program])

        run([work / "policy_test", "--gtest_brief=1"])
        # Its tests alone: the others run in the suite's own test. It must have some.
        suite = [work / "policy_conformance_test"]
        listed = subprocess.run([*suite, "--gtest_list_tests"], check=True, text=True,
                                capture_output=True).stdout
        assert f"/{stem} " in listed, f"the conformance suite does not know {name}"
        run([*suite, "--gtest_brief=1", f"--gtest_filter=*/{stem}"],
            env={**os.environ, "YAMANOTE_POLICY": name})
    return 0


if __name__ == "__main__":
    sys.exit(main())
