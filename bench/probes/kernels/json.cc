// json.cc - kernel: parses JSON into a tree by recursive descent.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Value {
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  double number = 0;
  std::string text;
  std::vector<std::string> names;  // Of an object's members.
  std::vector<Value> items;
};

class Parser {
 public:
  explicit Parser(const std::string& text)
      : at_(text.data()), end_(text.data() + text.size()) {}

  Value Parse() {
    Value value = ParseValue();
    SkipSpace();
    if (at_ != end_) throw std::runtime_error("more text after the value");
    return value;
  }

 private:
  void SkipSpace() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\t')) ++at_;
  }

  char Peek() const {
    if (at_ == end_) throw std::runtime_error("the text ends early");
    return *at_;
  }

  void Expect(char wanted) {
    if (Peek() != wanted) throw std::runtime_error("another character");
    ++at_;
  }

  void ExpectWord(const char* word) {
    for (; *word != '\0'; ++word) Expect(*word);
  }

  Value ParseValue() {
    SkipSpace();
    Value value;
    switch (Peek()) {
      case '{':
        ParseObject(value);
        break;
      case '[':
        ParseArray(value);
        break;
      case '"':
        value.kind = Value::Kind::kString;
        value.text = ParseString();
        break;
      case 't':
        ExpectWord("true");
        value.kind = Value::Kind::kBool;
        value.number = 1;
        break;
      case 'f':
        ExpectWord("false");
        value.kind = Value::Kind::kBool;
        break;
      case 'n':
        ExpectWord("null");
        break;
      default:
        value.kind = Value::Kind::kNumber;
        value.number = ParseNumber();
    }
    return value;
  }

  void ParseObject(Value& value) {
    value.kind = Value::Kind::kObject;
    Expect('{');
    SkipSpace();
    if (Peek() == '}') {
      ++at_;
      return;
    }
    while (true) {
      SkipSpace();
      std::string key = ParseString();
      SkipSpace();
      Expect(':');
      value.names.push_back(std::move(key));
      value.items.push_back(ParseValue());
      SkipSpace();
      if (Peek() == '}') break;
      Expect(',');
    }
    ++at_;
  }

  void ParseArray(Value& value) {
    value.kind = Value::Kind::kArray;
    Expect('[');
    SkipSpace();
    if (Peek() == ']') {
      ++at_;
      return;
    }
    while (true) {
      value.items.push_back(ParseValue());
      SkipSpace();
      if (Peek() == ']') break;
      Expect(',');
    }
    ++at_;
  }

  std::string ParseString() {
    Expect('"');
    std::string text;
    while (Peek() != '"') {
      char c = *at_++;
      if (c == '\\') {
        c = Peek();
        ++at_;
        if (c == 'n') c = '\n';
      }
      text.push_back(c);
    }
    ++at_;
    return text;
  }

  double ParseNumber() {
    const bool negative = Peek() == '-';
    if (negative) ++at_;
    double number = 0;
    if (Peek() < '0' || *at_ > '9') throw std::runtime_error("not a value");
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') {
      number = number * 10 + (*at_++ - '0');
    }
    if (at_ != end_ && *at_ == '.') {
      double unit = 0.1;
      for (++at_; at_ != end_ && *at_ >= '0' && *at_ <= '9'; unit /= 10) {
        number += unit * (*at_++ - '0');
      }
    }
    return negative ? -number : number;
  }

  const char* at_;
  const char* const end_;
};

uint64_t Sum(const Value& value) {
  uint64_t sum = static_cast<uint64_t>(value.kind) +
                 static_cast<uint64_t>(static_cast<int64_t>(value.number));
  for (const char c : value.text) sum = sum * 31 + static_cast<uint64_t>(c);
  for (const Value& item : value.items) sum += 3 * Sum(item);
  for (const std::string& name : value.names) sum += 5 * name.size();
  return sum;
}

std::string Document() {
  std::string text = "[";
  for (int i = 0; i < 40; ++i) {
    if (i != 0) text += ", ";
    text += R"({"id": )" + std::to_string(i * 37) +
            R"(, "name": "user \"number\" )" + std::to_string(i) +
            R"(", "active": true, "score": -12.75, "tags": ["a", "bc", "def"],)"
            R"( "next": {"x": [1, 2, 3, [4, 5, {"y": null}]], "z": false}})";
  }
  return text + "]\n";
}

}  // namespace

extern "C" uint64_t kernel_json(uint64_t n) {
  const std::string text = Document();
  uint64_t sum = 0;
  for (uint64_t round = 0; round < n; ++round) {
    sum += Sum(Parser(text).Parse());
    try {
      // Throws out of nested calls and loops.
      (void)Parser("[1, [2, {\"a\": tru }]]").Parse();
    } catch (const std::runtime_error& error) {
      sum += error.what()[0] == 'a' ? 1 : 0;
    }
  }
  return sum;
}
