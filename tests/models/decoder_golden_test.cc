// Whole runs of the causal families: hidden states, maps, logits, and greedy tokens with a KV cache.
#include <gtest/gtest.h>

#include "golden.h"

namespace clearhead {
namespace {

class Gpt2Run : public testing::TestWithParam<const char*> {};
TEST_P(Gpt2Run, HiddenStatesMapsAndLogitsMatchTransformers) { expect_golden("gpt2", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, Gpt2Run,
                         testing::Values("plain", "flags", "unscaled", "bare", "classify", "classify_pads", "tokens", "own_head", "sharded",
                                         "f16"),
                         variant_name);

class Gpt2Greedy : public testing::TestWithParam<const char*> {};
TEST_P(Gpt2Greedy, TokensMatchTransformers) { expect_greedy("gpt2", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, Gpt2Greedy, testing::Values("plain", "flags", "unscaled", "sharded", "f16"), variant_name);

TEST(LlamaRope, WithoutOriginalPositionsMatchesTransformers) { expect_golden("llama", "llama3_unsaid"); }

TEST(LlamaClassifier, HiddenStatesMapsAndLogitsMatchTransformers) {
  expect_golden("llama", "classify");
  expect_golden("llama", "tokens");
}

class LlamaRun : public testing::TestWithParam<const char*> {};
TEST_P(LlamaRun, HiddenStatesMapsAndLogitsMatchTransformers) { expect_golden("llama", GetParam()); }
TEST_P(LlamaRun, GreedyTokensMatchTransformers) { expect_greedy("llama", GetParam()); }
INSTANTIATE_TEST_SUITE_P(Variants, LlamaRun,
                         testing::Values("bf16", "biases", "gqa", "linear", "llama3", "llama3_older", "mistral", "qwen2", "smollm3"),
                         variant_name);

}  // namespace
}  // namespace clearhead
