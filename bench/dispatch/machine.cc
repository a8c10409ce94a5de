// machine.cc - the simulated caches, and the functions that instrumented code
// calls.

#include "bench/dispatch/machine.h"

#include <atomic>
#include <cstring>

namespace bench {
namespace {

constexpr size_t kLine = 64;

void Report(const volatile void* address, size_t bytes,
            Machine::Access access) {
  if (current_machine != nullptr)
    current_machine->Touch(address, bytes, access);
}

}  // namespace

Machine* current_machine = nullptr;

void Machine::Name(const void* begin, size_t bytes, const std::string& name) {
  const auto first = reinterpret_cast<uintptr_t>(begin) / kLine;
  const auto last = (reinterpret_cast<uintptr_t>(begin) + bytes - 1) / kLine;
  for (uintptr_t line = first; line <= last; ++line) names_[line] = name;
}

const std::string& Machine::NameOf(uintptr_t line) const {
  static const std::string other = "other";
  const auto found = names_.find(line);
  return found == names_.end() ? other : found->second;
}

void Machine::Touch(const volatile void* address, size_t bytes, Access access) {
  const auto first = reinterpret_cast<uintptr_t>(address) / kLine;
  const auto last = (reinterpret_cast<uintptr_t>(address) + bytes - 1) / kLine;
  const uint64_t self = uint64_t{1} << core_;
  for (uintptr_t line = first; line <= last; ++line) {
    uint64_t& holders = holders_[line];
    const bool held = (holders & self) != 0;
    const bool elsewhere = (holders & ~self) != 0;
    if (!held && elsewhere) {
      ++crossings_[{NameOf(line), core_}].moves;
    } else if (held && elsewhere && access == Access::kStore) {
      ++crossings_[{NameOf(line), core_}].invalidations;
    }
    holders = access == Access::kStore ? self : holders | self;
  }
}

}  // namespace bench

// ---- What the compiler calls; names and shapes as in tsan_interface.h -------

using bench::Machine;
using bench::Report;

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void** slot, void*) {
  Report(slot, 8, Machine::Access::kStore);
}
void __tsan_vptr_read(void** slot) { Report(slot, 8, Machine::Access::kLoad); }
void __tsan_read_range(void* at, unsigned long size) {
  Report(at, size, Machine::Access::kLoad);
}
void __tsan_write_range(void* at, unsigned long size) {
  Report(at, size, Machine::Access::kStore);
}
// LLVM's names for what it makes calls of.
void* __tsan_memset(void* to, int value, unsigned long size) {
  Report(to, size, Machine::Access::kStore);
  return std::memset(to, value, size);
}
void* __tsan_memcpy(void* to, const void* from, unsigned long size) {
  Report(from, size, Machine::Access::kLoad);
  Report(to, size, Machine::Access::kStore);
  return std::memcpy(to, from, size);
}
void* __tsan_memmove(void* to, const void* from, unsigned long size) {
  Report(from, size, Machine::Access::kLoad);
  Report(to, size, Machine::Access::kStore);
  return std::memmove(to, from, size);
}

#define BENCH_PLAIN(bytes)                      \
  void __tsan_read##bytes(void* at) {           \
    Report(at, bytes, Machine::Access::kLoad);  \
  }                                             \
  void __tsan_write##bytes(void* at) {          \
    Report(at, bytes, Machine::Access::kStore); \
  }
BENCH_PLAIN(1)
BENCH_PLAIN(2)
BENCH_PLAIN(4)
BENCH_PLAIN(8)
BENCH_PLAIN(16)
#undef BENCH_PLAIN

#define BENCH_UNALIGNED(bytes)                   \
  void __tsan_unaligned_read##bytes(void* at) {  \
    Report(at, bytes, Machine::Access::kLoad);   \
  }                                              \
  void __tsan_unaligned_write##bytes(void* at) { \
    Report(at, bytes, Machine::Access::kStore);  \
  }
BENCH_UNALIGNED(2)
BENCH_UNALIGNED(4)
BENCH_UNALIGNED(8)
BENCH_UNALIGNED(16)
#undef BENCH_UNALIGNED

// One kernel thread plays all cores: any memory order is strong enough. A
// read-modify-write asks for its line once, to store; so does a failing
// exchange.
#define BENCH_ATOMIC(bits, Type)                                              \
  Type __tsan_atomic##bits##_load(const volatile Type* at, int) {             \
    Report(at, sizeof(Type), Machine::Access::kLoad);                         \
    return *at;                                                               \
  }                                                                           \
  void __tsan_atomic##bits##_store(volatile Type* at, Type value, int) {      \
    Report(at, sizeof(Type), Machine::Access::kStore);                        \
    *at = value;                                                              \
  }                                                                           \
  Type __tsan_atomic##bits##_exchange(volatile Type* at, Type value, int) {   \
    Report(at, sizeof(Type), Machine::Access::kStore);                        \
    const Type old = *at;                                                     \
    *at = value;                                                              \
    return old;                                                               \
  }                                                                           \
  Type __tsan_atomic##bits##_fetch_add(volatile Type* at, Type value, int) {  \
    Report(at, sizeof(Type), Machine::Access::kStore);                        \
    const Type old = *at;                                                     \
    *at = static_cast<Type>(old + value);                                     \
    return old;                                                               \
  }                                                                           \
  Type __tsan_atomic##bits##_fetch_sub(volatile Type* at, Type value, int) {  \
    Report(at, sizeof(Type), Machine::Access::kStore);                        \
    const Type old = *at;                                                     \
    *at = static_cast<Type>(old - value);                                     \
    return old;                                                               \
  }                                                                           \
  int __tsan_atomic##bits##_compare_exchange_strong(                          \
      volatile Type* at, Type* expected, Type value, int, int) {              \
    Report(at, sizeof(Type), Machine::Access::kStore);                        \
    if (*at == *expected) {                                                   \
      *at = value;                                                            \
      return 1;                                                               \
    }                                                                         \
    *expected = *at;                                                          \
    return 0;                                                                 \
  }                                                                           \
  int __tsan_atomic##bits##_compare_exchange_weak(volatile Type* at,          \
                                                  Type* expected, Type value, \
                                                  int success, int failure) { \
    return __tsan_atomic##bits##_compare_exchange_strong(at, expected, value, \
                                                         success, failure);   \
  }
BENCH_ATOMIC(8, uint8_t)
BENCH_ATOMIC(16, uint16_t)
BENCH_ATOMIC(32, uint32_t)
BENCH_ATOMIC(64, uint64_t)
#undef BENCH_ATOMIC

}  // extern "C"
