// Verifies rows that are spread evenly over the requested ones. A shown weight may differ from the oracle's by as much as an error of
// (4 + d/2)·ε·S in the scores causes: d is d_k, ε = 2⁻²³, S bounds the terms of the row's scores (OracleRow::largest). The reason is in
// docs/ARCHITECTURE.md, "viewer".
#include "viewer/questions/verify.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "backends/oracle.h"
#include "backends/widen.h"
#include "base/format.h"
#include "viewer/questions/ranges.h"

namespace clearhead::viewer::questions {
namespace {

constexpr int64_t kMostVerifiedRows = 64;

// One row of the oracle over the keys of the text, as weights or as a gradient quantity. [key]
struct EagerRow {
  std::vector<double> weights{};  // NaN: hidden or never scored
  std::vector<double> errors{};   // bound on the change of a weight by rounding of its score

  // record: that of the frame, with operands in f32
  EagerRow(const Frame& frame, const AttentionRecord& record, const FamilyFacts& known, int64_t head, int64_t query, WeightKind kind)
      : weights(static_cast<size_t>(known.keys), std::numeric_limits<double>::quiet_NaN()), errors(weights.size(), 0) {
    const OracleRow eager = oracle_row(record, Tensor(), 0, head, query - frame.queries.begin);
    // Error bound of a score: a chain of d multiply-adds errs by at most d·ε/2·S (Higham 2002, §3.1). 4εS is usually enough, but the
    // rounding errors of equal terms all have the same sign.
    const double delta = (4 + static_cast<double>(known.shape.d_k) / 2) * 0x1p-23 * eager.largest;
    for (size_t j = 0; j < eager.weights.size(); ++j) {
      const size_t key = frame.keys.empty() ? j : static_cast<size_t>(frame.keys[j]);
      weights[key] = eager.weights[j];
      if (eager.scores[j] > -std::numeric_limits<double>::infinity())
        errors[key] = weight_error(frame.record.spec.normaliser, eager, j, delta);
      if (const auto look = gradient_look(kind)) show(frame.gradient, *look, eager, head, query - frame.queries.begin, j, key);
    }
  }

 private:
  // Replaces a weight P by the positive or negative part of its gradient g = dO·v, or of P·a·g, where a is the factor after
  // normalisation (OracleRow::after). Adds the rounding error of g to the error bound. For a hidden pair both become 0.
  void show(const OutputGradient& gradient, GradientLook look, const OracleRow& eager, int64_t head, int64_t row, size_t j, size_t key) {
    const Tensor d_out = gradient.d_out.select(0, 0).select(0, head).select(0, row);
    const Tensor values = gradient.values.select(0, 0);
    const int64_t width = d_out.size(0), group = gradient.d_out.size(1) / values.size(0);
    const Tensor value = to_f32(values.select(0, head / group).select(0, static_cast<int64_t>(j)));
    double g = 0, size = 0;
    for (int64_t c = 0; c < width; ++c) {
      const double term =
          static_cast<double>(d_out.data<float>()[c * d_out.stride(0)]) * static_cast<double>(value.data<float>()[c * value.stride(0)]);
      g += term;
      size += std::abs(term);
    }
    const bool is_product = look == GradientLook::kPositive || look == GradientLook::kNegative;
    const bool is_hidden = eager.scores[j] == -std::numeric_limits<double>::infinity();
    const double used = is_product ? weights[key] * eager.after[j] : is_hidden ? 0.0 : 1.0;
    const double sign = look == GradientLook::kPositive || look == GradientLook::kRaises ? 1 : -1;
    errors[key] = (is_product ? errors[key] * eager.after[j] * std::abs(g) : 0.0) + used * static_cast<double>(width + 2) * 0x1p-23 * size;
    weights[key] = std::max(0.0, sign * used * g);
  }
};

// The largest difference found so far.
struct Verdict {
  int64_t checked = 0;
  double largest = 0, bound = 0;
  bool within = true;
  Json at = nullptr;

  // Compares one shown row on the requested keys.
  void take_row(const HeadLook& look, int64_t query, const EagerRow& row, const std::vector<float>& shown, const std::vector<float>& norm,
                const std::vector<Range>& keys) {
    for (const Range& range : keys) {
      for (int64_t key = range.begin; key < range.end; ++key) {
        const size_t j = static_cast<size_t>(key);
        const double factor = norm.empty() ? 1.0 : static_cast<double>(norm[j]);
        const double allowed = factor * (std::abs(row.weights[j]) * 1.2e-6 + row.errors[j]) + 1e-37;
        const double used =
            norm.empty() ? static_cast<double>(shown[j]) : static_cast<double>(static_cast<float>(static_cast<double>(shown[j]) * factor));
        take(look, query, key, used, row.weights[j] * factor, allowed);
      }
    }
  }

  void take(const HeadLook& look, int64_t query, int64_t key, double shown, double eager, double allowed) {
    ++checked;
    const double difference = std::abs(shown - eager);
    const bool holds = difference <= allowed || (std::isnan(shown) && std::isnan(eager));
    bound = std::max(bound, allowed);
    if (!holds) within = false;
    if (!at.is_null() && !(difference > largest)) return;
    largest = std::max(largest, std::isnan(difference) ? 0.0 : difference);
    at = Json::object({{"layer", look.layer}, {"head", look.head}, {"query", query}, {"key", key}, {"shown", shown}, {"eager", eager}});
  }
};

// At most `most` entries of ascending ranges, spread evenly.
std::vector<int64_t> spread(const std::vector<Range>& ranges, int64_t most) {
  std::vector<int64_t> all, out;
  for (const Range& range : ranges) {
    for (int64_t i = range.begin; i < range.end; ++i) all.push_back(i);
  }
  const int64_t count = static_cast<int64_t>(all.size()), kept = std::min(count, most);
  for (int64_t k = 0; k < kept; ++k) out.push_back(all[static_cast<size_t>(kept == 1 ? 0 : k * (count - 1) / (kept - 1))]);
  return out;
}

}  // namespace

Json verify(LoadedTrace& loaded, const VerifyLook& look, const LookOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  const FamilyFacts& known = loaded.facts(look.family);
  check_ranges(look.rows, known.queries, "rows");
  check_ranges(look.keys, known.keys, "keys");
  if (look.heads.empty()) fail(ErrorCode::kInvalidArgument, "heads: none given; expected [[layer, head], …].");
  const std::vector<Range> rows = united(look.rows), keys = united(look.keys);
  check_rows(loaded, look.family, rows);
  Verdict verdict;
  for (const auto& [layer, head] : look.heads) {
    const HeadLook at{known.shape.name, layer, head, look.weight, SinkRule::kMark};
    check_head(loaded, at);
    const LayerMap map = map_of(loaded, at);
    const std::vector<float> norm = norms(loaded, at);
    const Frame* widened_frame = nullptr;
    AttentionRecord record;
    for (const int64_t query : spread(rows, kMostVerifiedRows)) {
      if (options.cancel && options.cancel->load(std::memory_order_relaxed)) fail(ErrorCode::kCancelled, "verify was cancelled");
      if (options.progress) options.progress(0);
      const Frame* frame = frame_of(map, query);
      if (frame != widened_frame) record = widened(frame->record);  // once for all rows of a frame
      widened_frame = frame;
      const EagerRow eager(*frame, record, known, head, query, look.weight);
      verdict.take_row(at, query, eager, map.row(head, query).weights(), norm, keys);
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return Json::object({{"checked", verdict.checked},
                       {"of", static_cast<int64_t>(look.heads.size()) * count_of(rows) * count_of(keys)},
                       {"largest_difference", verdict.largest},
                       {"bound", verdict.bound},
                       {"within", verdict.within},
                       {"at", verdict.at},
                       {"seconds", seconds}});
}

}  // namespace clearhead::viewer::questions
