// socket_resolve.h - a small, bounded pool of kernel threads for lookups that
// block.
//
// A thread is started for a lookup if fewer than kThreads run, and ends when
// the queue is empty: a process that resolves nothing has none. A lookup
// belongs to its caller and to the thread that does it; the last of both frees
// it, so that a caller may give up while the lookup goes on.

#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "worker/wait.h"
#include "yamanote/socket.h"

namespace yamanote::net {

class ResolverPool {
 public:
  using Addresses = Result<std::vector<SocketAddress>>;
  using Lookup =
      std::function<Addresses(const std::string& host, uint16_t port)>;
  static constexpr size_t kThreads = 4;
  static constexpr size_t kQueue = 64;

  // `lookup` may block; it is called on up to kThreads kernel threads at once.
  explicit ResolverPool(Lookup lookup);
  // Requires: nobody is in Resolve(). Lookups under way may still be running.
  ~ResolverPool() = default;

  Addresses Resolve(const std::string& host, uint16_t port, const Until& until);

 private:
  struct Job;
  struct Shared;  // Outlives the pool while a thread runs.
  static void RunThread(const std::shared_ptr<Shared>& shared);

  const std::shared_ptr<Shared> shared_;
};

}  // namespace yamanote::net
