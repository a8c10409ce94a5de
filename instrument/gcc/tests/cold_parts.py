#!/usr/bin/env python3
# cold_parts.py - checks the bytes behind each call of yamanote_preempt_probe.
#
#   cold_parts.py OBJECT
#
# They are what docs/probes.md says, and lead to behind the jump that leads to the cold
# part. Prints what may be alive, and how often. Exit status: 0 all are right.

import collections
import re
import subprocess
import sys

LINE = re.compile(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *\t?(.*)$")


def main(path):
    listing = subprocess.run(["objdump", "-dr", "--insn-width=16", path], check=True,
                             capture_output=True, text=True).stdout
    counts = collections.Counter()
    for section in listing.split("Disassembly of section")[1:]:
        memory = {}
        jumps = {}  # From where they lead to what is behind them.
        calls = []  # What is behind them; what is before.
        before = end = None
        for line in section.splitlines():
            found = LINE.match(line)
            if found:
                start = int(found[1], 16)
                code = bytes.fromhex(found[2])
                memory.update(enumerate(code, start))
                before, end = start, start + len(code)
                jump = re.match(r"jne +([0-9a-f]+)", found[3])
                if jump:
                    jumps.setdefault(int(jump[1], 16), end)
            elif re.search(r"R_X86_64_\w+\s+yamanote_preempt_probe\b", line):
                calls.append((before, end))
        for call, behind in calls:
            # The red zone's instruction, and what the assembler put before it.
            cold = max(at for at in jumps if at < call)
            code = bytes(memory[behind + i] for i in range(11))
            if (call - cold > 40 or code[0] != 0xA8 or
                    code[2:7] != bytes.fromhex("48 83 ec 80 e9")):
                sys.exit(f"{path}: behind the call at {call:#x} is {code.hex(' ')}")
            goes_on = behind + 11 + int.from_bytes(code[7:], "little", signed=True)
            if goes_on != jumps[cold]:
                sys.exit(f"{path}: the cold part at {cold:#x} leads to {goes_on:#x}, "
                         f"not {jumps[cold]:#x}")
            counts[code[1]] += 1
    print(", ".join(f"{alive:02x} {count} times" for alive, count in sorted(counts.items())))


if __name__ == "__main__":
    main(sys.argv[1])
