// output_test.cc - files are refused early, written whole, and never harmed.

#include "tools/output/output.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace yamanote::tools {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

class OutputTest : public testing::Test {
 protected:
  OutputTest() { fs::create_directories(folder_); }
  ~OutputTest() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const {
    return (folder_ / name).string();
  }
  static std::string Read(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  size_t Files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_),
                                             fs::directory_iterator()));
  }

  const fs::path folder_ = fs::path(testing::TempDir()) /
                           ("output-test-" + std::to_string(getpid()));
};

TEST_F(OutputTest, CheckingLeavesNothingBehindAndTruncatesNothing) {
  ASSERT_TRUE(CheckWritable("--json", Path("new.json")));
  EXPECT_EQ(Files(), 0u);
  std::ofstream(Path("old.json")) << "kept";
  ASSERT_TRUE(CheckWritable("--json", Path("old.json")));
  EXPECT_EQ(Read(Path("old.json")), "kept");
  EXPECT_EQ(Files(), 1u);
}

TEST_F(OutputTest, WhatCannotBeWrittenIsNamedWithFlagPathAndRemedy) {
  for (const auto& write :
       {+[](const std::string& path) { return CheckWritable("--json", path); },
        +[](const std::string& path) {
          return WriteFile("--json", path, "x");
        }}) {
    const Result<void> missing = write(Path("none/x.json"));
    ASSERT_FALSE(missing);
    EXPECT_THAT(missing.error().message,
                HasSubstr("--json is '" + Path("none/x.json") + "'"));
    EXPECT_THAT(missing.error().message,
                HasSubstr("No such file or directory; create its folder"));
    const Result<void> folder = write(folder_.string());
    ASSERT_FALSE(folder);
    EXPECT_THAT(folder.error().message,
                HasSubstr("Is a directory; name a file"));
    const Result<void> below = write("/dev/null/x");
    ASSERT_FALSE(below);
    EXPECT_THAT(below.error().message, HasSubstr("Not a directory"));
    EXPECT_FALSE(write(""));
    EXPECT_FALSE(write(Path("new/")));
  }
  EXPECT_EQ(Files(), 0u);
}

TEST_F(OutputTest, AFileIsReplacedWholeAndKeepsItsPermissions) {
  std::ofstream(Path("old")) << "old and longer";
  fs::permissions(Path("old"), fs::perms::owner_read | fs::perms::owner_write);
  ASSERT_TRUE(WriteFile("--json", Path("old"), "new"));
  EXPECT_EQ(Read(Path("old")), "new");
  EXPECT_EQ(fs::status(Path("old")).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(Files(), 1u);
}

TEST_F(OutputTest, ALinkStaysALink) {
  std::ofstream(Path("target")) << "old";
  fs::create_symlink(Path("target"), Path("link"));
  ASSERT_TRUE(WriteFile("--json", Path("link"), "new"));
  EXPECT_TRUE(fs::is_symlink(Path("link")));
  EXPECT_EQ(Read(Path("target")), "new");
}

// Renaming a file over /dev/null would harm everybody if root did it.
TEST_F(OutputTest, ADeviceIsWrittenNotReplaced) {
  fs::create_symlink("/dev/null", Path("device"));
  ASSERT_TRUE(CheckWritable("--json", Path("device")));
  ASSERT_TRUE(WriteFile("--json", Path("device"), "x"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  EXPECT_EQ(Files(), 1u);
  const Result<void> full = WriteFile("--json", "/dev/full", "x");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, ErrorCode::kResourceExhausted);
  EXPECT_THAT(full.error().message, HasSubstr("--json is '/dev/full'"));
  EXPECT_THAT(full.error().message, HasSubstr("free some space"));
}

TEST_F(OutputTest, APipeThatNobodyReadsTakesNoMore) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(fcntl(ends[1], F_SETPIPE_SZ, 4096), 4096);
  EXPECT_TRUE(TakesOutput(ends[1], Duration(0)));
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  EXPECT_FALSE(TakesOutput(ends[1], Duration(0)));
  const Instant began = Clock::now();
  EXPECT_FALSE(TakesOutput(ends[1], std::chrono::milliseconds(10)));
  EXPECT_GE(Clock::now() - began, std::chrono::milliseconds(10));
  close(ends[0]);
  EXPECT_TRUE(TakesOutput(ends[1], Duration(0)));  // It fails at once.
  close(ends[1]);
}

}  // namespace
}  // namespace yamanote::tools
