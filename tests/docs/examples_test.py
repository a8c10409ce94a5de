#!/usr/bin/env python3
# examples_test.py - compiles the C++ of README.md and of the public headers.
#
# README.md: every ```cpp block is a whole program, and is linked and run.
# Headers: what is indented by three spaces in the comment at the top of
# include/yamanote/*.h and has a semicolon. CONTEXT says what such an example may
# take for granted; a header whose example has no entry fails, so nobody forgets.
#
#   examples_test.py --source ROOT --cxx COMPILER --library libyamanote.a
#       [--flag=FLAG ...] [--link=FLAG ...]
#
# Exit status: 0 if every example works.

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

README_BLOCK = re.compile(r"^```cpp\n(.*?)^```$", re.MULTILINE | re.DOTALL)

INCLUDES = """
#include <algorithm>
#include <atomic>
#include <mutex>
#include <queue>
#include <shared_mutex>
#include <vector>
#include "yamanote/runtime.h"
#include "yamanote/server.h"
#include "yamanote/socket.h"
#include "yamanote/thread.h"
"""
WORK = "void Work();\n"

# header: (declarations before, parameters of the function the example is the
# body of, or None if it stands outside functions).
CONTEXT = {
    "address.h": ("using namespace yamanote;\n", ""),
    "barrier.h": (WORK + "void SwapBuffers() noexcept;\n", "int rounds"),
    "condition_variable.h": ("", "yamanote::Mutex& mutex, yamanote::ConditionVariable& "
                             "condition, std::queue<int>& queue, int item"),
    "hints.h": ("using namespace yamanote;\n", ""),
    "latch.h": ("", "int workers"),
    "mutex.h": ("", ""),
    "preempt.h": ("void LegacyCallback();\n", "std::vector<int>& shared_buffer, int x"),
    "rcu.h": ("struct Table { int Find(int) const; };\n",
              "std::atomic<const Table*>& table, const Table* fresh, int key"),
    "result.h": ("using namespace yamanote;\n", "SocketAddress address"),
    "runtime.h": ("", ""),
    "semaphore.h": (WORK, ""),
    "server.h": ("#include <csignal>\n", "const sigset_t& signals"),  # And service.h's example.
    "service.h": ("", None),
    "shared_mutex.h": ("void Read();\nvoid Write();\n", ""),
    "socket.h": ("using namespace yamanote;\nusing namespace std::literals;\n",
                 "SocketAddress address"),
    "task_local.h": ("", ""),
    "thread.h": (WORK, ""),
    "wait_group.h": ("struct Item {};\nvoid Work(Item&);\n", "std::vector<Item>& items"),
}


def example_of(text):
    """Returns the example in a header's top comment, "" if there is none."""
    top = text[:text.index("#pragma once")]
    blocks = re.findall(r"(?:^//   .*\n)+", top, re.MULTILINE)
    # Tables and drawings are indented too; statements end with a semicolon.
    code = [block for block in blocks if ";" in block]
    return "\n".join(re.sub(r"^//   ", "", block, flags=re.MULTILINE) for block in code)


def program_of(root, examples):
    """Returns a translation unit that contains the headers' examples, each in a namespace."""
    includes, code = INCLUDES, ""
    for name, example in examples.items():
        declarations, parameters = CONTEXT[name]
        includes += f'#include "yamanote/{name}"\n'
        if name == "server.h":
            declarations += example_of((root / "include/yamanote/service.h").read_text())
        for line in re.findall(r"^#include.*\n", declarations, re.MULTILINE):
            includes += line
            declarations = declarations.replace(line, "")
        if parameters is not None:
            example = (f"yamanote::Result<void> Example({parameters}) {{\n"
                       f"{example}\nreturn {{}};\n}}\n")
        code += f"namespace {name.replace('.', '_')} {{\n{declarations}\n{example}}}\n"
    return includes + code


def compile_(options, source, *arguments, show=True):
    """Compiles `source`; returns whether that worked, showing it if not."""
    command = [options.cxx, *options.flag, f"-I{options.source}/include", source, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and show:
        print(source.read_text(), done.stderr, sep="\n")
    return done.returncode == 0


def check_readme(options, work):
    """Returns what is wrong with README.md's examples."""
    programs = README_BLOCK.findall((options.source / "README.md").read_text())
    if not programs:
        return ["README.md: no ```cpp block found"]
    wrong = []
    for number, text in enumerate(programs, 1):
        source = work / f"readme{number}.cc"
        source.write_text(text)
        program = work / f"readme{number}"
        if not compile_(options, source, "-o", program, options.library, *options.link):
            wrong.append(f"README.md: example {number} does not compile")
        elif subprocess.run([program], timeout=60).returncode != 0:
            wrong.append(f"README.md: example {number} fails")
    return wrong


def check_headers(options, work):
    """Returns what is wrong with the headers' examples."""
    wrong = []
    examples = {}
    for header in sorted((options.source / "include/yamanote").glob("*.h")):
        example = example_of(header.read_text())
        if example:
            examples[header.name] = example
    print(f"{len(examples)} headers have examples")
    wrong += [f"{name}: has an example; add its context to {__file__}"
              for name in sorted(set(examples) - set(CONTEXT))]
    wrong += [f"{name}: no example found" for name in sorted(set(CONTEXT) - set(examples))]
    if wrong:
        return wrong

    def compiles(name, chosen, show):
        source = work / f"{name}.cc"
        source.write_text(program_of(options.source, chosen))
        return compile_(options, source, "-Wno-unused", "-fsyntax-only", show=show)

    # Together, because most of the time goes to the headers. Alone to say which is wrong.
    if compiles("all", examples, show=False):
        return []
    wrong += [f"{name}: the example does not compile" for name, example in examples.items()
              if not compiles(name, {name: example}, show=True)]
    if not wrong and not compiles("all", examples, show=True):
        wrong = ["the examples compile one by one, but not in one file"]
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", type=pathlib.Path, required=True)
    parser.add_argument("--cxx", required=True)
    parser.add_argument("--library", required=True)
    parser.add_argument("--flag", action="append", default=[])
    parser.add_argument("--link", action="append", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        wrong = check_readme(options, work) + check_headers(options, work)
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
