// Models with wrong numbers in their config: goldens of every family, with one number of config.json at a time set to each extreme value. A
// model that loads must run or report an error. ASan shows out-of-bounds accesses, UBSan overflows.
#include <gtest/gtest.h>

#include <filesystem>

#include "golden.h"
#include "numbers.h"

namespace clearhead {
namespace {

// An error counts as a valid result. Returns whether the model ran.
bool run_if_it_loads(const std::string& folder) {
  try {
    const std::shared_ptr<const Model> model = load(folder, {.tokenizer = false});
    Batch tokens;
    tokens.batch = 1;
    tokens.length = 5;
    tokens.ids = {3, 4, 5, 6, 7};
    if (model->info().encoder_layers == 0) {
      model->run(tokens);
      return true;
    }
    model->run_from(tokens, tokens);
    ModelCache cache = model->read(tokens);
    model->step({8}, cache);
    return true;
  } catch (const Error&) {
    return false;
  }
}

class HostileConfigs : public testing::TestWithParam<const char*> {};

TEST_P(HostileConfigs, AModelWithAnExtremeNumberRunsOrIsRefused) {
  std::string name = GetParam();
  const std::string folder = testing::TempDir() + "clearhead-hostile-" + std::to_string(::getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::copy(std::string(CLEARHEAD_SOURCE_DIR) + "/tests/goldens/" + name, folder);
  ASSERT_TRUE(run_if_it_loads(folder));
  const std::string path = folder + "/config.json";
  int64_t tried = 0, ran = 0;
  for (const std::string& config : with_numbers_at_edges(read_file(path))) {
    SCOPED_TRACE(config);
    write_file(path, config);
    ran += run_if_it_loads(folder);
    ++tried;
  }
  EXPECT_GT(tried, 100);
  EXPECT_GT(tried, ran);
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(Families, HostileConfigs,
                         testing::Values("bert/mlm", "bert/classify", "distilbert/mlm", "roberta/classify", "gpt2/plain", "llama/gqa",
                                         "llama/llama3", "llama/mistral", "llama/qwen2", "llama/smollm3", "marian/shared"));

}  // namespace
}  // namespace clearhead
