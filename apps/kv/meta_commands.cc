// meta_commands.cc - mn, mg, ms, md, ma and me: one command with flags instead
// of many. What the flags mean is in memcached's doc/protocol.txt; a flag that
// asks for something is answered in the order of the request.

#include <algorithm>
#include <charconv>

#include "apps/kv/service.h"

namespace yamanote::kv {
namespace {

using net::memcached::EncodeBase64;
using net::memcached::MetaCommand;
using net::memcached::ParseMeta;

constexpr std::string_view kEnd = "\r\n";

std::string_view ToCode(Outcome outcome) {
  switch (outcome) {
    case Outcome::kDone:
      return "HD";
    case Outcome::kExists:
      return "EX";
    case Outcome::kNotFound:
      return "NF";
    default:
      return "NS";
  }
}

// The errors among the outcomes; empty for those that have a code.
std::string_view ToError(Outcome outcome) {
  switch (outcome) {
    case Outcome::kTooLarge:
      return "SERVER_ERROR object too large for cache\r\n";
    case Outcome::kNoMemory:
      return "SERVER_ERROR out of memory storing object\r\n";
    case Outcome::kNotNumeric:
      return "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";
    default:
      return {};
  }
}

std::optional<StoreMode> ToMode(char mode) {
  switch (mode) {
    case 0:
    case 'S':
      return StoreMode::kSet;
    case 'E':
      return StoreMode::kAdd;
    case 'A':
      return StoreMode::kAppend;
    case 'P':
      return StoreMode::kPrepend;
    case 'R':
      return StoreMode::kReplace;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<Seconds> KvService::MetaExpiry(std::optional<int64_t> exptime,
                                             Seconds now) const {
  if (!exptime) return std::nullopt;
  return options_.clock.Expiry(*exptime, now);
}

void KvService::RunMeta(Verb verb, Tokens tokens, std::string_view data,
                        bool has_data, Call& call) {
  // Relaxed: pairs with Sum(), which needs no order.
  Counters().meta.fetch_add(1, std::memory_order_relaxed);
  if (verb == Verb::kMetaNoop) return call.Say("MN\r\n");
  const MetaCommand command = ParseMeta(verb, tokens);
  if (command.sent_key.empty() && verb != Verb::kMetaDebug)
    return call.Say("ERROR\r\n");
  if (!command.error.empty()) return call.Say(command.error);
  const Key key = store_->MakeKey(command.key());
  switch (verb) {
    case Verb::kMetaGet:
      return MetaGet(command, key, call);
    case Verb::kMetaSet:
      return MetaSet(command, key, data, has_data, call);
    case Verb::kMetaDelete:
      return MetaDelete(command, key, call);
    case Verb::kMetaArithmetic:
      return MetaArithmetic(command, key, call);
    default:
      return MetaDebug(command, key, call);
  }
}

// Answers the flags that need no item: the opaque token and the key.
void KvService::SayEchoedFlag(std::string_view flag, bool binary,
                              const Key& key, Call& call) {
  if (flag[0] == 'O') {
    call.Say(" ");
    call.Say(flag);
  } else if (flag[0] == 'k') {
    call.Say(" k");
    if (binary) {
      EncodeBase64(key.bytes, [&](std::string_view group) { call.Say(group); });
      call.Say(" b");
    } else {
      call.Say(key.bytes);
    }
  }
}

void KvService::SayExpiry(Seconds expires, Call& call) {
  if (expires == kNeverExpires) return call.Say("-1");
  call.SayNumber(expires > call.now ? expires - call.now : 0);
}

void KvService::SayItemFlag(std::string_view flag, const Key& key,
                            const ItemInfo& info, Call& call) {
  const auto number = [&](std::string_view letter, uint64_t value) {
    call.Say(letter);
    call.SayNumber(value);
  };
  switch (flag[0]) {
    case 's':
      return number(" s", info.value_bytes);
    case 'c':
      return number(" c", info.cas);
    case 'f':
      return number(" f", info.flags);
    case 'h':
      return number(" h", info.fetched ? 1 : 0);
    case 'l':
      return number(" l", call.now - std::min(call.now, info.last_access));
    case 't':
      call.Say(" t");
      return SayExpiry(info.expires, call);
    default:
      return SayEchoedFlag(flag, info.binary_key, key, call);
  }
}

void KvService::MetaGet(const MetaCommand& command, const Key& key,
                        Call& call) {
  const bool wants_value = command.Has('v');
  const GetOptions options{
      .want_value = wants_value,
      .bump = !command.Has('u'),
      .may_win = true,
      .binary_key = command.binary_key,
      .expires = MetaExpiry(command.exptime, call.now),
      .vivify = MetaExpiry(command.vivify_exptime, call.now),
      .recache_below = MetaExpiry(command.recache_exptime, call.now),
      .new_cas = command.new_cas,
      .unless_cas = command.compare_cas,
  };
  Value value;
  if (!store_->Get(key, call.now, options, value)) {
    if (command.quiet) return;
    call.Say("EN");
    for (const std::string_view flag : command.flags()) {
      SayEchoedFlag(flag, command.binary_key, key, call);
    }
    return call.Say(kEnd);
  }
  const ItemInfo& info = value.info;
  const bool says_value = wants_value && options.unless_cas != info.cas;
  call.Say(says_value ? "VA " : "HD");
  if (says_value) call.SayNumber(info.value_bytes);
  for (const std::string_view flag : command.flags()) {
    SayItemFlag(flag, key, info, call);
  }
  if (info.token_sent) call.Say(" Z");
  if (info.stale) call.Say(" X");
  if (info.won) call.Say(" W");
  call.Say(kEnd);
  if (!says_value) return;
  value.ForEachPiece([&](Bytes piece) { call.Say(piece); });
  call.Say(kEnd);
}

void KvService::MetaSet(const MetaCommand& command, const Key& key,
                        std::string_view data, bool has_data, Call& call) {
  const std::optional<StoreMode> mode = ToMode(command.mode);
  if (!mode) return call.Say("CLIENT_ERROR invalid mode for ms M token\r\n");
  if (!has_data) {
    store_->PutTooLarge(key, call.now, StoreMode::kSet);
    return call.Say(ToError(Outcome::kTooLarge));
  }
  if (data.size() != command.value_bytes + 2 || !data.ends_with(kEnd)) {
    return call.Say("CLIENT_ERROR bad data chunk\r\n");
  }
  data.remove_suffix(kEnd.size());
  const PutOptions options{
      .mode = *mode,
      .flags = command.client_flags,
      .expires = MetaExpiry(command.exptime, call.now).value_or(kNeverExpires),
      .compare_cas = command.compare_cas,
      .invalidate = command.Has('I'),
      .new_cas = command.new_cas,
      .vivify = MetaExpiry(command.vivify_exptime, call.now),
      .binary_key = command.binary_key,
  };
  const PutResult result =
      store_->Put(key, std::as_bytes(std::span(data)), call.now, options);
  if (const auto error = ToError(result.outcome); !error.empty())
    return call.Say(error);
  const bool stored = result.outcome == Outcome::kDone;
  if (stored && command.quiet) return;
  call.Say(ToCode(result.outcome));
  for (const std::string_view flag : command.flags()) {
    if (flag[0] == 'c') {
      call.Say(" c");
      call.SayNumber(result.cas);
    } else if (flag[0] == 's' && stored) {
      call.Say(" s");
      call.SayNumber(result.value_bytes);
    } else {
      SayEchoedFlag(flag, command.binary_key, key, call);
    }
  }
  call.Say(kEnd);
}

void KvService::MetaDelete(const MetaCommand& command, const Key& key,
                           Call& call) {
  const DeleteOptions options{
      .compare_cas = command.compare_cas,
      .mark_stale = command.Has('I'),
      .drop_value = command.Has('x'),
      .expires = MetaExpiry(command.exptime, call.now),
      .new_cas = command.new_cas,
  };
  const Outcome outcome = store_->Delete(key, call.now, options);
  if (outcome == Outcome::kDone && command.quiet) return;
  call.Say(ToCode(outcome));
  for (const std::string_view flag : command.flags()) {
    SayEchoedFlag(flag, command.binary_key, key, call);
  }
  call.Say(kEnd);
}

void KvService::MetaArithmetic(const MetaCommand& command, const Key& key,
                               Call& call) {
  const char mode = command.mode == 0 ? 'I' : command.mode;
  if (std::string_view("I+D-").find(mode) == std::string_view::npos) {
    return call.Say("CLIENT_ERROR invalid mode for ma M token\r\n");
  }
  const ArithmeticOptions options{
      .decrement = mode == 'D' || mode == '-',
      .delta = command.delta,
      .compare_cas = command.compare_cas,
      .expires = MetaExpiry(command.exptime, call.now),
      .vivify = MetaExpiry(command.vivify_exptime, call.now),
      .initial = command.initial,
      .new_cas = command.new_cas,
      .binary_key = command.binary_key,
  };
  const ArithmeticResult result = store_->Arithmetic(key, call.now, options);
  if (const auto error = ToError(result.outcome); !error.empty())
    return call.Say(error);
  const bool done = result.outcome == Outcome::kDone;
  if (done && command.quiet && !result.created) return;
  const bool says_value = done && command.Has('v');
  char digits[20];
  const auto end =
      std::to_chars(digits, digits + sizeof(digits), result.number).ptr;
  const std::string_view number(digits, static_cast<size_t>(end - digits));
  call.Say(says_value ? "VA " : ToCode(result.outcome));
  if (says_value) call.SayNumber(number.size());
  for (const std::string_view flag : command.flags()) {
    if (done && flag[0] == 'c') {
      call.Say(" c");
      call.SayNumber(result.cas);
    } else if (done && flag[0] == 't') {
      call.Say(" t");
      SayExpiry(result.expires, call);
    } else {
      SayEchoedFlag(flag, command.binary_key, key, call);
    }
  }
  call.Say(kEnd);
  if (!says_value) return;
  call.Say(number);
  call.Say(kEnd);
}

// What is known about an item, for people.
void KvService::MetaDebug(const MetaCommand& command, const Key& key,
                          Call& call) {
  const GetOptions options{
      .want_value = false, .count_get = false, .bump = false};
  Value value;
  if (!store_->Get(key, call.now, options, value)) return call.Say("EN\r\n");
  const ItemInfo& info = value.info;
  call.Say("ME ");
  call.Say(command.sent_key);
  call.Say(" exp=");
  SayExpiry(info.expires, call);
  call.Say(" la=");
  call.SayNumber(call.now - std::min(call.now, info.last_access));
  call.Say(" cas=");
  call.SayNumber(info.cas);
  call.Say(info.fetched ? " fetch=yes" : " fetch=no");
  call.Say(" cls=1 size=");
  call.SayNumber(info.memory_bytes);
  call.Say(kEnd);
}

}  // namespace yamanote::kv
