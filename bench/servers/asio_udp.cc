// asio_udp.cc - the peer most C++ services are written with: Boost.Asio, one
// io_context, several threads, one UDP socket, one receive in flight per thread.
//
//   bench_server_asio_udp PORT THREADS

// Before Boost.Asio, whose header uses std::exchange and does not include it.
// clang-format off
#include <utility>
#include <boost/asio.hpp>
// clang-format on

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "bench/servers/burn.h"

namespace {

using boost::asio::ip::udp;

class Receiver {
 public:
  explicit Receiver(udp::socket& socket) : socket_(socket) { Receive(); }

 private:
  void Receive() {
    socket_.async_receive_from(
        boost::asio::buffer(message_), peer_,
        [this](const boost::system::error_code& error, size_t size) {
          if (!error && size == bench::kMessageBytes) {
            bench::Burn(message_.data());
            boost::system::error_code ignored;
            socket_.send_to(boost::asio::buffer(message_, size), peer_, 0,
                            ignored);
          }
          Receive();
        });
  }

  udp::socket& socket_;
  std::array<char, 64> message_;
  udp::endpoint peer_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s PORT THREADS\n", argv[0]);
    return 2;
  }
  boost::asio::io_context context;
  udp::socket socket(context,
                     udp::endpoint(boost::asio::ip::address_v4::loopback(),
                                   static_cast<uint16_t>(std::atoi(argv[1]))));
  socket.set_option(boost::asio::socket_base::receive_buffer_size(4 << 20));
  const int threads = std::atoi(argv[2]);
  std::vector<std::unique_ptr<Receiver>> receivers;
  for (int i = 0; i < threads; ++i)
    receivers.push_back(std::make_unique<Receiver>(socket));
  std::puts("ready");
  std::fflush(stdout);
  std::vector<std::thread> others;
  for (int i = 1; i < threads; ++i) others.emplace_back([&] { context.run(); });
  context.run();
}
