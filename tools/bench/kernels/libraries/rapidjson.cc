// rapidjson.cc - the library RapidJSON parses, reads, changes and writes a document.

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstddef>
#include <cstdint>
#include <string>

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

}  // namespace

extern "C" uint64_t kernel_rapidjson(uint64_t n) {
  const std::string text = Orders();
  uint64_t sum = 0;
  for (uint64_t round = 0; round < n; ++round) {
    rapidjson::Document document;
    document.Parse(text.data(), text.size());
    double total = 0;
    for (const rapidjson::Value& order : document["orders"].GetArray()) {
      for (const rapidjson::Value& line : order["lines"].GetArray()) {
        total += line["price"].GetDouble() * line["count"].GetInt();
      }
    }
    document["page"].SetUint64(round % 10);
    document.AddMember("total", total, document.GetAllocator());
    rapidjson::StringBuffer written;
    rapidjson::Writer<rapidjson::StringBuffer> writer(written);
    document.Accept(writer);
    sum = sum * 31 + written.GetSize() + static_cast<uint64_t>(total);
    sum += static_cast<unsigned char>(
        written.GetString()[round % written.GetSize()]);
  }
  return sum;
}
