// model.h - what a cache must answer, written as simply as possible: a map, no
// memory limit, no shards, no bytes on the wire. Random commands are given to
// the model and to the real thing, and every answer is compared.
//
// The real thing chooses its compare-and-swap values itself; the model learns
// them from the answers and checks that one changes exactly when its item does.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "apps/kv/test_server.h"

namespace yamanote::kv {

class ModelCheck {
 public:
  // Returns a number below its argument: from a generator, or a fuzzer's bytes.
  using Choose = std::function<uint32_t(uint32_t)>;

  explicit ModelCheck(Choose choose) : choose_(std::move(choose)) {}

  // Runs one random command on both. Returns what differed, empty if nothing.
  std::string Step();

 private:
  struct Item {
    std::string value;
    uint32_t flags = 0;
    std::optional<int64_t> over_at;
    std::optional<uint64_t> cas;  // Known since the last gets.
  };

  Item* Find(const std::string& key);
  std::optional<int64_t> OverAt(int64_t exptime) const;
  std::string RandomKey() {
    return "key" + std::string(choose_(4) * 60, 'x') +
           std::to_string(choose_(4));
  }
  int64_t RandomExptime();
  std::string RandomValue();

  std::string Expect(const std::string& sent, const std::string& expected);
  std::string StepGet();
  std::string StepGets();
  std::string StepStore();
  std::string StepCas();
  std::string StepDelete();
  std::string StepArithmetic();
  std::string StepTouch();
  std::string StepTime();
  std::string StepMetaGet();
  std::string StepMetaSet();
  std::string StepMetaArithmetic();
  // Does what `mode` ('S', 'E', 'R', 'A', 'P') says; returns whether it stored.
  bool Store(char mode, const std::string& key, Item item);
  // Returns the new number, nothing if there is none to change.
  std::optional<uint64_t> Add(Item& item, bool decrement, uint64_t delta);
  void RunDueFlush();

  Choose choose_;
  TestServer server_;
  int64_t now_ = 0;
  std::optional<int64_t> flush_at_;
  std::map<std::string, Item> items_;
};

}  // namespace yamanote::kv
