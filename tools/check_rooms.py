#!/usr/bin/env python3
# check_rooms.py - holds the rules that the compiler does not know.
#
# - A room includes only the rooms that ALLOWED gives it; a public header only
#   public headers. So dependencies point towards base/, and a policy cannot
#   reach for a lock, a socket or a clock that is not passed to it.
# - No folder is called utils, common, misc or helpers: a name says what is in it.
# - Every room with sources has a README.md of at most 20 lines.
# - Every C++ file starts with "// NAME - purpose" and stays below 600 lines.
#
#   tools/check_rooms.py [ROOT]
#
# Prints one line per violation: FILE:LINE: what is wrong and what to do.
# Exit status: 0 none, 1 some.

import pathlib
import re
import subprocess
import sys

# Room -> rooms it may include. Its own files and include/yamanote always.
ALLOWED = {
    "base": set(),
    "policy": {"base"},
    "dispatch": {"base", "policy"},
    "io": {"base"},
    "preempt": {"base"},
    "arbiter": {"base"},
    "native": {"arbiter", "base", "dispatch"},
    "sim": {"arbiter", "base", "dispatch", "preempt"},
    "worker": {"arbiter", "base", "dispatch", "io", "preempt"},
    "net": {"base", "dispatch", "io", "preempt", "worker"},
}
# What crosses processes: any room may include it.
SHARED_MEMORY = "arbiter/abi.h"
# Outside src/: these stand above every room of the library.
ABOVE = {
    "apps": {"apps"},
    "tools": {"apps", "tools"},
    "bench": {"apps", "bench", "tools"},
    "instrument": {"instrument", "tools"},
    "tests": {"apps", "tests", "tools"},
    "packaging": set(),
}
FORBIDDEN_FOLDERS = {"utils", "util", "common", "misc", "helpers"}
README_LINES = 20
SOURCE_LINES = 600
SOURCE_SUFFIXES = {".h", ".cc", ".S"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def tracked_files(root):
    """Returns the files of the work tree that git knows or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True).stdout
    return [pathlib.PurePosixPath(line) for line in listing.splitlines()
            if (root / line).is_file()]


def room_of(path):
    """Returns the room a file belongs to: 'base', 'include', 'apps', ..."""
    parts = path.parts
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    return parts[0]


def readme_home(path):
    """Returns the folder whose README.md describes `path`, None if none must."""
    parts = path.parts
    if parts[0] in ("src", "apps") and len(parts) > 2:
        return pathlib.PurePosixPath(*parts[:2])
    if parts[0] in ("tools", "bench", "tests"):
        return pathlib.PurePosixPath(parts[0])
    return None


def check_include(path, room, target):
    """Returns what is wrong with `path` including `target`, None if nothing."""
    if "/" not in target:
        return f'"{target}" has no room; write the path from src/ or the root'
    first = target.split("/")[0]
    if first == "yamanote":
        return None
    if room == "include":
        return (f'a public header includes "{target}"; it may include only '
                '"yamanote/..."')
    if target == SHARED_MEMORY and room in ALLOWED:
        return None
    is_test = re.search(r"_(test|fuzzer)\.cc$", path.name) is not None
    if first == room or (is_test and first == "tests"):
        return None
    if room in ABOVE:
        if first in ALLOWED or first in ABOVE[room]:
            return None
        allowed = sorted(set(ALLOWED) | ABOVE[room])
    elif room in ALLOWED:
        if first in ALLOWED[room]:
            return None
        allowed = sorted(ALLOWED[room]) or ["nothing but itself"]
    else:
        return (f"the room '{room}' is not in ALLOWED; give it its place in "
                "tools/check_rooms.py")
    return (f"the room '{room}' includes \"{target}\"; it may use "
            f"{', '.join(allowed)} and include/yamanote. Move what is shared "
            "towards base, or pass it in")


def check_source(root, path):
    """Yields the violations inside one C++ file."""
    lines = (root / path).read_text(encoding="utf-8").splitlines()
    if not lines or not lines[0].startswith(f"// {path.name} - "):
        yield f'{path}:1: does not start with "// {path.name} - purpose"'
    if len(lines) > SOURCE_LINES:
        yield (f"{path}:{SOURCE_LINES}: has {len(lines)} lines; the limit is "
               f"{SOURCE_LINES}, split it by what its parts do")
    room = room_of(path)
    for number, line in enumerate(lines, start=1):
        match = INCLUDE.match(line)
        if match is None:
            continue
        problem = check_include(path, room, match.group(1))
        if problem is not None:
            yield f"{path}:{number}: {problem}"


def check(root):
    """Returns every violation below `root`, in the order of the files."""
    root = pathlib.Path(root)
    problems = []
    homes = {}
    for path in tracked_files(root):
        for folder in path.parts[:-1]:
            if folder in FORBIDDEN_FOLDERS:
                problems.append(f"{path}:1: no folder is called '{folder}'; name "
                                "it after what is in it")
        if path.name == "README.md" and readme_home(path) == path.parent:
            count = len((root / path).read_text(encoding="utf-8").splitlines())
            if count > README_LINES:
                problems.append(f"{path}:{README_LINES}: has {count} lines; a "
                                f"room's README has at most {README_LINES}")
        if path.suffix in SOURCE_SUFFIXES:
            home = readme_home(path)
            if home is not None:
                homes.setdefault(home, path)
            problems.extend(check_source(root, path))
    for home in homes:
        if not (root / home / "README.md").is_file():
            problems.append(f"{home}/README.md:1: is missing; say in at most "
                            f"{README_LINES} lines the room's job, its "
                            "invariants and how to add one of its kind")
    return problems


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent
    problems = check(root)
    for problem in problems:
        print(problem)
    if problems:
        print(f"check_rooms: {len(problems)} problems", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
