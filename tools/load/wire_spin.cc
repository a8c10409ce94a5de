// wire_spin.cc - the 32-byte spin message.
//
// Little-endian: u64 client stamp, u64 service ns, u32 flow, u32 sequence, u32
// class, u32 reserved (zero). The reply is the same 32 bytes; a reply whose
// reserved field is not zero is the server's refusal. The sequence is the index
// of the sample, the stamp proves that the reply is to this run.

#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "tools/load/wire.h"

static_assert(std::endian::native == std::endian::little,
              "the spin message is copied as it lies in memory");

namespace yamanote::load {
namespace {

struct SpinMessage {
  uint64_t stamp;
  uint64_t service_ns;
  uint32_t flow;
  uint32_t sequence;
  uint32_t request_class;
  uint32_t reserved;
};
static_assert(sizeof(SpinMessage) == 32);

class SpinWire final : public Wire {
 public:
  SpinWire(Transport transport, size_t lanes, uint64_t nonce)
      : transport_(transport), nonce_(nonce), partial_(lanes) {}

  void Encode(const Sample& sample, uint32_t index, Lane& lane,
              std::string& out) override {
    const SpinMessage message{.stamp = StampOf(index),
                              .service_ns = sample.service_ns,
                              .flow = sample.connection,
                              .sequence = index,
                              .request_class = sample.request_class,
                              .reserved = 0};
    out.append(reinterpret_cast<const char*>(&message), sizeof(message));
    lane.order.push_back(index);
  }

  bool Read(Lane& lane, std::string_view bytes, Ledger& ledger) override {
    if (transport_ == Transport::kUdp) {
      if (bytes.size() != sizeof(SpinMessage) || !Match(lane, bytes, ledger)) {
        ++ledger.counters().unmatched;
      }
      return true;
    }
    std::string& partial = partial_[lane.number];
    while (!bytes.empty()) {
      if (partial.empty() && bytes.size() >= sizeof(SpinMessage)) {
        if (!MatchStream(lane, bytes.substr(0, sizeof(SpinMessage)), ledger))
          return false;
        bytes.remove_prefix(sizeof(SpinMessage));
        continue;
      }
      const size_t taken =
          std::min(bytes.size(), sizeof(SpinMessage) - partial.size());
      partial.append(bytes.substr(0, taken));
      bytes.remove_prefix(taken);
      if (partial.size() == sizeof(SpinMessage)) {
        if (!MatchStream(lane, partial, ledger)) return false;
        partial.clear();
      }
    }
    return true;
  }

 private:
  uint64_t StampOf(uint32_t index) const {
    return nonce_ ^ (uint64_t{index} * 0x9e3779b97f4a7c15);
  }

  bool MatchStream(Lane& lane, std::string_view bytes, Ledger& ledger) {
    if (Match(lane, bytes, ledger)) return true;
    ++ledger.counters().unmatched;
    return false;  // Out of step: no later message can be trusted.
  }

  bool Match(const Lane& lane, std::string_view bytes, Ledger& ledger) {
    SpinMessage message;
    std::memcpy(&message, bytes.data(), sizeof(message));
    if (message.sequence >= ledger.samples().size()) return false;
    const Sample& sample = ledger.samples()[message.sequence];
    if (message.stamp != StampOf(message.sequence) ||
        message.flow != sample.connection ||
        message.service_ns != sample.service_ns ||
        message.request_class != sample.request_class || lane.order.empty()) {
      return false;
    }
    ledger.Answer(message.sequence,
                  message.reserved == 0 ? Status::kAnswered : Status::kRefused);
    return true;
  }

  const Transport transport_;
  const uint64_t nonce_;
  std::vector<std::string> partial_;  // By lane: the start of a message.
};

}  // namespace

std::unique_ptr<Wire> MakeSpinWire(Transport transport, size_t lanes,
                                   uint64_t nonce) {
  return std::make_unique<SpinWire>(transport, lanes, nonce);
}

}  // namespace yamanote::load
