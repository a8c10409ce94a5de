"""presets_test.py - the presets that the end-to-end tests know are all there are.

  presets_test.py PROGRAM PRESET...
"""

import json
import subprocess
import sys


def main():
    program, *tested = sys.argv[1:]
    run = subprocess.run([program, "policies", "--json"], capture_output=True, text=True,
                         timeout=30, check=True)
    offered = [preset["name"] for preset in json.loads(run.stdout)["presets"]]
    if sorted(offered) == sorted(tested):
        return 0
    print(f"the program offers {sorted(offered)}, tests/kv/CMakeLists.txt tests "
          f"{sorted(tested)}; add what is missing there", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
