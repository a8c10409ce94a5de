// client.cc - registers, again and again.

#include "arbiter/client.h"

#include <cerrno>
#include <string>

namespace yamanote::arbiter {
namespace {

std::string ListOf(const std::vector<int>& cpus) {
  std::string text;
  for (const int cpu : cpus) {
    if (!text.empty()) text += ',';
    text += std::to_string(cpu);
  }
  return text;
}

}  // namespace

Result<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  std::unique_ptr<Client> client(new Client(options));
  for (Link& link : client->links_) {
    if (const auto reserved = link.Reserve(); !reserved)
      return tl::unexpected(reserved.error());
  }
  Link& first = client->links_[0];
  if (const auto opened = first.Open(options, {}, /*end=*/-1); !opened)
    return tl::unexpected(opened.error());
  client->current_.store(&first, std::memory_order_release);
  return client;
}

void Client::Visit(CoreId core, std::atomic<uint32_t>& visits) const {
  for (const Link& link : links_) link.Visit(core, visits);
}

Result<void> Client::Reconnect(const HeldCores& held, int end) {
  Link& link = next();
  if (const auto opened = link.Open(options_, held, end); !opened)
    return opened;
  if (link.cpus() == this->link().cpus()) return {};
  Error error{ErrorCode::kInvalidArgument,
              "it hands out CPUs " + ListOf(link.cpus()) + ", not " +
                  ListOf(this->link().cpus()) +
                  " as before; restart the application, or yamanoted with "
                  "those (--cpus)"};
  link.BeAlone(this->link());
  return tl::unexpected(std::move(error));
}

bool MayPass(const Error& error) {
  return error.code == ErrorCode::kUnavailable ||
         error.code == ErrorCode::kResourceExhausted ||
         error.system_errno == EAGAIN || error.system_errno == EMFILE;
}

}  // namespace yamanote::arbiter
