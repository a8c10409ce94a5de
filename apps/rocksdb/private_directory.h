// private_directory.h - a directory in memory that goes when its process goes.
//
// It is locked while its owner lives (flock on the directory itself, which the
// kernel undoes however the process ends). So the next Create() in the same
// place removes what a killed process left behind, and nothing that is in use.

#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "yamanote/result.h"

namespace yamanote::rocks {

class PrivateDirectory {
 public:
  // Makes a directory that only this user may enter, in `root`. The error names
  // `root`. Any thread.
  static Result<std::unique_ptr<PrivateDirectory>> Create(
      const std::string& root);

  // As Remove().
  ~PrivateDirectory();
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;

  const std::string& path() const { return path_; }

  // Removes it with all that is in it, in use or not. Any thread; again has no
  // effect.
  void Remove();

 private:
  PrivateDirectory(std::string path, int lock)
      : path_(std::move(path)), lock_(lock) {}

  const std::string path_;
  std::mutex mutex_;
  int lock_;  // Guarded by mutex_; -1 once removed.
};

}  // namespace yamanote::rocks
