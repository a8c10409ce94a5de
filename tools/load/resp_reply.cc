// resp_reply.cc - lines, bulk strings and arrays of RESP2.

#include "tools/load/resp_reply.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace yamanote::load {
namespace {

constexpr size_t kMaxLine = 2048;
constexpr int64_t kMaxString = int64_t{512} << 20;
constexpr int64_t kMaxArray = int64_t{1} << 24;

}  // namespace

RespReply::Progress RespReply::Finish() {
  left_ = 1;
  last_values_ = std::exchange(values_, 0);
  return std::exchange(refused_, false) ? Progress::kRefused
                                        : Progress::kAnswered;
}

bool RespReply::ReadLine(std::string_view line) {
  if (line.size() < 2 || line.back() != '\r') return false;
  line.remove_suffix(1);
  const char kind = line.front();
  line.remove_prefix(1);
  --left_;
  if (kind == '+') return true;
  if (kind == '-') {
    refused_ = true;
    return true;
  }
  int64_t number = 0;
  const auto [end, error] =
      std::from_chars(line.data(), line.data() + line.size(), number);
  if (error != std::errc() || end != line.data() + line.size()) return false;
  switch (kind) {
    case ':':
      return true;
    case '$':
      if (number > kMaxString) return false;
      if (number < 0) return true;
      ++values_;
      skip_ = static_cast<uint64_t>(number) + 2;
      return true;
    case '*':
      if (number > kMaxArray || left_ > static_cast<uint64_t>(kMaxArray))
        return false;
      left_ += static_cast<uint64_t>(std::max<int64_t>(number, 0));
      return true;
    default:
      return false;
  }
}

RespReply::Progress RespReply::Read(std::string_view& input) {
  while (!input.empty()) {
    if (skip_ > 0) {
      const uint64_t taken = std::min<uint64_t>(skip_, input.size());
      input.remove_prefix(taken);
      skip_ -= taken;
      if (skip_ == 0 && left_ == 0) return Finish();
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
    bool read;
    if (line_.empty()) {
      read = ReadLine(input.substr(0, end));
    } else {
      line_.append(input.substr(0, end));
      read = ReadLine(line_);
      line_.clear();
    }
    input.remove_prefix(end + 1);
    if (!read) return Progress::kGarbage;
    if (skip_ == 0 && left_ == 0) return Finish();
  }
  return Progress::kMore;
}

}  // namespace yamanote::load
