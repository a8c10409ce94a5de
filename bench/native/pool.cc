// pool.cc - an ordinary server: a pool of kernel threads on one UDP socket.
//
//   bench_native_pool THREADS    for example 16
//
// Each thread waits for a request of the spin protocol, burns what it asks for, and replies.
// It burns processor time, so who is preempted takes longer. It uses nothing of Yamanote's but the message's layout: it is the unmodified program that
// `yamanote native run` schedules. Prints `ready udp 127.0.0.1:PORT`; ends on SIGTERM.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "net/spin.h"

namespace {

using yamanote::net::DecodeSpin;
using yamanote::net::kSpinMessageBytes;

uint64_t ProcessorTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<uint64_t>(time.tv_nsec);
}

// Of this thread's own: while others run nothing is burnt.
void Burn(uint64_t nanos) {
  const uint64_t end = ProcessorTime() + nanos;
  while (ProcessorTime() < end) {
  }
}

void Serve(int socket) {
  std::byte bytes[kSpinMessageBytes + 1];
  for (;;) {
    sockaddr_in from{};
    socklen_t size = sizeof from;
    const ssize_t length = recvfrom(socket, bytes, sizeof bytes, 0,
                                    reinterpret_cast<sockaddr*>(&from), &size);
    if (length < 0) return;
    const auto message = DecodeSpin({bytes, static_cast<std::size_t>(length)});
    if (!message) continue;
    Burn(message->service_ns);
    sendto(socket, bytes, static_cast<std::size_t>(length), 0,
           reinterpret_cast<sockaddr*>(&from), size);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc == 2 ? std::atoi(argv[1]) : 0;
  if (threads < 1 || threads > 1000) {
    std::fprintf(stderr, "usage: bench_native_pool THREADS, 1 .. 1000\n");
    return 2;
  }
  const int server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (server < 0 ||
      bind(server, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(server, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    std::perror("bench_native_pool");
    return 1;
  }
  const int bytes = 4 << 20;
  setsockopt(server, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) pool.emplace_back(Serve, server);
  std::printf("ready udp 127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  for (std::thread& thread : pool) thread.join();
  return 0;
}
