// huge_pages_test.cc - alignment, ownership, and a refusal.

#include "base/huge_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <utility>
#include <vector>

namespace yamanote::base {
namespace {

TEST(HugePagesTest, IsZeroedAlignedAndWritableToTheEnd) {
  for (const size_t bytes : {size_t{1}, size_t{5000}, HugePages::kBytes,
                             2 * HugePages::kBytes + 1}) {
    const HugePages pages(bytes);
    ASSERT_NE(pages.data(), nullptr);
    ASSERT_GE(pages.size(), bytes);
    const size_t unit = bytes < HugePages::kBytes
                            ? static_cast<size_t>(sysconf(_SC_PAGESIZE))
                            : HugePages::kBytes;
    EXPECT_LT(pages.size(), bytes + unit);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pages.data()) % unit, 0u);
    EXPECT_TRUE(std::all_of(pages.data(), pages.data() + pages.size(),
                            [](std::byte b) { return b == std::byte{0}; }));
    std::fill_n(pages.data(), pages.size(), std::byte{1});
  }
}

TEST(HugePagesTest, PopulateFaultsEveryPageIn) {
  HugePages pages(HugePages::kBytes);
  if (!pages.Populate()) {
    ASSERT_EQ(errno, EINVAL) << "only a kernel before 5.14 may refuse";
    return;
  }
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident(pages.size() / page);
  ASSERT_EQ(mincore(pages.data(), pages.size(), resident.data()), 0);
  EXPECT_TRUE(std::all_of(resident.begin(), resident.end(),
                          [](unsigned char one) { return (one & 1) != 0; }));
}

TEST(HugePagesTest, MovingHandsTheMemoryOver) {
  HugePages first(1);
  std::byte* const memory = first.data();
  HugePages second(std::move(first));
  EXPECT_EQ(second.data(), memory);
  HugePages third;
  EXPECT_EQ(third.data(), nullptr);
  third = std::move(second);
  EXPECT_EQ(third.data(), memory);
  *memory = std::byte{1};
}

TEST(HugePagesTest, WithoutAddressSpaceThereIsNoData) {
  EXPECT_EQ(HugePages(size_t{1} << 60).data(), nullptr);
}

}  // namespace
}  // namespace yamanote::base
