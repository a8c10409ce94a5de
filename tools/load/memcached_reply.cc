// memcached_reply.cc - lines and value blocks of memcached's text protocol.

#include "tools/load/memcached_reply.h"

#include <algorithm>
#include <charconv>

namespace yamanote::load {
namespace {

constexpr size_t kMaxLine = 2048;
constexpr uint64_t kMaxValue = 64u << 20;

}  // namespace

MemcachedReply::Progress MemcachedReply::Finish(Progress progress) {
  last_values_ = values_;
  values_ = 0;
  return progress;
}

MemcachedReply::Progress MemcachedReply::ReadLine(std::string_view line) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  if (line.starts_with("VALUE ")) {
    // VALUE key flags bytes [cas]
    size_t at = 6;
    for (int i = 0; i < 2; ++i) {
      at = line.find(' ', at);
      if (at == std::string_view::npos) return Progress::kGarbage;
      ++at;
    }
    uint64_t bytes = 0;
    const auto [end, error] =
        std::from_chars(line.data() + at, line.data() + line.size(), bytes);
    if (error != std::errc() || bytes > kMaxValue) return Progress::kGarbage;
    ++values_;
    skip_ = bytes + 2;
    return Progress::kMore;
  }
  if (line == "END" || line == "STORED" || line == "NOT_STORED") {
    return Finish(Progress::kAnswered);
  }
  if (line == "ERROR" || line.starts_with("SERVER_ERROR") ||
      line.starts_with("CLIENT_ERROR")) {
    return Finish(Progress::kRefused);
  }
  return Progress::kGarbage;
}

MemcachedReply::Progress MemcachedReply::Read(std::string_view& input) {
  while (!input.empty()) {
    if (skip_ > 0) {
      const uint64_t taken = std::min<uint64_t>(skip_, input.size());
      input.remove_prefix(taken);
      skip_ -= taken;
      continue;
    }
    const size_t end = input.find('\n');
    if (line_.size() + std::min(end, input.size()) > kMaxLine) {
      return Progress::kGarbage;
    }
    if (end == std::string_view::npos) {
      line_.append(input);
      input = {};
      break;
    }
    Progress progress;
    if (line_.empty()) {
      progress = ReadLine(input.substr(0, end));
    } else {
      line_.append(input.substr(0, end));
      progress = ReadLine(line_);
      line_.clear();
    }
    input.remove_prefix(end + 1);
    if (progress != Progress::kMore) return progress;
  }
  return Progress::kMore;
}

}  // namespace yamanote::load
