// messages.cc - checks each field of each message.

#include "arbiter/messages.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace yamanote::arbiter {
namespace {

template <typename... Words>
tl::unexpected<Error> Refuse(int error, const Words&... words) {
  std::string message;
  ((message += words), ...);
  return MakeError(ErrorCode::kInvalidArgument, std::move(message), error);
}

std::string Number(uint64_t number) { return std::to_string(number); }

template <typename Message>
Message Copy(std::span<const std::byte> bytes) {
  Message message{};
  std::memcpy(&message, bytes.data(), sizeof message);
  return message;
}

bool IsPrintable(char c) { return c >= 0x20 && c < 0x7f; }

// Up to the 0, which there must be.
Result<std::string> ReadText(const char (&text)[kNameBytes],
                             const char* field) {
  const char* const end = std::find(text, text + kNameBytes, '\0');
  const std::string_view read(text, static_cast<std::size_t>(end - text));
  if (end == text + kNameBytes) {
    return Refuse(EINVAL, field, " = \"", Printable(read),
                  "...\" does not end; at most ", Number(kNameBytes - 1),
                  " characters and a 0 are allowed, shorten it");
  }
  if (read.empty()) {
    return Refuse(EINVAL, field, " is empty; 1 to ", Number(kNameBytes - 1),
                  " printable characters are needed");
  }
  if (!std::all_of(text, end, IsPrintable)) {
    return Refuse(EINVAL, field, " = \"", Printable(read),
                  "\" is not printable; write it in ASCII");
  }
  return std::string(read);
}

// A word that is 0 or 1.
Result<bool> ReadFlag(uint32_t word, const char* field) {
  if (word > 1)
    return Refuse(EINVAL, field, " = ", Number(word), "; write 0 or 1");
  return word == 1;
}

std::string AllocationNames() {
  std::string names;
  for (const CorePolicyInfo* policy : CorePolicies())
    names += (names.empty() ? "" : ", ") + std::string(policy->name);
  return names;
}

}  // namespace

std::string Printable(std::string_view text) {
  std::string printable(text.substr(0, 40));
  std::ranges::replace_if(
      printable, [](char c) { return !IsPrintable(c); }, '?');
  return printable;
}

Result<Kind> ReadKind(std::span<const std::byte> message) {
  if (message.size() < sizeof(Header)) {
    return Refuse(EINVAL, "the message has ", Number(message.size()),
                  " bytes, its header alone ", Number(sizeof(Header)),
                  "; send one struct of abi.h");
  }
  const auto header = Copy<Header>(message);
  if (header.magic != kMagic) {
    return Refuse(EPROTO, "magic = ", Number(header.magic), " instead of ",
                  Number(kMagic), "; send messages of arbiter/abi.h");
  }
  if (header.version != kVersion) {
    return Refuse(EPROTO, "version = ", Number(header.version),
                  ", but this arbiter speaks ", Number(kVersion),
                  "; use an application and a yamanoted of one Yamanote");
  }
  std::size_t expected = 0;
  switch (header.kind) {
    case Kind::kHello:
      expected = sizeof(Hello);
      break;
    case Kind::kWorkers:
      expected = sizeof(Workers);
      break;
    case Kind::kKick:
      expected = sizeof(Kick);
      break;
    case Kind::kList:
      expected = sizeof(Header);
      break;
    default:
      return Refuse(EINVAL,
                    "kind = ", Number(static_cast<uint32_t>(header.kind)),
                    " is none that an application sends; it sends Hello (1), "
                    "Workers (3), Kick (4) or List (5)");
  }
  if (message.size() != expected) {
    return Refuse(EINVAL, "the message of kind ",
                  Number(static_cast<uint32_t>(header.kind)), " has ",
                  Number(message.size()), " bytes instead of ",
                  Number(expected), "; send the struct of abi.h as it is");
  }
  return header.kind;
}

Result<Applicant> ReadHello(std::span<const std::byte> message,
                            unsigned cores) {
  const auto hello = Copy<Hello>(message);
  Applicant applicant;
  Result<std::string> name = ReadText(hello.name, "name");
  if (!name) return tl::unexpected(name.error());
  applicant.name = std::move(*name);
  const Result<std::string> allocation =
      ReadText(hello.allocation, "allocation");
  if (!allocation) return tl::unexpected(allocation.error());
  applicant.policy = FindCorePolicy(*allocation);
  if (applicant.policy == nullptr) {
    return Refuse(EINVAL, "allocation = \"", Printable(*allocation),
                  "\" is unknown; choose one of ", AllocationNames());
  }
  const Result<bool> best_effort = ReadFlag(hello.best_effort, "best_effort");
  if (!best_effort) return tl::unexpected(best_effort.error());
  const Result<bool> opaque = ReadFlag(hello.opaque, "opaque");
  if (!opaque) return tl::unexpected(opaque.error());
  applicant.opaque = *opaque;
  const Result<bool> keeps = ReadFlag(hello.keeps, "keeps");
  if (!keeps) return tl::unexpected(keeps.error());
  applicant.keeps = *keeps;

  if (hello.guaranteed > cores) {
    return Refuse(EINVAL, "guaranteed = ", Number(hello.guaranteed),
                  ", but the arbiter has ", Number(cores),
                  " cores; ask for fewer");
  }
  if (*best_effort && hello.guaranteed != 0) {
    return Refuse(EINVAL, "guaranteed = ", Number(hello.guaranteed),
                  " with best_effort = 1; what is best effort is guaranteed "
                  "nothing, leave one of them out");
  }
  const unsigned most = hello.most == 0 ? cores : std::min(hello.most, cores);
  if (most < hello.guaranteed) {
    return Refuse(EINVAL, "most = ", Number(hello.most),
                  " is less than guaranteed = ", Number(hello.guaranteed),
                  "; raise it, or write 0 for as many as there are");
  }
  applicant.limits = {.guaranteed = hello.guaranteed,
                      .most = most,
                      .best_effort = *best_effort};
  for (unsigned core = 0; core < kMostCores; ++core) {
    if (hello.held[core] > kHeldHome ||
        (hello.held[core] != 0 && core >= cores)) {
      return Refuse(
          EINVAL, "held[", Number(core), "] = ", Number(hello.held[core]),
          "; the arbiter has ", Number(cores),
          " cores, write 1 for those that are held, 2 for home cores");
    }
    applicant.held[core] = hello.held[core] == kHeld;
    applicant.homes[core] = hello.held[core] == kHeldHome;
  }
  return applicant;
}

Result<std::array<int32_t, kMostCores>> ReadWorkers(
    std::span<const std::byte> message, unsigned cores) {
  const auto workers = Copy<Workers>(message);
  std::array<int32_t, kMostCores> tids{};
  for (unsigned core = 0; core < kMostCores; ++core) {
    const int32_t tid = workers.tids[core];
    if (tid < 0 || (tid != 0 && core >= cores)) {
      return Refuse(EINVAL, "tids[", Number(core), "] = ", std::to_string(tid),
                    "; the arbiter has ", Number(cores),
                    " cores, write the thread's id, or 0 for none");
    }
    tids[core] = tid;
  }
  // One thread on two cores could be told two things.
  for (unsigned core = 0; core < cores; ++core) {
    if (tids[core] == 0) continue;
    for (unsigned other = core + 1; other < cores; ++other) {
      if (tids[other] == tids[core]) {
        return Refuse(EINVAL, "tids[", Number(other),
                      "] = ", std::to_string(tids[core]), " is core ",
                      Number(core), "'s too; a worker belongs to one core");
      }
    }
  }
  return tids;
}

}  // namespace yamanote::arbiter
