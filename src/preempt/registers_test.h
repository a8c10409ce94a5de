// registers_test.h - whether all registers are after a call as they were before it.
//
// For tests of what a preempted task finds again: at a probe, or where a signal
// stopped it.

#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <random>

namespace yamanote::preempt {

// x87's control word, but for the rounding the initial one.
inline constexpr uint16_t kRoundsUp = 0x37f | (2U << 10);

// As a task that runs meanwhile: changes whatever it may.
inline void ScrambleRegisters() {
  errno = 77;
  asm volatile(
      "fninit\n\t"
      "fld1\n\tfldz\n\tfdivrp\n\t"  // Leaves the flag of a division by zero.
      "fstp %%st(0)\n\t"
      "fldcw %[up]\n\t"
      "pcmpeqd %%xmm0, %%xmm0\n\t"
      "movdqa %%xmm0, %%xmm1\n\t"
      "movdqa %%xmm0, %%xmm7\n\t"
      "movdqa %%xmm0, %%xmm15\n\t" ::[up] "m"(kRoundsUp)
      : "xmm0", "xmm1", "xmm7", "xmm15");
  if (__builtin_cpu_supports("avx2")) {
    asm volatile(
        "vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\t"
        "vmovdqa %%ymm0, %%ymm3\n\t"
        "vmovdqa %%ymm0, %%ymm15\n\t" ::
            : "xmm0", "xmm3", "xmm15");
  }
  if (__builtin_cpu_supports("avx512bw")) {
    asm volatile(
        "kxnorq %%k1, %%k1, %%k1\n\t"
        "vpternlogd $255, %%zmm0, %%zmm0, %%zmm0\n\t"
        "vmovdqa64 %%zmm0, %%zmm5\n\t"
        "vmovdqa64 %%zmm0, %%zmm17\n\t"
        "vmovdqa64 %%zmm0, %%zmm31\n\t" ::
            : "xmm0", "xmm5");
  }
}

// Everything that a function may have in registers, around a probe.
struct alignas(64) Registers {
  uint64_t general[15];
  uint8_t vectors[32][64];
  uint64_t masks[8];
  long double x87[2];
  uint32_t mxcsr;
  uint16_t x87_control;
  uint16_t x87_status;
};

#define LOAD_GENERAL                                                           \
  "movq 8(%%rax), %%rbx\n\tmovq 16(%%rax), %%rcx\n\tmovq 24(%%rax), %%rdx\n\t" \
  "movq 32(%%rax), %%rsi\n\tmovq 40(%%rax), %%rdi\n\t"                         \
  "movq 48(%%rax), %%r8\n\tmovq 56(%%rax), %%r9\n\tmovq 64(%%rax), %%r10\n\t"  \
  "movq 72(%%rax), %%r11\n\tmovq 80(%%rax), %%r12\n\tmovq 88(%%rax), "         \
  "%%r13\n\t"                                                                  \
  "movq 96(%%rax), %%r14\n\tmovq 104(%%rax), %%r15\n\tmovq (%%rax), %%rax\n\t"

extern "C" {
using ProbeCall = void (*)();
inline ProbeCall registers_test_call = nullptr;
}

// Sets all registers from `in`, makes `call` with the red zone in use, and writes
// them to `out`.
[[gnu::noinline]] inline void RoundTrip(const Registers& in, Registers& out,
                                        int level, bool x87, ProbeCall call) {
  registers_test_call = call;
  asm volatile("ldmxcsr %0" ::"m"(in.mxcsr));
  if (x87) {
    asm volatile("fldcw %0\n\tfldt %1\n\tfldt %2" ::"m"(in.x87_control),
                 "m"(in.x87[0]), "m"(in.x87[1]));
  } else {
    asm volatile("fninit");
  }
  if (level == 2) {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, "
        "18, "
        "19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
        "vmovdqu64 64*\\n(%0), %%zmm\\n\n\t.endr\n\t"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7\n\tkmovq 8*\\n(%1), %%k\\n\n\t.endr" ::
            "r"(in.vectors),
        "r"(in.masks));
  } else if (level == 1) {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t"
        "vmovdqu 64*\\n(%0), %%ymm\\n\n\t.endr" ::"r"(in.vectors));
  } else {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t"
        "movdqu 64*\\n(%0), %%xmm\\n\n\t.endr" ::"r"(in.vectors));
  }
  asm volatile(
      "pushq %%rbp\n\tpushq %%rbx\n\tpushq %%r12\n\tpushq %%r13\n\tpushq "
      "%%r14\n\t"
      "pushq %%r15\n\tpushq %0\n\t"
      "movq %1, %%rax\n\t"
      "movq $0x5eed, -120(%%rsp)\n\t"  // The red zone.
      LOAD_GENERAL
      "cmpq %%rax, %%rax\n\t"
      "call *registers_test_call(%%rip)\n\t"
      "pushq %%rax\n\tmovq 8(%%rsp), %%rax\n\t"
      "movq %%rbx, 8(%%rax)\n\tmovq %%rcx, 16(%%rax)\n\tmovq %%rdx, "
      "24(%%rax)\n\t"
      "movq %%rsi, 32(%%rax)\n\tmovq %%rdi, 40(%%rax)\n\tmovq %%r8, "
      "48(%%rax)\n\t"
      "movq %%r9, 56(%%rax)\n\tmovq %%r10, 64(%%rax)\n\tmovq %%r11, "
      "72(%%rax)\n\t"
      "movq %%r12, 80(%%rax)\n\tmovq %%r13, 88(%%rax)\n\tmovq %%r14, "
      "96(%%rax)\n\t"
      "movq %%r15, 104(%%rax)\n\tpopq %%rbx\n\tmovq %%rbx, (%%rax)\n\t"
      "popq %0\n\tpopq %%r15\n\tpopq %%r14\n\tpopq %%r13\n\tpopq %%r12\n\tpopq "
      "%%rbx\n\tpopq %%rbp"
      :
      : "d"(out.general), "a"(in.general)
      : "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
  if (level == 2) {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, "
        "18, "
        "19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
        "vmovdqu64 %%zmm\\n, 64*\\n(%0)\n\t.endr\n\t"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7\n\tkmovq %%k\\n, 8*\\n(%1)\n\t.endr\n\t"
        "vzeroupper" ::"r"(out.vectors),
        "r"(out.masks)
        : "memory");
  } else if (level == 1) {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t"
        "vmovdqu %%ymm\\n, 64*\\n(%0)\n\t.endr\n\tvzeroupper" ::"r"(out.vectors)
        : "memory");
  } else {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t"
        "movdqu %%xmm\\n, 64*\\n(%0)\n\t.endr" ::"r"(out.vectors)
        : "memory");
  }
  asm volatile("stmxcsr %0\n\tfnstcw %1\n\tfnstsw %2"
               : "=m"(out.mxcsr), "=m"(out.x87_control), "=m"(out.x87_status));
  if (x87) {
    asm volatile("fstpt %0\n\tfstpt %1" : "=m"(out.x87[1]), "=m"(out.x87[0]));
  }
  asm volatile("fninit");
  const uint32_t initial = 0x1f80;
  asm volatile("ldmxcsr %0" ::"m"(initial));
}

// 0: SSE, 1: AVX, 2: AVX-512.
inline int BestLevel() {
  if (__builtin_cpu_supports("avx512bw")) return 2;
  return __builtin_cpu_supports("avx2") ? 1 : 0;
}

// Fills `in` for a round trip at `level`.
inline void Randomise(std::mt19937_64& random, int level, Registers& in) {
  std::memset(&in, 0, sizeof(in));
  for (uint64_t& value : in.general) value = random();
  const size_t registers = level == 2 ? 32 : 16;
  const size_t bytes = size_t{16} << level;
  for (size_t i = 0; i < registers; ++i) {
    for (size_t j = 0; j < bytes; ++j)
      in.vectors[i][j] = static_cast<uint8_t>(random());
  }
  for (uint64_t& value : in.masks) value = level == 2 ? random() : 0;
  in.x87[0] = 3.25L;
  in.x87[1] = -1e300L;
  in.mxcsr = 0x1f80 | (3u << 13);  // Rounds towards zero.
  in.x87_control = kRoundsUp;
}

// Of the vector registers the first `registers`, the first `bytes` of each.
inline void ExpectSame(const Registers& in, const Registers& out, bool x87,
                       size_t registers, size_t bytes, int masks) {
  for (int i = 0; i < 14; ++i)
    EXPECT_EQ(in.general[i], out.general[i]) << "general register " << i;
  for (size_t i = 0; i < registers; ++i) {
    EXPECT_EQ(std::memcmp(in.vectors[i], out.vectors[i], bytes), 0)
        << "vector register " << i;
  }
  for (int i = 0; i < masks; ++i)
    EXPECT_EQ(in.masks[i], out.masks[i]) << "mask " << i;
  EXPECT_EQ(in.mxcsr, out.mxcsr & ~0x3fU);
  EXPECT_EQ(out.x87_status & 0x3f, 0) << "flags that another task has raised";
  EXPECT_EQ(out.x87_control, x87 ? in.x87_control : 0x37f);
  if (!x87) return;
  EXPECT_EQ(in.x87[0], out.x87[0]);
  EXPECT_EQ(in.x87[1], out.x87[1]);
}

}  // namespace yamanote::preempt
