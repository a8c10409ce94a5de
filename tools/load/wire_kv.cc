// wire_kv.cc - requests for keys, in either dialect, over TCP and over UDP.
//
// TCP answers come in the order of the requests. A UDP datagram begins with an
// 8-byte header, big-endian: u16 request id, u16 sequence, u16 datagrams in this
// message, u16 zero (in RESP answers 1). The id is the request's ordinal on its socket modulo 65536;
// an answer belongs to the latest request with its id. A long answer comes in
// several datagrams in any order: they are kept until all are there. (memcached
// 1.6 instead sends each value of a multi-get as a message of its own, in order,
// the last one with END: they are read one after another.)

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "base/random.h"
#include "tools/load/dialects.h"
#include "tools/load/units.h"
#include "tools/load/wire.h"

namespace yamanote::load {
namespace {

constexpr size_t kHeader = 8;
constexpr size_t kMaxDatagrams = 1024;   // Of one answer.
constexpr size_t kMaxUnfinished = 4096;  // Answers in several datagrams.

void AppendBig16(std::string& out, uint32_t value) {
  out.push_back(static_cast<char>(value >> 8));
  out.push_back(static_cast<char>(value));
}

uint32_t Big16(std::string_view bytes, size_t at) {
  return static_cast<uint32_t>(static_cast<uint8_t>(bytes[at])) << 8 |
         static_cast<uint8_t>(bytes[at + 1]);
}

// Draws key numbers by their popularity.
class KeyChooser {
 public:
  KeyChooser(uint32_t keys, Popularity popularity) : keys_(keys) {
    if (popularity.zipf == 0) return;
    cumulative_.reserve(keys);
    double sum = 0;
    for (uint32_t i = 1; i <= keys; ++i) {
      cumulative_.push_back(sum += std::pow(i, -popularity.zipf));
    }
  }

  uint32_t Draw(base::Random& random) const {
    if (cumulative_.empty()) return static_cast<uint32_t>(random.Below(keys_));
    const double at = random.Uniform() * cumulative_.back();
    const auto found =
        std::upper_bound(cumulative_.begin(), cumulative_.end(), at);
    return static_cast<uint32_t>(std::min<size_t>(
        static_cast<size_t>(found - cumulative_.begin()), keys_ - 1));
  }

 private:
  const uint32_t keys_;
  std::vector<double> cumulative_;
};

template <typename Dialect>
class KvWire final : public Wire {
 public:
  KvWire(Transport transport, size_t lanes, const Workload& workload,
         const KvOptions& options, KvTraffic traffic)
      : transport_(transport),
        traffic_(traffic),
        classes_(workload.classes()),
        keys_(options.keys, options.popularity),
        dialect_(options.value_bytes),
        key_count_(options.keys),
        streams_(lanes) {}

  void Encode(const Sample& sample, uint32_t index, Lane& lane,
              std::string& out) override {
    if (transport_ == Transport::kUdp) {
      AppendBig16(out, static_cast<uint32_t>(lane.order.size() & 0xffff));
      AppendBig16(out, 0);
      AppendBig16(out, 1);
      AppendBig16(out, 0);
    }
    lane.order.push_back(index);
    if (traffic_ == KvTraffic::kPreload)
      return dialect_.AppendSet(sample.service_ns, out);
    if (traffic_ == KvTraffic::kProbe) {
      drawn_.assign(1, sample.service_ns);
      return dialect_.AppendGet(drawn_, out);
    }
    base::Random random(sample.service_ns);
    const RequestClass& request = classes_[sample.request_class];
    switch (request.operation) {
      case KvOperation::kSet:
        return dialect_.AppendSet(keys_.Draw(random), out);
      case KvOperation::kScan:
        // From where as many keys follow.
        return dialect_.AppendScan(
            keys_.Draw(random) %
                (key_count_ - std::min(key_count_, request.keys) + 1),
            request.keys, out);
      case KvOperation::kGet:
        drawn_.clear();
        for (unsigned i = 0; i < request.keys; ++i)
          drawn_.push_back(keys_.Draw(random));
        return dialect_.AppendGet(drawn_, out);
    }
  }

  bool Read(Lane& lane, std::string_view bytes, Ledger& ledger) override {
    if (transport_ == Transport::kTcp) return ReadStream(lane, bytes, ledger);
    if (!ReadDatagram(lane, bytes, ledger)) ++ledger.counters().unmatched;
    return true;
  }

 private:
  using Reply = typename Dialect::Reply;
  using Progress = MemcachedReply::Progress;
  enum class Part : uint8_t { kMore, kEnd };

  // An answer of which something is still to come.
  struct Unfinished {
    // By sequence, if the header counts them.
    std::vector<std::string> parts{};
    size_t missing = 0;
    Reply reply{};  // What was read, if it comes message by message.
  };

  void Answer(uint32_t index, Progress progress, uint32_t values,
              Ledger& ledger) {
    bool answered = progress == Progress::kAnswered;
    if (answered && traffic_ == KvTraffic::kWorkload)
      ledger.counters().misses += Misses(index, values, ledger);
    if (traffic_ == KvTraffic::kProbe) answered = answered && values == 1;
    ledger.Answer(index, answered ? Status::kAnswered : Status::kRefused);
  }

  // Keys that `values` values lack of what sample `index` asked for.
  uint64_t Misses(uint32_t index, uint32_t values, const Ledger& ledger) const {
    const RequestClass& request =
        classes_[ledger.samples()[index].request_class];
    switch (request.operation) {
      case KvOperation::kSet:
        return 0;
      case KvOperation::kScan:  // A key and its value each.
        return request.keys - std::min(request.keys, values / 2);
      case KvOperation::kGet:
        // A key asked for twice in one request may come back once.
        if (values >= request.keys) return 0;
        return request.keys == 1 ? 1 : values == 0 ? request.keys : 0;
    }
    return 0;
  }

  bool ReadStream(Lane& lane, std::string_view bytes, Ledger& ledger) {
    Reply& reply = streams_[lane.number];
    while (!bytes.empty()) {
      const Progress progress = reply.Read(bytes);
      if (progress == Progress::kMore) return true;
      if (progress == Progress::kGarbage ||
          lane.answered >= lane.order.size()) {
        ++ledger.counters().unmatched;
        return false;
      }
      Answer(lane.order[lane.answered++], progress, reply.values(), ledger);
    }
    return true;
  }

  // Returns false if the datagram answers nothing that was asked.
  bool ReadDatagram(Lane& lane, std::string_view bytes, Ledger& ledger) {
    if (bytes.size() <= kHeader || lane.order.empty()) return false;
    const uint32_t id = Big16(bytes, 0);
    const size_t sequence = Big16(bytes, 2);
    const size_t total = Big16(bytes, 4);
    const auto latest = static_cast<uint32_t>(lane.order.size() - 1);
    const uint32_t back = (latest - id) & 0xffff;
    if (back > latest || sequence >= total || total > kMaxDatagrams)
      return false;
    const uint32_t index = lane.order[latest - back];
    const std::string_view payload = bytes.substr(kHeader);
    if (ledger.samples()[index].status != Status::kSent) {
      // The last part of a second answer, or one to what was not yet sent.
      if (sequence + 1 == total) ++ledger.counters().duplicates;
      return true;
    }
    auto found = unfinished_.find(index);
    if (found == unfinished_.end()) {
      Unfinished fresh;
      if (total == 1 &&
          ReadNext(index, payload, fresh, ledger) != Part::kMore) {
        return true;  // By far most answers: nothing to keep.
      }
      if (unfinished_.size() >= kMaxUnfinished) {
        unfinished_.clear();  // Answers that lost a part; they stay lost.
      }
      found = unfinished_.emplace(index, std::move(fresh)).first;
      if (total == 1) return true;
    } else if (total == 1) {
      if (ReadNext(index, payload, found->second, ledger) != Part::kMore) {
        unfinished_.erase(found);
      }
      return true;
    }
    Unfinished& message = found->second;
    if (message.parts.empty()) {
      message.parts.resize(total);
      message.missing = total;
    }
    if (message.parts.size() != total) return false;
    if (!message.parts[sequence].empty()) {
      ++ledger.counters().duplicates;
      return true;
    }
    message.parts[sequence] = payload;
    if (--message.missing > 0) return true;
    std::string whole;
    for (const std::string& part : message.parts) whole += part;
    ReadNext(index, whole, message, ledger);
    unfinished_.erase(found);
    return true;
  }

  // Reads `payload` as the next part of the answer to `index`.
  Part ReadNext(uint32_t index, std::string_view payload, Unfinished& message,
                Ledger& ledger) {
    const Progress progress = message.reply.Read(payload);
    if (progress == Progress::kMore) return Part::kMore;
    if (progress == Progress::kGarbage) {
      ++ledger.counters().unmatched;
    } else {
      Answer(index, progress, message.reply.values(), ledger);
    }
    return Part::kEnd;
  }

  const Transport transport_;
  const KvTraffic traffic_;
  const std::vector<RequestClass> classes_;
  const KeyChooser keys_;
  const Dialect dialect_;
  const uint32_t key_count_;
  std::vector<uint32_t> drawn_;  // For one request; kept for its memory.
  std::vector<Reply> streams_;   // By lane; TCP.
  std::unordered_map<uint32_t, Unfinished> unfinished_;  // By sample; UDP.
};

}  // namespace

Result<Popularity> Popularity::Parse(std::string_view text) {
  Popularity out;
  if (text == "uniform") return out;
  if (text.starts_with("zipf:")) {
    const Result<double> exponent =
        ParseNumber(text.substr(5), "--popularity zipf:S: S", 0.01, 5);
    if (!exponent) return tl::unexpected(exponent.error());
    out.zipf = *exponent;
    return out;
  }
  return MakeError(
      ErrorCode::kInvalidArgument,
      fmt::format("--popularity is '{}'; it must be uniform or zipf:S, "
                  "for example zipf:0.99",
                  text.substr(0, 40)));
}

std::unique_ptr<Wire> MakeKvWire(Transport transport, size_t lanes,
                                 const Workload& workload,
                                 const KvOptions& options, KvTraffic traffic) {
  if (workload.application() == Application::kRocksdb) {
    return std::make_unique<KvWire<RespDialect>>(transport, lanes, workload,
                                                 options, traffic);
  }
  return std::make_unique<KvWire<MemcachedDialect>>(transport, lanes, workload,
                                                    options, traffic);
}

}  // namespace yamanote::load
