// Attention calls for tests of the CPU backends.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "backends/backend.h"
#include "backends/cpu/cpu.h"
#include "clearhead/spec.h"
#include "random_tensor.h"

namespace clearhead::test {

struct Case {
  AttentionShape shape{.batch = 1, .heads = 2, .key_heads = 1, .queries = 5, .keys = 7, .d_k = 8, .d_v = 8};
  AttentionSpec spec{};
  Tensor q{}, k{}, v{};
};

struct Result {
  Tensor out{};
  RowStats rows{};
};

inline Case make_case(AttentionShape shape, uint32_t seed, float query_size = 1) {
  Case c;
  c.shape = shape;
  c.q = random_tensor({shape.batch, shape.heads, shape.queries, shape.d_k}, seed, query_size);
  c.k = random_tensor({shape.batch, shape.key_heads, shape.keys, shape.d_k}, seed + 1);
  c.v = random_tensor({shape.batch, shape.key_heads, shape.keys, shape.d_v}, seed + 2);
  return c;
}

inline Result empty_result(const AttentionShape& s) {
  return {Tensor::empty({s.batch, s.heads, s.queries, s.d_v}),
          {Tensor::empty({s.batch, s.heads, s.queries}), Tensor::empty({s.batch, s.heads, s.queries})}};
}

inline Result run(const Backend& backend, const Case& c) {
  Result result = empty_result(c.shape);
  const Keys keys = c.k;
  backend.forward({c.spec, c.q, keys, c.v, result.out, result.rows});
  return result;
}

/// The tensors of a case as pages. Memory after the last key is NaN, so that reading it is detected.
inline PagedKV make_pages(const Tensor& k, const Tensor& v) {
  PagedKV paged;
  paged.length = k.size(2), paged.key_heads = k.size(1), paged.d_k = k.size(3), paged.d_v = v.size(3);
  const auto at = [](const Tensor& t, int64_t b, int64_t h, int64_t j, int64_t c) {
    return t.data<float>()[b * t.stride(0) + h * t.stride(1) + j * t.stride(2) + c * t.stride(3)];
  };
  for (int64_t b = 0; b < k.size(0); ++b) {
    paged.pages.emplace_back();
    for (int64_t first = 0; first < paged.length; first += KVPage::kLength) {
      auto page = std::make_shared<KVPage>();
      page->keys = Tensor::empty({paged.key_heads, KVPage::kLength / KVPage::kPanel, paged.d_k, KVPage::kPanel});
      page->values = Tensor::empty({paged.key_heads, KVPage::kLength, paged.d_v});
      float *keys = page->keys.mutable_data<float>(), *values = page->values.mutable_data<float>();
      std::fill(keys, keys + page->keys.numel(), std::numeric_limits<float>::quiet_NaN());
      std::fill(values, values + page->values.numel(), std::numeric_limits<float>::quiet_NaN());
      for (int64_t h = 0; h < paged.key_heads; ++h) {
        for (int64_t j = 0; j < std::min(KVPage::kLength, paged.length - first); ++j) {
          for (int64_t c = 0; c < paged.d_k; ++c) {
            keys[((h * 16 + j / 16) * paged.d_k + c) * 16 + j % 16] = at(k, b, h, first + j, c);
          }
          for (int64_t c = 0; c < paged.d_v; ++c) values[(h * KVPage::kLength + j) * paged.d_v + c] = at(v, b, h, first + j, c);
        }
      }
      paged.pages.back().push_back(page);
    }
  }
  return paged;
}

inline Result run_paged(const Backend& backend, const Case& c) {
  Result result = empty_result(c.shape);
  const Keys keys = make_pages(c.k, c.v);
  backend.forward({c.spec, c.q, keys, Tensor(), result.out, result.rows});
  return result;
}

template <class T>
T element(const Tensor& t, std::initializer_list<int64_t> index) {
  int64_t offset = 0;
  int axis = 0;
  for (const int64_t i : index) {
    offset += (t.size(axis) == 1 ? 0 : i) * t.stride(axis);
    ++axis;
  }
  return reinterpret_cast<const T*>(t.raw())[offset];
}

/// The backends of all instruction sets that this machine supports.
inline std::vector<const Backend*> tables() {
  std::vector<const Backend*> out;
  for (const InstructionSet isa : {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    if (const Backend* backend = cpu_backend(isa)) out.push_back(backend);
  }
  return out;
}

}  // namespace clearhead::test
