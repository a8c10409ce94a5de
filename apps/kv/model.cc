// model.cc - random commands, and the answers that a map gives to them.

#include "apps/kv/model.h"

#include <algorithm>
#include <charconv>

namespace yamanote::kv {
namespace {

std::string Lines(const std::string& line, const std::string& value) {
  return line + " " + std::to_string(value.size()) + "\r\n" + value + "\r\n";
}

}  // namespace

void ModelCheck::RunDueFlush() {
  if (!flush_at_ || now_ < *flush_at_) return;
  items_.clear();
  flush_at_.reset();
}

ModelCheck::Item* ModelCheck::Find(const std::string& key) {
  const auto found = items_.find(key);
  if (found == items_.end()) return nullptr;
  if (found->second.over_at && *found->second.over_at <= now_) {
    items_.erase(found);
    return nullptr;
  }
  return &found->second;
}

std::optional<int64_t> ModelCheck::OverAt(int64_t exptime) const {
  if (exptime == 0) return std::nullopt;
  if (exptime < 0) return now_;
  if (exptime <= 60 * 60 * 24 * 30) return now_ + exptime;
  return exptime - TestServer::kUnixOrigin;
}

int64_t ModelCheck::RandomExptime() {
  switch (choose_(6)) {
    case 0:
      return -1;
    case 1:
      return 1 + choose_(20);
    case 2:
      return TestServer::kUnixOrigin + now_ + choose_(20);
    default:
      return 0;
  }
}

std::string ModelCheck::RandomValue() {
  switch (choose_(4)) {
    case 0:
      return std::to_string(uint64_t{choose_(UINT32_MAX)} *
                            choose_(UINT32_MAX));
    case 1:
      return std::to_string(choose_(200));
    case 2:
      return std::string(choose_(5000), static_cast<char>('a' + choose_(26)));
    default:
      return std::string(choose_(100), static_cast<char>('a' + choose_(26)));
  }
}

std::string ModelCheck::Expect(const std::string& sent,
                               const std::string& expected) {
  const std::string answer = server_.Send(sent);
  if (answer == expected && server_.unused_bytes() == 0) return {};
  return "sent:     " + sent + "\nexpected: " + expected +
         "\nanswered: " + answer;
}

std::string ModelCheck::Step() {
  RunDueFlush();
  switch (choose_(14)) {
    case 0:
    case 1:
    case 2:
      return StepGet();
    case 3:
      return StepGets();
    case 4:
    case 5:
    case 6:
      return StepStore();
    case 7:
      return StepCas();
    case 8:
      return StepDelete();
    case 9:
      return StepArithmetic();
    case 10:
      return StepTouch();
    case 11:
      return StepTime();
    case 12:
      return choose_(2) == 0 ? StepMetaGet() : StepMetaArithmetic();
    default:
      return StepMetaSet();
  }
}

std::string ModelCheck::StepGet() {
  std::string sent = "get";
  std::string expected;
  const uint32_t count = choose_(8) == 0 ? 40 : 1 + choose_(3);
  for (uint32_t i = 0; i < count; ++i) {
    const std::string key = RandomKey();
    sent += " " + key;
    if (const Item* item = Find(key)) {
      expected += Lines("VALUE " + key + " " + std::to_string(item->flags),
                        item->value);
    }
  }
  return Expect(sent + "\r\n", expected + "END\r\n");
}

std::string ModelCheck::StepGets() {
  const std::string key = RandomKey();
  Item* const item = Find(key);
  const std::string sent = "gets " + key + "\r\n";
  if (item == nullptr) return Expect(sent, "END\r\n");
  const std::string answer = server_.Send(sent);
  const std::string head = "VALUE " + key + " " + std::to_string(item->flags) +
                           " " + std::to_string(item->value.size()) + " ";
  if (!answer.starts_with(head)) return "sent: " + sent + "answered: " + answer;
  uint64_t cas = 0;
  const char* const end = std::from_chars(answer.data() + head.size(),
                                          answer.data() + answer.size(), cas)
                              .ptr;
  const std::string rest(end, answer.data() + answer.size());
  if (rest != "\r\n" + item->value + "\r\nEND\r\n")
    return "sent: " + sent + answer;
  if (item->cas && *item->cas != cas)
    return "cas changed without a change: " + answer;
  for (const auto& [other, known] : items_) {
    if (known.cas == cas && &known != item)
      return std::string("cas of ").append(other).append(" too: ") + answer;
  }
  item->cas = cas;
  return {};
}

bool ModelCheck::Store(char mode, const std::string& key, Item item) {
  Item* const old = Find(key);
  if (mode == 'E' && old != nullptr) return false;
  if (mode != 'E' && mode != 'S' && old == nullptr) return false;
  if (mode == 'A' || mode == 'P') {
    old->value =
        mode == 'A' ? old->value + item.value : item.value + old->value;
    old->cas.reset();
    return true;
  }
  items_[key] = std::move(item);
  return true;
}

std::string ModelCheck::StepStore() {
  static constexpr std::pair<const char*, char> kModes[] = {
      {"set", 'S'},     {"set", 'S'},    {"add", 'E'},
      {"replace", 'R'}, {"append", 'A'}, {"prepend", 'P'}};
  const auto& [verb, mode] = kModes[choose_(6)];
  const std::string key = RandomKey();
  const int64_t exptime = RandomExptime();
  Item item{
      .value = RandomValue(), .flags = choose_(3), .over_at = OverAt(exptime)};
  const bool noreply = choose_(5) == 0;
  const std::string sent =
      std::string(verb) + " " + key + " " + std::to_string(item.flags) + " " +
      std::to_string(exptime) + " " + std::to_string(item.value.size()) +
      (noreply ? " noreply\r\n" : "\r\n") + item.value + "\r\n";
  const bool stored = Store(mode, key, std::move(item));
  return Expect(sent, noreply ? "" : stored ? "STORED\r\n" : "NOT_STORED\r\n");
}

std::string ModelCheck::StepCas() {
  const std::string key = RandomKey();
  Item* const old = Find(key);
  const bool right = old != nullptr && old->cas && choose_(3) != 0;
  // 0 is no item's value: they are counted from 1.
  const uint64_t cas = right ? *old->cas : 0;
  Item item{.value = RandomValue()};
  const std::string sent = "cas " + key + " 0 0 " +
                           std::to_string(item.value.size()) + " " +
                           std::to_string(cas) + "\r\n" + item.value + "\r\n";
  if (old == nullptr) return Expect(sent, "NOT_FOUND\r\n");
  if (!right) return Expect(sent, "EXISTS\r\n");
  items_[key] = std::move(item);
  return Expect(sent, "STORED\r\n");
}

std::string ModelCheck::StepDelete() {
  const std::string key = RandomKey();
  const bool there = Find(key) != nullptr;
  items_.erase(key);
  if (choose_(2) == 0) {
    return Expect("md " + key + "\r\n", there ? "HD\r\n" : "NF\r\n");
  }
  return Expect("delete " + key + "\r\n",
                there ? "DELETED\r\n" : "NOT_FOUND\r\n");
}

std::optional<uint64_t> ModelCheck::Add(Item& item, bool decrement,
                                        uint64_t delta) {
  const size_t digits = item.value.find_first_not_of("0123456789");
  const std::string number = item.value.substr(0, digits);
  if (number.empty() || item.value.size() > 20 ||
      item.value.find_first_not_of(' ', number.size()) != std::string::npos) {
    return std::nullopt;
  }
  uint64_t value = 0;
  const char* const end = number.data() + number.size();
  if (std::from_chars(number.data(), end, value).ec != std::errc())
    return std::nullopt;
  value = decrement ? (value < delta ? 0 : value - delta) : value + delta;
  const size_t width = item.value.size();
  item.value = std::to_string(value);
  if (item.value.size() < width) item.value.resize(width, ' ');
  item.cas.reset();
  return value;
}

std::string ModelCheck::StepArithmetic() {
  const bool decrement = choose_(2) == 0;
  const std::string key = RandomKey();
  const uint64_t delta =
      choose_(3) == 0 ? UINT64_MAX - choose_(5) : choose_(300);
  const std::string sent = (decrement ? "decr " : "incr ") + key + " " +
                           std::to_string(delta) + "\r\n";
  Item* const item = Find(key);
  if (item == nullptr) return Expect(sent, "NOT_FOUND\r\n");
  const std::optional<uint64_t> number = Add(*item, decrement, delta);
  return Expect(sent, number ? std::to_string(*number) + "\r\n"
                             : "CLIENT_ERROR cannot increment or decrement "
                               "non-numeric value\r\n");
}

std::string ModelCheck::StepTouch() {
  const std::string key = RandomKey();
  const int64_t exptime = RandomExptime();
  Item* const item = Find(key);
  if (item != nullptr) item->over_at = OverAt(exptime);
  if (choose_(2) == 0) {
    return Expect("touch " + key + " " + std::to_string(exptime) + "\r\n",
                  item != nullptr ? "TOUCHED\r\n" : "NOT_FOUND\r\n");
  }
  return Expect("gat " + std::to_string(exptime) + " " + key + "\r\n",
                item == nullptr
                    ? "END\r\n"
                    : Lines("VALUE " + key + " " + std::to_string(item->flags),
                            item->value) +
                          "END\r\n");
}

std::string ModelCheck::StepTime() {
  if (choose_(8) == 0) {
    const uint32_t delay = choose_(3) == 0 ? 1 + choose_(10) : 0;
    if (delay == 0) {
      items_.clear();
      flush_at_.reset();
      return Expect("flush_all\r\n", "OK\r\n");
    }
    flush_at_ = now_ + delay;
    return Expect("flush_all " + std::to_string(delay) + "\r\n", "OK\r\n");
  }
  const uint32_t seconds = choose_(6);
  now_ += seconds;
  server_.Advance(std::chrono::seconds(seconds));
  return {};
}

std::string ModelCheck::StepMetaGet() {
  const std::string key = RandomKey();
  const Item* const item = Find(key);
  if (item == nullptr)
    return Expect("mg " + key + " v t f k\r\n", "EN k" + key + "\r\n");
  const int64_t left = item->over_at ? *item->over_at - now_ : -1;
  return Expect("mg " + key + " v t f k s\r\n",
                "VA " + std::to_string(item->value.size()) + " t" +
                    std::to_string(left) + " f" + std::to_string(item->flags) +
                    " k" + key + " s" + std::to_string(item->value.size()) +
                    "\r\n" + item->value + "\r\n");
}

std::string ModelCheck::StepMetaSet() {
  const char mode = "SERAP"[choose_(5)];
  const std::string key = RandomKey();
  const int64_t exptime = RandomExptime();
  const bool quiet = choose_(4) == 0;
  Item item{
      .value = RandomValue(), .flags = choose_(3), .over_at = OverAt(exptime)};
  const std::string sent =
      "ms " + key + " " + std::to_string(item.value.size()) + " T" +
      std::to_string(exptime) + " F" + std::to_string(item.flags) + " M" +
      mode + (quiet ? " q\r\n" : "\r\n") + item.value + "\r\n";
  const bool stored = Store(mode, key, std::move(item));
  return Expect(sent, stored ? (quiet ? "" : "HD\r\n") : "NS\r\n");
}

std::string ModelCheck::StepMetaArithmetic() {
  const std::string key = RandomKey();
  const bool vivify = choose_(2) == 0;
  const uint32_t initial = choose_(100);
  const uint32_t delta = choose_(100);
  const std::string sent = "ma " + key + " v D" + std::to_string(delta) + " J" +
                           std::to_string(initial) + (vivify ? " N0" : "") +
                           "\r\n";
  Item* const item = Find(key);
  std::string number = std::to_string(initial);
  if (item == nullptr) {
    if (!vivify) return Expect(sent, "NF\r\n");
    items_[key] = Item{.value = number};
  } else {
    const std::optional<uint64_t> sum = Add(*item, false, delta);
    if (!sum) {
      return Expect(
          sent,
          "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    }
    number = std::to_string(*sum);
  }
  return Expect(
      sent, "VA " + std::to_string(number.size()) + "\r\n" + number + "\r\n");
}

}  // namespace yamanote::kv
