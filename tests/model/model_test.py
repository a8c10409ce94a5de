#!/usr/bin/env python3
"""Model-checks a protocol with spin: the model holds, and each mutant of it fails.

  model_test.py MODEL.pml [-DNAME]... MUTANT...

A mutant is a name that the model tests with #ifdef: one step of the protocol is left out.
With -DNAME the model and all mutants have that as well.
Exit status: 0 all as it should be, 1 not; then the trail of what went wrong is printed.
"""

import pathlib
import subprocess
import sys
import tempfile

DEPTH = "1000000"


def run(command, folder):
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=240, check=False)


def check(model, always, mutant):
    """Returns whether the checker found no error, and what it printed."""
    with tempfile.TemporaryDirectory() as folder:
        define = always + ([f"-D{mutant}"] if mutant else [])
        # The model has millions of states; a mutant fails after some, so its checker takes
        # longer to optimise than to run.
        optimise = "-O0" if mutant else "-O2"
        for command in (["spin", *define, "-a", str(model)],
                        ["cc", "-w", optimise, "-DSAFETY", "-o", "pan", "pan.c"]):
            done = run(command, folder)
            if done.returncode != 0:
                sys.exit(f"{' '.join(command)}:\n{done.stdout}")
        # -E: workers that sleep for ever are no error by themselves; the model says what is.
        done = run(["./pan", "-E", f"-m{DEPTH}"], folder)
        if "errors: 0" in done.stdout and "max search depth too small" not in done.stdout:
            return True, done.stdout
        if "errors: 1" not in done.stdout:
            sys.exit(f"the checker did not finish:\n{done.stdout}")
        trail = run(["spin", *define, "-t", "-p", "-g", str(model)], folder)
        return False, done.stdout + trail.stdout


def main():
    model = pathlib.Path(sys.argv[1]).resolve()
    always = [name for name in sys.argv[2:] if name.startswith("-D")]
    mutants = [name for name in sys.argv[2:] if not name.startswith("-D")]
    holds, output = check(model, always, None)
    if not holds:
        sys.exit(f"{model.name} does not hold:\n{output}")
    states = [line.strip() for line in output.splitlines() if "states, stored" in line]
    print(f"{model.name} holds: {states[0]}")
    for mutant in mutants:
        holds, output = check(model, always, mutant)
        if holds:
            sys.exit(f"{model.name} with {mutant} holds: the model cannot fail there")
        print(f"{mutant}: fails, as it should")


if __name__ == "__main__":
    main()
