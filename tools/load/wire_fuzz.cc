// wire_fuzz.cc - whatever a server answers, the wires keep the ledger's sums.
//
// The first byte picks the wire and the length of the pieces that the rest comes
// in. Invariant: as many requests are answered as no longer outstanding.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tools/load/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace yamanote::load;
  using yamanote::Transport;
  if (size == 0) return 0;
  static const auto kMix =
      Workload::Parse(Application::kKv, "get:80%,set:10%,mget3:10%");
  static const auto kScans =
      Workload::Parse(Application::kRocksdb, "get:80%,put:10%,scan3:10%");
  const Transport transport =
      (data[0] & 1) != 0 ? Transport::kTcp : Transport::kUdp;
  const auto wire =
      (data[0] & 2) != 0
          ? MakeSpinWire(transport, 1, 0)
          : MakeKvWire(transport, 1, (data[0] & 4) != 0 ? *kScans : *kMix,
                       {.keys = 10, .value_bytes = 3, .popularity = {}},
                       KvTraffic::kWorkload);
  constexpr uint32_t kRequests = 6;
  std::vector<Sample> samples(kRequests);
  for (uint32_t i = 0; i < kRequests; ++i) samples[i].request_class = i % 3;
  Ledger ledger(samples);
  Lane lane;
  std::string out;
  for (uint32_t i = 0; i < kRequests; ++i) {
    wire->Encode(samples[i], i, lane, out);
    if (i + 1 < kRequests) ledger.MarkSent(i, 1);
  }
  const size_t piece = 1 + (data[0] >> 3);
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  while (!rest.empty()) {
    ledger.SetNow(2);
    if (!wire->Read(lane, rest.substr(0, piece), ledger)) break;
    rest.remove_prefix(std::min(piece, rest.size()));
  }
  const auto answered = static_cast<uint64_t>(std::count_if(
      ledger.samples().begin(), ledger.samples().end(), [](const Sample& s) {
        return s.status == Status::kAnswered || s.status == Status::kRefused;
      }));
  if (answered + ledger.outstanding() != kRequests - 1) std::abort();
  return 0;
}
