// rapidjson.cc - the library RapidJSON parses, changes and writes a document.
//
// As a stream: the header with its tree does not compile with clang 19.

#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace {

// Some 3 KiB: orders as a shop's interface would send them.
std::string Orders() {
  std::string text = R"({"page": 1, "orders": [)";
  for (int i = 0; i < 16; ++i) {
    const std::string number = std::to_string(i);
    text += i == 0 ? "" : ", ";
    text += R"({"id": )" + std::to_string(7919 * i) +
            R"(, "customer": {"name": "J\u00fcrgen \"Jo\" M\u00fcller )" +
            number + R"(", "mail": null, "city": "Tokyo"}, "paid": )" +
            (i % 2 == 0 ? "true" : "false") + R"(, "lines": [)";
    for (int j = 0; j <= i % 3; ++j) {
      text += j == 0 ? "" : ", ";
      text += R"({"sku": "A-)" + std::to_string(1000 + 37 * i + j) +
              R"(", "count": )" + std::to_string(1 + (i + j) % 5) +
              R"(, "price": )" + std::to_string(i + 3 * j) + ".25}";
    }
    text += "]}";
  }
  return text + "]}";
}

using Writer = rapidjson::Writer<rapidjson::StringBuffer>;

// Writes what it reads, with prices doubled; adds them up.
class Doubler {
 public:
  explicit Doubler(Writer& writer) : writer_(writer) {}

  double total() const { return total_; }

  // What rapidjson::Reader calls, in the order of the text.
  bool Null() { return writer_.Null(); }
  bool Bool(bool value) { return writer_.Bool(value); }
  bool Int(int value) { return writer_.Int(value); }
  bool Uint(unsigned value) { return writer_.Uint(value); }
  bool Int64(int64_t value) { return writer_.Int64(value); }
  bool Uint64(uint64_t value) { return writer_.Uint64(value); }
  bool Double(double value) {
    if (in_price_) {
      value *= 2;
      total_ += value;
    }
    return writer_.Double(value);
  }
  bool RawNumber(const char* text, rapidjson::SizeType size, bool copy) {
    return writer_.RawNumber(text, size, copy);
  }
  bool String(const char* text, rapidjson::SizeType size, bool copy) {
    return writer_.String(text, size, copy);
  }
  bool Key(const char* text, rapidjson::SizeType size, bool copy) {
    in_price_ = std::string_view(text, size) == "price";
    return writer_.Key(text, size, copy);
  }
  bool StartObject() { return writer_.StartObject(); }
  bool EndObject(rapidjson::SizeType size) { return writer_.EndObject(size); }
  bool StartArray() { return writer_.StartArray(); }
  bool EndArray(rapidjson::SizeType size) { return writer_.EndArray(size); }

 private:
  Writer& writer_;
  bool in_price_ = false;
  double total_ = 0;
};

}  // namespace

extern "C" uint64_t kernel_rapidjson(uint64_t n) {
  const std::string text = Orders();
  uint64_t sum = 0;
  for (uint64_t round = 0; round < n; ++round) {
    rapidjson::StringBuffer written;
    Writer writer(written);
    Doubler doubler(writer);
    rapidjson::MemoryStream stream(text.data(), text.size());
    rapidjson::Reader reader;
    reader.Parse(stream, doubler);
    sum = sum * 31 + written.GetSize() + static_cast<uint64_t>(doubler.total());
    sum += static_cast<unsigned char>(
        written.GetString()[round % written.GetSize()]);
  }
  return sum;
}
