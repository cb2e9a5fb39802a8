// The dispatch tables, row by row: which driver and which products a call gets, for every machine. Nothing is computed.
#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <utility>

#include "backends/cpu/dispatch.h"
#include "clearhead/spec.h"

namespace clearhead::cpu {
namespace {

constexpr Machine kAvx2{InstructionSet::kAvx2, Products::kF32}, kWidening{InstructionSet::kAvx512, Products::kF32},
    kDot{InstructionSet::kAvx512, Products::kBf16Dot}, kAmx{InstructionSet::kAvx512, Products::kAmx};
constexpr auto kF32 = DType::kF32, kBF16 = DType::kBF16, kF16 = DType::kF16;

struct Call {
  Machine machine{};
  AttentionSpec spec{};
  int64_t queries = 1000, keys = 1000;
  DType dtype = kF32;
  std::optional<DType> pages{};
  int64_t d_k = 64, d_v = 64, group = 1;
  bool wants_bias_gradient = false, after = false, rounded = false;

  CallFacts facts() const {
    CallFacts out{.spec = spec, .machine = machine};
    out.queries = out.query_length = queries;
    out.keys = keys;
    out.d_k = d_k, out.d_v = d_v, out.group = group;
    out.dtype = dtype, out.pages = pages;
    out.wants_bias_gradient = wants_bias_gradient, out.after = after, out.rounded = rounded;
    return out;
  }
};

AttentionSpec with(Normaliser normaliser) { return {.normaliser = std::move(normaliser)}; }
AttentionSpec with(Score score) { return {.score = std::move(score)}; }
AttentionSpec with(Topology topology) { return {.topology = std::move(topology)}; }
AttentionSpec with(AfterNormaliser after) { return {.after = std::move(after)}; }

Topology lists_of(int64_t query_block) {
  Topology out;
  out.block_sparse = BlockSparse{
      .query_block = query_block, .offsets = Tensor::zeros({1, 1, 2}, DType::kI32), .keys = Tensor::zeros({1, 1, 1}, DType::kI32)};
  return out;
}
Topology with_segments() {
  Topology out = causal();
  out.segments = Segments{Tensor::zeros({1, 1000}, DType::kI32), Tensor::zeros({1, 1000}, DType::kI32)};
  return out;
}
AttentionSpec relative() { return with(Score(Relative{.keys = Tensor::zeros({1, 9, 64})})); }
AttentionSpec additive() { return with(Score(Additive{.weight = Tensor::zeros({1, 64})})); }
AfterNormaliser dropout() { return {.dropout = Dropout{.rate = 0.1F}}; }
AfterNormaliser head_mask() { return {.head_mask = Tensor::zeros({2})}; }
AttentionSpec linear(Topology topology = causal()) { return {.topology = std::move(topology), .normaliser = LinearAttention{}}; }

struct Row {
  const char* why;
  Call call;
  const char* driver;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.why; }

// --- forward ---------------------------------------------------------------------------------------------------------------------------------

class ForwardDispatch : public testing::TestWithParam<Row> {};

TEST_P(ForwardDispatch, GivesTheDriverOfTheTable) { EXPECT_EQ(describe(choose_forward(GetParam().call.facts())), GetParam().driver); }

INSTANTIATE_TEST_SUITE_P(Normalisers, ForwardDispatch,
                         testing::Values(Row{"softmax", {kDot}, "flash (f32)"}, Row{"softmax, AVX2", {kAvx2}, "flash (f32)"},
                                         Row{"sigmoid", {kDot, with(Normaliser(Sigmoid{}))}, "one_pass (f32)"},
                                         Row{"hard", {kDot, with(Normaliser(Hard{}))}, "one_pass (f32)"},
                                         Row{"sparsemax", {kDot, with(Normaliser(Sparsemax{}))}, "sparsemax (f32)"},
                                         Row{"entmax, one query", {kDot, with(Normaliser(Entmax15{})), 1}, "sparsemax (f32)"},
                                         Row{"linear over a prefix", {kDot, linear()}, "chunk_linear (f32)"},
                                         Row{"linear, few pairs: they cost less than sums", {kDot, linear(), 20, 20}, "one_pass (f32)"},
                                         Row{"linear, a window", {kDot, linear(causal(10))}, "one_pass (f32)"},
                                         Row{"linear, segments", {kDot, linear(with_segments())}, "one_pass (f32)"},
                                         Row{"linear of bf16 is widened", {kDot, linear(), 1000, 1000, kBF16}, "chunk_linear (f32)"}));

INSTANTIATE_TEST_SUITE_P(Lengths, ForwardDispatch,
                         testing::Values(Row{"one query", {kDot, {}, 1}, "decode (f32)"},
                                         Row{"sixteen queries", {kDot, {}, 16}, "decode (f32)"},
                                         Row{"seventeen", {kDot, {}, 17}, "flash (f32)"},
                                         Row{"seventeen over many keys", {kDot, {}, 17, 4096}, "split_kv (f32)"},
                                         Row{"of a group of 12", {kDot, {}, 17, 4096, kF32, {}, 64, 64, 12}, "flash (f32)"},
                                         Row{"few queries with dropout", {kDot, with(dropout()), 4}, "flash (f32)"},
                                         Row{"few queries with dropout over many keys", {kDot, with(dropout()), 4, 4096}, "split_kv (f32)"},
                                         Row{"few queries with a head mask", {kDot, with(head_mask()), 4}, "decode (f32)"},
                                         Row{"few queries, relative", {kDot, relative(), 4}, "flash (f32)"},
                                         Row{"one query, additive", {kDot, additive(), 1}, "decode (f32)"}));

INSTANTIATE_TEST_SUITE_P(Lists, ForwardDispatch,
                         testing::Values(Row{"of single queries", {kDot, with(lists_of(1))}, "gather (f32)"},
                                         Row{"of 16 queries fill AVX-512's lanes", {kDot, with(lists_of(16))}, "flash (f32)"},
                                         Row{"of 15 do not", {kDot, with(lists_of(15))}, "gather (f32)"},
                                         Row{"of 8 fill AVX2's", {kAvx2, with(lists_of(8))}, "flash (f32)"},
                                         Row{"of 7 do not", {kAvx2, with(lists_of(7))}, "gather (f32)"},
                                         Row{"of many, few queries", {kDot, with(lists_of(16)), 16}, "gather (f32)"},
                                         Row{"bf16 by dot products", {kDot, with(lists_of(1)), 1000, 1000, kBF16}, "gather (bf16 dot)"},
                                         Row{"bf16 on AMX is widened", {kAmx, with(lists_of(1)), 1000, 1000, kBF16}, "gather (f32)"}));

INSTANTIATE_TEST_SUITE_P(
    Bf16, ForwardDispatch,
    testing::Values(Row{"AVX2 widens", {kAvx2, {}, 1000, 1000, kBF16}, "flash (f32)"},
                    Row{"a machine that widens", {kWidening, {}, 1000, 1000, kBF16}, "flash (f32)"},
                    Row{"dot products", {kDot, {}, 1000, 1000, kBF16}, "flash_bf16 (bf16 dot)"},
                    Row{"AMX", {kAmx, {}, 1000, 1000, kBF16}, "flash_bf16 (AMX)"}, Row{"f16", {kAmx, {}, 1000, 1000, kF16}, "flash (f32)"},
                    Row{"AMX takes channels in sixteens", {kAmx, {}, 1000, 1000, kBF16, {}, 40}, "flash (f32)"},
                    Row{"dot products take any", {kDot, {}, 1000, 1000, kBF16, {}, 40}, "flash_bf16 (bf16 dot)"},
                    Row{"no channels", {kDot, {}, 1000, 1000, kBF16, {}, 0}, "flash (f32)"},
                    Row{"dropout: P stays f32", {kDot, with(dropout()), 1000, 1000, kBF16}, "flash (bf16 dot)"},
                    Row{"few rows over many keys", {kDot, {}, 17, 4096, kBF16}, "split_kv (bf16 dot)"},
                    Row{"one query", {kAmx, {}, 1, 1000, kBF16}, "decode (AMX)"},
                    Row{"sparsemax", {kDot, with(Normaliser(Sparsemax{})), 1000, 1000, kBF16}, "sparsemax (bf16 dot)"},
                    Row{"sparsemax on AMX", {kAmx, with(Normaliser(Sparsemax{})), 1000, 1000, kBF16}, "sparsemax (f32)"},
                    Row{"additive", {kDot, additive(), 1000, 1000, kBF16}, "flash (f32)"}));

INSTANTIATE_TEST_SUITE_P(Pages, ForwardDispatch,
                         testing::Values(Row{"a query over f32", {kDot, {}, 1, 1000, kF32, kF32}, "decode (f32)"},
                                         Row{"a bf16 query", {kDot, {}, 1, 1000, kBF16, kBF16}, "decode (f32)"},
                                         Row{"two bf16 queries", {kDot, {}, 2, 1000, kBF16, kBF16}, "decode_bf16 (bf16 dot)"},
                                         Row{"by AMX", {kAmx, {}, 16, 1000, kBF16, kBF16}, "decode_bf16 (AMX)"},
                                         Row{"f32 queries over bf16", {kDot, {}, 4, 1000, kF32, kBF16}, "decode (f32)"},
                                         Row{"bf16 queries over f16", {kDot, {}, 4, 1000, kBF16, kF16}, "decode (f32)"},
                                         Row{"with dropout", {kDot, with(dropout()), 4, 1000, kBF16, kBF16}, "flash (f32)"},
                                         Row{"channels not in sixteens", {kDot, {}, 4, 1000, kBF16, kBF16, 40}, "decode (f32)"},
                                         Row{"a prompt goes over rows", {kDot, {}, 500, 1000, kBF16, kBF16}, "flash_bf16 (bf16 dot)"},
                                         Row{"a prompt longer than its keys does not", {kDot, {}, 1001, 1000, kBF16, kBF16}, "flash (f32)"},
                                         Row{"nor one over f32", {kDot, {}, 500, 1000, kBF16, kF32}, "flash (f32)"}));

std::pair<int64_t, int64_t> page_rows(const Call& call) {
  const Range rows = choose_forward(call.facts()).page_rows.value_or(Range{-1, -1});
  return {rows.begin, rows.end};
}

TEST(ForwardRows, APromptOverPagesReadsTheRowsThatItsBandShows) {
  Call call{kDot, with(causal(100)), 500, 3000, kBF16, kBF16};
  EXPECT_EQ(page_rows(call), (std::pair<int64_t, int64_t>{2304, 3000})) << "query 0 is at 2500 and sees 2400, in the page from 2304";
  call.spec.topology = causal();
  EXPECT_EQ(page_rows(call), (std::pair<int64_t, int64_t>{0, 3000}));
  call.spec = with(causal(100)), call.spec.after = dropout();
  EXPECT_EQ(page_rows(call), (std::pair<int64_t, int64_t>{0, 3000})) << "dropout counts keys from the first one";
  EXPECT_FALSE(choose_forward(Call{kDot, {}, 4, 1000, kBF16, kBF16}.facts()).page_rows.has_value());
}

TEST(ForwardRows, ABandThatShowsFewKeysIsNotSplit) {
  const Call call{kDot, with(causal(100)), 100, 8000, kBF16, kBF16};
  EXPECT_EQ(describe(choose_forward(call.facts())), "flash_bf16 (bf16 dot)") << "for the keys that are read";
}

TEST(ForwardRows, ChunksOfKeysAreWholeTilesAndAtMostEight) {
  for (const auto& [keys, chunk] : {std::pair{4096, 2048}, {16384, 2048}, {16385, 2304}, {100'000, 12544}}) {
    EXPECT_EQ(choose_forward(Call{kDot, {}, 100, keys}.facts()).split_keys, chunk) << keys;
  }
  EXPECT_EQ(choose_forward(Call{kDot, {}, 100, 4095}.facts()).split_keys, 0);
  EXPECT_EQ(choose_forward(Call{kDot, {}, 193, 8192}.facts()).split_keys, 0);
}

// --- backward --------------------------------------------------------------------------------------------------------------------------------

class BackwardDispatch : public testing::TestWithParam<Row> {};

TEST_P(BackwardDispatch, GivesTheDriverOfTheTable) { EXPECT_EQ(describe(choose_backward(GetParam().call.facts())), GetParam().driver); }

INSTANTIATE_TEST_SUITE_P(
    Table, BackwardDispatch,
    testing::Values(
        Row{"softmax", {kDot}, "flash (f32)"}, Row{"one query", {kDot, {}, 1}, "flash (f32)"},
        Row{"additive", {kDot, additive()}, "flash (f32)"}, Row{"sigmoid", {kDot, with(Normaliser(Sigmoid{}))}, "flash_general (f32)"},
        Row{"dropout", {kDot, with(dropout()), 1000, 1000, kBF16}, "flash_general (f32)"},
        Row{"head mask", {kDot, with(head_mask()), 1000, 1000, kBF16}, "flash_general (f32)"},
        Row{"linear", {kDot, linear()}, "chunk_linear (f32)"}, Row{"linear, a window", {kDot, linear(causal(9))}, "flash_general (f32)"},
        Row{"lists", {kDot, with(lists_of(1))}, "gather (f32)"}, Row{"lists of 16", {kDot, with(lists_of(16))}, "flash (f32)"},
        Row{"lists, with a dense bias's gradient", {kDot, with(lists_of(1)), 1000, 1000, kF32, {}, 64, 64, 1, true}, "flash (f32)"},
        Row{"bf16", {kDot, {}, 1000, 1000, kBF16}, "flash_bf16 (bf16 dot)"}, Row{"AMX", {kAmx, {}, 1000, 1000, kBF16}, "flash_bf16 (AMX)"},
        Row{"AMX takes values in steps of q's", {kAmx, {}, 1000, 1000, kBF16, {}, 64, 48}, "flash (f32)"},
        Row{"dot products take any", {kDot, {}, 1000, 1000, kBF16, {}, 64, 48}, "flash_bf16 (bf16 dot)"},
        Row{"bf16 lists", {kDot, with(lists_of(1)), 1000, 1000, kBF16}, "gather (f32)"},
        Row{"AVX2", {kAvx2, {}, 1000, 1000, kBF16}, "flash (f32)"}));

// --- reductions and weights --------------------------------------------------------------------------------------------------------------

class ReductionDispatch : public testing::TestWithParam<Row> {};

TEST_P(ReductionDispatch, GivesTheDriverOfTheTable) { EXPECT_EQ(describe(choose_reduction(GetParam().call.facts())), GetParam().driver); }

INSTANTIATE_TEST_SUITE_P(
    Table, ReductionDispatch,
    testing::Values(
        Row{"softmax", {kDot}, "tiles (f32)"}, Row{"bf16", {kDot, {}, 1000, 1000, kBF16}, "tiles (bf16 dot)"},
        Row{"bf16 pages are widened", {kDot, {}, 2, 1000, kBF16, kBF16}, "tiles (f32)"},
        Row{"lists", {kDot, with(lists_of(1))}, "gather (f32)"},
        Row{"lists, as used by a bf16 driver", {kDot, with(lists_of(1)), 9, 9, kF32, {}, 64, 64, 1, false, false, true}, "tiles (f32)"},
        Row{"lists, after nothing", {kDot, with(lists_of(1)), 9, 9, kF32, {}, 64, 64, 1, false, true}, "gather (f32)"}));

TEST(ReductionDispatch, ListsAfterAHeadMaskUseTheTilesDriver) {
  Call call{kDot, with(lists_of(1))};
  call.spec.after = head_mask();
  EXPECT_EQ(describe(choose_reduction(call.facts())), "gather (f32)");
  call.after = true;
  EXPECT_EQ(describe(choose_reduction(call.facts())), "tiles (f32)");
}

TEST(WeightsDispatch, RecomputesScoresWithTheProductsOfTheForward) {
  EXPECT_EQ(choose_look(Call{kAmx, {}, 1000, 1000, kBF16}.facts()), Products::kAmx);
  EXPECT_EQ(choose_look(Call{kDot, {}, 1000, 1000, kBF16}.facts()), Products::kBf16Dot);
  EXPECT_EQ(choose_look(Call{kDot, {}, 1000, 1000, kBF16, kBF16}.facts()), Products::kF32);
  EXPECT_EQ(choose_look(Call{kAvx2, {}, 1000, 1000, kBF16}.facts()), Products::kF32);
}

TEST(Drivers, ReportBf16ValueSupportAndRowSums) {
  EXPECT_TRUE(takes_bf16_values(ForwardDriver::kFlashBf16));
  EXPECT_FALSE(takes_bf16_values(ForwardDriver::kDecodeBf16));
  EXPECT_TRUE(sums_rows(ForwardDriver::kFlash));
  EXPECT_FALSE(sums_rows(ForwardDriver::kDecode));
}

}  // namespace
}  // namespace clearhead::cpu
