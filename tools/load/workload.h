// workload.h - what is asked for: classes of requests, their share and size.
//
// A workload is read from `--service`. For spin a class is a mode of the
// service-time distribution:
//
//   fixed:10us   exp:10us   bimodal:99.5%:5us,0.5%:500us
//   trimodal:...   mixture:...     (up to 16 modes; trimodal has 3)
//   lognormal:mean=10us,sigma=2    pareto:alpha=1.5,min=1us or ,mean=3us
//
// lognormal and pareto take max=TIME as well (else 1s): longer samples are cut to
// it, so that one request can't outlive the run. For kv a class is an operation:
//
//   get   get:99.5%,mget500:0.5%   get:95%,set:5%
//
// mgetN asks for N keys in one request. For rocksdb the operations are get, put
// and scanN, which reads N keys in order:
//
//   get   get:99.5%,scan1000:0.5%   get:90%,put:9%,scan5000:1%
//
// Shares must add up to 100%.

#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "yamanote/result.h"
#include "yamanote/time.h"

namespace yamanote::load {

inline constexpr size_t kMaxClasses = 16;
inline constexpr unsigned kMaxKeysPerGet = 1000;
inline constexpr unsigned kMaxKeysPerScan = 100'000;

enum class Application : uint8_t { kSpin, kKv, kRocksdb };

// As in `yamanote load spin`.
std::string_view ToString(Application application);
// Whether its requests name keys, which are stored before the run.
constexpr bool IsStore(Application application) {
  return application != Application::kSpin;
}

enum class Shape : uint8_t { kFixed, kExponential, kLognormal, kPareto };

enum class KvOperation : uint8_t { kGet, kSet, kScan };

struct RequestClass {
  std::string name{};
  double share = 1;  // 0..1; all shares add up to 1.
  // Spin:
  Shape shape = Shape::kFixed;
  // fixed: value; exp: mean; lognormal: mean; pareto: min.
  double scale_ns = 0;
  double form = 0;      // lognormal: sigma; pareto: alpha.
  double limit_ns = 0;  // Longest sample; 0: none (fixed).
  // Kv and rocksdb:
  KvOperation operation = KvOperation::kGet;
  unsigned keys = 1;
};

// What stands for connection number `connection` where a hash chooses the core: a hash of
// its number, as a network card's is of an address. Not 0.
inline uint64_t FlowOf(uint64_t connection) {
  uint64_t x = connection + 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return (x ^ (x >> 31)) | 1;
}

class Workload {
 public:
  // Reads `text`, which `application` gives its meaning. Never crashes whatever
  // the text; errors name the part, its value, the limit and an example.
  static Result<Workload> Parse(Application application, std::string_view text);

  Application application() const { return application_; }
  const std::vector<RequestClass>& classes() const { return classes_; }
  const std::string& text() const { return text_; }

  // Draws the class of the next request.
  uint8_t DrawClass(base::Random& random) const;

  // Draws the service time of a spin request of class `index`, nanoseconds. The shapes that
  // cost little are here, to be inlined.
  uint32_t DrawService(uint8_t index, base::Random& random) const {
    const RequestClass& c = classes_[index];
    double nanos = c.scale_ns;
    if (c.shape == Shape::kExponential) {
      nanos = random.Exponential(nanos);
    } else if (c.shape != Shape::kFixed) {
      nanos = DrawHeavyTail(c, random);
    }
    if (c.limit_ns > 0) nanos = std::min(nanos, c.limit_ns);
    return static_cast<uint32_t>(nanos + 0.5);
  }

  // Mean service time of a spin request in nanoseconds, before max= cuts it;
  // infinite for pareto with alpha <= 1.
  double MeanServiceNanos() const;

 private:
  static Result<Workload> ParseSpin(std::string_view text);
  static Result<Workload> ParseStore(Application application,
                                     std::string_view text);
  // Of a lognormal or Pareto class, not cut yet.
  static double DrawHeavyTail(const RequestClass& c, base::Random& random);

  Application application_ = Application::kSpin;
  std::string text_;
  std::vector<RequestClass> classes_;
};

}  // namespace yamanote::load
