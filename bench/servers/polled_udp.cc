// polled_udp.cc - the peer that is hard to beat: threads that poll one shared UDP
// socket, one datagram at a time, burn the asked time and answer.
//
//   bench_server_polled_udp PORT THREADS

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "bench/servers/burn.h"

namespace {

void Serve(int socket) {
  char message[64];
  for (;;) {
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    const ssize_t got = recvfrom(socket, message, sizeof(message), MSG_DONTWAIT,
                                 reinterpret_cast<sockaddr*>(&peer), &size);
    if (got != static_cast<ssize_t>(bench::kMessageBytes)) continue;
    bench::Burn(message);
    sendto(socket, message, bench::kMessageBytes, 0,
           reinterpret_cast<sockaddr*>(&peer), size);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s PORT THREADS\n", argv[0]);
    return 2;
  }
  const int socket = ::socket(AF_INET, SOCK_DGRAM, 0);
  const int buffer = 4 << 20;
  setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::atoi(argv[1])));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)) !=
      0) {
    std::perror("bind");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  std::vector<std::thread> threads;
  for (int i = 0; i < std::atoi(argv[2]); ++i)
    threads.emplace_back(Serve, socket);
  for (std::thread& thread : threads) thread.join();
}
