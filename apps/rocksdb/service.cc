// service.cc - the commands that read and write the store, over TCP and UDP.

#include "apps/rocksdb/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <thread>

#include "net/memcached.h"

namespace yamanote::rocks {
namespace {

using net::memcached::AsText;
using ::rocksdb::PinnableSlice;
using ::rocksdb::Slice;
using ::rocksdb::Status;

// What Redis's SCAN takes if its COUNT is not given.
constexpr uint64_t kScanCount = 10;
constexpr std::string_view kReplyTooLarge =
    "reply too large; ask for fewer keys, or raise server.max_reply_bytes "
    "(over "
    "UDP server.max_udp_reply_bytes)";

std::string_view AsView(const Slice& slice) {
  return {slice.data(), slice.size()};
}

bool ParseNumber(std::string_view text, uint64_t& value) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

}  // namespace

RocksdbService::RocksdbService(RocksdbOptions options)
    : options_(std::move(options)), started_(Clock::now()) {
  CPU_ZERO(&cpus_);
  sched_getaffinity(0, sizeof(cpus_), &cpus_);
}

// On a kernel thread of its own: opening takes more stack than a user thread
// has, and RocksDB's threads must not be bound to the worker that runs this.
Result<void> RocksdbService::Init(unsigned /*cores*/) {
  Result<void> out;
  std::thread([&] {
    sched_setaffinity(0, sizeof(cpus_), &cpus_);
    Result<std::unique_ptr<Database>> opened =
        Database::Open(options_.database);
    if (opened) {
      database_ = std::move(*opened);
    } else {
      out = tl::unexpected(opened.error());
    }
  }).join();
  // Release: pairs with Discard().
  opened_.store(database_.get(), std::memory_order_release);
  return out;
}

void RocksdbService::Discard() {
  // Acquire: pairs with Init().
  Database* const opened = opened_.load(std::memory_order_acquire);
  if (opened != nullptr) opened->Discard();
}

void RocksdbService::Call::SayLength(char kind, int64_t length) {
  char text[24];
  text[0] = kind;
  char* end = std::to_chars(text + 1, text + sizeof(text), length).ptr;
  *end++ = '\r';
  *end++ = '\n';
  Say({text, static_cast<size_t>(end - text)});
}

void RocksdbService::Call::SayBulk(std::string_view text) {
  SayLength('$', static_cast<int64_t>(text.size()));
  Say(text);
  Say("\r\n");
}

void RocksdbService::Call::SayFirst(size_t bytes, std::string_view head) {
  const Bytes said = reply.bytes().subspan(bytes);
  Reply rest = reply.Scratch(said.size());
  fits = fits && rest.Append(said);
  reply.Discard();
  Say(head);
  fits = fits && reply.Append(rest.bytes());
}

void RocksdbService::Call::SayError(std::string_view words) {
  std::string line = "-ERR ";
  for (const char c : words) line += c == '\r' || c == '\n' ? ' ' : c;
  Say(line + "\r\n");
}

RocksdbService::Counters& RocksdbService::Count() {
  // A thread that moves right after counts on its former core: a little
  // sharing.
  const int cpu = sched_getcpu();
  return counters_[static_cast<size_t>(std::max(cpu, 0)) % counters_.size()];
}

uint64_t RocksdbService::Sum(std::atomic<uint64_t> Counters::* counter) const {
  uint64_t sum = 0;
  // Relaxed, here and where they are added to: counts order nothing.
  for (const Counters& each : counters_) {
    sum += (each.*counter).load(std::memory_order_relaxed);
  }
  return sum;
}

bool RocksdbService::HasProbes() {
#if defined(YAMANOTE_PREEMPTIBLE)
  return true;
#else
  return false;
#endif
}

void RocksdbService::Handle(const Request& request, Reply& reply) {
  if (request.transport == Transport::kUdp)
    return HandleDatagram(request, reply);
  Call call{.reply = reply};
  Run(AsText(request.bytes), call);
}

void RocksdbService::HandleDatagram(const Request& request, Reply& reply) {
  const auto header = net::memcached::ReadUdpHeader(request.bytes);
  if (!header) return;
  Reply body = reply.Scratch(SIZE_MAX);
  Call call{.reply = body};
  Run(AsText(request.bytes.subspan(net::memcached::kUdpHeaderBytes)), call);
  const uint16_t kind = net::resp::kReplyDatagram;
  if (net::memcached::AppendDatagrams(header->request, body.bytes(), reply,
                                      kind))
    return;
  body.Discard();
  call.fits = true;
  call.SayError(kReplyTooLarge);
  net::memcached::AppendDatagrams(header->request, body.bytes(), reply, kind);
}

void RocksdbService::Run(std::string_view frame, Call& call) {
  Words words(frame);
  const std::optional<std::string_view> name = words.Next();
  if (name) {
    const Verb verb = net::resp::FindVerb(*name);
    if (verb == Verb::kUnknown || verb >= Verb::kPing) {
      RunSession(verb, *name, words, call);
    } else {
      RunStore(verb, *name, words, call);
    }
  } else if (words.withheld() > 0) {
    call.SayError("unknown command");  // Its name alone is over the limit.
  }
  if (call.fits) return;
  call.reply.Discard();
  call.fits = true;
  call.SayError(kReplyTooLarge);
}

void RocksdbService::RunStore(Verb verb, std::string_view name, Words& words,
                              Call& call) {
  struct Arity {
    size_t low;
    size_t high;
  };
  const auto arity = [verb]() -> Arity {
    switch (verb) {
      case Verb::kGet:
        return {1, 1};
      case Verb::kSet:
      case Verb::kRange:
        return {2, 2};
      case Verb::kScan:
        return {1, 3};
      default:
        return {1, net::resp::kMaxInlineBytes};
    }
  }();
  const size_t given = words.left();
  if (verb == Verb::kSet && given > arity.high)
    return call.SayError("SET takes a key and a value; it has no options here");
  if (given < arity.low || given > arity.high) {
    return call.SayError(
        fmt::format("wrong number of arguments for '{}' command", name));
  }
  switch (verb) {
    case Verb::kGet: {
      const std::optional<std::string_view> key = words.Next();
      if (CheckKey(key, call)) Get(*key, call);
      return;
    }
    case Verb::kMget:
      return Mget(words, call);
    case Verb::kExists:
      return Exists(words, call);
    case Verb::kSet:
      return Set(words, call);
    case Verb::kDelete:
      return Delete(words, call);
    case Verb::kRange:
      return Range(words, call);
    default:
      return Scan(words, call);
  }
}

bool RocksdbService::CheckKey(const std::optional<std::string_view>& key,
                              Call& call) {
  if (key && key->size() <= kMaxKeyBytes) return true;
  call.reply.Discard();
  call.SayError(fmt::format("key is longer than {} bytes", kMaxKeyBytes));
  return false;
}

void RocksdbService::SayStatus(const Status& status, Call& call) {
  Count().errors.fetch_add(1, std::memory_order_relaxed);
  call.reply.Discard();
  if (status.IsMemoryLimit()) {
    return call.Say(
        "-OOM command not allowed when used memory > 'rocksdb.max_bytes'\r\n");
  }
  if (status.IsIncomplete()) {
    return call.SayError(
        "writes come faster than RocksDB can store them, try again later");
  }
  call.SayError(fmt::format("rocksdb: {}", status.ToString()));
}

bool RocksdbService::Get(std::string_view key, Call& call) {
  PinnableSlice value;
  const Status status = database_->Get(key, value);
  if (status.ok()) {
    Count().hits.fetch_add(1, std::memory_order_relaxed);
    call.SayBulk(AsView(value));
    return true;
  }
  if (!status.IsNotFound()) {
    SayStatus(status, call);
    return false;
  }
  Count().misses.fetch_add(1, std::memory_order_relaxed);
  call.SayNull();
  return true;
}

void RocksdbService::Mget(Words& words, Call& call) {
  call.SayLength('*', static_cast<int64_t>(words.left()));
  while (words.left() > 0) {
    const std::optional<std::string_view> key = words.Next();
    if (!CheckKey(key, call)) return;
    if (!Get(*key, call) || !call.fits) return;
    CheckPreempt();
  }
}

void RocksdbService::Exists(Words& words, Call& call) {
  int64_t found = 0;
  while (words.left() > 0) {
    const std::optional<std::string_view> key = words.Next();
    if (!CheckKey(key, call)) return;
    PinnableSlice value;
    const Status status = database_->Get(*key, value);
    if (!status.ok() && !status.IsNotFound()) return SayStatus(status, call);
    found += status.ok() ? 1 : 0;
    CheckPreempt();
  }
  call.SayNumber(found);
}

void RocksdbService::Set(Words& words, Call& call) {
  const std::optional<std::string_view> key = words.Next();
  if (!CheckKey(key, call)) return;
  const std::optional<std::string_view> value = words.Next();
  // An inline command has no value withheld, but may be longer than allowed.
  const size_t bytes = value ? value->size() : words.withheld();
  if (!value || bytes > options_.max_value_bytes) {
    return call.SayError(fmt::format(
        "value of {} bytes is longer than rocksdb.max_value_bytes = {}", bytes,
        options_.max_value_bytes));
  }
  const Status status = database_->Put(*key, *value);
  if (!status.ok()) return SayStatus(status, call);
  Count().puts.fetch_add(1, std::memory_order_relaxed);
  call.Say("+OK\r\n");
}

void RocksdbService::Delete(Words& words, Call& call) {
  int64_t deleted = 0;
  while (words.left() > 0) {
    const std::optional<std::string_view> key = words.Next();
    if (!CheckKey(key, call)) return;
    PinnableSlice value;
    Status status = database_->Get(*key, value);
    if (status.ok()) {
      status = database_->Delete(*key);
      deleted += status.ok() ? 1 : 0;
    }
    if (!status.ok() && !status.IsNotFound()) return SayStatus(status, call);
    CheckPreempt();
  }
  Count().deletes.fetch_add(static_cast<uint64_t>(deleted),
                            std::memory_order_relaxed);
  call.SayNumber(deleted);
}

bool RocksdbService::ReadCount(std::string_view word, uint64_t& count,
                               Call& call) const {
  if (!ParseNumber(word, count) || count == 0) {
    call.SayError("value is not an integer or out of range");
    return false;
  }
  if (count <= options_.max_scan_keys) return true;
  call.SayError(fmt::format("count {} is above rocksdb.max_scan_keys = {}",
                            count, options_.max_scan_keys));
  return false;
}

// The answer's first line says how many words follow, which is certain only
// after the scan: nearly always as many as were asked for, so that is said
// first and put right in the other case.
void RocksdbService::Range(Words& words, Call& call) {
  const std::optional<std::string_view> start = words.Next();
  uint64_t count = 0;
  if (!CheckKey(start, call)) return;
  if (!ReadCount(words.Next().value_or(""), count, call)) return;
  call.SayLength('*', static_cast<int64_t>(2 * count));
  const size_t header = call.reply.bytes().size();
  Walk walk = database_->NewWalk(options_.check_preempt);
  uint64_t found = 0;
  walk.Seek(*start);
  while (walk.Valid()) {
    call.SayBulk(walk.key());
    call.SayBulk(walk.value());
    if (!call.fits) return;
    if (++found == count) break;
    CheckPreempt();
    walk.Next();
  }
  if (!walk.status().ok()) return SayStatus(walk.status(), call);
  Counters& counters = Count();
  counters.scans.fetch_add(1, std::memory_order_relaxed);
  counters.scanned_keys.fetch_add(found, std::memory_order_relaxed);
  if (found == count) return;
  call.SayFirst(header, fmt::format("*{}\r\n", 2 * found));
}

// The keys are said as they come, because the reply is what bounds their memory,
// and the cursor and their number, which come before them, at the end.
void RocksdbService::Scan(Words& words, Call& call) {
  uint64_t cursor = 0;
  if (!ParseNumber(words.Next().value_or(""), cursor))
    return call.SayError("invalid cursor");
  uint64_t count = kScanCount;
  if (words.left() > 0) {
    std::string option(words.Next().value_or(""));
    for (char& c : option) c = static_cast<char>(c & ~0x20);
    if (option != "COUNT" || words.left() != 1)
      return call.SayError("syntax error: SCAN cursor [COUNT n]");
    if (!ReadCount(words.Next().value_or(""), count, call)) return;
  }
  std::string start;
  if (cursor != 0) {
    std::optional<std::string> place = cursors_.Find(cursor);
    if (!place) return call.SayError("invalid cursor: it is too old");
    start = std::move(*place);
  }
  uint64_t found = 0;
  Walk walk = database_->NewWalk(options_.check_preempt);
  for (walk.Seek(start); walk.Valid() && found < count; walk.Next()) {
    call.SayBulk(walk.key());
    if (!call.fits) return;
    ++found;
    CheckPreempt();
  }
  if (!walk.status().ok()) return SayStatus(walk.status(), call);
  const std::string next = fmt::format(
      "{}", walk.Valid() ? cursors_.Remember(std::string(walk.key())) : 0);
  Counters& counters = Count();
  counters.scans.fetch_add(1, std::memory_order_relaxed);
  counters.scanned_keys.fetch_add(found, std::memory_order_relaxed);
  call.SayFirst(
      0, fmt::format("*2\r\n${}\r\n{}\r\n*{}\r\n", next.size(), next, found));
}

}  // namespace yamanote::rocks
