// library.cc - one of several units with the same parts of the standard library.

#include <cstdint>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <vector>

// UNIT is this unit's function, which the test names.
uint64_t UNIT(uint64_t n) {
  std::vector<std::string> words;
  std::map<std::string, uint64_t> counts;
  const std::function<std::string(uint64_t)> name = [](uint64_t i) {
    return "w" + std::to_string(i % 7);
  };
  for (uint64_t i = 0; i < n; ++i) words.push_back(name(i));
  const std::regex odd("w([135])");
  for (const std::string& word : words) {
    std::smatch found;
    if (std::regex_match(word, found, odd)) counts[found[1].str()] += 1;
  }
  uint64_t result = counts.size();
  for (const auto& [word, count] : counts) {
    result = result * 31 + std::stoull(word) * count;
  }
  return result;
}
