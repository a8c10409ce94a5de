// service.cc - the commands of the classic text protocol, over TCP and UDP.

#include "apps/kv/service.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <span>

namespace yamanote::kv {
namespace {

using net::memcached::AppendDatagrams;
using net::memcached::AsText;
using net::memcached::kMaxKeyBytes;
using net::memcached::Line;
using net::memcached::ParseNumber;
using net::memcached::ReadLine;

constexpr std::string_view kError = "ERROR\r\n";
constexpr std::string_view kBadLine =
    "CLIENT_ERROR bad command line format\r\n";
constexpr std::string_view kBadData = "CLIENT_ERROR bad data chunk\r\n";
constexpr std::string_view kBadExptime =
    "CLIENT_ERROR invalid exptime argument\r\n";
constexpr std::string_view kTooLarge =
    "SERVER_ERROR object too large for cache\r\n";
constexpr std::string_view kNoMemory =
    "SERVER_ERROR out of memory storing object\r\n";
constexpr std::string_view kReplyTooLarge =
    "SERVER_ERROR out of memory writing get response\r\n";
constexpr std::string_view kNoreply = "noreply";

// Keys of a get whose memory is fetched together. Eight cache misses at a time
// is what a core of today overlaps well.
constexpr size_t kBatch = 8;

std::string_view ToText(const PutResult& result) {
  switch (result.outcome) {
    case Outcome::kDone:
      return "STORED\r\n";
    case Outcome::kExists:
      return "EXISTS\r\n";
    case Outcome::kNotFound:
      return "NOT_FOUND\r\n";
    case Outcome::kTooLarge:
      return kTooLarge;
    case Outcome::kNoMemory:
      return kNoMemory;
    case Outcome::kNotStored:
    case Outcome::kNotNumeric:
      break;
  }
  return "NOT_STORED\r\n";
}

StoreMode ToMode(net::memcached::Verb verb) {
  switch (verb) {
    case net::memcached::Verb::kAdd:
      return StoreMode::kAdd;
    case net::memcached::Verb::kReplace:
      return StoreMode::kReplace;
    case net::memcached::Verb::kAppend:
      return StoreMode::kAppend;
    case net::memcached::Verb::kPrepend:
      return StoreMode::kPrepend;
    default:
      return StoreMode::kSet;
  }
}

}  // namespace

Result<std::unique_ptr<KvService>> KvService::Create(KvOptions options) {
  Result<std::unique_ptr<Store>> store = Store::Create(options.store);
  if (!store) return tl::unexpected(store.error());
  return std::unique_ptr<KvService>(
      new KvService(std::move(options), std::move(*store)));
}

KvService::KvService(KvOptions options, std::unique_ptr<Store> store)
    : options_(std::move(options)),
      store_(std::move(store)),
      started_(options_.clock.At(options_.now())) {}

Result<void> KvService::Init(unsigned /*cores*/) { return {}; }

bool KvService::HasProbes() {
#if defined(YAMANOTE_PREEMPTIBLE)
  return true;
#else
  return false;
#endif
}

void KvService::Call::SayNumber(uint64_t number) {
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  Say({digits, static_cast<size_t>(end - digits)});
}

KvService::CoreCounters& KvService::Counters() {
  // A thread that moves right after counts on its former core: a little
  // sharing.
  const int cpu = sched_getcpu();
  return counters_[static_cast<size_t>(std::max(cpu, 0)) % counters_.size()];
}

uint64_t KvService::Sum(std::atomic<uint64_t> CoreCounters::* counter) const {
  uint64_t sum = 0;
  // Relaxed, here and where they are added to: counts order nothing.
  for (const CoreCounters& each : counters_) {
    sum += (each.*counter).load(std::memory_order_relaxed);
  }
  return sum;
}

void KvService::Handle(const Request& request, Reply& reply) {
  if (request.transport == Transport::kUdp) {
    HandleDatagram(request, reply);
  } else {
    const std::string_view text = AsText(request.bytes);
    const std::optional<Line> line = ReadLine(text);
    Call call{.reply = reply, .now = options_.clock.At(options_.now())};
    if (!line) {
      call.Say(kError);
    } else {
      const std::string_view data = text.substr(line->bytes);
      Run(line->text, data, !data.empty(), call);
    }
    if (!call.fits) {
      reply.Discard();
      reply.Append(kReplyTooLarge);
    }
  }
  CoreCounters& counters = Counters();
  counters.bytes_read.fetch_add(request.bytes.size(),
                                std::memory_order_relaxed);
  counters.bytes_written.fetch_add(reply.bytes().size(),
                                   std::memory_order_relaxed);
}

// A datagram holds whole commands. What is cut off at its end is answered as
// what it is: a line without an end, a data block that is too short.
void KvService::HandleDatagram(const Request& request, Reply& reply) {
  const auto header = net::memcached::ReadUdpHeader(request.bytes);
  if (!header) return;
  Reply body = reply.Scratch(SIZE_MAX);
  Call call{.reply = body, .now = options_.clock.At(options_.now())};
  std::string_view rest =
      AsText(request.bytes.subspan(net::memcached::kUdpHeaderBytes));
  while (!rest.empty()) {
    const std::optional<Line> line = ReadLine(rest);
    if (!line) {
      call.Say(kError);
      break;
    }
    const size_t wanted = net::memcached::DataBlockBytes(line->text);
    rest.remove_prefix(line->bytes);
    const std::string_view data = rest.substr(0, wanted);
    const bool too_long = wanted > store_->options().max_value_bytes + 2;
    Run(line->text, data, wanted > 0 && !too_long, call);
    rest.remove_prefix(data.size());
  }
  if (!call.fits || !AppendDatagrams(header->request, body.bytes(), reply)) {
    reply.Discard();
    AppendDatagrams(header->request, std::as_bytes(std::span(kReplyTooLarge)),
                    reply);
  }
}

void KvService::Run(std::string_view line, std::string_view data, bool has_data,
                    Call& call) {
  Tokens tokens(line);
  const Verb verb = net::memcached::FindVerb(tokens.Next());
  if (net::memcached::IsRetrieval(verb)) return Get(verb, tokens, call);
  if (net::memcached::IsStorage(verb))
    return Put(verb, tokens, data, has_data, call);
  if (verb >= Verb::kMetaNoop)
    return RunMeta(verb, tokens, data, has_data, call);
  RunClassic(verb, tokens, line, call);
}

void KvService::RunClassic(Verb verb, Tokens tokens, std::string_view line,
                           Call& call) {
  // The answer is written and taken back, so that no command can forget it.
  line = line.substr(0, line.find_last_not_of(' ') + 1);
  const bool noreply = line.ends_with(" noreply");
  const size_t before = call.reply.bytes().size();
  switch (verb) {
    case Verb::kDelete:
      Delete(tokens, call);
      break;
    case Verb::kIncr:
    case Verb::kDecr:
      Arithmetic(verb, tokens, call);
      break;
    case Verb::kTouch:
      Touch(tokens, call);
      break;
    case Verb::kFlushAll:
      FlushAll(tokens, call);
      break;
    case Verb::kVerbosity:
      Verbosity(tokens, call);
      break;
    case Verb::kStats:
      return Stats(tokens, call);
    case Verb::kVersion:
      return call.Say("VERSION 1.6.18-yamanote\r\n");
    case Verb::kQuit:
      return call.reply.CloseAfterSend();
    default:
      return call.Say(kError);
  }
  if (noreply) call.reply.Discard(before);
}

void KvService::Get(Verb verb, Tokens tokens, Call& call) {
  GetOptions options;
  if (verb == Verb::kGat || verb == Verb::kGats) {
    const std::string_view word = tokens.Next();
    int64_t exptime = 0;
    if (word.empty()) return call.Say(kError);
    if (!ParseNumber(word, exptime)) return call.Say(kBadExptime);
    options.expires = options_.clock.Expiry(exptime, call.now);
  } else if (tokens.Count(1) == 0) {
    return call.Say(kError);
  }
  const bool with_cas = verb == Verb::kGets || verb == Verb::kGats;
  const size_t before = call.reply.bytes().size();
  Value value;
  for (bool more = true; more;) {
    std::array<Key, kBatch> keys;
    size_t count = 0;
    while (count < kBatch) {
      const std::string_view word = tokens.Next();
      more = !word.empty();
      if (!more) break;
      if (word.size() > kMaxKeyBytes) {
        call.reply.Discard(before);
        return call.Say(kBadLine);
      }
      keys[count] = store_->MakeKey(word);
      store_->PrefetchBucket(keys[count++]);
    }
    for (size_t i = 0; i < count; ++i) store_->PrefetchItem(keys[i]);
    for (size_t i = 0; i < count; ++i) {
      if (!store_->Get(keys[i], call.now, options, value)) continue;
      SayItem(keys[i], with_cas, value, call);
      // At once: other replies wait for the memory that this one has.
      if (!call.fits) return;
      if (value.info.value_bytes > kShortCopy &&
          options_.check_preempt != nullptr) {
        value.Release();
        options_.check_preempt();
      }
    }
    if (count == kBatch && options_.check_preempt != nullptr)
      options_.check_preempt();
  }
  call.Say("END\r\n");
}

void KvService::SayItem(const Key& key, bool with_cas, const Value& value,
                        Call& call) {
  // "VALUE <key> <flags> <bytes> <cas>\r\n" at its longest.
  std::array<char, 6 + kMaxKeyBytes + 3 * 21 + 2> head;
  size_t size = 0;
  const auto text = [&](std::string_view bytes) {
    size += bytes.copy(head.data() + size, head.size() - size);
  };
  const auto number = [&](uint64_t number_of) {
    char digits[20];
    const auto end =
        std::to_chars(digits, digits + sizeof(digits), number_of).ptr;
    text(" ");
    text({digits, static_cast<size_t>(end - digits)});
  };
  text("VALUE ");
  text(key.bytes);
  number(value.info.flags);
  number(value.info.value_bytes);
  if (with_cas) number(value.info.cas);
  text("\r\n");
  call.Say({head.data(), size});
  value.ForEachPiece([&](Bytes piece) { call.Say(piece); });
  call.Say("\r\n");
}

void KvService::Put(Verb verb, Tokens tokens, std::string_view data,
                    bool has_data, Call& call) {
  const net::memcached::StorageLine line =
      net::memcached::ParseStorage(verb, tokens);
  std::string_view answer;
  if (!line.error.empty()) {
    answer = line.error;
  } else if (!has_data) {
    // The server threw the data away: it was over the limit.
    store_->PutTooLarge(store_->MakeKey(line.key), call.now, ToMode(verb));
    answer = kTooLarge;
  } else if (data.size() != line.value_bytes + 2 || !data.ends_with("\r\n")) {
    answer = kBadData;
  } else {
    PutOptions options{
        .mode = ToMode(verb),
        .flags = line.flags,
        .expires = options_.clock.Expiry(line.exptime, call.now)};
    if (verb == Verb::kCas) options.compare_cas = line.cas;
    data.remove_suffix(2);
    answer =
        ToText(store_->Put(store_->MakeKey(line.key),
                           std::as_bytes(std::span(data)), call.now, options));
  }
  if (!line.noreply) call.Say(answer);
}

void KvService::Delete(Tokens tokens, Call& call) {
  const std::string_view key = tokens.Next();
  if (key.empty()) return call.Say(kError);
  if (key.size() > kMaxKeyBytes) return call.Say(kBadLine);
  // An old form has a time behind the key, of which 0 is still understood.
  std::string_view word = tokens.Next();
  if (word == "0") word = tokens.Next();
  if ((!word.empty() && word != kNoreply) || !tokens.Next().empty()) {
    return call.Say(
        "CLIENT_ERROR bad command line format.  Usage: delete <key> "
        "[noreply]\r\n");
  }
  const Outcome outcome = store_->Delete(store_->MakeKey(key), call.now, {});
  call.Say(outcome == Outcome::kDone ? "DELETED\r\n" : "NOT_FOUND\r\n");
}

void KvService::Arithmetic(Verb verb, Tokens tokens, Call& call) {
  const std::string_view key = tokens.Next();
  const std::string_view delta = tokens.Next();
  if (delta.empty() || tokens.Count(2) > 1) return call.Say(kError);
  if (key.size() > kMaxKeyBytes) return call.Say(kBadLine);
  ArithmeticOptions options{.decrement = verb == Verb::kDecr};
  if (!ParseNumber(delta, options.delta)) {
    return call.Say("CLIENT_ERROR invalid numeric delta argument\r\n");
  }
  const ArithmeticResult result =
      store_->Arithmetic(store_->MakeKey(key), call.now, options);
  switch (result.outcome) {
    case Outcome::kDone:
      call.SayNumber(result.number);
      return call.Say("\r\n");
    case Outcome::kNotFound:
      return call.Say("NOT_FOUND\r\n");
    case Outcome::kNotNumeric:
      return call.Say(
          "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n");
    default:
      return call.Say("SERVER_ERROR out of memory\r\n");
  }
}

void KvService::Touch(Tokens tokens, Call& call) {
  const std::string_view key = tokens.Next();
  const std::string_view word = tokens.Next();
  if (word.empty() || tokens.Count(2) > 1) return call.Say(kError);
  if (key.size() > kMaxKeyBytes) return call.Say(kBadLine);
  int64_t exptime = 0;
  if (!ParseNumber(word, exptime)) return call.Say(kBadExptime);
  const GetOptions options{.want_value = false,
                           .count_get = false,
                           .expires = options_.clock.Expiry(exptime, call.now)};
  Value value;
  const bool hit = store_->Get(store_->MakeKey(key), call.now, options, value);
  call.Say(hit ? "TOUCHED\r\n" : "NOT_FOUND\r\n");
}

void KvService::FlushAll(Tokens tokens, Call& call) {
  std::string_view word = tokens.Next();
  if (word == kNoreply) word = {};
  int64_t delay = 0;
  if (!word.empty() && !ParseNumber(word, delay)) return call.Say(kBadExptime);
  Counters().flushes.fetch_add(1, std::memory_order_relaxed);
  if (delay <= 0) {
    store_->Flush();
  } else {
    store_->FlushAt(options_.clock.Expiry(delay, call.now), call.now);
  }
  call.Say("OK\r\n");
}

// The level is accepted and has no effect: what is logged is configured.
void KvService::Verbosity(Tokens tokens, Call& call) {
  const std::string_view word = tokens.Next();
  uint32_t level = 0;
  if (word.empty() || tokens.Count(2) > 1) return call.Say(kError);
  if (word != kNoreply && !ParseNumber(word, level)) return call.Say(kBadLine);
  call.Say("OK\r\n");
}

}  // namespace yamanote::kv
