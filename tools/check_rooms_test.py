# check_rooms_test.py - each rule of check_rooms.py refuses what it is there for.

import pathlib
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_rooms  # noqa: E402  (found through the path above)


class CheckRoomsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = pathlib.Path(self.folder.name)
        subprocess.run(["git", "init", "-q", "."], cwd=self.root, check=True)
        for room in ("base", "policy", "worker"):
            self.write(f"src/{room}/README.md", "A room.\n")

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def problems(self):
        return check_rooms.check(self.root)

    def expect_one(self, *fragments):
        problems = self.problems()
        self.assertEqual(len(problems), 1, problems)
        for fragment in fragments:
            self.assertIn(fragment, problems[0])

    def test_accepts_what_points_towards_base(self):
        self.write("src/worker/a.cc", '// a.cc - x\n#include "dispatch/d.h"\n'
                                      '#include "worker/b.h"\n#include <vector>\n')
        self.write("src/policy/a.cc", '// a.cc - x\n#include "base/b.h"\n'
                                      '#include "yamanote/policy.h"\n')
        self.assertEqual(self.problems(), [])

    def test_refuses_a_policy_that_reaches_upwards(self):
        self.write("src/policy/a.cc", '// a.cc - x\n#include "worker/park.h"\n')
        self.expect_one("src/policy/a.cc:2:", "'policy'", "worker/park.h")

    def test_refuses_base_including_any_room(self):
        self.write("src/base/a.h", '// a.h - x\n#include "policy/p.h"\n')
        self.expect_one("src/base/a.h:2:", "nothing but itself")

    def test_refuses_a_public_header_that_shows_the_inside(self):
        self.write("include/yamanote/a.h", '// a.h - x\n#include "base/b.h"\n')
        self.expect_one("a public header")

    def test_refuses_the_library_including_an_application(self):
        self.write("src/worker/a.cc", '// a.cc - x\n#include "apps/kv/kv.h"\n')
        self.expect_one("'worker'", "apps/kv/kv.h")

    def test_a_test_may_use_what_spans_rooms_but_a_source_may_not(self):
        self.write("src/base/a_test.cc", '// a_test.cc - x\n#include "tests/t.h"\n')
        self.assertEqual(self.problems(), [])
        self.write("src/base/a.cc", '// a.cc - x\n#include "tests/t.h"\n')
        self.expect_one("src/base/a.cc:2:")

    def test_refuses_an_include_without_a_room(self):
        self.write("src/base/a.cc", '// a.cc - x\n#include "a.h"\n')
        self.expect_one("has no room")

    def test_refuses_a_room_that_is_not_listed(self):
        self.write("src/novel/a.cc", '// a.cc - x\n#include "base/b.h"\n')
        self.write("src/novel/README.md", "A room.\n")
        self.expect_one("'novel'", "ALLOWED")

    def test_refuses_a_junk_drawer(self):
        self.write("src/base/utils/notes.txt", "x\n")
        self.expect_one("'utils'")

    def test_refuses_a_room_without_readme_and_a_long_one(self):
        self.write("src/io/a.cc", "// a.cc - x\n")
        self.expect_one("src/io/README.md:1: is missing")
        self.write("src/io/README.md", "line\n" * 21)
        self.expect_one("has 21 lines")
        self.write("src/io/README.md", "line\n" * 20)
        self.assertEqual(self.problems(), [])

    def test_refuses_a_file_without_its_header_comment(self):
        self.write("src/base/a.cc", "#include <vector>\n")
        self.expect_one('"// a.cc - purpose"')

    def test_refuses_a_file_that_grew_too_long(self):
        self.write("src/base/a.cc", "// a.cc - x\n" + "\n" * 600)
        self.expect_one("has 601 lines")

    def test_ignores_what_git_ignores(self):
        self.write(".gitignore", "/build/\n")
        self.write("build/a.cc", "no header\n")
        self.assertEqual(self.problems(), [])


if __name__ == "__main__":
    unittest.main()
