// system_error_test.cc - an errno becomes words that a user can act on.

#include "io/system_error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace yamanote::io {
namespace {

struct Case {
  int error_number;
  ErrorCode code;
  const char* remedy;  // A part of it.
};

class SystemErrorTest : public testing::TestWithParam<Case> {};

TEST_P(SystemErrorTest, SaysWhatFailedWhyAndTheRemedy) {
  const Error error =
      SystemError(GetParam().error_number, "listen on tcp [::1]:80").value();
  EXPECT_EQ(error.code, GetParam().code);
  EXPECT_EQ(error.system_errno, GetParam().error_number);
  EXPECT_TRUE(error.message.starts_with("listen on tcp [::1]:80: "))
      << error.message;
  EXPECT_NE(error.message.find(GetParam().remedy), std::string::npos)
      << error.message;
}

INSTANTIATE_TEST_SUITE_P(
    WithARemedy, SystemErrorTest,
    testing::Values(
        Case{EMFILE, ErrorCode::kResourceExhausted, "ulimit -n"},
        Case{ENFILE, ErrorCode::kResourceExhausted, "fs.file-max"},
        Case{ENOSPC, ErrorCode::kResourceExhausted, "max_user_watches"},
        Case{EADDRINUSE, ErrorCode::kInvalidArgument, "another port"},
        Case{EADDRNOTAVAIL, ErrorCode::kInvalidArgument, "this machine"},
        Case{EACCES, ErrorCode::kPermissionDenied, "CAP_NET_BIND_SERVICE"},
        Case{EAFNOSUPPORT, ErrorCode::kUnsupported, "kernel"},
        Case{ECONNREFUSED, ErrorCode::kUnavailable, "start the server"}),
    [](const auto& one) {
      return std::string(strerrorname_np(one.param.error_number));
    });

TEST(SystemErrorWithoutRemedyTest, TheSystemsWordsAreTheEnd) {
  const Error error = SystemError(EPIPE, "write").value();
  EXPECT_EQ(error.code, ErrorCode::kClosed);
  EXPECT_EQ(error.message, "write: Broken pipe");
}

TEST(SystemErrorWithoutRemedyTest, AnUnknownNumberIsNamed) {
  const Error error = SystemError(4321, "write").value();
  EXPECT_EQ(error.code, ErrorCode::kInternal);
  EXPECT_NE(error.message.find("4321"), std::string::npos) << error.message;
}

}  // namespace
}  // namespace yamanote::io
