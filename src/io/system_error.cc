// system_error.cc - the meaning and the remedy of each errno that I/O returns.

#include "io/system_error.h"

#include <cerrno>
#include <cstring>
#include <utility>

namespace yamanote::io {
namespace {

struct Meaning {
  ErrorCode code;
  const char* remedy;  // nullptr: the system's own words say enough.
};

Meaning Explain(int error_number) {
  switch (error_number) {
    case EMFILE:
      return {
          ErrorCode::kResourceExhausted,
          "the process's descriptor limit is reached: close some or raise it "
          "with `ulimit -n`"};
    case ENFILE:
      return {ErrorCode::kResourceExhausted,
              "the system's descriptor limit is reached: raise fs.file-max"};
    case ENOSPC:
      return {ErrorCode::kResourceExhausted,
              "the user's epoll watches are used up: raise "
              "fs.epoll.max_user_watches"};
    case ENOMEM:
    case ENOBUFS:
      return {ErrorCode::kResourceExhausted,
              "free memory or lower the number of sockets"};
    case EADDRNOTAVAIL:
      return {ErrorCode::kInvalidArgument,
              "use an address of this machine; or, when connecting, "
              "no local port is free: widen net.ipv4.ip_local_port_range"};
    case EADDRINUSE:
      return {ErrorCode::kInvalidArgument,
              "another socket is bound to it: "
              "choose another port or stop its owner"};
    case EACCES:
    case EPERM:
      return {ErrorCode::kPermissionDenied,
              "ports below net.ipv4.ip_unprivileged_port_start "
              "need CAP_NET_BIND_SERVICE; "
              "otherwise a firewall or a sandbox refused"};
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case EOPNOTSUPP:
    case ENOSYS:
      return {ErrorCode::kUnsupported,
              "the kernel was built or booted without it"};
    case EBADF:
    case EEXIST:
    case EINVAL:
    case EISCONN:
    case ENOTSOCK:
    case EDESTADDRREQ:
    case EMSGSIZE:
      return {ErrorCode::kInvalidArgument, nullptr};
    case ENOENT:
      return {ErrorCode::kNotFound, nullptr};
    case EPIPE:
      return {ErrorCode::kClosed, nullptr};
    case ECONNREFUSED:
      return {ErrorCode::kUnavailable,
              "nothing listens there: start the server first"};
    case ECONNRESET:
    case ECONNABORTED:
    case ENOTCONN:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case ETIMEDOUT:
      return {ErrorCode::kUnavailable, nullptr};
    default:
      return {ErrorCode::kInternal, nullptr};
  }
}

}  // namespace

tl::unexpected<Error> SystemError(int error_number, std::string what) {
  const Meaning meaning = Explain(error_number);
  char buffer[128];
  what += ": ";
  what += strerror_r(error_number, buffer, sizeof(buffer));  // The GNU form.
  if (meaning.remedy != nullptr) {
    what += "; ";
    what += meaning.remedy;
  }
  return MakeError(meaning.code, std::move(what), error_number);
}

}  // namespace yamanote::io
