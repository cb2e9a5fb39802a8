// Attention calls that use every feature of a description, for the tests of maps.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "backends/oracle.h"
#include "clearhead/attend.h"
#include "clearhead/map.h"
#include "on_every_backend.h"
#include "random_tensor.h"
#include "tolerance.h"

namespace clearhead::map_cases {

struct Sizes {
  int64_t batch = 1, heads = 2, key_heads = 1, queries = 70, keys = 70, d_k = 16, d_v = 8;
};

struct Case {
  std::string name;
  Sizes sizes;
  AttentionSpec spec;
};

inline Tensor random_mask(Shape shape, uint32_t seed, double visible) {
  std::mt19937 random(seed);
  std::bernoulli_distribution coin(visible);
  Tensor out = Tensor::empty(std::move(shape), DType::kBool);
  bool* values = out.mutable_data<bool>();
  for (int64_t i = 0; i < out.numel(); ++i) values[i] = coin(random);
  return out;
}

inline Tensor packed_segments(int64_t batch, int64_t length, int64_t step) {
  Tensor out = Tensor::empty({batch, length}, DType::kI32);
  int32_t* ids = out.mutable_data<int32_t>();
  for (int64_t i = 0; i < out.numel(); ++i) ids[i] = static_cast<int32_t>(i % length / step);
  ids[length - 1] = -1;  // padding neither sees nor is seen by any position
  return out;
}

inline std::vector<Case> all_cases() {
  std::vector<Case> cases;
  const auto add = [&](std::string name, Sizes sizes, AttentionSpec spec) { cases.push_back({std::move(name), sizes, std::move(spec)}); };
  add("full", {}, {});
  add("causal over 300 keys", {.queries = 300, .keys = 300}, {.topology = causal()});
  add("causal window", {.queries = 130, .keys = 130}, {.topology = causal(20)});
  add("window both ways, from the start", {.queries = 90, .keys = 60}, {.topology = window(9, 5, Align::kStart)});
  add("fewer queries than keys", {.queries = 3, .keys = 290}, {.topology = causal()});
  add("more queries than keys", {.queries = 61, .keys = 40}, {.topology = causal()});
  add("groups of three heads", {.batch = 2, .heads = 6, .key_heads = 2, .queries = 49, .keys = 33, .d_k = 20}, {.topology = causal()});
  add("one query", {.queries = 1, .keys = 257}, {.topology = causal()});
  AttentionSpec rich;
  rich.terms = {Alibi{Tensor::from<float>({0.5f, 0.0625f}, {2})}, SoftCap{5.0f}, AttentionBias{random_tensor({1, 2, 1, 97}, 5)}};
  rich.topology = causal();
  rich.topology.segments = Segments{packed_segments(1, 97, 40), packed_segments(1, 97, 40)};
  rich.topology.mask = Mask{random_mask({1, 1, 97, 97}, 11, 0.8)};
  rich.normaliser = Softmax{Tensor::from<float>({0.3f, -1.0f}, {2})};
  add("every term, segments, mask and sinks", {.queries = 97, .keys = 97}, rich);
  return cases;
}

struct Made {
  Tensor q, k, v;
  Attended attended;
};

inline Made make(const Case& c) {
  const Sizes& s = c.sizes;
  Made made{random_tensor({s.batch, s.heads, s.queries, s.d_k}, 1),
            random_tensor({s.batch, s.key_heads, s.keys, s.d_k}, 2),
            random_tensor({s.batch, s.key_heads, s.keys, s.d_v}, 3),
            {}};
  made.attended = attend(made.q, made.k, made.v, c.spec);
  return made;
}

/// The bound of docs/NUMERICS.md for one weight: P·(1e-6 + 4ε·S).
inline double weight_bound(double weight, double largest) { return std::abs(weight) * tolerance::weight(largest) + 1e-37; }

/// Naive double weights of one head, [query][key], NaN where hidden.
inline std::vector<std::vector<double>> eager(const Case& c, const Made& made, int64_t batch, int64_t head,
                                              std::vector<double>* largest = nullptr) {
  std::vector<std::vector<double>> rows;
  for (int64_t query = 0; query < c.sizes.queries; ++query) {
    const OracleRow row = oracle_row(c.spec, made.q, made.k, made.v, batch, head, query);
    rows.push_back(row.weights);
    for (size_t j = 0; j < row.scores.size(); ++j) {
      if (row.scores[j] == -std::numeric_limits<double>::infinity()) rows.back()[j] = std::numeric_limits<double>::quiet_NaN();
    }
    if (largest) largest->push_back(row.largest);
  }
  return rows;
}

inline bool same_bits(const float* a, const float* b, size_t count) { return std::memcmp(a, b, count * sizeof(float)) == 0; }
inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && (a.numel() == 0 || same_bits(a.data<float>(), b.data<float>(), static_cast<size_t>(a.numel())));
}

}  // namespace clearhead::map_cases
