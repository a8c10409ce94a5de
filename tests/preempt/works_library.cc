// works_library.cc - libc and libstdc++ used by tasks that are preempted between
// any two of their calls.

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iomanip>
#include <list>
#include <locale>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/preempt/works.h"

namespace yamanote::tests {
namespace {

unsigned Mix(unsigned x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

bool Malloc(unsigned task, unsigned round) {
  constexpr size_t kStep = 61;  // Some of each block suffice to see a mix-up.
  struct Block {
    unsigned char* bytes;
    size_t size;
    unsigned char mark;
  };
  std::vector<Block> blocks;
  bool right = true;
  const auto drop = [&](size_t i) {
    for (size_t j = 0; j < blocks[i].size; j += kStep)
      right = right && blocks[i].bytes[j] == blocks[i].mark;
    std::free(blocks[i].bytes);
    blocks.erase(blocks.begin() + static_cast<long>(i));
  };
  for (unsigned i = 0; i < 120; ++i) {
    const unsigned dice = Mix(task * 1000003 + round * 10007 + i);
    if (dice % 3 != 0 || blocks.empty()) {
      const size_t size = 1 + dice % (dice % 16 == 0 ? 20000 : 300);
      Block block{static_cast<unsigned char*>(std::malloc(size)), size,
                  static_cast<unsigned char>(dice >> 8)};
      std::memset(block.bytes, block.mark, size);
      blocks.push_back(block);
    } else {
      drop(dice % blocks.size());
    }
  }
  while (!blocks.empty()) drop(blocks.size() - 1);
  return right;
}

bool Containers(unsigned task, unsigned round) {
  std::map<std::string, unsigned> ordered;
  std::unordered_map<unsigned, std::unique_ptr<std::string>> hashed;
  std::list<unsigned> list;
  for (unsigned i = 0; i < 80; ++i) {
    const unsigned key = Mix(i + task * 131 + round);
    ordered[std::to_string(key)] = key;
    hashed[key] = std::make_unique<std::string>(std::to_string(key) + "!");
    list.push_front(key);
  }
  list.sort();
  bool right = std::is_sorted(list.begin(), list.end());
  for (const auto& [text, key] : ordered) {
    const auto found = hashed.find(key);
    right = right && found != hashed.end() && *found->second == text + "!";
  }
  return right;
}

bool Stdio(unsigned task, unsigned round) {
  std::FILE* const file = std::tmpfile();
  if (file == nullptr) return false;
  for (unsigned i = 0; i < 20; ++i)
    std::fprintf(file, "%u %u %08x %.3f\n", task, round, Mix(i), i * 0.5);
  std::rewind(file);
  bool right = true;
  for (unsigned i = 0; i < 20; ++i) {
    unsigned a = 0, b = 0, c = 0;
    float d = 0;
    right = right && std::fscanf(file, "%u %u %x %f", &a, &b, &c, &d) == 4 &&
            a == task && b == round && c == Mix(i) &&
            d == static_cast<float>(i) * 0.5F;
  }
  std::fclose(file);
  return right;
}

bool Streams(unsigned task, unsigned round) {
  std::ostringstream out;
  for (unsigned i = 0; i < 30; ++i) {
    out << std::setw(8) << std::hex << Mix(i) << ' ' << std::dec << task << ' '
        << std::setprecision(10) << (round + i) * 0.25 << '\n';
  }
  std::istringstream in(out.str());
  for (unsigned i = 0; i < 30; ++i) {
    unsigned a = 0, b = 0;
    double c = 0;
    in >> std::hex >> a >> std::dec >> b >> c;
    if (!in || a != Mix(i) || b != task || c != (round + i) * 0.25)
      return false;
  }
  return true;
}

// Facets are made at first use, under a lock of libstdc++.
bool Locale(unsigned task, unsigned round) {
  std::locale locale(std::locale::classic(), new std::ctype<char>);
  std::ostringstream out;
  out.imbue(locale);
  std::tm when{};
  when.tm_year = 126;
  when.tm_mon = static_cast<int>(task % 12);
  when.tm_mday = 1 + static_cast<int>(round % 28);
  out << std::put_time(&when, "%Y-%m-%d");
  const std::string text = out.str();
  std::string upper = "yamanote";
  for (char& c : upper) c = std::toupper(c, locale);
  return upper == "YAMANOTE" &&
         text == fmt::format("2026-{:02}-{:02}", task % 12 + 1, round % 28 + 1);
}

// Who comes while another one's constructor runs would find the library half made.
bool Dlopen(unsigned, unsigned) {
  void* const library = dlopen(YAMANOTE_SLOW_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return false;
  const auto* const state =
      static_cast<const volatile int*>(dlsym(library, "slow_library_state"));
  bool right = state != nullptr && *state == 2;
  Linger(20);
  right = right && *state == 2;
  return dlclose(library) == 0 && right;
}

// The comparison is preempted in the middle of libc's function.
bool Qsort(unsigned task, unsigned round) {
  std::vector<unsigned> numbers(200);
  for (unsigned i = 0; i < numbers.size(); ++i)
    numbers[i] = Mix(i * 7 + task + round * 13);
  std::vector<unsigned> expected = numbers;
  std::qsort(numbers.data(), numbers.size(), sizeof(unsigned),
             [](const void* a, const void* b) {
               unsigned x = 0, y = 0;
               std::memcpy(&x, a, sizeof x);
               std::memcpy(&y, b, sizeof y);
               Linger(3);
               return x < y ? -1 : x > y ? 1 : 0;
             });
  std::sort(expected.begin(), expected.end());
  const unsigned wanted = expected[expected.size() / 2];
  return numbers == expected &&
         std::binary_search(numbers.begin(), numbers.end(), wanted);
}

bool Json(unsigned task, unsigned round) {
  nlohmann::json document;
  for (unsigned i = 0; i < 12; ++i) {
    document["list"].push_back(
        {{"task", task}, {"round", round}, {"text", std::string(i, 'x')}});
  }
  return nlohmann::json::parse(document.dump(2)) == document;
}

bool Regex(unsigned task, unsigned) {
  static const std::regex pattern("([a-z]+)-([0-9]+)");
  std::smatch match;
  const std::string text = "core-" + std::to_string(task) + " ";
  return std::regex_search(text, match, pattern) && match[1] == "core" &&
         match[2] == std::to_string(task);
}

// A function that uses errno is not preempted; its callers are, between the calls.
[[gnu::noinline]] void SetErrno(int value) { errno = value; }
[[gnu::noinline]] int ReadErrno() { return errno; }

// errno is the task's: others set it meanwhile, and it may go on elsewhere.
bool Errno(unsigned task, unsigned round) {
  const int mine = 1 + static_cast<int>((task + round) % 30);
  SetErrno(mine);
  Linger(200);
  if (ReadErrno() != mine) return false;
  char* end = nullptr;
  SetErrno(0);
  std::strtol("99999999999999999999", &end, 10);
  Linger(50);
  return ReadErrno() == ERANGE;
}

}  // namespace

std::vector<NamedWork> LibraryWorks() {
  return {{"malloc", &Malloc}, {"containers", &Containers},
          {"stdio", &Stdio},   {"streams", &Streams},
          {"locale", &Locale}, {"dlopen", &Dlopen},
          {"qsort", &Qsort},   {"json", &Json},
          {"regex", &Regex},   {"errno", &Errno}};
}

}  // namespace yamanote::tests
