// test_daemon.h - a daemon in a folder of its own, on a thread of the test.

#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "arbiter/daemon.h"
#include "base/topology.h"

namespace yamanote::arbiter {

class TestFolder {
 public:
  TestFolder() {
    std::string name =
        std::filesystem::temp_directory_path() / "yamanote-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string socket() const { return path_ + "/arbiter.sock"; }

 private:
  std::string path_;
};

// Two cores, as far as there are two; the second on the first one's CPU otherwise.
inline DaemonOptions TestOptions(const std::string& socket) {
  DaemonOptions options;
  const std::vector<int> cpus = base::AllowedCpus();
  options.arbiter.cpus = {cpus.front(), cpus.size() > 1 ? cpus[1] : cpus[0]};
  options.arbiter.elsewhere = cpus;
  options.server.path = socket;
  options.server.rights.AddOwners(geteuid());
  options.server.list = [](const Status& status) {
    return std::to_string(status.apps.size());
  };
  return options;
}

// kEqual: guests are not put beneath, as by a daemon without CAP_SYS_NICE; for tests that
// are about something else, and run on machines that are busy.
enum class Guests : uint8_t { kBeneath, kEqual };

class TestLinux final : public Linux {
 public:
  explicit TestLinux(Guests guests) : guests_(guests) {}
  bool Restores() override {
    return guests_ == Guests::kBeneath && Linux::Restores();
  }

 private:
  const Guests guests_;
};

class TestDaemon {
 public:
  explicit TestDaemon(DaemonOptions options, Guests guests = Guests::kBeneath)
      : kernel_(guests) {
    end_ = eventfd(0, EFD_CLOEXEC);
    options.end = end_;
    Result<std::unique_ptr<Daemon>> daemon =
        Daemon::Create(std::move(options), kernel_);
    if (!daemon) {
      error = daemon.error();
      return;
    }
    daemon_ = std::move(*daemon);
    thread_ = std::thread([this] { daemon_->Run(); });
  }
  ~TestDaemon() {
    if (thread_.joinable()) {
      eventfd_write(end_, 1);
      thread_.join();
    }
    daemon_.reset();
    close(end_);
  }
  TestDaemon(const TestDaemon&) = delete;
  TestDaemon& operator=(const TestDaemon&) = delete;

  Error error;  // Of its start.

 private:
  TestLinux kernel_;
  int end_ = -1;
  std::unique_ptr<Daemon> daemon_;
  std::thread thread_;
};

}  // namespace yamanote::arbiter
