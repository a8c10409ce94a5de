// wire.h - requests as bytes and answers from bytes: one class per protocol.
//
// A wire knows nothing of sockets and time, so that tests and fuzzers feed it
// directly. It holds the state of half-read answers per lane. One thread.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tools/load/ledger.h"
#include "tools/load/workload.h"
#include "yamanote/result.h"
#include "yamanote/service.h"

namespace yamanote::load {

class Wire {
 public:
  virtual ~Wire() = default;

  // Appends request `index` to `out` and to `lane.order`.
  virtual void Encode(const Sample& sample, uint32_t index, Lane& lane,
                      std::string& out) = 0;

  // Reads what arrived on `lane`: any part of a stream (TCP), or one datagram
  // (UDP). Returns false if a stream can't be understood from here on: close it.
  // A datagram that makes no sense is counted as unmatched.
  virtual bool Read(Lane& lane, std::string_view bytes, Ledger& ledger) = 0;
};

// How popular each key is.
struct Popularity {
  double zipf = 0;  // Exponent; 0: uniform.

  // "uniform" or "zipf:S", S above 0 and up to 5.
  static Result<Popularity> Parse(std::string_view text);
};

struct KvOptions {
  uint32_t keys = 10'000;
  uint32_t value_bytes = 100;
  Popularity popularity{};
};

// `nonce` tells the answers of this run from those of another.
std::unique_ptr<Wire> MakeSpinWire(Transport transport, size_t lanes,
                                   uint64_t nonce);

// Keys are drawn from sample.service_ns as seed. With kPreload a sample sets the
// key number sample.service_ns instead; with kProbe it gets it, and is answered
// if that key is there, refused if not.
enum class KvTraffic : uint8_t { kWorkload, kPreload, kProbe };
// For every application that IsStore(), in its protocol.
std::unique_ptr<Wire> MakeKvWire(Transport transport, size_t lanes,
                                 const Workload& workload,
                                 const KvOptions& options, KvTraffic traffic);

}  // namespace yamanote::load
