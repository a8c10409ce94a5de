// main.cc - a request service of one's own: how many primes are below N?
//
//   primes [ADDRESS:PORT]        serves until SIGINT or SIGTERM
//
// A request is a line with a number, the reply one with the answer. Small numbers take
// microseconds, large ones seconds; preempted at probes, they do not hold up the others.

#include <pthread.h>
#include <signal.h>
#include <yamanote/runtime.h>
#include <yamanote/server.h>
#include <yamanote/service.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace {

constexpr uint64_t kMost = 10'000'000;

uint64_t PrimesBelow(uint64_t n) {
  uint64_t found = 0;
  for (uint64_t candidate = 2; candidate < n; ++candidate) {
    bool is_prime = true;
    for (uint64_t d = 2; is_prime && d * d <= candidate; ++d)
      is_prime = candidate % d != 0;
    if (is_prime) ++found;
  }
  return found;
}

// What to do with one request. On a user thread of its own: it may block.
class Primes final : public yamanote::Service {
  void Handle(const yamanote::Request& request,
              yamanote::Reply& reply) override {
    const std::string_view line(
        reinterpret_cast<const char*>(request.bytes.data()),
        request.bytes.size());
    uint64_t n = 0;
    const auto [end, error] =
        std::from_chars(line.data(), line.data() + line.size(), n);
    if (error != std::errc() || *end != '\n' || n > kMost) {
      reply.Append("error: a line is a number from 0 to " +
                   std::to_string(kMost) + "\n");
      return;
    }
    reply.Append(std::to_string(PrimesBelow(n)) + "\n");
  }
};

// Where a request ends.
class Lines final : public yamanote::Protocol {
  using Frame = yamanote::Frame;

  Frame Next(yamanote::Bytes input, yamanote::Transport) const override {
    const auto end = std::find(input.begin(), input.end(), std::byte{'\n'});
    if (end == input.end())
      return {.status = Frame::Status::kNeedMore, .until = std::byte{'\n'}};
    return {.status = Frame::Status::kRequest,
            .size = static_cast<size_t>(end - input.begin()) + 1};
  }

  // Instead of a reply: too many requests, one that is too large, or the end.
  void Refuse(yamanote::Bytes, yamanote::Transport, yamanote::Refusal why,
              yamanote::Reply& reply) const override {
    using yamanote::Refusal;
    reply.Append("error: refused\n");
    if (why == Refusal::kTooLarge || why == Refusal::kMalformed)
      reply.CloseAfterSend();
  }
};

int Fail(const yamanote::Error& error) {
  std::fprintf(stderr, "primes: %s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const auto address =
      yamanote::SocketAddress::Parse(argc > 1 ? argv[1] : "127.0.0.1:7777");
  if (!address) return Fail(address.error());

  // Before the runtime: its kernel threads inherit the mask, so that the signals
  // are left to sigwait().
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  auto runtime = yamanote::Runtime::Create({.cores = 1});
  if (!runtime) return Fail(runtime.error());
  Primes primes;
  const Lines lines;
  auto server = yamanote::Server::Start({.listen = {*address}}, lines, primes);
  if (!server) return Fail(server.error());
  std::printf("ready %s\n", (*server)->tcp_addresses()[0].ToString().c_str());
  std::fflush(stdout);

  int signal = 0;
  sigwait(&ends, &signal);
  (*server)->Stop();  // Answers what is in flight.
  const yamanote::RuntimeStats stats = (*runtime)->stats();
  std::printf("%ju slices ended, %ju of them at probes\n",
              static_cast<uintmax_t>(stats.slices_ended),
              static_cast<uintmax_t>(stats.preemptions));
}
