// The ONNX operator Attention with a cache (docs/onnx.md): appending the past and the new keys equals the operator's concatenation, for all
// its other inputs. The expected result does not depend on an alignment: visible pairs are written out as key ≤ past + query.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <vector>

#include "backends/registry.h"
#include "clearhead/attend.h"
#include "spec/page_rows.h"
#include "tolerance.h"
#include "waves.h"

namespace clearhead {
namespace {

constexpr int64_t kBatch = 2, kKeyHeads = 2, kHeads = 4, kWidth = 16, kValueWidth = 8;

enum class AttentionMask { kNone, kBool, kFloat };
struct Given {
  int64_t past = 0, new_keys = 0, queries = 0;
  bool is_causal = false, is_capped = false;
  AttentionMask mask = AttentionMask::kNone;
  int64_t keys() const { return past + new_keys; }
};

std::vector<Given> everything_given() {
  std::vector<Given> all;
  using Lengths = std::array<int64_t, 3>;
  for (const auto& [past, new_keys, queries] :
       {Lengths{0, 7, 7}, {5, 1, 1}, {40, 33, 33}, {255, 1, 1}, {256, 20, 20}, {300, 7, 7}, {12, 6, 4}, {12, 4, 6}, {300, 40, 1}}) {
    for (const bool is_causal : {false, true}) {
      for (const bool is_capped : {false, true}) {
        for (const AttentionMask mask : {AttentionMask::kNone, AttentionMask::kBool, AttentionMask::kFloat}) {
          all.push_back({past, new_keys, queries, is_causal, is_capped, mask});
        }
      }
    }
  }
  return all;
}

bool is_masked_out(int64_t query, int64_t key) { return (query * 7 + key * 3) % 5 == 0; }

// true where `sees` returns true   [1, 1, query, key]
template <class Sees>
Tensor visible_pairs(const Given& given, const Sees& sees) {
  Tensor mask = Tensor::empty({1, 1, given.queries, given.keys()}, DType::kBool);
  bool* to = mask.mutable_data<bool>();
  for (int64_t i = 0; i < given.queries; ++i) {
    for (int64_t j = 0; j < given.keys(); ++j) *to++ = sees(i, j);
  }
  return mask;
}

// The descriptions whose scores the modes 0, 1 and 2 of qk_matmul_output return; the last one is the whole call.
std::vector<AttentionSpec> stages(const Given& given) {
  AttentionSpec raw, capped;
  if (given.is_capped) capped.terms = {SoftCap{1.5F}};
  AttentionSpec whole = capped;
  if (given.mask == AttentionMask::kFloat) whole.terms.emplace_back(AttentionBias{waves({1, kHeads, given.queries, given.keys()}, 0.23F)});
  return {raw, capped, whole};
}

// The description as docs/onnx.md gives it.
AttentionSpec over_cache(const Given& given, AttentionSpec spec) {
  if (given.is_causal) spec.topology.band = {.ahead = 0, .align = Align::kStart, .offset = given.past};
  if (given.mask == AttentionMask::kBool)
    spec.topology.mask = Mask{visible_pairs(given, [](int64_t i, int64_t j) { return !is_masked_out(i, j); })};
  return spec;
}

// The description as the operator's specification gives it.
AttentionSpec over_concatenation(const Given& given, AttentionSpec spec) {
  spec.topology.mask = Mask{visible_pairs(given, [&](int64_t i, int64_t j) {
    return (!given.is_causal || j <= given.past + i) && (given.mask != AttentionMask::kBool || !is_masked_out(i, j));
  })};
  return spec;
}

std::vector<float> looked_at(const AttentionRecord& record, WeightsCall::Quantity quantity, int64_t batch, int64_t head) {
  const int64_t keys = key_length(record.keys), count = record.rows_kept();
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  std::vector<float> out(static_cast<size_t>(count * keys));
  backend().weights({.record = record,
                     .batch = batch,
                     .head = head,
                     .rows = rows.data(),
                     .row_count = count,
                     .keys = {0, keys},
                     .quantity = quantity,
                     .out = out.data(),
                     .out_stride = keys});
  return out;
}

// The operator's inputs, and how its cache is filled.
struct Inputs {
  Tensor q, k, v;  // k and v: past keys followed by new keys
  explicit Inputs(const Given& given)
      : q(waves({kBatch, kHeads, given.queries, kWidth}, 0.37F)),
        k(waves({kBatch, kKeyHeads, given.keys(), kWidth}, 0.11F)),
        v(waves({kBatch, kKeyHeads, given.keys(), kValueWidth}, 0.71F)) {}
  KVCache cache(const Given& given) const {
    KVCache cache;
    if (given.past > 1) {  // a past that was appended in two pieces
      cache.append(k.slice(2, 0, given.past / 2), v.slice(2, 0, given.past / 2));
      cache.append(k.slice(2, given.past / 2, given.past), v.slice(2, given.past / 2, given.past));
    }
    cache.append(k.slice(2, given.past, given.keys()), v.slice(2, given.past, given.keys()));
    return cache;
  }
};

std::string told(const Given& given) {
  return "past " + std::to_string(given.past) + ", new " + std::to_string(given.new_keys) + ", queries " + std::to_string(given.queries) +
         (given.is_causal ? ", causal" : "") + (given.is_capped ? ", capped" : "") + ", mask " +
         std::to_string(static_cast<int>(given.mask));
}

TEST(OnnxAttention, OverACacheIsAttentionOverTheConcatenation) {
  const double score = 0.25 * kWidth + 1;  // The largest magnitude of a score: 1/√16 times the products, plus the float mask.
  for (const Given& given : everything_given()) {
    const Inputs inputs(given);
    const KVCache cache = inputs.cache(given);
    const AttentionSpec whole = stages(given).back();
    const Tensor out = attend(inputs.q, cache.snapshot(), over_cache(given, whole)).out,
                 expected = attend(inputs.q, inputs.k, inputs.v, over_concatenation(given, whole)).out;
    for (int64_t i = 0; i < out.numel(); ++i) {  // values and therefore outputs are in [-1, 1]
      ASSERT_NEAR(out.data<float>()[i], expected.data<float>()[i], 2 * tolerance::forward(score)) << told(given) << " at " << i;
    }
  }
}

TEST(OnnxAttention, EveryOutputModeOverACacheEqualsTheConcatenation) {
  using Quantity = WeightsCall::Quantity;
  for (const Given& given : everything_given()) {
    const Inputs inputs(given);
    const KVCache cache = inputs.cache(given);
    const std::vector<AttentionSpec> modes = stages(given);
    for (size_t mode = 0; mode < 4; ++mode) {
      const AttentionSpec& spec = modes[std::min<size_t>(mode, 2)];
      const bool hides = mode >= 2;
      const AttentionRecord paged = attend(inputs.q, cache.snapshot(), hides ? over_cache(given, spec) : spec).record,
                            rows = attend(inputs.q, inputs.k, inputs.v, hides ? over_concatenation(given, spec) : spec).record;
      for (int64_t map = 0; map < kBatch * kHeads; ++map) {
        const auto quantity = mode == 3 ? Quantity::kWeight : Quantity::kScore2;
        const std::vector<float> found = looked_at(paged, quantity, map / kHeads, map % kHeads),
                                 expected = looked_at(rows, quantity, map / kHeads, map % kHeads);
        for (size_t at = 0; at < found.size(); ++at) {
          const float close = mode == 3 ? static_cast<float>(tolerance::kDecodeWeight) * expected[at] : 0;
          ASSERT_TRUE(found[at] == expected[at] || std::abs(found[at] - expected[at]) <= close)
              << told(given) << ", mode " << mode << ", map " << map << " at " << at << ": " << found[at] << ", expected " << expected[at];
        }
      }
    }
  }
}

TEST(OnnxAttention, ThePresentIsThePastAndTheNewKeysBitForBit) {
  for (const Given& given : {Given{.past = 5, .new_keys = 1, .queries = 1}, Given{.past = 255, .new_keys = 3, .queries = 3},
                             Given{.past = 300, .new_keys = 7, .queries = 7}}) {
    const Inputs inputs(given);
    const KVCache cache = inputs.cache(given);
    const Tensor keys = key_rows(cache.snapshot(), {0, given.keys()}), values = value_rows(cache.snapshot(), {0, given.keys()});
    ASSERT_EQ(keys.shape(), inputs.k.shape());
    ASSERT_EQ(values.shape(), inputs.v.shape());
    for (int64_t i = 0; i < keys.numel(); ++i) ASSERT_EQ(keys.data<float>()[i], inputs.k.data<float>()[i]) << told(given) << " at " << i;
    for (int64_t i = 0; i < values.numel(); ++i)
      ASSERT_EQ(values.data<float>()[i], inputs.v.data<float>()[i]) << told(given) << " at " << i;
  }
}

}  // namespace
}  // namespace clearhead
