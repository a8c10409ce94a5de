// model_test.cc - long random command sequences against the model.

#include "apps/kv/model.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <string>

namespace yamanote::kv {
namespace {

// YAMANOTE_SEED=<number> replays a sequence.
TEST(KvModelTest, RandomCommandsAnswerAsTheModelDoes) {
  const char* const given = std::getenv("YAMANOTE_SEED");
  const unsigned first =
      given != nullptr ? static_cast<unsigned>(std::strtoul(given, nullptr, 10))
                       : std::random_device{}();
  const unsigned sequences = given != nullptr ? 1 : 50;
  for (unsigned i = 0; i < sequences; ++i) {
    const unsigned seed = first + i;
    std::mt19937 random(seed);
    ModelCheck check([&](uint32_t below) {
      return static_cast<uint32_t>(random() % below);
    });
    for (int step = 0; step < 2000; ++step) {
      const std::string difference = check.Step();
      ASSERT_EQ(difference, "")
          << "step " << step << "; replay: YAMANOTE_SEED=" << seed
          << " kv_model_test";
    }
  }
}

}  // namespace
}  // namespace yamanote::kv
