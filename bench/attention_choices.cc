// Cases with lists: block patterns, and keys selected by content (selection and attention separately).
//
// choose/ counts the multiplications and additions of the selection scores, so selecting and gathering count as loss:
//   top keys     every visible pair, 2·d: O(length²·d), so these end at 32,768 tokens
//   top blocks   the means of all queries and keys, d each, and every visible pair of blocks, 2·d: less than reading q and k takes
//   buckets      every query and key against buckets / 2 rotations, 2·d each
// forward/ counts the pairs in the lists, like all patterns; single keys are processed one at a time, each with its own reads.
#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/format.h"
#include "base/random.h"
#include "bench/attention_plans.h"
#include "clearhead/attend.h"
#include "spec/block_sparse.h"

namespace clearhead::bench {
namespace {

constexpr int64_t kWidth = 64;
constexpr int64_t kTopKeys = 64, kLongestForTopKeys = 32768;
constexpr int64_t kBlock = 64, kTopBlocks = 8;
constexpr int64_t kKeysOfBucket = 128;  // approximate number of keys per bucket

double pairs_before(int64_t count) { return static_cast<double>(count) * static_cast<double>(count + 1) / 2; }

// Both cases of one selection. flops: of the selection.
void add_chosen(const std::string& name, int64_t length, bool is_causal, double flops,
                const std::function<BlockSparse(const Tensor& q, const Tensor& k, const AttentionSpec& spec)>& choose,
                std::vector<Plan>& plans) {
  Plan plan = forward_plan(name, 1, length, kWidth, is_causal, false);
  plan.choose = [choose, spec = plan.spec](const Tensor& q, const Tensor& k) { return choose(q, k, spec); };
  plans.push_back(plan);
  plan.kind = Kind::kChoose;
  plan.choice_flops = flops;
  plan.name = format("choose/f32/{}/h1/n{}/d{}", name, length, kWidth);
  plans.push_back(plan);
}

// A causal block pattern: the query's own block, the three before it, and the blocks at multiples of `stride` before it (Child et al.
// 2019, §4.3, strided, in blocks).
BlockSparse strided_blocks(int64_t length) {
  const int64_t blocks = length / kBlock, stride = length <= 8192 ? 8 : length <= 32768 ? 16 : 32;
  std::vector<std::vector<int32_t>> lists(static_cast<size_t>(blocks));
  for (int64_t b = 0; b < blocks; ++b) {
    for (int64_t key = 0; key <= b; ++key) {
      if (b - key < 4 || (b - key) % stride == 0) lists[static_cast<size_t>(b)].push_back(static_cast<int32_t>(key));
    }
  }
  return gathered(lists, 1, 1, kBlock, kBlock);
}

// Blocks of 16 queries × 128 keys in an order that defeats caches: eight per query block, drawn at random.
BlockSparse random_blocks(int64_t length) {
  const int64_t query_blocks = length / 16, key_blocks = length / 128;
  std::vector<std::vector<int32_t>> lists(static_cast<size_t>(query_blocks));
  for (int64_t b = 0; b < query_blocks; ++b) {
    RandomSequence dice(mix_bits(7) ^ static_cast<uint64_t>(b));
    std::vector<int32_t>& list = lists[static_cast<size_t>(b)];
    while (list.size() < 8) {
      const auto key = static_cast<int32_t>(dice.roll(static_cast<size_t>(key_blocks)));
      if (std::find(list.begin(), list.end(), key) == list.end()) list.push_back(key);
    }
    std::sort(list.begin(), list.end());
  }
  return gathered(lists, 1, 1, 16, 128);
}

void add_of_length(int64_t length, std::vector<Plan>& plans) {
  const auto tokens = static_cast<double>(length), width = static_cast<double>(kWidth);
  Plan strided = forward_plan("blocks_strided64", 1, length, kWidth, true, false);
  strided.prepare = [](Plan& plan) { plan.spec.topology.block_sparse = strided_blocks(plan.length); };
  plans.push_back(strided);
  Plan random = forward_plan("blocks_random16x128", 1, length, kWidth, false, false);
  random.prepare = [](Plan& plan) { plan.spec.topology.block_sparse = random_blocks(plan.length); };
  plans.push_back(random);

  if (length <= kLongestForTopKeys) {
    add_chosen(
        format("top_keys{}", kTopKeys), length, true, 2 * width * pairs_before(length),
        [](const Tensor& q, const Tensor& k, const AttentionSpec& spec) { return select_top_keys(q, k, spec, kTopKeys); }, plans);
  }
  const BlockChoice blocks{.query_block = kBlock, .key_block = kBlock, .count = kTopBlocks};
  add_chosen(
      format("top_blocks{}", kBlock), length, true, width * (2 * tokens + 2 * pairs_before(length / kBlock)),
      [blocks](const Tensor& q, const Tensor& k, const AttentionSpec& spec) { return select_top_blocks(q, k, spec, blocks); }, plans);
  const Hashing hashing{.buckets = length / kKeysOfBucket, .seed = 3};
  add_chosen(
      "buckets", length, false, 2 * width * tokens * static_cast<double>(hashing.buckets),
      [hashing](const Tensor& q, const Tensor& k, const AttentionSpec&) { return select_same_bucket(q, k, hashing); }, plans);
}

}  // namespace

void add_choice_plans(std::vector<Plan>& plans) {
  for (const int64_t length : {8192, 32768, 131072}) add_of_length(length, plans);
}

}  // namespace clearhead::bench
