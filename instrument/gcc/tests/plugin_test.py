#!/usr/bin/env python3
# plugin_test.py - tests the GCC plug-in: what it inserts, and that results stay.
#
#   plugin_test.py COMPILER PLUGIN [--all] [TEST...]
#
# Compiles the cases without the plug-in and, at several levels of optimisation,
# with it; the stand-in runtime takes every probe, and the results must be the
# same. Two commands run at a time.
#
# Left to --all, which takes some three times as long: the cases at -O1, at -O2 with
# -fno-ivopts, at -O3 for this processor and at -O3 in sections; the copies of inline
# functions at -O1, at -O3, at -O0 with -fPIC and in a shared object; the standard
# library's copies at -O0.

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

TESTS = pathlib.Path(__file__).resolve().parent
ROOT = TESTS.parents[2]
COMPILER = ""
PLUGIN = ""
ALL = False
# Nested functions put code on the stack.
EXECUTABLE_STACK = ["-Wl,-z,execstack"]


def command(*arguments):
    """Runs a command; returns what it did."""
    return subprocess.run([str(a) for a in arguments], capture_output=True,
                          text=True, check=False, cwd=ROOT)


def must(*arguments):
    """Runs a command that must succeed; returns its standard output."""
    done = command(*arguments)
    if done.returncode != 0:
        raise AssertionError(
            f"{' '.join(map(str, arguments))}: status {done.returncode}\n"
            f"{done.stderr}")
    return done.stdout


def plugged(**options):
    """The flags that load the plug-in."""
    return [f"-fplugin={PLUGIN}"] + [
        f"-fplugin-arg-yamanote_gcc-{key}" + (f"={value}" if value else "")
        for key, value in options.items()]


def language(path):
    """The flags of a source file's language."""
    return ["-x", "c"] if path.suffix == ".c" else ["-std=c++20"]


def in_parallel(function, *arguments):
    """Like map(), two at a time."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return list(pool.map(function, *arguments))


def left_to_all(test):
    """Decorates a test that runs with --all only."""
    def run(self):
        if not ALL:
            self.skipTest("runs with --all")
        test(self)
    return run


def compiled_for(folder, *sources):
    """Compiles the runtime's parts of a test; returns the object files."""
    def build(source):
        target = pathlib.Path(folder) / (source.name + ".o")
        must(COMPILER, "-std=c++20", "-O1", "-g", "-I.", "-c", source, "-o", target)
        return target

    return in_parallel(build, sources)


class Results(unittest.TestCase):
    """The cases' results are those of a build without probes."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.sources = (sorted((ROOT / "tools/bench/kernels/programs").glob("*.cc")) +
                       sorted((TESTS / "cases").glob("*.c*")))
        cls.runtime = compiled_for(cls.folder.name, TESTS / "stand_in.cc",
                                   TESTS / "stand_in_probe.S")
        cls.expected = cls.outcome("plain", ["-O1"], [])

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def outcome(cls, name, flags, arguments, link=()):
        folder = pathlib.Path(cls.folder.name) / name
        folder.mkdir()

        def build(source):
            target = folder / (source.name + ".o")
            must(COMPILER, *language(source), *flags, "-I.", "-c", source, "-o",
                 target)
            return target

        objects = in_parallel(build, cls.sources)
        program = folder / "program"
        must(COMPILER, *cls.runtime, *objects, *EXECUTABLE_STACK, *link, "-o", program)
        return must("timeout", "120", program, *arguments)

    def check(self, name, flags, link=(), **options):
        with_probes = flags + plugged(**options) + ["-DYAMANOTE_PREEMPTIBLE=1"]
        self.assertEqual(
            self.outcome(name, with_probes, ["preemptible"], link),
            self.expected)

    def test_O0(self):
        self.check("O0", ["-O0", "-g"])

    @left_to_all
    def test_O1(self):
        self.check("O1", ["-O1", "-g"])

    def test_O2(self):
        self.check("O2", ["-O2", "-g", "-fchecking"])

    @left_to_all
    def test_O2_with_counters_as_they_are(self):
        self.check("counters", ["-O2", "-fno-ivopts", "-fwrapv", "-fchecking"])

    @left_to_all
    def test_O3_for_this_processor(self):
        # Without contraction, which would give other numbers.
        self.check("native", ["-O3", "-march=native", "-ffp-contract=off", "-fchecking"])

    @left_to_all
    def test_O3_in_sections(self):
        self.check("O3", ["-O3", "-g", "-ffunction-sections", "-fPIE"])

    def test_O2_initial_exec_without_frame_pointers(self):
        self.check("ie", ["-O2", "-fPIC", "-fomit-frame-pointer",
                          "-frename-registers"], tls="initial-exec")


class Copies(unittest.TestCase):
    """Inline functions have one copy with probes and one without."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.probe, cls.main, cls.library_main = compiled_for(
            cls.folder.name, TESTS / "stand_in_probe.S", TESTS / "copies/main.cc",
            TESTS / "copies/library_main.cc")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def object(self, source, name, *flags):
        target = pathlib.Path(self.folder.name) / f"{self.id()}.{name}.o"
        must(COMPILER, "-std=c++20", "-Wall", "-Wextra", "-Werror", *flags, "-I.",
             "-c", TESTS / "copies" / source, "-o", target)
        return target

    @staticmethod
    def defined(path):
        """The functions that an object file or a program has a weak copy of."""
        lines = (line.split() for line in must("nm", path).splitlines())
        return {line[2] for line in lines if len(line) == 3 and line[1] == "W"}

    def sides(self, *flags, **options):
        """The two units, without probes and with them."""
        return in_parallel(
            lambda name, more: self.object("side.cc", name, *flags, *more),
            ("plain", "probed"),
            ((), plugged(**options) + ["-DYAMANOTE_PREEMPTIBLE=1"]))

    def check(self, *flags, **options):
        plain, probed = self.sides(*flags, **options)
        program = pathlib.Path(self.folder.name) / self.id()
        for units in ([plain, probed], [probed, plain]):
            must(COMPILER, self.main, self.probe, *units, "-o", program)
            must("timeout", "120", program)
        return self.defined(plain), self.defined(probed)

    def test_O0(self):
        plain, probed = self.check("-O0", "-g")
        kept = {"_ZTWN6shared9of_threadE", "_ZTHN6shared9of_threadE",
                "_ZN6shared4UsedEm", "_ZN6shared6LabelsEm", "shared_named",
                "_ZN6shared8VersionsEm",
                "_ZN6shared8VersionsEm.avx2", "_ZN6shared8VersionsEm.resolver",
                "_ZN6shared8ExplicitImE3GetEm", "_ZN6shared8ExplicitImE4MoreEm"}
        self.assertEqual(
            {name for name in probed if not name.endswith(".preemptible")}, kept)
        self.assertEqual(probed - kept,
                         {name + ".preemptible" for name in plain - kept})
        for name in ("shared_c", "_ZN6shared4BaseC1Em", "_ZN6shared4BaseD0Ev",
                     "_ZThn8_N6shared4BothD0Ev", "_ZTv0_n24_N6shared4BothD1Ev",
                     "_ZTch0_v0_n24_N6shared4Both4SelfEv",
                     "_ZZN6shared6LambdaEmENKUlmE_clEm",
                     "_ZZN6shared10LocalClassEmEN5Local3GetEm"):
            self.assertIn(name + ".preemptible", probed)

    def test_O2(self):
        self.check("-O2", "-g")

    def test_initial_exec(self):
        self.check("-O2", "-fPIC", tls="initial-exec")

    @left_to_all
    def test_O1(self):
        self.check("-O1")

    @left_to_all
    def test_O3(self):
        self.check("-O3", "-g", "-ffunction-sections")

    @left_to_all
    def test_O0_initial_exec(self):
        self.check("-O0", "-fPIC", tls="initial-exec")

    @left_to_all
    def test_in_a_shared_object(self):
        plain, probed = self.sides("-O1", "-fPIC", tls="initial-exec")
        library = pathlib.Path(self.folder.name) / "libside.so"
        program = pathlib.Path(self.folder.name) / self.id()
        must(COMPILER, "-shared", probed, "-o", library)
        must(COMPILER, "-rdynamic", self.main, self.probe, plain, library,
             f"-Wl,-rpath,{library.parent}", "-o", program)
        must("timeout", "120", program)

    def test_second_names_of_another_release_are_dropped(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "input.cc"
            target = pathlib.Path(folder) / "output.o"
            source.write_text("typedef int V __attribute__((vector_size(16))); "
                              "inline int f(V v) { return v[0]; } "
                              "int g(V v) { return f(v); }")
            must(COMPILER, "-O0", "-fabi-compat-version=2", *plugged(), "-c",
                 source, "-o", target)
            self.assertEqual(self.defined(target), {"_Z1fDv4_i.preemptible"})

    def library(self, *flags):
        """Links two units that use the standard library."""
        units = in_parallel(
            lambda name: self.object("library.cc", name, *flags, *plugged(),
                                     "-DUNIT=" + name), ("First", "Second"))
        program = pathlib.Path(self.folder.name) / self.id()
        must(COMPILER, self.library_main, self.probe, *units, "-o", program)
        must("timeout", "120", program)
        names = self.defined(program)
        self.assertEqual(
            {name for name in names if name.startswith("_Z")
             and not name.endswith(".preemptible")}, set())
        for unit in units:
            self.assertLessEqual(self.defined(unit), names)
        self.assertRegex(" ".join(names), r"_M_realloc_insert\S+\.preemptible")

    def test_standard_library(self):
        self.library("-O2")

    @left_to_all
    def test_standard_library_O0(self):
        self.library("-O0", "-g")


class Code(unittest.TestCase):
    """The probes and guards of small functions."""

    def assembly(self, text, *flags, **options):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "input.cc"
            source.write_text(text)
            return must(COMPILER, "-std=c++20", *(flags or ("-O2",)),
                        *plugged(**options), "-S", source, "-o", "-")

    def body(self, text, *flags, **options):
        """The assembly of function f, which is extern "C"."""
        found = re.search(r"^f:\n(.*?)^\t\.size\tf,",
                          self.assembly(text, *flags, **options), re.S | re.M)
        self.assertIsNotNone(found)
        return found.group(1)

    def probes(self, text, *flags):
        return self.body(text, *flags).count("call\tyamanote_preempt_probe")

    def test_a_leaf_has_none(self):
        self.assertEqual(
            self.probes('extern "C" int f(int a) { return a * 3; }'), 0)

    def test_a_loop_has_one(self):
        self.assertEqual(self.probes(
            'extern "C" int f(int* a, int n) { int s = 1; '
            'for (int i = 0; i < n; ++i) s = s * 3 + a[i]; return s; }'), 1)

    def test_nested_loops_of_which_the_inner_one_always_runs_have_one(self):
        self.assertEqual(self.probes(
            'extern "C" long f(long* a, long n) { long s = 1, i = 0; do { '
            'long k = n; do s = s * 3 + a[k]; while (a[--k]); } while (++i < n); '
            'return s; }'), 1)

    def test_a_short_loop_has_none(self):
        self.assertEqual(self.probes(
            'extern "C" int f(int* a) { int s = 1; '
            'for (int i = 0; i < 40; ++i) s = s * 3 + a[i]; return s; }'), 0)

    def test_a_long_counted_loop_has_one(self):
        self.assertEqual(self.probes(
            'extern "C" int f(int* a) { int s = 1; '
            'for (int i = 0; i < 4000; ++i) s = s * 3 + a[i]; return s; }'), 1)

    def rounds(self, text, *flags):
        """The innermost loops of f that are one block each: their instructions."""
        body = self.body(text, *flags)
        return [found.group(2) for found in re.finditer(
            r"^(\.L\d+):\n((?:(?!\.L).*\n)*?)\tj\w+\t\1$", body, re.M)]

    def test_a_small_counted_loop_is_cut_into_strips(self):
        counted = (
            "void f(long* a, long* b, long v) { for (; a != b; ++a, v += 3) *a = v; }",
            "void f(long* a, long n, long v) { for (long i = 0; i < n; ++i) a[i] = v++; }",
            "long f(int* a, int n) { long s = 1; "
            "while (n != 0) s = s * 3 + a[--n]; return s; }",
            "double f(double* a, int n) { double s = 0; "
            "for (int i = 0; i < n; ++i) s += a[i]; return s; }",
            "void f(volatile int* a, unsigned n) { do *a = 1; while (--n); }",
            "void f(volatile int* a, unsigned long n) { do *a = 1; while (n -= 24); }",
            # Unsigned, of 32 bits, and the step odd.
            "void f(volatile int* a, unsigned n) { do *a = 1; while (n += 3); }")
        for text in counted:
            for flags in (["-O1"], ["-O2"], ["-O2", "-fPIC"],
                          ["-O3", "-march=native"]):
                with self.subTest(text=text, flags=flags):
                    rounds = self.rounds('extern "C" ' + text, *flags,
                                         "-fno-tree-vectorize", "-fchecking")
                    self.assertTrue(rounds)
                    for code in rounds:
                        self.assertNotIn("yamanote_preempt_flag", code)
                    self.assertEqual(self.probes('extern "C" ' + text, *flags,
                                                 "-fno-tree-vectorize"), 1)

    def test_a_loop_that_is_not_counted_is_not_cut_into_strips(self):
        others = (
            "long f(long* a, long v) { long s = 1; "
            "do s = s * 3 + *a++; while (s != v); return s; }",
            "void f(volatile long* a) { while (*a++ != 0) {} }",
            # 32 bits, full circle after 2^30 rounds: who would count them?
            "void f(volatile int* a, unsigned n) { do *a = 1; while (n += 4); }",
            "__attribute__((cold)) long f(int* a, int n) { long s = 1; "
            "do s = s * 3 + a[--n]; while (n != 0); return s; }")
        for text in others:
            with self.subTest(text=text):
                rounds = self.rounds('extern "C" ' + text)
                self.assertEqual(self.probes('extern "C" ' + text), 1)
                self.assertNotIn("cmov", self.body('extern "C" ' + text))
                self.assertTrue(any("yamanote_preempt_flag" in code
                                    for code in rounds))

    def test_a_call_has_one_at_the_entry(self):
        body = self.body('int g(int); extern "C" int f(int a) '
                         '{ return g(a) + g(a + 1); }')
        self.assertEqual(body.count("call\tyamanote_preempt_probe"), 1)
        self.assertLess(body.index("yamanote_preempt_flag"), body.index("_Z1gi"))

    def test_a_call_that_is_seldom_made_has_it_there(self):
        body = self.body('int g(int); extern "C" int f(int a) '
                         '{ if (__builtin_expect(a > 9, 0)) return g(a) + 2; '
                         'return a; }')
        self.assertEqual(body.count("call\tyamanote_preempt_probe"), 1)
        self.assertLess(body.index("$9"), body.index("yamanote_preempt_flag"))

    def test_a_tail_call_has_one(self):
        self.assertEqual(self.probes(
            'int g(int); extern "C" int f(int a) { return g(a); }'), 1)

    def test_a_loop_with_a_call_has_one(self):
        self.assertEqual(self.probes(
            'void g(int); extern "C" void f(int n) '
            '{ do g(n); while (--n); }'), 1)

    def test_a_call_of_a_leaf_has_none(self):
        self.assertEqual(self.probes(
            '[[gnu::noinline]] static int g(int a) { return a * 5; } '
            'extern "C" int f(int a) { return g(a) + g(a + 1); }'), 0)

    def test_a_call_of_a_builtin_has_none(self):
        self.assertEqual(self.probes(
            'extern "C" void f(char* a, char* b, unsigned long n) '
            '{ __builtin_memcpy(a, b, n); a[0] = 1; }'), 0)

    def test_a_call_that_never_comes_back_has_none(self):
        self.assertEqual(self.probes(
            '[[noreturn]] void g(int); extern "C" int f(int a) '
            '{ if (a < 0) g(a); return a * 3; }'), 0)

    def test_recursion_has_one(self):
        self.assertGreaterEqual(self.probes(
            'extern "C" int f(int a) { return a < 2 ? a : f(a - 1) * f(a - 2); }',
            "-O1"), 1)

    def test_every_loop_has_one_without_optimisation(self):
        self.assertEqual(self.probes(
            'extern "C" int f(int n) { int s = 0; for (int i = 0; i < n; ++i) '
            's += i; while (s > n) --s; return s; }', "-O0"), 2)

    def test_a_loop_that_takes_a_lock_has_it_when_the_lock_is_back(self):
        for flags in (["-O2"], ["-O0"]):
            body = self.body(
                '#include <pthread.h>\nextern "C" void f(pthread_mutex_t* m, '
                'int* done) { int d; do { pthread_mutex_lock(m); d = *done; '
                'pthread_mutex_unlock(m); } while (!d); }', *flags)
            flag = "%fs:yamanote_preempt_flag"
            self.assertRegex(body, r"call\tpthread_mutex_unlock(@PLT)?\s+(#APP\s+)?"
                             r"(#.*\s+)*cmpb\t\$0, " + flag)
            held = body[body.index("call\tpthread_mutex_lock"):
                        body.index("call\tpthread_mutex_unlock")]
            self.assertNotIn(flag, held)

    def test_a_naked_function_has_none(self):
        self.assertEqual(self.probes(
            'extern "C" __attribute__((naked)) void f() '
            '{ asm("1: dec %rdi; jnz 1b; ret"); }'), 0)

    def test_the_runtime_has_none(self):
        self.assertNotIn("yamanote_preempt_probe", self.assembly(
            'void g(int); extern "C" void yamanote_preempt_f(int n) '
            '{ while (--n) g(n); }'))

    def test_a_guarded_function_has_a_guard_only(self):
        for marked in ("thread_local int v; void g(); "
                       'extern "C" int f(int n) {',
                       "static int v; void g(); extern \"C\" "
                       "__attribute__((yamanote_no_preempt)) int f(int n) {",
                       "#include <cerrno>\n#define v errno\nvoid g(); "
                       'extern "C" int f(int n) {',
                       "#include <pthread.h>\nvoid g(); "
                       'extern "C" long f(int n) { long v = pthread_self();'):
            body = self.body(marked + "if (n < 0) return 1; do { g(); ++v; } "
                             "while (--n); return v; }")
            self.assertNotIn("yamanote_preempt_flag", body)
            # Read and raised on entry, restored before the return.
            self.assertGreaterEqual(
                body.count("%fs:yamanote_preempt_guard@tpoff"), 3)

    def test_what_finds_memory_by_the_thread_has_a_guard_only(self):
        loop = "do { g(); v += %s; } while (--n); return v; }"
        head = 'void g(); extern "C" long f(long n) { long v = 0; '
        cases = {
            "pointer": head + loop % "(long)__builtin_thread_pointer()",
            "base": "#include <immintrin.h>\n" + head + loop % "(long)_readfsbase_u64()",
            "globals": 'extern "C" void* __cxa_get_globals(); ' + head +
                       loop % "(long)__cxa_get_globals()",
            "globals, fast": 'extern "C" void* __cxa_get_globals_fast(); ' + head +
                             loop % "(long)__cxa_get_globals_fast()",
            "assembly": head + 'long w; asm("movq %%fs:0, %0" : "=r"(w)); ' + loop % "w",
            "assembly, in capitals": head + 'long w; asm("MOVQ %%FS:0, %0" : "=r"(w)); ' +
                                     loop % "w",
            "assembly, base": head + 'long w; asm("rdfsbase %0" : "=r"(w)); ' + loop % "w"}
        for name, text in cases.items():
            for flags in (["-O2", "-mfsgsbase"], ["-O0", "-mfsgsbase"]):
                with self.subTest(name, flags=flags):
                    self.guard_only(self.body(text, *flags))
        # No language of C++'s.
        for name, at in (("constant", "*(long __seg_fs*)0x28"), ("argument", "p->b"),
                         ("array", "p->c[n]"), ("variable", "w"), ("pointer", "(long)&p->b")):
            with self.subTest(name):
                self.guard_only(self.body(
                    "struct S { long a, b, c[9]; }; extern long __seg_fs w; void g(); "
                    "long f(long n, struct S __seg_fs* p) { long v = 0; " + loop % at,
                    "-O2", "-x", "c", "-std=gnu11"))

    def guard_only(self, body):
        self.assertNotIn("yamanote_preempt_flag", body)
        self.assertGreaterEqual(body.count("%fs:yamanote_preempt_guard@tpoff"), 3)

    def test_a_probe_by_hand_makes_no_guard(self):
        body = self.body('#include "yamanote/preempt.h"\nvoid g(); extern "C" '
                         "void f(long n) { do { g(); yamanote::Probe(); } while (--n); }",
                         "-O2", f"-I{ROOT}/include")
        self.assertNotIn("yamanote_preempt_guard", body)
        # That by hand, and the plug-in's.
        self.assertGreaterEqual(body.count("yamanote_preempt_flag"), 2)

    def test_a_guarded_leaf_has_nothing(self):
        self.assertNotIn("yamanote", self.body(
            'thread_local int v; extern "C" int f(int n) '
            '{ do v += n; while (--n); return v; }'))

    def test_text_of_a_probe(self):
        body = self.body('extern "C" int f(int* a, int n) { int s = 1; '
                         'for (int i = 0; i < n; ++i) s = s * 3 + a[i]; '
                         'return s; }')
        self.assertRegex(
            body, r"cmpb\t\$0, %fs:yamanote_preempt_flag@tpoff\s+jne\t1f\s+2:"
            r"\s+\.subsection 1\s+1:\s+leaq\t-128\(%rsp\), %rsp"
            r"\s+call\tyamanote_preempt_probe"
            r"\s+\.byte\t0xa8, 0, 0x48, 0x83, 0xec, 0x80, 0xe9\s+\.long\t2b - \. - 4"
            r"\s+\.previous")

    def alive(self, text, *flags):
        return [int(number) for number in re.findall(
            r"\.byte\t0xa8, (\d+), 0x48, 0x83, 0xec, 0x80", self.body(text, *flags))]

    def test_what_may_be_alive(self):
        numbers = ('extern "C" int f(int* a, int n) { int s = 1; '
                   'for (int i = 0; i < n; ++i) s = s * 3 + a[i]; return s; }')
        sums = ('extern "C" double f(double* a, int n) { double s = 1; '
                'for (int i = 0; i < n; ++i) s = s * 3 + a[i]; return s; }')
        self.assertEqual(self.alive(numbers), [0x00])
        self.assertEqual(self.alive(sums), [0x46])
        self.assertEqual(self.alive(sums, "-O0"), [0x00])
        mmx = ('typedef int W __attribute__((vector_size(8))); '
               'extern "C" int f(int* a, int n, W m) { int s = 1; '
               'for (int i = 0; i < n; ++i) { asm("" : "+y"(m), "+r"(s)); '
               's = s * 3 + a[i]; } return s; }')
        for text in (sums.replace("double", "long double"), mmx):
            self.assertEqual(self.alive(text), [0x01])
        # More sums than there are registers; and a mask that the next round needs.
        many = ('#include <immintrin.h>\nextern "C" __m512d f(const double* a, '
                'long n) { __m512d s[40] = {};\n#pragma GCC unroll 40\n'
                'for (long i = 0; i < n; ++i) {\n#pragma GCC unroll 40\n'
                'for (int k = 0; k < 40; ++k) s[k] += _mm512_loadu_pd(a + 8 * k);'
                ' a += 320; } __m512d t = s[0];\n#pragma GCC unroll 40\n'
                'for (int k = 1; k < 40; ++k) t *= s[k]; return t; }')
        masked = ('#include <immintrin.h>\nextern "C" __m512d f(const double* a, '
                  'long n, __mmask8 m) { __m512d s = {}; for (long i = 0; i < n; '
                  '++i) { __m512d x = _mm512_loadu_pd(a + 8 * i); '
                  's = _mm512_mask_add_pd(s, m, s, x); '
                  'm = _mm512_cmp_pd_mask(s, x, 1); } return s; }')
        for text, number in ((many, 0xc6), (masked, 0x66)):
            found = self.alive(text, "-O2", "-mavx512f")
            self.assertEqual(set(found), {number})

    def test_an_assembler_that_pads_leaves_what_the_runtime_reads(self):
        # Gaps between the cold parts, for all distances from a boundary.
        text = "".join(
            'void g(int); extern "C" double f%d(double* a, int n) { double s = 1; '
            'asm(".subsection 1; .fill %d, 1, 0x90; .previous"); '
            'for (int i = 0; i < n; ++i) s = s * 3 + a[i]; return s; } '
            'extern "C" void h%d(int n) { do g(n); while (--n); }' % (n, n * 7 % 32, n)
            for n in range(64))
        within = "-mbranches-within-32B-boundaries"
        for pads in ([within], [within, "-malign-branch-prefix-size=0"],
                     [within, "-malign-branch-prefix-size=1"],
                     [within, "-malign-branch=jcc+fused+jmp+call+ret+indirect"]):
            for model in (["-fno-pic", "local-exec"], ["-fPIC", "initial-exec"]):
                with self.subTest(pads=pads, model=model):
                    self.check_bytes(
                        text, "00 64 times, 46 64 times\n", model[0],
                        *["-Wa," + pad for pad in pads], *plugged(tls=model[1]))
        by_hand = '#include "yamanote/preempt.h"\nvoid g(int);' + "".join(
            "void f%d(int n) { "
            'asm volatile(".subsection 1; .fill %d, 1, 0x90; .previous"); '
            "do g(n), yamanote::Probe(); while (--n); }" % (n, n * 7 % 32)
            for n in range(64))
        for pic in ("-fno-pic", "-fPIC"):
            with self.subTest("by hand", pic=pic):
                self.check_bytes(by_hand, "e7 64 times\n", pic, f"-I{ROOT}/include",
                                 "-Wa,-mbranches-within-32B-boundaries",
                                 "-Wa,-malign-branch-prefix-size=1")

    def check_bytes(self, text, expected, *flags):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "input.cc"
            output = pathlib.Path(folder) / "output.o"
            source.write_text(text)
            must(COMPILER, "-std=c++20", "-O2", *flags, "-c", source, "-o", output)
            checked = must(sys.executable, TESTS / "cold_parts.py", output)
        self.assertEqual(checked, expected)

    def test_a_caller_knows_what_a_probe_loses(self):
        # Without the clobbers, -fipa-ra keeps v in a register around the call.
        body = self.body(
            '[[gnu::noinline]] static int g(int* a, int n) { int s = 1; '
            'for (int i = 0; i < n; ++i) s = s * 3 + a[i]; return s; } '
            'extern "C" double f(double v, int* a, int n) '
            '{ return v * 3 + g(a, n) * v; }')
        self.assertRegex(body, r"movsd\t%xmm\d, \d*\(%rsp\)")

    def test_initial_exec(self):
        text = self.assembly(
            'thread_local int v; void g(); void h() { g(); ++v; } '
            'extern "C" int f(int* a, int n) { int s = 1; '
            'for (int i = 0; i < n; ++i) s = s * 3 + a[i]; return s; }',
            "-O2", "-fPIC", tls="initial-exec")
        self.assertRegex(text, r"movq\tyamanote_preempt_flag@gottpoff\(%rip\)")
        self.assertRegex(text, r"movq\tyamanote_preempt_guard@gottpoff\(%rip\)")
        self.assertRegex(text,
                         r"call\t\*yamanote_preempt_probe@GOTPCREL\(%rip\)")
        self.assertNotRegex(text, r"yamanote_preempt_\w+@tpoff")

    def test_intel_syntax_and_attributes_of_c(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "input.c"
            source.write_text("int g(int); int f(int n) "
                              "{ while (n) n -= g(n); return 0; }")
            must(COMPILER, "-x", "c", "-O2", "-masm=intel", *plugged(), "-c",
                 source, "-o", pathlib.Path(folder) / "output.o")


class Options(unittest.TestCase):
    """Wrong options and compilers are refused with a reason."""

    def refusal(self, *flags):
        done = command(COMPILER, "-x", "c++", "-c", "/dev/null", "-o",
                       "/dev/null", *flags)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def test_unknown_value(self):
        message = self.refusal(*plugged(tls="global"))
        self.assertIn("'global'; it must be 'local-exec' or 'initial-exec'",
                      message.replace("‘", "'").replace("’", "'"))

    def test_unknown_key(self):
        self.assertIn("the options are", self.refusal(*plugged(speed="9")))

    def test_other_compiler(self):
        version = must(COMPILER, "-dumpfullversion").strip()
        other = version[:-1] + ("9" if version[-1] != "9" else "8")
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder) / "yamanote_gcc.so"
            copy.write_bytes(pathlib.Path(PLUGIN).read_bytes().replace(
                version.encode() + b"\0", other.encode() + b"\0"))
            message = self.refusal(f"-fplugin={copy}")
        self.assertIn(f"was built for GCC {other}", message)
        self.assertIn(f"cannot work in GCC {version}", message)

    def test_link_time_optimisation(self):
        for flags in (["-flto"], ["-flto=2", "-ffat-lto-objects"]):
            message = self.refusal(*plugged(), *flags)
            self.assertIn("-fno-lto", message)
            self.assertIn("clang", message)
            must(COMPILER, "-x", "c++", "-c", "/dev/null", "-o", "/dev/null", *plugged(),
                 *flags, "-fno-lto")

    def test_a_plugin_for_the_linkers_compiler(self):
        with tempfile.TemporaryDirectory() as folder:
            plain = pathlib.Path(folder) / "plain.o"
            program = pathlib.Path(folder) / "program"
            source = pathlib.Path(folder) / "input.cc"
            source.write_text("int main() {}")
            must(COMPILER, "-flto", "-c", source, "-o", plain)
            must(COMPILER, "-flto", plain, "-o", program)
            done = command(COMPILER, "-flto", *plugged(), plain, "-o", program)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("cannot insert probes while linking", done.stderr)

    def test_report(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "input.cc"
            source.write_text('void g(); extern "C" void f() { g(); g(); } '
                              'thread_local int v; extern "C" int h() '
                              '{ g(); return v; }')
            done = command(COMPILER, "-O2", *plugged(report=""), "-S", source,
                           "-o", "/dev/null")
        self.assertIn("yamanote: f: 1 probes", done.stderr)
        self.assertIn("yamanote: h: no probes (thread_local), guarded",
                      done.stderr)


if __name__ == "__main__":
    COMPILER, PLUGIN = sys.argv[1:3]
    ALL = "--all" in sys.argv
    unittest.main(
        argv=sys.argv[:1] + [a for a in sys.argv[3:] if a != "--all"],
        verbosity=2)
