// json.cc - parses a document with a recursive-descent parser, byte by byte.

#include <cstddef>
#include <cstdint>
#include <string>

namespace {

class Parser {
 public:
  explicit Parser(const std::string& text)
      : at_(text.data()), end_(text.data() + text.size()) {}

  // Returns a sum over all numbers and string lengths.
  uint64_t Value() {
    Skip();
    if (at_ == end_) return 0;
    switch (*at_) {
      case '{':
        return Members('}', true);
      case '[':
        return Members(']', false);
      case '"':
        return String();
      case 't':
        return Word(4, 1);
      case 'f':
        return Word(5, 2);
      case 'n':
        return Word(4, 3);
      default:
        return Number();
    }
  }

 private:
  void Skip() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n')) ++at_;
  }

  uint64_t Word(size_t length, uint64_t value) {
    at_ += length;
    return value;
  }

  uint64_t Number() {
    uint64_t value = 0;
    const bool negative = *at_ == '-';
    if (negative) ++at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') {
      value = value * 10 + static_cast<uint64_t>(*at_++ - '0');
    }
    return negative ? ~value : value;
  }

  uint64_t String() {
    const char* start = ++at_;
    while (at_ != end_ && *at_ != '"') at_ += *at_ == '\\' ? 2 : 1;
    return static_cast<uint64_t>(at_++ - start);
  }

  uint64_t Members(char close, bool named) {
    uint64_t sum = 0;
    ++at_;
    while (true) {
      Skip();
      if (at_ == end_) return sum;
      if (*at_ == close) {
        ++at_;
        return sum;
      }
      if (*at_ == ',') {
        ++at_;
        continue;
      }
      if (named) {
        sum += String();
        Skip();
        ++at_;  // The colon.
      }
      sum += 3 * Value();
    }
  }

  const char* at_;
  const char* end_;
};

}  // namespace

extern "C" uint64_t kernel_json(uint64_t n) {
  std::string text = "[";
  for (int i = 0; i < 64; ++i) {
    text += R"({"id": )" + std::to_string(i * 977) +
            R"(, "name": "request \" )" + std::to_string(i) +
            R"(", "flags": [true, false, null], "at": {"x": -)" +
            std::to_string(i) + R"(, "y": 123456}},)" + "\n";
  }
  text += "]";
  uint64_t sum = 0;
  for (uint64_t round = 0; round < n; ++round) {
    sum = sum * 31 + Parser(text).Value();
  }
  return sum;
}
