// Traces for the viewer's tests: random Q and K of a small decoder over synthetic words, with norms, sharp enough that some keys stand out.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "clearhead/attend.h"
#include "random_tensor.h"
#include "viewer/frame.h"
#include "viewer/loaded_trace.h"

namespace clearhead::viewer::looked_at {

constexpr int64_t kHeads = 4, kKeyHeads = 2, kWidth = 8;

struct Options {
  int64_t tokens = 300;
  int layers = 2;
  bool causal = true;
  TraceOptions trace{};
  bool norms = true;
  std::string word = "";  ///< a word to use for every token, if not empty
  AttentionSpec spec{};
  float keys_times = 1;  ///< multiplies keys and divides queries
};

inline RunPlan plan_of(const Options& options) {
  RunPlan plan;
  plan.model = "made-up";
  plan.families = {{.name = options.causal ? "dec" : "enc",
                    .layers = options.layers,
                    .heads = kHeads,
                    .key_heads = kKeyHeads,
                    .d_k = kWidth,
                    .queries = options.tokens,
                    .keys = options.tokens,
                    .causal = options.causal}};
  for (int64_t i = 0; i < options.tokens; ++i) {  // words of one or two pieces: "wa b", "wa", "b"
    const bool first = i == 0, second_piece = i % 3 == 2;
    const std::string piece = first                   ? ""
                              : !options.word.empty() ? options.word
                              : second_piece          ? "b" + std::to_string(i % 5)
                                                      : " w" + std::to_string(i % 7);
    const int64_t begin = static_cast<int64_t>(plan.text.text.size());
    plan.text.text += piece;
    plan.text.ids.push_back(first ? 101 : static_cast<int32_t>(i % 35));
    plan.text.special.push_back(first ? 1 : 0);
    plan.text.offsets.push_back({begin, static_cast<int64_t>(plan.text.text.size())});
    plan.text.pieces.push_back(first ? "[CLS]" : piece);
  }
  plan.text.segments = {{"a", "document", 0, options.tokens / 2}, {"b", "", options.tokens / 2, options.tokens}};
  return plan;
}

/// The first key gets some weight from every query: an attention sink.
inline Tensor keys_with_sink(Shape shape, uint32_t seed, const Tensor& q) {
  Tensor k = random_tensor(shape, seed, 1.5f);
  float* values = k.mutable_data<float>();
  (void)q;
  for (int64_t h = 0; h < shape[1]; ++h) {
    for (int64_t c = 0; c < shape[3]; ++c) values[h * shape[2] * shape[3] + c] = c == 0 ? 12.0f : 0.0f;
  }
  return k;
}

inline Trace trace_of(const Options& options) {
  Trace trace(options.trace);
  trace.begin(plan_of(options));
  for (int layer = 0; layer < options.layers; ++layer) {
    const uint32_t seed = static_cast<uint32_t>(layer) * 10;
    Tensor q = random_tensor({1, kHeads, options.tokens, kWidth}, seed + 1, 1.2f);
    float* values = q.mutable_data<float>();
    for (int64_t i = 0; i < q.numel(); i += kWidth) values[i] = std::abs(values[i]) + 1.0f;  // the channel that the sink's key responds to
    Tensor k = keys_with_sink({1, kKeyHeads, options.tokens, kWidth}, seed + 2, q);
    for (int64_t i = 0; i < k.numel(); ++i) k.mutable_data<float>()[i] *= options.keys_times;
    for (int64_t i = 0; i < q.numel(); ++i) values[i] /= options.keys_times;
    const Tensor v = random_tensor({1, kKeyHeads, options.tokens, kWidth}, seed + 3, 1.0f);
    AttentionSpec spec = options.spec;
    if (options.causal) spec.topology.band = causal().band;
    KeyNorms norms;
    if (options.norms) {
      norms.value = random_tensor({1, kKeyHeads, options.tokens}, seed + 4, 1.0f);
      norms.output = random_tensor({1, kHeads, options.tokens}, seed + 5, 1.0f);
      for (Tensor* tensor : {&norms.value, &norms.output}) {
        float* lengths = tensor->mutable_data<float>();
        for (int64_t i = 0; i < tensor->numel(); ++i) lengths[i] = std::abs(lengths[i]) + 0.1f;
      }
    }
    const Site site{options.causal ? "dec" : "enc", layer, 0};
    if (!trace.wants(site)) continue;
    const AttentionRecord record = attend(q, k, v, spec).record;
    trace.take(site, record, norms);
    if (trace.wants_gradient(site)) trace.take_gradient(site, record, {random_tensor({1, kHeads, options.tokens, kWidth}, seed + 6), v});
  }
  return trace;
}

inline LoadedTrace loaded_of(const Options& options = {}) {
  LoadedTrace::Options own;
  own.command = "clearhead view made-up 'text'";
  return LoadedTrace(std::make_shared<const Trace>(trace_of(options)), own);
}

template <class T>
std::vector<T> array_of(const ViewFrame& frame, const std::string& name) {
  for (const FrameArray& array : frame.arrays) {
    if (array.name != name) continue;
    std::vector<T> out(array.bytes.size() / sizeof(T));
    std::copy_n(array.bytes.data(), array.bytes.size(), reinterpret_cast<char*>(out.data()));
    EXPECT_FALSE(out.empty()) << name;
    return out;
  }
  ADD_FAILURE() << "the frame has no array " << name;
  return {};
}

}  // namespace clearhead::viewer::looked_at
