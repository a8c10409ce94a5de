// control.h - how `yamanote native` finds and asks the enclaves of this machine.
//
// The process that runs an enclave listens at FOLDER/NAME.sock and holds a lock for each of
// its CPUs, FOLDER/cpu-N.lock, so that no CPU is two enclaves'. Both go with the process. A
// question is one JSON object in one packet, {"ask": "stats"}; so is the answer, which has
// "error" if there is one. Only the process's own user and root are answered.

#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "yamanote/result.h"

namespace yamanote::tools {

// /run/yamanote/native as root, else $XDG_RUNTIME_DIR/yamanote/native; $YAMANOTE_NATIVE if
// that is set. kNotFound: neither is there.
Result<std::string> ControlFolder();

// Where the enclave `name` listens. Errors: ControlFolder()'s.
Result<std::string> ControlPath(const std::string& name);

// Letters, digits, '-', '_' and '.', 1 .. 48 of them, and no '.' first.
Result<void> CheckEnclaveName(std::string_view name);

// The names of enclaves whose process answers, in order.
std::vector<std::string> EnclaveNames(const std::string& folder);

// What the enclave `name` answers. kNotFound: there is none; kUnavailable: it does not answer.
// An answer's "error" becomes kInvalidArgument.
Result<nlohmann::ordered_json> AskEnclave(
    const std::string& folder, const std::string& name,
    const nlohmann::ordered_json& question);

// The listening end, and the CPUs' locks.
class Control {
 public:
  // Errors: kInvalidArgument: there is an enclave of that name, or a CPU is another's, which
  // is named; kPermissionDenied; kResourceExhausted.
  static Result<Control> Open(const std::string& folder,
                              const std::string& name,
                              const std::vector<unsigned>& cpus);
  ~Control();
  Control(Control&& other) noexcept;
  Control& operator=(Control&&) = delete;

  // Readable when somebody asks.
  int descriptor() const { return listener_; }
  // What is answered: with a descriptor, if it is not -1, which stays this process's.
  struct Said {
    nlohmann::ordered_json json;
    int descriptor = -1;
  };
  // Answers one who asks, within 100 ms. `answer` gets the question and whose it is: root's
  // or this process's user's.
  void Answer(const std::function<Said(const nlohmann::ordered_json& question,
                                       uid_t uid)>& answer);

 private:
  Control() = default;

  int listener_ = -1;
  std::string path_;
  std::vector<int> locks_;
};

}  // namespace yamanote::tools
