// client.h - an application's side of the arbiter: it registers, and again with the next
// one when that is lost.
//
// There are two links (link.h), used in turn: while those who use one of them are on their
// way to the other, both must be there. Which one counts is link(). Who finds that it is
// another than the one that it uses follows: at a moment of its own, so nothing waits.
//
//   registered --hang-up--> lost: the words stay as they are, nobody changes them
//   lost       --welcome--> registered, with the cores that the arbiter adopted
//   lost       --refusal--> alone: home cores, and no others
//   alone      --welcome--> registered

#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "arbiter/link.h"

namespace yamanote::arbiter {

class Client {
 public:
  // Registers. kUnavailable: nobody listens there; kInvalidArgument, kPermissionDenied:
  // the arbiter's refusal, in its words.
  static Result<std::unique_ptr<Client>> Connect(const ClientOptions& options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Acquire: pairs with Publish().
  Link& link() const { return *current_.load(std::memory_order_acquire); }
  // Counts the links that have counted. Acquire: link() read after it is as new.
  uint32_t life() const { return life_.load(std::memory_order_acquire); }
  const ClientOptions& options() const { return options_; }

  // The worker of `core`, whichever link it sleeps on: Link::Visit(). Any thread.
  void Visit(CoreId core, std::atomic<uint32_t>& visits) const;

  // One thread, the one that looks after the registration; nobody uses next() meanwhile.
  //
  // Registers, and says what it holds; what the arbiter adopts is known when
  // next().Answered(). Errors as Link::Open(); kInvalidArgument also if it has other CPUs.
  Result<void> Reconnect(const HeldCores& held, int end);
  void BeAlone() { next().BeAlone(link()); }
  Link& next() { return links_[&link() == links_.data() ? 1 : 0]; }
  // next() is link() from now on, and life() another. Release: pairs with both.
  void Publish() {
    current_.store(&next(), std::memory_order_release);
    life_.fetch_add(1, std::memory_order_release);
  }

 private:
  explicit Client(const ClientOptions& options) : options_(options) {}

  const ClientOptions options_;
  mutable std::array<Link, 2> links_;
  std::atomic<Link*> current_{nullptr};
  std::atomic<uint32_t> life_{0};
};

// Whether a registration that failed so may succeed soon, without anybody's doing.
bool MayPass(const Error& error);

}  // namespace yamanote::arbiter
