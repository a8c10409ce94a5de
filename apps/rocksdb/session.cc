// session.cc - what Redis's clients say beside reading and writing.
//
// Enough for redis-cli, redis-benchmark and client libraries to connect and
// describe the server; nothing here changes any state.

#include <fmt/format.h>
#include <rocksdb/version.h>
#include <unistd.h>

#include "apps/rocksdb/service.h"

namespace yamanote::rocks {
namespace {

// What clients that ask for a version are told: whose commands these are.
constexpr std::string_view kRedisVersion = "7.0.0";

std::string Lower(std::string_view word) {
  std::string out(word);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

// A name as an error repeats it: not endlessly.
std::string_view Shown(std::string_view word) { return word.substr(0, 128); }

}  // namespace

void RocksdbService::RunSession(Verb verb, std::string_view name, Words& words,
                                Call& call) {
  const size_t given = words.left();
  const auto wrong = [&] {
    call.SayError(
        fmt::format("wrong number of arguments for '{}' command", Lower(name)));
  };
  switch (verb) {
    case Verb::kPing:
      if (given > 1) return wrong();
      return given == 0 ? call.Say("+PONG\r\n") : Echo(words, call);
    case Verb::kEcho:
      if (given != 1) return wrong();
      return Echo(words, call);
    case Verb::kQuit:
      call.Say("+OK\r\n");
      return call.reply.CloseAfterSend();
    case Verb::kSelect:
      if (given != 1) return wrong();
      return words.Next() == "0" ? call.Say("+OK\r\n")
                                 : call.SayError("DB index is out of range");
    case Verb::kHello:
      return Hello(words, call);
    case Verb::kClient:
      return Client(words, call);
    case Verb::kCommand:
      // None is described: clients then do without.
      return Lower(words.Next().value_or("")) == "count" ? call.SayNumber(0)
                                                         : call.Say("*0\r\n");
    case Verb::kConfig:
      return Config(words, call);
    case Verb::kInfo:
      return Info(call);
    case Verb::kDbsize:
      if (given != 0) return wrong();
      return call.SayNumber(static_cast<int64_t>(database_->EstimatedKeys()));
    default:
      return call.SayError(fmt::format("unknown command '{}'", Shown(name)));
  }
}

void RocksdbService::Echo(Words& words, Call& call) {
  const std::optional<std::string_view> word = words.Next();
  if (word) return call.SayBulk(*word);
  call.SayError(fmt::format(
      "word of {} bytes is longer than rocksdb.max_value_bytes = {}",
      words.withheld(), options_.max_value_bytes));
}

void RocksdbService::Hello(Words& words, Call& call) {
  if (words.left() > 1) {
    return call.SayError("syntax error: HELLO [2]; there are no passwords");
  }
  if (words.left() == 1 && words.Next() != "2")
    return call.Say("-NOPROTO unsupported protocol version\r\n");
  call.Say("*8\r\n");
  for (const std::string_view word : {"server", "yamanote", "version"})
    call.SayBulk(word);
  call.SayBulk(kRedisVersion);
  call.SayBulk("proto");
  call.SayNumber(2);
  call.SayBulk("mode");
  call.SayBulk("standalone");
}

void RocksdbService::Client(Words& words, Call& call) {
  const std::string what = Lower(words.Next().value_or(""));
  if (what == "setname" || what == "setinfo") return call.Say("+OK\r\n");
  if (what == "getname") return call.SayNull();
  call.SayError(
      fmt::format("unknown subcommand '{}' of CLIENT; known are "
                  "SETNAME, GETNAME and SETINFO",
                  Shown(what)));
}

// redis-benchmark prints these two; other names are not known, so no pair.
void RocksdbService::Config(Words& words, Call& call) {
  if (Lower(words.Next().value_or("")) != "get" || words.left() != 1) {
    return call.SayError(
        "only CONFIG GET is known here; `yamanote serve rocksdb --help` lists "
        "the options");
  }
  const std::string name = Lower(words.Next().value_or(""));
  const bool keeps = !options_.database.path.empty();
  if (name != "save" && name != "appendonly") return call.Say("*0\r\n");
  call.Say("*2\r\n");
  call.SayBulk(name);
  call.SayBulk(name == "save" ? "" : keeps ? "yes" : "no");
}

void RocksdbService::Info(Call& call) {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - started_);
  std::string text = fmt::format(
      "# Server\r\nredis_version:{}\r\nredis_mode:standalone\r\n"
      "rocksdb_version:{}\r\nprocess_id:{}\r\nuptime_in_seconds:{}\r\n",
      kRedisVersion, ::rocksdb::GetRocksVersionAsString(), getpid(),
      seconds.count());
  if (options_.server_info) {
    for (const auto& [name, value] : options_.server_info())
      text += fmt::format("{}:{}\r\n", name, value);
  }
  text += fmt::format(
      "\r\n# Stats\r\nkeyspace_hits:{}\r\nkeyspace_misses:{}\r\nputs:{}\r\n"
      "deletes:{}\r\nscans:{}\r\nscanned_keys:{}\r\nstore_errors:{}\r\n",
      Sum(&Counters::hits), Sum(&Counters::misses), Sum(&Counters::puts),
      Sum(&Counters::deletes), Sum(&Counters::scans),
      Sum(&Counters::scanned_keys), Sum(&Counters::errors));
  text += fmt::format(
      "\r\n# Store\r\npath:{}\r\ntable_bytes:{}\r\nmax_bytes:{}\r\n"
      "max_value_bytes:{}\r\nmax_scan_keys:{}\r\n"
      "\r\n# Keyspace\r\ndb0:keys={},expires=0,avg_ttl=0\r\n",
      database_->path(), database_->TableBytes(), database_->max_bytes(),
      options_.max_value_bytes, options_.max_scan_keys,
      database_->EstimatedKeys());
  call.SayBulk(text);
}

}  // namespace yamanote::rocks
